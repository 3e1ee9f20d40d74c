"""Fits of deep-frame classifiers: patience, penalties, probes; the same to the bit in any pack and after a resume."""

from __future__ import annotations

import math
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from unrolled.data.streams import shuffled_rows, stream_key
from unrolled.frames.structure import Structure, build
from unrolled.networks.frames import FrameClassifiers
from unrolled.training.eager import DROP, advance_eager
from unrolled.training.fit import fit
from unrolled.training.one_core import EagerOnOneCore
from unrolled.training.optimizers import Rates, adam_step, initial_moments
from unrolled.training.state import FitSettings, FitState, initial_state

EPOCHS = 14
FLAT = build("dense", 16, (7, 5, 6))
GRID = build("residual", 1, (3, 4, 4), kernels=3, strides=(1, 1, 2), grid=4)

RATES = (3e-3, 1e-2, 3e-2, 1e-6, 1e-3)
WEIGHTS = (0.0, 3.0, 0.0, 0.1, 30.0)
"""Learning rates and potential weights of five replicas; the fourth hardly learns, so that it loses patience first."""


def ensemble_of(structure: Structure, members: list[int]) -> FrameClassifiers:
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    images = torch.randn(60, 1, 4, 4, generator=draw) + labels[:, None, None, None]
    return FrameClassifiers(structure, images, labels, 3, [WEIGHTS[m] for m in members])


def settings_of(members: list[int], patience: int | None = 3, rates: tuple[float, ...] = RATES) -> FitSettings:
    return FitSettings(
        optimizer="adam",
        rates=Rates(torch.tensor([rates[m] for m in members]), torch.full((len(members),), 1e-3)),
        epochs=EPOCHS,
        batch_size=16,
        train_rows=np.stack([np.random.default_rng(m).permutation(60)[:40] for m in members]),
        order_keys=np.array([stream_key(m, "order") for m in members], dtype=np.uint64),
        curve_epochs=tuple(range(EPOCHS + 1)),
        patience=patience,
    )


def fitted(structure: Structure, members: list[int], **more: object) -> FitState:
    ensemble, settings = ensemble_of(structure, members), settings_of(members)
    start = initial_state(ensemble.initial_parameters(members), settings)
    return fit(EagerOnOneCore(ensemble), settings, start, **more)  # type: ignore[arg-type]


def assert_same(here: FitState, there: FitState) -> None:
    """Compare all fields but the epoch to the bit; NaN equals NaN."""
    for f in fields(FitState):
        if f.name == "epoch":
            continue
        a, b = getattr(here, f.name), getattr(there, f.name)
        for name, one, two in ((n, a[n], b[n]) for n in a) if isinstance(a, dict) else ((f.name, a, b),):
            same = (one == two) | (one.isnan() & two.isnan()) if one.is_floating_point() else one == two
            assert bool(same.all()), f"{f.name} {name}: {one} and {two}"


@pytest.mark.parametrize("structure", [FLAT, GRID], ids=["flat", "grid"])
def test_a_replica_ends_the_same_in_any_pack(structure: Structure) -> None:
    whole = fitted(structure, [0, 1, 2, 3, 4])
    assert len(set(whole.stopped_epoch.tolist())) > 1  # they stop at different times
    for pack in ([0], [3], [4, 0], [2, 3, 1]):
        assert_same(whole.of(pack), fitted(structure, pack))


def test_replicas_without_a_penalty_do_not_see_those_with_one() -> None:
    # 0 and 2 have none; 1 and 4 do. Of the pack without any, no penalty is computed at all.
    assert_same(fitted(FLAT, [0, 1, 2, 4]).of([0, 2]), fitted(FLAT, [0, 2]))


def test_a_penalty_lowers_the_potential() -> None:
    members = [0, 1, 4]
    ensemble = ensemble_of(FLAT, members)
    settings = settings_of(members, patience=None, rates=(3e-3,) * 5)
    start = ensemble.initial_parameters([0, 0, 0])
    state = fit(EagerOnOneCore(ensemble), settings, initial_state(start, settings))
    potential = state.probes["potential"]
    assert torch.equal(potential[0], ensemble.potentials(start).f)
    assert torch.equal(potential[-1], ensemble.potentials(state.weights).f)
    assert float(potential[-1, 0]) > float(potential[-1, 1]) > float(potential[-1, 2])


def test_a_replica_stands_still_once_it_has_lost_patience() -> None:
    state = fitted(FLAT, [3])
    stopped = int(state.stopped_epoch[0])
    curve = state.curve[:, 0]
    # At so small a rate the loss never drops by 1 %: it stops as soon as it may.
    assert stopped == 3
    assert not bool((curve[1:4] < DROP * curve[0]).any())
    assert torch.isfinite(curve[: stopped + 1]).all()
    assert torch.isnan(curve[stopped + 1 :]).all()
    assert torch.isnan(state.probes["potential"][stopped + 1 :]).all()
    assert state.epoch == stopped  # nobody is left to train


def test_the_epoch_of_the_stop_follows_from_the_curve() -> None:
    state = fitted(FLAT, [0, 1, 2, 3, 4])
    for replica in range(5):
        curve, last, since = state.curve[:, replica].tolist(), math.inf, 0
        expected = -1
        for epoch, loss in enumerate(curve[:-1]):
            if loss < DROP * last:
                last, since = loss, epoch
            elif epoch - since >= 3:
                expected = epoch
                break
        assert int(state.stopped_epoch[replica]) == expected


def test_without_patience_all_epochs_are_run() -> None:
    ensemble, settings = ensemble_of(FLAT, [3]), settings_of([3], patience=None)
    state = fit(EagerOnOneCore(ensemble), settings, initial_state(ensemble.initial_parameters([3]), settings))
    assert state.epoch == EPOCHS
    assert int(state.stopped_epoch[0]) == -1
    assert torch.isfinite(state.curve).all()


@pytest.mark.parametrize("structure", [FLAT, GRID], ids=["flat", "grid"])
def test_chunks_change_nothing(structure: Structure, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fitted(structure, [0, 3, 4])
    monkeypatch.setattr(sys.modules["unrolled.training.fit"], "CHUNK_SECONDS", 0.0)  # epoch by epoch
    assert_same(fitted(structure, [0, 3, 4]), whole)


@pytest.mark.parametrize("after", [2, 4, 9])
def test_a_resumed_fit_ends_as_an_uninterrupted_one(
    after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fitted(GRID, [0, 3, 4])
    monkeypatch.setattr(sys.modules["unrolled.training.fit"], "CHUNK_SECONDS", 0.0)
    done: list[int] = []

    def interrupt(epochs: int) -> None:
        done.append(epochs)
        if sum(done) > after:
            raise KeyboardInterrupt

    file = tmp_path / "fit.pt"
    with pytest.raises(KeyboardInterrupt):
        fitted(GRID, [0, 3, 4], checkpoint=file, on_epochs=interrupt)
    assert file.exists()
    resumed: list[int] = []
    assert_same(fitted(GRID, [0, 3, 4], checkpoint=file, on_epochs=resumed.append), whole)
    assert resumed[0] == after
    assert sum(resumed) == EPOCHS


def test_progress_adds_up_when_all_stop_early() -> None:
    done: list[int] = []
    fitted(FLAT, [3], on_epochs=done.append)
    assert sum(done) == EPOCHS


def test_a_diverged_replica_does_not_stop_the_others() -> None:
    members, rates = [0, 1, 4], (1e-3, 1e38, 1e-3, 1e-3, 1e-3)
    ensemble, settings = ensemble_of(FLAT, members), settings_of(members, None, rates)
    state = fit(EagerOnOneCore(ensemble), settings, initial_state(ensemble.initial_parameters(members), settings))
    assert int(state.diverged_epoch[1]) >= 0
    alone, own = ensemble_of(FLAT, [0, 4]), settings_of([0, 4], None, rates)
    expected = fit(EagerOnOneCore(alone), own, initial_state(alone.initial_parameters([0, 4]), own))
    assert_same(state.of([0, 2]), expected)


def test_backends_that_know_no_patience_refuse_it() -> None:
    class Other:
        name = "native-16"

        def advance(self, settings: FitSettings, state: FitState, until: int) -> FitState:
            raise AssertionError

    settings = settings_of([0])
    start = initial_state(ensemble_of(FLAT, [0]).initial_parameters([0]), settings)
    with pytest.raises(ValueError, match="patience: expected None for backend native-16"):
        fit(Other(), settings, start)
    with pytest.raises(ValueError, match="patience: expected epochs >= 1"):
        settings_of([0], patience=0)


def test_the_joined_update_is_that_of_every_tensor() -> None:
    ensemble, settings = ensemble_of(GRID, [0, 1]), settings_of([0, 1], None)
    start = ensemble.initial_parameters([0, 1])
    state = advance_eager(ensemble, settings, initial_state(start, settings), 1)
    # The same epoch, tensor by tensor.
    weights, moments = start, initial_moments("adam", start)
    orders = torch.as_tensor(shuffled_rows(settings.order_keys, range(1), 40)[:, 0])
    rows = torch.as_tensor(settings.train_rows).gather(1, orders)
    for number, batch in enumerate(rows.split(16, dim=1)):
        leaves: dict[str, Tensor] = {n: w.detach().requires_grad_() for n, w in weights.items()}
        penalty = ensemble.penalty(leaves)
        assert penalty is not None
        loss = ensemble.losses(leaves, batch).mean(1).sum() + penalty.sum()
        found = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
        with torch.no_grad():
            weights, moments = adam_step(weights, found, moments, settings.rates, number + 1, ensemble.undecayed)
    for name, value in weights.items():
        assert torch.equal(state.weights[name], value), name
    for name, value in moments.items():
        assert torch.equal(state.moments[name], value), name
