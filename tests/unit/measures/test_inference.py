"""Measures of trained inference against closed forms and slow ways."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unrolled.frames.structure import build
from unrolled.frames.unrolled import SOLVERS
from unrolled.measures.inference import LONG, ROWS, inference_measures, stability, sweeps_kept
from unrolled.networks.hybrid import HybridClassifiers, Inference

IMAGES = torch.randn(ROWS + 6, 1, 1, 12, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(ROWS + 6) % 3
STRUCTURE = build("residual", 12, (5, 5, 5))
TEST = torch.arange(ROWS + 6)


def measured(how: Inference, *steps: float, structure=STRUCTURE, change=lambda p: p) -> dict[str, Tensor]:
    ensemble = HybridClassifiers(structure, IMAGES, LABELS, 3, how, steps)
    parameters = change(ensemble.initial_parameters(list(range(len(steps)))))
    return inference_measures(ensemble, parameters, TEST)


def orthonormal(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """One layer whose atoms are orthonormal: a step of size 1 solves it."""
    matrix = torch.linalg.qr(parameters["block.1.1"].flatten(2))[0]
    return parameters | {"block.1.1": matrix[..., None, None], "bias.1": torch.full_like(parameters["bias.1"], 3.0)}


@pytest.mark.parametrize("solver", ["ista", "block_prox", "fista"])
def test_orthonormal_atoms_are_solved_by_one_sweep(solver: str) -> None:
    """Half a step leaves half the distance, sweep for sweep, as biases of 3 keep all units on."""
    one = build("chain", 12, (5,))
    found = measured(Inference(solver, 1), 1.0, 0.5, structure=one, change=orthonormal)
    assert found["convergence"][0] < 1e-6
    assert found["inference_objective"][0, 1] < 1e-6
    if solver != "fista":
        torch.testing.assert_close(
            found["inference_distance"][1, :6], 0.5 ** torch.arange(6.0).double(), rtol=1e-4, atol=0
        )
        torch.testing.assert_close(
            found["inference_objective"][1, :4], 0.25 ** torch.arange(4.0).double(), rtol=1e-4, atol=0
        )
    assert (found["unique_minimum"] == 1).all()


def test_stability_is_the_norm_of_the_explicit_derivative() -> None:
    ensemble = HybridClassifiers(STRUCTURE, IMAGES, LABELS, 3, Inference("fista", 3, first_step="unit"), [1.0, 0.5])
    exact = ensemble.to(torch.float64)
    parameters = {name: w.double() for name, w in ensemble.initial_parameters([0, 1]).items()}
    x = exact.taken(TEST[:4].expand(2, -1))
    norms = []
    for r in range(2):
        for n in range(4):
            own = {name: w[[r]] for name, w in parameters.items()}
            part = exact.select([r])
            matrix = torch.autograd.functional.jacobian(
                lambda v, part=part, own=own: part.codes(own, v[None, None])[0][0, 0], x[r, n]
            )
            norms.append(torch.linalg.matrix_norm(matrix, 2))
    expected = torch.stack(norms).reshape(2, 4).mean(1)
    found = stability(exact, parameters, x)
    assert (found <= expected * (1 + 1e-6)).all()
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0)  # eight steps of power iteration


@pytest.mark.parametrize("solver", SOLVERS)
def test_safe_steps_descend_and_reach_the_same_objective(solver: str) -> None:
    found = measured(Inference(solver, 4), 1.0, 1.0)
    assert (found["inference_own"] < 1e-3).all()
    assert (found["inference_spread"] < 1e-3).all()
    if solver in ("ista", "block_prox"):
        assert (found["inference_rise"] <= 1e-12).all()
    assert (found["inference_objective"][:, 0] == 1).all()


def test_steps_that_are_too_long_rise() -> None:
    assert (measured(Inference("ista", 4), 3.0)["inference_rise"] > 0.01).all()


def test_the_own_first_sweep_is_in_the_course() -> None:
    """A unit first sweep is another point than a safe one, and the distance after k is that of the net's codes."""
    unit, safe = (measured(Inference("ista", 4, first_step=first), 1.0) for first in ("unit", "safe"))
    assert unit["inference_distance"][0, 1] != safe["inference_distance"][0, 1]
    for found in (unit, safe):
        at = found["inference_sweep"][0].tolist().index(4)
        assert found["convergence"][0] == found["inference_distance"][0, at]


def test_sweeps_kept_are_all_early_ones_and_the_own_number() -> None:
    kept = sweeps_kept(37, LONG)
    assert kept[:21] == list(range(21))
    assert 37 in kept
    assert kept[-1] == LONG
    assert kept == sorted(set(kept))


def test_a_replica_does_not_depend_on_the_others() -> None:
    how = Inference("admm", 3, first_step="unit")
    ensemble = HybridClassifiers(STRUCTURE, IMAGES, LABELS, 3, how, [0.5, 1.0])
    parameters = ensemble.initial_parameters([4, 5])
    together = inference_measures(ensemble, parameters, TEST)
    for r in range(2):
        alone = inference_measures(ensemble.select([r]), {n: w[[r]] for n, w in parameters.items()}, TEST)
        for name, value in alone.items():
            assert torch.equal(together[name][r], value[0]), name


def test_nets_of_more_sweeps_than_a_long_run_have_a_distance_at_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unrolled.measures.inference.LONG", 30)
    found = measured(Inference("ista", 50), 1.0)
    assert found["inference_sweep"][0, -1] == 50
    assert found["convergence"] == found["inference_distance"][0, -1]


def test_an_iteration_that_leaves_the_numbers_is_infinitely_far_up() -> None:
    found = measured(Inference("ista", 2), 1.0, 100.0)
    assert found["inference_own"].isfinite().tolist() == [True, False]
    assert found["inference_rise"][0] < 1e-9
    assert found["inference_own"][1] == found["inference_rise"][1] == torch.inf
