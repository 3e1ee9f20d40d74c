"""Hybrid classifiers: the first sweep is the feed-forward net, packs do not matter, gradients are those of the loss."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from unrolled.frames import inference
from unrolled.frames.equilibrium import ConvergenceError
from unrolled.frames.operator import FrameOperator
from unrolled.frames.structure import KINDS, Structure, StructureError, build
from unrolled.frames.unrolled import SOLVERS
from unrolled.networks.frames import FrameClassifiers
from unrolled.networks.hybrid import LEAST_STEP, HybridClassifiers, Inference

ROUNDING = 1e-12
"""Float64 sums of some hundred terms of order one."""

IMAGES = torch.randn(40, 1, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.arange(40) % 4

FLAT = build("residual", 36, (7, 7, 7))
GRID = build("residual", 1, (3, 5, 6), kernels=3, strides=(1, 2, 1), grid=6)
every_solver = pytest.mark.parametrize("solver", SOLVERS)
both = pytest.mark.parametrize("structure", [FLAT, GRID], ids=["flat", "grid"])


def nets(
    structure: Structure, how: Inference, *steps: float, dtype: torch.dtype = torch.float64, **more: object
) -> HybridClassifiers:
    return HybridClassifiers(structure, IMAGES, LABELS, 4, how, steps, dtype=dtype, **more)  # type: ignore[arg-type]


def moved(ensemble: HybridClassifiers, seeds: list[int]) -> dict[str, Tensor]:
    """Initial parameters with biases that are not 0."""
    parameters = ensemble.initial_parameters(seeds)
    draws = [np.random.default_rng(seed) for seed in seeds]
    for name, value in parameters.items():
        if name.startswith("bias."):
            drawn = np.stack([0.2 * draw.standard_normal(value.shape[1:]) for draw in draws])
            parameters[name] = torch.as_tensor(drawn, dtype=value.dtype)
    return parameters


@pytest.mark.parametrize("kind", KINDS)
@every_solver
def test_one_sweep_of_unit_steps_is_the_feed_forward_net(kind: str, solver: str) -> None:
    """For every kind and solver, bit for bit: the residual or densely connected net with the same parameters."""
    structure = build(kind, 36, (7, 6, 7, 5))
    ensemble = nets(structure, Inference(solver, 1, first_step="unit"), 0.3, 1.5)
    parameters = moved(ensemble, [1, 2])
    plain = FrameClassifiers(structure, IMAGES, LABELS, 4, [0, 0], dtype=torch.float64)
    assert torch.equal(ensemble.outputs(parameters, IMAGES), plain.outputs(parameters, IMAGES))


@both
@every_solver
def test_later_sweeps_have_the_full_gradient(structure: Structure, solver: str) -> None:
    """Sweep 1 uses block row j only, also with k > 1; what follows is plain inference from there."""
    step = 0.1
    ensemble = nets(structure, Inference(solver, 3, rule="absolute", first_step="unit"), step)
    parameters = moved(ensemble, [1])
    x = IMAGES[None].double() if structure.convolutional else IMAGES.flatten(1)[None, :, :, None, None]
    operator = FrameOperator(structure, ensemble.filters(parameters))
    limits = [-parameters[f"bias.{j}"] for j in range(1, 4)]
    first = inference.feed_forward(operator, x, limits)
    found = ensemble.layers(parameters, IMAGES)
    if solver == "block_prox":
        expected = inference.block_proximal_gradient(operator, x, limits, 2, step_sizes=[step] * 3, start=first).codes
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other.flatten(2), rtol=0, atol=ROUNDING)
    again = nets(structure, Inference(solver, 1, first_step="unit"), step).layers(parameters, IMAGES)
    for one, other in zip(again, first, strict=True):
        torch.testing.assert_close(one, other.flatten(2), rtol=0, atol=ROUNDING)
    assert not any(torch.allclose(one, other) for one, other in zip(found, again, strict=True))


def test_of_a_chain_the_unit_sweep_is_one_of_block_proximal_gradient() -> None:
    structure = build("chain", 36, (7, 6, 5))
    unit = nets(structure, Inference("block_prox", 4, first_step="unit"), 1.0)
    parameters = moved(unit, [3])
    x = IMAGES.flatten(1)[None, :, :, None, None]
    operator = FrameOperator(structure, unit.filters(parameters))
    limits = [-parameters[f"bias.{j}"] for j in range(1, 4)]
    first = inference.block_proximal_gradient(operator, x, limits, 1, step_sizes=[1.0] * 3).codes
    rest = inference.block_proximal_gradient(operator, x, limits, 3, start=first).codes
    for one, other in zip(unit.layers(parameters, IMAGES), rest, strict=True):
        # The estimates of the safe step differ, by less than a percent.
        torch.testing.assert_close(one, other.flatten(2), rtol=0.1, atol=0.02)


@both
@every_solver
def test_the_classifier_reads_the_last_layer(structure: Structure, solver: str) -> None:
    ensemble = nets(structure, Inference(solver, 2), 1.0, 0.5)
    parameters = moved(ensemble, [1, 2])
    last = ensemble.layers(parameters, IMAGES)[-1].unflatten(2, (structure.sizes[-1], -1)).mean(3)
    expected = last @ parameters["classifier.weight"] + parameters["classifier.bias"][:, None]
    torch.testing.assert_close(ensemble.outputs(parameters, IMAGES), expected, rtol=0, atol=ROUNDING)


@both
@every_solver
def test_gradients_agree_with_central_differences(structure: Structure, solver: str) -> None:
    """With a learned absolute step; the safe one follows an estimate whose vector is held."""
    ensemble = nets(structure, Inference(solver, 3, "absolute", "unit", learned=True), 0.2)
    parameters = {name: w.requires_grad_() for name, w in moved(ensemble, [1]).items()}
    rows = torch.arange(9)[None]
    loss = ensemble.losses(parameters, rows).sum()
    found = dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))
    draw = torch.Generator().manual_seed(1)
    for name, w in parameters.items():
        way = torch.randn(w.shape, generator=draw, dtype=torch.float64)
        ends = [ensemble.losses(parameters | {name: w + s * 1e-6 * way}, rows).sum().item() for s in (1, -1)]
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx((found[name] * way).sum().item(), rel=1e-4, abs=1e-6)


@every_solver
@pytest.mark.parametrize("differentiation", ["unrolled", "implicit"])
def test_a_replica_does_not_depend_on_the_others(solver: str, differentiation: str) -> None:
    """Losses and gradients in float32, bit for bit, beside a replica that is not finite."""
    unrolled = differentiation == "unrolled"
    how = Inference(solver, 3 if unrolled else 200, "relative", "unit", differentiation, True)
    structure = build("dense", 36, (8, 8, 8) if unrolled else (8,))
    whole = nets(structure, how, 0.5, 1.0, 0.7, dtype=torch.float32)
    parameters = moved(whole, [1, 2, 3])
    parameters["block.1.1"][2] = torch.nan
    rows = torch.stack([torch.arange(7), torch.arange(5, 12), torch.arange(7)])

    def losses(members: list[int]) -> tuple[Tensor, list[Tensor]]:
        own = {name: w[members].requires_grad_() for name, w in parameters.items()}
        found = whole.select(members).losses(own, rows[members])
        total = found.nan_to_num().sum()
        return found, [g for g in torch.autograd.grad(total, list(own.values()), allow_unused=True) if g is not None]

    together, gradients = losses([0, 1, 2])
    for r in (0, 1):
        alone, own = losses([r])
        assert torch.equal(together[r], alone[0])
        assert torch.isfinite(alone).all()
        for one, other in zip(gradients, own, strict=True):
            assert torch.equal(one[r], other[0])


@pytest.mark.parametrize(("structure", "tolerance"), [(build("chain", 36, (7,)), 1e-5), (FLAT, 5e-3)])
def test_implicit_gradients_are_those_of_many_unrolled_sweeps(structure: Structure, tolerance: float) -> None:
    """To the adjoint's tolerance in one layer; in three, what 3000 sweeps leave is larger."""
    found = {}
    for differentiation in ("unrolled", "implicit"):
        ensemble = nets(structure, Inference("admm", 3000, differentiation=differentiation), 1.0)
        parameters = {name: w.requires_grad_() for name, w in moved(ensemble, [1]).items()}
        loss = ensemble.losses(parameters, torch.arange(6)[None]).sum()
        found[differentiation] = torch.autograd.grad(loss, list(parameters.values()))
    for one, other in zip(found["unrolled"], found["implicit"], strict=True):
        scale = one.abs().max()
        assert (one - other).abs().max() < tolerance * scale


def test_without_convergence_implicit_differentiation_says_so() -> None:
    ensemble = nets(FLAT, Inference("ista", 2, differentiation="implicit"), 1.0, 1.0)
    parameters = moved(ensemble, [1, 2])
    with pytest.raises(ConvergenceError, match=r"changes by at most 0\.001 .* after 2 sweeps of ista; raise solver"):
        ensemble.outputs(parameters, IMAGES)
    assert ensemble.losses(parameters, torch.arange(4).expand(2, -1)).isnan().all()


def test_a_learned_step_stays_positive_and_is_not_decayed() -> None:
    ensemble = nets(FLAT, Inference("ista", 2, learned=True), 0.5, 1.0)
    parameters = ensemble.initial_parameters([0, 1])
    assert parameters["solver.step"].tolist() == [0.5, 1.0]
    assert "solver.step" in ensemble.undecayed
    parameters["solver.step"] = torch.tensor([-1.0, 2.0], dtype=torch.float64)
    assert ensemble.steps_taken(parameters).tolist() == [LEAST_STEP, 2.0]
    assert "solver.step" not in nets(FLAT, Inference("ista", 2), 0.5).initial_parameters([0])


def test_parameters_are_equal_for_all_numbers_of_sweeps() -> None:
    first, second = (nets(FLAT, Inference("fista", k, first_step="unit"), 1.0).initial_parameters([5]) for k in (1, 9))
    assert list(first) == list(second)
    assert all(torch.equal(first[name], second[name]) for name in first)
    plain = FrameClassifiers(FLAT, IMAGES, LABELS, 4, [0], dtype=torch.float64).initial_parameters([5])
    assert all(torch.equal(first[name], plain[name]) for name in plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"solver": "gd"}, "solver: expected one of block_prox, ista, fista, admm, got 'gd'"),
        ({"rule": "safe"}, "rule: expected one of relative, absolute, got 'safe'"),
        ({"first_step": "one"}, "first_step: expected one of safe, unit, got 'one'"),
        ({"differentiation": "none"}, "differentiation: expected one of unrolled, implicit, got 'none'"),
        ({"steps": 0}, "steps: expected at least 1 sweep, got 0"),
    ],
)
def test_inference_says_what_is_allowed(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Inference(**({"solver": "ista", "steps": 2} | change))  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", [(0.0,), (math.inf,), (math.nan, 1.0)])
def test_step_sizes_are_positive_numbers(steps: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="step_size: expected a finite number > 0 for each replica"):
        nets(FLAT, Inference("ista", 2), *steps)


def test_the_structure_must_read_the_images() -> None:
    with pytest.raises(StructureError, match="expected size 36, as the data has, got 35"):
        nets(build("chain", 35, (3,)), Inference("ista", 2), 1.0)
