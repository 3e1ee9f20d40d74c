"""Ensembles of deep-frame classifiers: losses, initial weights, penalties, judging, and independence of the pack."""

from __future__ import annotations

import math
from functools import lru_cache

import pytest
import torch
from torch import Tensor

from unrolled.frames.potential import frame_potential
from unrolled.frames.structure import KINDS, Structure, StructureError, build
from unrolled.networks import frames as module
from unrolled.networks.frames import FrameClassifiers

ROUNDING = 1e-12
"""Float64 sums of some hundred terms of order one."""

IMAGES = torch.randn(40, 1, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.arange(40) % 4

FLAT = build("chain", 36, (7, 13, 9))
GRID = build("residual", 1, (3, 5, 5, 6), kernels=3, strides=(1, 1, 2, 1), grid=6)
DENSE_GRID = build("dense", 1, (3, 5, 5, 6), kernels=3, strides=(1, 1, 2, 1), grid=6)


def nets(structure: Structure, *weights: float, dtype: torch.dtype = torch.float64, **more: object) -> FrameClassifiers:
    return FrameClassifiers(structure, IMAGES, LABELS, 4, weights, dtype=dtype, **more)  # type: ignore[arg-type]


def rows_of(*starts: int, size: int = 11) -> Tensor:
    return torch.stack([torch.arange(start, start + size) for start in starts])


@pytest.mark.parametrize("structure", [FLAT, GRID], ids=["flat", "grid"])
def test_the_loss_is_the_cross_entropy_of_the_scores(structure: Structure) -> None:
    ensemble = nets(structure, 0, 0)
    parameters = ensemble.initial_parameters([1, 2])
    rows = rows_of(0, 20)
    scores = ensemble.outputs(parameters, IMAGES[rows])
    shares = scores.exp() / scores.exp().sum(-1, keepdim=True)
    expected = -shares.gather(-1, LABELS[rows][..., None])[..., 0].log()
    torch.testing.assert_close(ensemble.losses(parameters, rows), expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("structure", [FLAT, GRID], ids=["flat", "grid"])
def test_the_classifier_reads_the_last_layer(structure: Structure) -> None:
    ensemble = nets(structure, 0, 0)
    parameters = ensemble.initial_parameters([1, 2])
    last = ensemble.layers(parameters, IMAGES)[-1]
    units = last.mean(2).mT if structure.convolutional else last
    expected = units @ parameters["classifier.weight"] + parameters["classifier.bias"][:, None]
    torch.testing.assert_close(ensemble.outputs(parameters, IMAGES), expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_agree_with_central_differences(kind: str) -> None:
    structure = build(kind, 1, (3, 4, 3), kernels=3, strides=(1, 2, 1), grid=6)
    ensemble = nets(structure, 0.3, 0)
    draw = torch.Generator().manual_seed(3)
    # Off the kinks of relu: fresh shifts of every channel.
    weights = {
        n: (w + 0.1 * torch.randn(w.shape, generator=draw, dtype=w.dtype)).requires_grad_()
        for n, w in ensemble.initial_parameters([1, 2]).items()
    }
    direction = {n: torch.randn(w.shape, generator=draw, dtype=w.dtype) for n, w in weights.items()}

    def loss(at: dict[str, Tensor]) -> Tensor:
        penalty = ensemble.penalty(at)
        assert penalty is not None
        return ensemble.losses(at, rows_of(0, 20)).mean(1).sum() + penalty.sum()

    gradient = torch.autograd.grad(loss(weights), list(weights.values()))
    slope = sum(float((g * direction[n]).sum()) for n, g in zip(weights, gradient, strict=True))
    h = 1e-6  # differences are good to h^2 and to rounding / h, both below 1e-8
    with torch.no_grad():
        up, down = (loss({n: w + s * h * direction[n] for n, w in weights.items()}) for s in (1, -1))
    assert float(up - down) / (2 * h) == pytest.approx(slope, rel=1e-6)


def test_initial_weights_depend_on_the_seed_alone() -> None:
    ensemble = nets(DENSE_GRID, 0, 0, 0)
    three = ensemble.initial_parameters([5, 0, 7])
    one = nets(DENSE_GRID, 0).initial_parameters([0])
    for name, value in three.items():
        assert torch.equal(value[1], one[name][0])
        assert name.startswith(("bias", "scale", "shift", "classifier.bias")) or not torch.equal(value[0], value[2])


def test_initial_weights_have_the_stated_variance() -> None:
    structure = build("dense", 36, (100, 120, 140, 160))
    ensemble = nets(structure, 0)
    named = ensemble.initial_parameters([3])
    # Diagonal blocks: 2 over the inputs of a unit; a block below them: 2 over its units, shared with its neighbours.
    expected = {
        "block.1.1": 2 / 36, "block.2.2": 2 / 100, "block.4.4": 2 / 140, "block.3.1": 2 / 100, "block.4.1": 2 / 200,
        "block.4.2": 2 / 240, "classifier.weight": 1 / 160,
    }  # fmt: skip
    for name, variance in expected.items():
        # The variance of n draws is known to sqrt(2 / n); n is at least 640, so 4 deviations are 22 %.
        assert float(named[name].var()) == pytest.approx(variance, rel=0.22), name
    assert float(named["bias.2"].abs().max()) == 0
    assert float(nets(GRID, 0).initial_parameters([3])["scale.2"].min()) == 1


def test_weight_decay_leaves_biases_and_normalisations_alone() -> None:
    for structure in (FLAT, GRID):
        ensemble = nets(structure, 0)
        decayed = set(ensemble.initial_parameters([0])) - ensemble.undecayed
        assert decayed == {b.name for b in structure.blocks if b.learned} | {"classifier.weight"}


@pytest.mark.parametrize("kind", ["f2", "f2_mean", "f"])
@pytest.mark.parametrize("structure", [FLAT, GRID], ids=["flat", "grid"])
def test_the_penalty_is_the_weighted_potential(structure: Structure, kind: str) -> None:
    ensemble = nets(structure, 0.5, 0, 2, potential=kind)
    parameters = ensemble.initial_parameters([1, 2, 3])
    whole = frame_potential(structure, ensemble.filters(parameters))
    value = {"f2": whole.f2, "f2_mean": whole.f**2, "f": whole.f}[kind]
    penalty = ensemble.penalty(parameters)
    assert penalty is not None
    torch.testing.assert_close(penalty, torch.tensor([0.5, 0, 2], dtype=torch.float64) * value, rtol=1e-12, atol=0)
    assert nets(structure, 0, 0).penalty(parameters) is None


def test_each_replica_may_have_a_potential_of_its_own() -> None:
    ensemble = nets(FLAT, 1, 1, 1, potential=["f", "f2", "f2_mean"])
    parameters = ensemble.initial_parameters([1, 2, 3])
    whole = ensemble.potentials(parameters)
    expected = torch.stack([whole.f[0], whole.f2[1], whole.f[2] ** 2])
    torch.testing.assert_close(ensemble.penalty(parameters), expected, rtol=1e-12, atol=0)


def test_a_diverged_replica_does_not_reach_the_penalty_of_others() -> None:
    ensemble = nets(FLAT, 1, 1)
    parameters = ensemble.initial_parameters([1, 2])
    whole = ensemble.penalty(parameters)
    parameters["block.1.1"][1] = math.nan
    broken = ensemble.penalty(parameters)
    assert whole is not None
    assert broken is not None
    assert float(broken[0]) == float(whole[0])
    assert math.isnan(float(broken[1]))


@lru_cache
def gradients(structure: Structure, members: tuple[int, ...], threads: int = 1) -> list[dict[str, Tensor]]:
    """Loss and gradient in float32, by replica; weights of the penalty differ, and one is 0."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ensemble = nets(structure, *([0.0, 0.3, 0.7, 0.1, 0.0, 2.0][m] for m in members), dtype=torch.float32)
        weights = {n: w.requires_grad_() for n, w in ensemble.initial_parameters([10 + m for m in members]).items()}
        losses = ensemble.losses(weights, rows_of(*members, size=29))
        loss = losses.mean(1).sum()
        if (penalty := ensemble.penalty(weights)) is not None:
            loss = loss + penalty.sum()
        found = dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))
        found |= {"losses": losses.detach(), "judged": ensemble.training_loss(weights, rows_of(*members, size=29))}
        found |= {"probe": ensemble.probe(weights)["potential"]}
        return [{n: g[r].clone() for n, g in found.items()} for r in range(len(members))]
    finally:
        torch.set_num_threads(before)


PACKS = [(0, 1, 2, 3, 4, 5), (5, 2, 0), (3, 0)]


@pytest.mark.parametrize(
    "structure",
    [FLAT, GRID, DENSE_GRID, build("residual_front", 36, (40, 40, 40))],
    ids=lambda s: s.describe(),
)
def test_a_replica_is_the_same_to_the_bit_in_any_pack(structure: Structure) -> None:
    alone = {m: gradients(structure, (m,))[0] for m in range(6)}
    for pack in PACKS:
        for m, found in zip(pack, gradients(structure, pack), strict=True):
            different = [n for n, value in alone[m].items() if not torch.equal(value, found[n])]
            assert not different, f"replica {m} of {pack}"


@pytest.mark.parametrize("structure", [FLAT, GRID], ids=["flat", "grid"])
def test_the_number_of_threads_changes_nothing_at_this_size(structure: Structure) -> None:
    one, two = (gradients(structure, PACKS[0], threads) for threads in (1, 2))
    for here, there in zip(one, two, strict=True):
        assert all(torch.equal(here[n], there[n]) for n in here)


def test_a_part_of_an_ensemble_is_an_ensemble() -> None:
    whole = nets(FLAT, 0.1, 0.2, 0.3, potential=["f", "f2", "f"])
    part = whole.select([2, 0])
    assert part.replicas == 2
    assert part.potential == ["f", "f"]
    assert part.potential_weight.tolist() == pytest.approx([0.3, 0.1])
    assert part.inputs.data_ptr() == whole.inputs.data_ptr()


def test_judging_does_not_depend_on_how_rows_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    for structure in (FLAT, GRID):
        ensemble = nets(structure, 0, 0)
        parameters = ensemble.initial_parameters([1, 2])
        rows = rows_of(0, 10, size=30)
        statistics = ensemble.statistics(parameters, rows)
        whole = ensemble.evaluate(parameters, rows, statistics)
        with monkeypatch.context() as patch:
            patch.setattr(module, "CHUNK_VALUES", 7 * max(structure.column_sizes) * max(structure.kernels) ** 2)
            cut = nets(structure, 0, 0)
            assert cut.chunk == 7
            assert ensemble.chunk >= 30
            torch.testing.assert_close(cut.evaluate(parameters, rows, statistics), whole, rtol=0, atol=ROUNDING)


def test_errors_and_losses_of_known_answers() -> None:
    ensemble = nets(FLAT, 0, 0)
    parameters = {n: torch.zeros_like(w) for n, w in ensemble.initial_parameters([1, 2]).items()}
    parameters["classifier.bias"][1, 2] = 50.0  # the second replica always answers 2
    loss, error = ensemble.evaluate(parameters, torch.arange(40), None)
    assert error.tolist() == [0.75, 0.75]
    assert loss.tolist() == pytest.approx([math.log(4), 37.5])
    _, error = ensemble.evaluate(parameters, torch.arange(40)[LABELS == 2], None)
    assert error.tolist() == [1.0, 0.0]


def test_statistics_come_from_the_first_training_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REFERENCE_ROWS", 8)
    ensemble = nets(GRID, 0, 0)
    parameters = ensemble.initial_parameters([1, 2])
    here, there = (ensemble.statistics(parameters, rows) for rows in (rows_of(0, 9, size=20), rows_of(0, 9, size=8)))
    assert here is not None
    assert there is not None
    assert all(
        torch.equal(a.mean, b.mean) and torch.equal(a.inverse, b.inverse) for a, b in zip(here, there, strict=False)
    )
    assert nets(FLAT, 0).statistics(nets(FLAT, 0).initial_parameters([0]), rows_of(0)) is None


BAD = {
    "images of another size": ({"structure": build("chain", 35, (4,))}, "expected size 36"),
    "images of another shape": ({"structure": build("chain", 2, (4,), grid=6)}, "1 channels on 6x6"),
    "negative weight": ({"potential_weight": [-1.0]}, "one number >= 0 a replica"),
    "no replica": ({"potential_weight": []}, "one number >= 0 a replica"),
    "no number": ({"potential_weight": [math.nan]}, "one number >= 0 a replica"),
    "unknown potential": ({"potential": "g"}, "one of f2_mean, f2, f"),
    "potentials of fewer replicas": ({"potential": ["f"], "potential_weight": [1.0, 1.0]}, "a replica"),
    "labels above the classes": ({"classes": 3}, "expected 0 to 2"),
    "labels of other rows": ({"labels": LABELS[:5]}, "expected .n, C, H, W. and .n,."),
}


@pytest.mark.parametrize("what", BAD)
def test_what_does_not_fit_is_refused(what: str) -> None:
    given = {"structure": FLAT, "inputs": IMAGES, "labels": LABELS, "classes": 4, "potential_weight": [0.0]}
    change, message = BAD[what]
    with pytest.raises((ValueError, StructureError), match=message):
        FrameClassifiers(**given | change)  # type: ignore[arg-type]
