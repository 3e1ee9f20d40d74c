from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from unrolled.bench import frame_training
from unrolled.bench.frame_training import NETS, REPLICAS, Run, bench_frame_training
from unrolled.bench.timing import QUICK
from unrolled.frames.structure import build, resnet
from unrolled.networks.frames import FrameClassifiers

ROUNDING = 1e-4
"""Relative error of float32 sums, which ensembles of other sizes may round otherwise."""

SMALL = {
    "fc": Run(build("chain", 12, (5, 7)), (3, 2, 2), 0.1, 2),
    "conv": Run(resnet("residual", 4, 1, grid=8, groups=1), (3, 8, 8), 0.1, 2),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_loop_trains_the_nets_of_the_ensemble(name: str) -> None:
    run = SMALL[name]
    whole, parts = run.together(), run.one_by_one()
    assert len(parts) == REPLICAS
    for r, part in enumerate(parts):
        assert part.epoch == whole.epoch == 1
        for weight, own in part.weights.items():
            torch.testing.assert_close(own[0], whole.weights[weight][r], rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("name", SMALL)
def test_the_penalty_is_part_of_what_is_timed(name: str) -> None:
    with_, without = SMALL[name], replace(SMALL[name], weight=0.0)
    assert with_.ensemble.penalty(with_.start.weights) is not None
    assert without.ensemble.penalty(without.start.weights) is None
    start = with_.start.weights["block.1.1"]
    for run in (with_, without):
        assert not torch.equal(run.together().weights["block.1.1"], start)
    assert not torch.equal(with_.together().weights["block.1.1"], without.together().weights["block.1.1"])


def test_no_time_goes_into_judging(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("evaluate", "statistics", "probe"):
        monkeypatch.setattr(FrameClassifiers, name, lambda *_, called=name: calls.append(called))
    SMALL["conv"].together()
    assert not calls


def test_ratios_are_of_the_same_turn_and_the_first_round_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    # Plain, penalised, loop: a warm-up, then two turns, for two nets.
    times = iter([9.0, 9.0, 9.0, 1.0, 2.0, 6.0, 2.0, 8.0, 8.0, 9.0, 9.0, 9.0, 1.0, 1.5, 3.0, 2.0, 3.0, 12.0])
    monkeypatch.setattr(frame_training, "_seconds", lambda call: next(times))
    assert bench_frame_training(replace(QUICK, turns=2)) == {
        "frames_potential_step_ratio_fc": 3.0,
        "frames_ensemble_speedup_fc": 2.0,
        "frames_potential_step_ratio_conv": 1.5,
        "frames_ensemble_speedup_conv": 3.0,
    }
    assert set(NETS) == {"fc", "conv"}
