from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from unrolled.bench import frames
from unrolled.bench.frames import MatrixPotential, bench_frames, filter_gradient, scatter
from unrolled.bench.timing import FULL, QUICK
from unrolled.frames.dictionary import random_filters
from unrolled.frames.structure import KINDS, Structure, build

ROUNDING = 1e-10
"""Relative error of float64 sums of some thousand terms."""


@pytest.mark.parametrize("kind", KINDS)
def test_both_ways_that_are_timed_give_the_same_value_and_gradient(kind: str) -> None:
    structure = build(kind, 2, (3, 4, 3), kernels=(3, 2, 3), strides=(1, 2, 1), grid=6)
    filters = random_filters(structure, [np.random.default_rng(1)])
    (value, gradient), (expected, slopes) = (
        filter_gradient(structure, filters),
        MatrixPotential(structure, filters).gradient(filters),
    )
    assert float(value) == pytest.approx(float(expected), rel=ROUNDING)
    for found, slope in zip(gradient, slopes, strict=True):
        torch.testing.assert_close(found, slope, rtol=ROUNDING, atol=ROUNDING * float(slope.abs().max()))


def test_the_nets_are_those_of_the_figure() -> None:
    nets = scatter()
    assert len(set(nets)) == len(nets) == 78
    assert {net.sizes[0] for net in nets} == {3072}
    assert [net.sizes[1:] for net in scatter((50,))] == [(25, 50), (12, 25, 50), (6, 12, 25, 50), (50, 25, 50),
                                                         (50, 25, 12, 50)]  # fmt: skip
    # The widest ones grow only.
    assert [net.sizes[1:] for net in scatter((4096,))] == [(2048, 4096), (1024, 2048, 4096), (512, 1024, 2048, 4096)]


def test_a_full_run_takes_every_net_and_a_quick_one_names_what_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Structure] = []
    monkeypatch.setattr(frames, "minimum_potential", taken.append)
    monkeypatch.setattr(frames, "speedup", lambda structure, turns: float(turns))
    full = bench_frames(FULL)
    assert set(full) == {"frames_fc78_seconds", "frames_minimum_conv_seconds", "frames_speedup_vs_dense"}
    assert len(taken) == len(set(taken)) == 78 + 6
    assert {net.kind for net in taken[78:]} == {"chain", "residual", "dense"}
    assert all(net.layers == 7 and net.grid == 32 for net in taken[78:])
    quick = bench_frames(replace(QUICK, turns=2))
    assert set(quick) == {"frames_fc5_seconds", "frames_speedup_vs_dense"}
    assert quick["frames_speedup_vs_dense"] == 2.0


def test_a_speed_up_is_the_matrix_time_over_that_of_one_gradient_of_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([9.0, 9.0, 1.0, 3.0, 2.0, 4.0, 1.0, 7.0])  # a warm-up of both, then three turns of ten and one
    monkeypatch.setattr(frames, "_seconds", lambda call: next(times))
    assert frames.speedup(build("chain", 2, (2,)), 3) == pytest.approx(30.0)


def test_minimum_potentials_are_timed_together() -> None:
    one, both = build("chain", 4, (2, 3)), [build("chain", 4, (2, 3)), build("chain", 4, (3, 2))]
    assert 0 < frames.minimum_seconds([one]) < 60
    assert frames.minimum_seconds([]) < frames.minimum_seconds(both)
