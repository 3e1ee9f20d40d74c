"""Unrolled solvers in both forms against the plain functions of inference, autograd and each other."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch
from torch import Tensor

from unrolled.frames import inference
from unrolled.frames.dictionary import dictionary, random_filters
from unrolled.frames.operator import FrameOperator
from unrolled.frames.quadratic import GramForm, OperatorForm, leading_value
from unrolled.frames.structure import KINDS, Structure, build
from unrolled.frames.unrolled import SOLVERS, sweeps, unroll

FC = {kind: build(kind, 6, (5, 4, 5, 3)) for kind in KINDS}
CONV = {
    kind: build(kind, 2, (3, 3, 4), kernels=3, strides=(1, 1, 2), grid=4) for kind in ("chain", "residual", "dense")
}
EXACT = 1e-11
"""Two ways of the same sum in float64."""


def parts(structure: Structure, replicas: int = 2, samples: int = 3) -> tuple[dict[str, Tensor], Tensor, list[Tensor]]:
    """Filters, inputs (R, N, k_0, p, p) and thresholds of both signs."""
    filters = random_filters(structure, [np.random.default_rng(seed) for seed in range(replicas)])
    draw = np.random.default_rng(9)
    x = torch.as_tensor(draw.standard_normal((replicas, samples, structure.sizes[0], structure.grid, structure.grid)))
    limits = [torch.as_tensor(0.1 * draw.standard_normal((replicas, k)) + 0.05) for k in structure.sizes[1:]]
    return filters, x, limits


def gram(structure: Structure, **sizes: int) -> GramForm:
    filters, x, limits = parts(structure, **sizes)
    return GramForm(structure, filters, x.flatten(2), limits)


def operator(structure: Structure, **sizes: int) -> OperatorForm:
    filters, x, limits = parts(structure, **sizes)
    return OperatorForm(FrameOperator(structure, filters), x, limits)


CASES = [(FC[kind], gram) for kind in FC] + [(FC[kind], operator) for kind in FC]
CASES += [(CONV[kind], operator) for kind in CONV]
NAMES = [f"{form.__name__}-{s.kind}-{'conv' if s.convolutional else 'fc'}" for s, form in CASES]
every_form = pytest.mark.parametrize(("structure", "form"), CASES, ids=NAMES)


@every_form
def test_sweeps_with_absolute_steps_are_those_of_plain_inference(structure: Structure, form) -> None:
    filters, x, limits = parts(structure)
    plain = FrameOperator(structure, filters)
    step = torch.tensor([0.11, 0.07], dtype=torch.float64)
    layers = [step] * structure.layers
    expected = {
        "block_prox": inference.block_proximal_gradient(plain, x, limits, 3, step_sizes=layers).codes,
        "ista": inference.ista(plain, x, limits, 3, step_size=step).codes,
        "fista": inference.fista(plain, x, limits, 3, step_size=step).codes,
    }
    problem = form(structure)
    for solver, codes in expected.items():
        found = unroll(problem, solver, 3, step, "absolute")
        torch.testing.assert_close(found, plain.flatten(codes), atol=EXACT, rtol=0)


@every_form
def test_admm_is_that_of_plain_inference(structure: Structure, form, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps of conjugate gradient are made enough to be exact."""
    monkeypatch.setattr("unrolled.frames.quadratic.INNER_ITERATIONS", 200)
    monkeypatch.setattr("unrolled.frames.quadratic.INNER_TOLERANCE", 1e-13)
    filters, x, limits = parts(structure)
    plain = FrameOperator(structure, filters)
    expected = inference.admm(plain, x, limits, 4, rho=2.0).codes
    found = unroll(form(structure), "admm", 4, torch.tensor([0.5, 0.5], dtype=torch.float64))
    torch.testing.assert_close(found, plain.flatten(expected), atol=1e-9, rtol=0)  # ends at a residual of 1e-10


@every_form
def test_curvatures_are_those_of_the_explicit_dictionary(
    structure: Structure, form, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unrolled.frames.quadratic.POWER_ITERATIONS", 400)
    monkeypatch.setattr("unrolled.frames.quadratic.POWER_ITERATIONS_OF_PRODUCTS", 400)
    whole = dictionary(structure, parts(structure)[0])
    problem = form(structure)
    torch.testing.assert_close(problem.curvature(), torch.linalg.matrix_norm(whole, 2) ** 2, rtol=1e-4, atol=0)
    ends = np.cumsum([0, *structure.column_sizes])
    for found, first, last in zip(problem.curvatures(), ends, ends[1:], strict=False):
        exact = torch.linalg.matrix_norm(whole[:, :, first:last], 2) ** 2
        torch.testing.assert_close(found, exact, rtol=1e-4, atol=0)


@every_form
def test_the_estimate_of_a_curvature_is_near_and_not_above(structure: Structure, form) -> None:
    exact = torch.linalg.matrix_norm(dictionary(structure, parts(structure)[0]), 2) ** 2
    share = form(structure).curvature() / exact
    assert (share <= 1 + EXACT).all()
    assert (share > 0.7).all()  # the energy may rise from 0.5 down


@every_form
def test_values_are_those_of_the_definition(structure: Structure, form) -> None:
    filters, x, limits = parts(structure)
    plain = FrameOperator(structure, filters)
    codes = [
        torch.rand(2, 3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        for shape in plain.code_shapes
    ]
    expected = plain.objective(x, codes, [b[:, None, :, None, None] for b in limits])
    torch.testing.assert_close(form(structure).value(plain.flatten(codes)), expected, atol=1e-10, rtol=0)


@every_form
@pytest.mark.parametrize("solver", ["block_prox", "ista"])
def test_the_energy_never_rises_at_the_safe_step(structure: Structure, form, solver: str) -> None:
    problem = form(structure)
    codes = [problem.start(), *islice(sweeps(problem, solver, torch.ones(2, dtype=torch.float64)), 60)]
    values = torch.stack([problem.value(w) for w in codes])
    assert (values.diff(dim=0) <= EXACT).all()
    assert (values[-1] < values[0]).all()


@pytest.mark.parametrize("form", [gram, operator])
def test_all_solvers_reach_the_same_energy(form) -> None:
    problem, one = form(FC["residual"]), torch.ones(2, dtype=torch.float64)
    ends = torch.stack([problem.value(unroll(problem, solver, 1500, one)) for solver in SOLVERS])
    assert (ends - ends[0]).abs().max() < 1e-6


def test_convolutional_solvers_reach_the_same_energy() -> None:
    problem, one = operator(CONV["chain"], replicas=1), torch.ones(1, dtype=torch.float64)
    ends = torch.stack([problem.value(unroll(problem, solver, 600, one)) for solver in SOLVERS])
    assert (ends - ends[0]).abs().max() < 1e-5


@every_form
@pytest.mark.parametrize("solver", SOLVERS)
def test_gradients_are_those_of_finite_differences(structure: Structure, form, solver: str) -> None:
    """In inputs, filters, thresholds and step size; absolute steps, as the curvature is an estimate."""
    filters, x, limits = parts(structure, replicas=1, samples=2)
    step = torch.tensor([0.2], dtype=torch.float64)
    names = [*filters]

    def code(step: Tensor, x: Tensor, *rest: Tensor) -> Tensor:
        own = dict(zip(names, rest, strict=False))
        if form is gram:
            problem = GramForm(structure, own, x.flatten(2), rest[len(names) :])
        else:
            problem = OperatorForm(FrameOperator(structure, own), x, rest[len(names) :])
        return unroll(problem, solver, 3, step, "absolute").sum()

    leaves = [t.clone().requires_grad_() for t in (step, x, *filters.values(), *limits)]
    found = torch.autograd.grad(code(*leaves), leaves)
    draw = torch.Generator().manual_seed(5)
    for i, leaf in enumerate(leaves):
        way = torch.randn(leaf.shape, dtype=torch.float64, generator=draw)
        moved = [[t + sign * 1e-6 * way if n == i else t for n, t in enumerate(leaves)] for sign in (1, -1)]
        difference = (code(*moved[0]) - code(*moved[1])) / 2e-6
        assert difference.item() == pytest.approx((found[i] * way).sum().item(), rel=2e-5, abs=1e-7)


def test_the_derivative_of_a_curvature_is_that_of_the_eigenvalue() -> None:
    half = torch.as_tensor(np.random.default_rng(2).standard_normal((1, 5, 5))).requires_grad_()
    matrix = half.mT @ half
    (found,) = torch.autograd.grad(leading_value(lambda v: v @ matrix, matrix[:, :1], 2000).sum(), half)
    (expected,) = torch.autograd.grad(torch.linalg.eigvalsh(half.mT @ half)[:, -1].sum(), half)
    torch.testing.assert_close(found, expected, atol=1e-8, rtol=0)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_replica_does_not_depend_on_the_others(solver: str) -> None:
    """In float32, bit for bit, also beside one that is not finite."""
    structure = build("residual", 40, (32, 32, 32))
    filters, x, limits = parts(structure, replicas=5, samples=7)
    filters, x, limits = {n: f.float() for n, f in filters.items()}, x.float(), [b.float() for b in limits]
    filters["block.1.1"][4] = torch.nan
    step = torch.tensor([0.5, 1.0, 1.5, 0.7, 1.0])

    def codes(members: list[int]) -> Tensor:
        own = {name: f[members] for name, f in filters.items()}
        problem = GramForm(structure, own, x[members].flatten(2), [b[members] for b in limits])
        return unroll(problem, solver, 4, step[members])

    together = codes([0, 1, 2, 3, 4])
    for r in range(4):
        assert torch.equal(together[r], codes([r])[0])
        assert torch.isfinite(together[r]).all()


def test_momentum_and_starts() -> None:
    """Sweeps go on from any codes; the first of FISTA is that of ISTA."""
    problem, one = gram(FC["chain"]), torch.ones(2, dtype=torch.float64)
    first = unroll(problem, "ista", 1, one)
    assert torch.equal(unroll(problem, "fista", 1, one), first)
    torch.testing.assert_close(unroll(problem, "ista", 2, one, start=first), unroll(problem, "ista", 3, one))
    assert not torch.allclose(unroll(problem, "fista", 3, one), unroll(problem, "ista", 3, one))
    assert torch.equal(unroll(problem, "admm", 0, one), problem.start())


def test_errors_name_what_is_allowed() -> None:
    problem, one = gram(FC["chain"]), torch.ones(2, dtype=torch.float64)
    with pytest.raises(ValueError, match="solver: expected one of block_prox, ista, fista, admm, got 'gd'"):
        unroll(problem, "gd", 1, one)
    with pytest.raises(ValueError, match="step rule: expected one of relative, absolute, got 'safe'"):
        unroll(problem, "ista", 1, one, "safe")
    with pytest.raises(ValueError, match="steps: expected a whole number >= 0, got -1"):
        unroll(problem, "ista", -1, one)
