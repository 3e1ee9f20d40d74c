import numpy as np
import pytest
import torch
from scipy.optimize import minimize, nnls

from unrolled.frames.inference import admm, block_proximal_gradient, default_step_sizes, feed_forward, fista, ista
from unrolled.frames.operator import FrameOperator
from unrolled.frames.structure import StructureError, build

from .naive import STRUCTURES, naive_dictionary, normal, random_filters, random_identity

# Sums of a few hundred products of numbers of order 1, in float64.
ROUNDING = 1e-12
# All methods minimise one convex energy; this is what the slowest of them (ISTA) leaves, relative to the energy.
SAME_OBJECTIVE = 1e-6


def make(name, size=0.05, seed=0):
    structure = STRUCTURES[name]
    operator = FrameOperator(structure, random_filters(structure, seed=seed))
    x = normal(2, 3, structure.sizes[0], structure.grid, structure.grid, seed=seed + 1)
    thresholds = [size * normal(2, k, seed=seed + k).abs() for k in structure.sizes[1:]]
    return operator, x, thresholds


def gap(first, second):
    """Largest relative difference of two objectives."""
    return ((first - second).abs() / second.abs()).max().item()


@pytest.mark.parametrize(
    "name", [f"{kind}-{size}" for kind in ("chain", "chain_front") for size in ("fc", "conv", "stride")]
)
def test_a_pass_is_one_sweep_with_step_one_for_chains(name):
    operator, x, thresholds = make(name)
    sweep = block_proximal_gradient(operator, x, thresholds, 1, step_sizes=[1.0] * operator.structure.layers)
    for one, other in zip(feed_forward(operator, x, thresholds), sweep.codes, strict=True):
        assert one.any()
        torch.testing.assert_close(one, other, rtol=0, atol=ROUNDING)


def test_a_pass_is_not_a_sweep_where_layers_are_skipped():
    operator, x, thresholds = make("residual_all-fc")
    sweep = block_proximal_gradient(operator, x, thresholds, 1, step_sizes=[1.0] * 4).codes
    passed = feed_forward(operator, x, thresholds)
    torch.testing.assert_close(passed[0], sweep[0], rtol=0, atol=ROUNDING)
    assert not torch.allclose(passed[1], sweep[1])


def unit(operator, i, j, w):
    """The product with the learned matrix of a fully connected block."""
    return torch.einsum("rab,rnb->rna", operator.filters[f"block.{i}.{j}"][..., 0, 0], w)


def test_the_pass_of_a_chain_is_a_rectifier_network():
    operator, x, thresholds = make("chain-fc")
    w = x.flatten(2)
    for j, code in enumerate(feed_forward(operator, x, thresholds), 1):
        matrix = operator.filters[f"block.{j}.{j}"][..., 0, 0]
        w = torch.relu(torch.einsum("rab,rna->rnb", matrix, w) - thresholds[j - 1][:, None])
        torch.testing.assert_close(code.flatten(2), w, rtol=0, atol=ROUNDING)


def test_the_pass_of_the_analysis_form_is_a_residual_net():
    # Equal widths, so that the identities of layers 1 and 3 pass everything on.
    structure = build("residual_front", 6, (5, 5, 5, 5))
    operator = FrameOperator(structure, random_filters(structure))
    x, b = normal(2, 3, 6, 1, 1), [0.1 * normal(2, 5, seed=j) for j in range(4)]
    codes = [code.flatten(2) for code in feed_forward(operator, x, b)]
    first = torch.einsum("rab,rna->rnb", operator.filters["block.1.1"][..., 0, 0], x.flatten(2))
    expected = [torch.relu(first - b[0][:, None])]
    for i in (2, 3, 4):
        skipped = expected[i - 3] if i == 3 else 0.0
        expected.append(torch.relu(-unit(operator, i, i - 1, expected[-1]) + skipped - b[i - 1][:, None]))
    for code, wanted in zip(codes, expected, strict=True):
        torch.testing.assert_close(code, wanted, rtol=0, atol=ROUNDING)


def test_the_pass_of_the_analysis_form_is_a_dense_net():
    operator, x, thresholds = make("dense_front-fc")
    codes = [code.flatten(2) for code in feed_forward(operator, x, thresholds)]
    for i in (2, 3, 4):
        read = sum(-unit(operator, i, j, codes[j - 1]) for j in range(1, i))
        torch.testing.assert_close(codes[i - 1], torch.relu(read - thresholds[i - 1][:, None]), rtol=0, atol=ROUNDING)


def test_the_pass_of_a_convolutional_residual_net_halves_the_grid():
    structure = build("residual_front", 2, (3, 3, 4), kernels=3, strides=(1, 2, 1), grid=6)
    operator = FrameOperator(structure, random_filters(structure))
    w = [code[0] for code in feed_forward(operator, normal(2, 3, 2, 6, 6), [0.0, 0.0, 0.0])]
    halved = -circular(w[0], operator.filters["block.2.1"][0], stride=2)
    torch.testing.assert_close(w[1], torch.relu(halved), rtol=0, atol=ROUNDING)
    # On equal grids a filter describes an atom, which a convolution layer reads the other way round.
    read = -circular(w[1], operator.filters["block.3.2"][0].flip(2, 3), stride=1)
    skipped = torch.nn.functional.pad(w[0][:, :, ::2, ::2], (0, 0, 0, 0, 0, 1))
    torch.testing.assert_close(w[2], torch.relu(read + skipped), rtol=0, atol=ROUNDING)


def circular(z, weight, stride):
    """A 3x3 convolution layer with circular padding."""
    return torch.nn.functional.conv2d(torch.nn.functional.pad(z, (1, 1, 1, 1), mode="circular"), weight, stride=stride)


@pytest.mark.parametrize("name", STRUCTURES)
def test_block_proximal_gradient_never_raises_the_energy(name):
    operator, x, thresholds = make(name)
    result = block_proximal_gradient(operator, x, thresholds, 10)
    assert result.objective.shape == (11, 2, 3)
    assert (result.objective.diff(dim=0) <= ROUNDING * result.objective[:-1]).all()
    # The residual that is kept up to date must not drift.
    limits = [b[:, None, :, None, None] for b in thresholds]
    exact = operator.objective(x, result.codes, limits)
    torch.testing.assert_close(result.objective[-1], exact, rtol=ROUNDING, atol=0)
    assert all((code >= 0).all() for code in result.codes)


def test_steps_that_are_too_large_are_seen_to_raise_it():
    operator, x, thresholds = make("residual-conv")
    large = [3 * s for s in default_step_sizes(operator)]
    assert (block_proximal_gradient(operator, x, thresholds, 20, step_sizes=large).objective.diff(dim=0) > 0).any()


def test_ista_never_raises_the_energy_and_fista_is_faster():
    operator, x, thresholds = make("dense-stride")
    slow, fast = (method(operator, x, thresholds, 60).objective for method in (ista, fista))
    assert (slow.diff(dim=0) <= ROUNDING * slow[:-1]).all()
    assert (fast[-1] < slow[-1]).all()


@pytest.mark.parametrize(
    "name", ["chain-fc", "residual_all-fc", "dense-fc", "residual_front-fc", "residual-conv", "dense-stride"]
)
def test_all_methods_reach_one_objective(name):
    # Thresholds that are not too small, for which every method converges fast.
    operator, x, thresholds = make(name, 0.2)
    best = admm(operator, x, thresholds, 200, rho=0.3).objective[-1]
    assert gap(fista(operator, x, thresholds, 200).objective[-1], best) < SAME_OBJECTIVE
    assert gap(block_proximal_gradient(operator, x, thresholds, 200).objective[-1], best) < SAME_OBJECTIVE
    assert gap(ista(operator, x, thresholds, 1000 if "stride" in name else 300).objective[-1], best) < SAME_OBJECTIVE
    # Seen to differ while they have not converged.
    assert gap(block_proximal_gradient(operator, x, thresholds, 1).objective[-1], best) > 1e3 * SAME_OBJECTIVE


@pytest.mark.parametrize("name", ["chain-fc", "residual_front-fc", "dense-conv"])
def test_the_minimum_is_that_of_a_bounded_quasi_newton_method(name):
    operator, x, thresholds = make(name, 0.2)
    found = fista(operator, x, thresholds, 400).objective[-1]
    matrix = naive_dictionary(operator)[1].numpy()
    y = np.concatenate([x[1, 2].flatten(), np.zeros(len(matrix) - x[1, 2].numel())])
    b = np.concatenate([np.repeat(t[1].numpy(), s) for t, s in zip(thresholds, spatial(operator), strict=True)])

    def energy(w):
        residual = matrix @ w - y
        return 0.5 * residual @ residual + b @ w, matrix.T @ residual + b

    options = {"maxiter": 5000, "ftol": 1e-14, "gtol": 1e-9}
    scipy = minimize(energy, np.zeros(matrix.shape[1]), jac=True, bounds=[(0, None)] * len(b), options=options)
    assert found[1, 2].item() == pytest.approx(scipy.fun, rel=SAME_OBJECTIVE)


def spatial(operator):
    """Positions of every layer."""
    return [side**2 for side in operator.structure.grids[1:]]


def test_without_thresholds_the_minimum_is_non_negative_least_squares():
    operator, x, _ = make("residual_all-fc")
    matrix = naive_dictionary(operator)[0].numpy()
    y = np.concatenate([x[0, 0].flatten(), np.zeros(len(matrix) - 6)])
    _, distance = nnls(matrix, y)
    found = block_proximal_gradient(operator, x, [0.0] * 4, 1000)
    assert found.objective[-1, 0, 0].item() == pytest.approx(0.5 * distance**2, rel=SAME_OBJECTIVE)


def test_a_start_at_the_minimum_stays_there():
    operator, x, thresholds = make("chain-fc", 0.2)
    best = fista(operator, x, thresholds, 600)
    again = block_proximal_gradient(operator, x, thresholds, 3, start=best.codes)
    for code, before in zip(again.codes, best.codes, strict=True):
        torch.testing.assert_close(code, before, rtol=0, atol=1e-7)


def test_identity_lengths_enter_the_steps():
    structure = STRUCTURES["residual-fc"]
    operator = FrameOperator(structure, random_filters(structure), random_identity(structure))
    x = normal(2, 3, 6, 1, 1)
    methods = (block_proximal_gradient, fista, admm)
    ends = [method(operator, x, [0.2] * 4, 200).objective[-1] for method in methods]
    assert gap(ends[0], ends[1]) < SAME_OBJECTIVE
    assert gap(ends[2], ends[1]) < SAME_OBJECTIVE


def test_a_replica_alone_has_the_same_codes():
    operator, x, thresholds = make("residual-stride")
    alone = FrameOperator(operator.structure, {name: f[1:] for name, f in operator.filters.items()})
    own = [b[1:] for b in thresholds]
    for method in (block_proximal_gradient, ista, fista):
        pair = zip(method(operator, x, thresholds, 5).codes, method(alone, x[1:], own, 5).codes, strict=True)
        for together, single in pair:
            torch.testing.assert_close(together[1:], single, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("name", ["chain-fc", "dense-conv"])
def test_gradients_through_sweeps(name):
    operator, x, thresholds = make(name)
    names = list(operator.filters)
    steps = default_step_sizes(operator)

    def end(x, threshold, *filters):
        own = FrameOperator(operator.structure, dict(zip(names, filters, strict=True)))
        limits = [threshold, *thresholds[1:]]
        code = block_proximal_gradient(own, x, limits, 2, step_sizes=steps).codes[-1]
        return code.square().sum() + feed_forward(own, x, limits)[-1].sum()

    inputs = [x[:, :1], thresholds[0], *operator.filters.values()]
    assert torch.autograd.gradcheck(end, [each.clone().requires_grad_() for each in inputs], fast_mode=True)


def test_an_empty_last_layer_stays_zero():
    structure = build("chain", 3, (3, 2))
    filters = random_filters(structure)
    filters["block.2.2"] = torch.zeros_like(filters["block.2.2"])
    result = block_proximal_gradient(FrameOperator(structure, filters), normal(2, 1, 3, 1, 1), [0.1, 0.1], 3)
    assert result.objective.isfinite().all()
    assert not result.codes[1].any()


def test_no_iterations_leave_zero():
    operator, x, thresholds = make("chain-fc")
    for method in (block_proximal_gradient, ista, fista, admm):
        result = method(operator, x, thresholds, 0)
        assert not any(code.any() for code in result.codes)
        expected = 0.5 * x.square().sum((2, 3, 4))
        torch.testing.assert_close(result.objective, expected[None], rtol=ROUNDING, atol=0)


def test_bad_arguments_are_refused():
    operator, x, thresholds = make("chain-fc")
    with pytest.raises(StructureError, match="thresholds: expected one for each of 4 layers, got 3"):
        feed_forward(operator, x, thresholds[:3])
    with pytest.raises(StructureError, match=r"thresholds of layer 2: expected a number or shape .*, got \(4,\)"):
        feed_forward(operator, x, [0.1, torch.zeros(4), 0.1, 0.1])
    with pytest.raises(StructureError, match=r"step size: expected finite numbers > 0, got \[-1.0\]"):
        ista(operator, x, thresholds, 1, step_size=-1.0)
    with pytest.raises(StructureError, match="step size of layer 3: expected finite numbers > 0"):
        block_proximal_gradient(operator, x, thresholds, 1, step_sizes=[1.0, 1.0, float("nan"), 1.0])
    with pytest.raises(StructureError, match=r"step size: expected a number or shape .* got \(3,\)"):
        fista(operator, x, thresholds, 1, step_size=torch.ones(3))
    with pytest.raises(StructureError, match="step sizes: expected one for each of 4 layers, got 1"):
        block_proximal_gradient(operator, x, thresholds, 1, step_sizes=[1.0])
    with pytest.raises(StructureError, match="sweeps: expected a whole number >= 0, got -1"):
        block_proximal_gradient(operator, x, thresholds, -1)
    with pytest.raises(StructureError, match="iterations: expected a whole number >= 0"):
        admm(operator, x, thresholds, 1.5)
    with pytest.raises(StructureError, match="rho: expected a finite number > 0, got 0"):
        admm(operator, x, thresholds, 1, rho=0)
    with pytest.raises(StructureError, match="inputs: expected shape"):
        fista(operator, x[..., 0], thresholds, 1)
