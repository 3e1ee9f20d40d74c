from __future__ import annotations

import itertools

import pytest
import torch

from unrolled.bench import timing
from unrolled.bench.timing import Timing, Workload, calibrated, in_turns, median_us, reasoning_pack, until_positive
from unrolled.sweep.tasks import RunContext


class Linear(Workload):
    """A workload whose runs take 2 s of set-up and 0.01 s an epoch."""

    def run(self, epochs: int) -> tuple[float, int]:
        return 2.0 + 0.01 * epochs, 3


PACK = reasoning_pack("gd", 0, 2, 5)


def test_a_timing_is_free_of_set_up() -> None:
    found = Linear(PACK, RunContext(), 100, 300).time()
    assert found.us == pytest.approx(0.01 / (5 * 2) * 1e6)  # 2 updates of 5 trials an epoch
    assert found.setup_s == pytest.approx(2.0)
    assert found.unfinished == 3


def test_lengthening_multiplies_the_epochs_of_the_difference() -> None:
    longer = Linear(PACK, RunContext(), 100, 300).lengthened(4)
    assert (longer.short, longer.long) == (100, 900)
    assert longer.time().us == pytest.approx(Linear(PACK, RunContext(), 100, 300).time().us)


def test_calibration_makes_the_difference_as_long_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "Workload", Linear)
    work = calibrated(PACK, RunContext(), 30.0)
    assert work.run(work.long)[0] - work.run(work.short)[0] == pytest.approx(30.0)
    assert calibrated(PACK, RunContext(), 0).long > timing.SHORT


def test_noise_is_measured_again_and_given_up_in_the_end() -> None:
    differences = itertools.chain([-1.0, 0.0, 2.0])
    assert until_positive(lambda: (next(differences), 0.0, 0))[0] == 2.0
    with pytest.raises(RuntimeError, match="busy"):
        until_positive(lambda: (-1.0, 0.0, 0))


def test_what_is_compared_takes_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[int] = []
    monkeypatch.setattr(Workload, "time", lambda self: called.append(self.long) or Timing(self.long, 0.0, 0))
    work = {name: Workload(PACK, RunContext(), 1, long) for name, long in (("a", 2), ("b", 3))}
    turns = in_turns(work, 3)
    assert called == [2, 3, 2, 3, 2, 3]
    assert median_us(turns, "b") == 3


def test_a_real_run_trains_every_trial_on_the_cores_it_is_given() -> None:
    before = torch.get_num_threads()
    seconds, unfinished = Workload(PACK, RunContext(threads=1), 1, 2).run(3)
    assert seconds > 0
    assert unfinished == 0
    assert torch.get_num_threads() == before


def test_a_pack_differs_in_its_seeds_alone() -> None:
    first, *others = reasoning_pack("nag", 16, 10, 3)
    assert (first["solver.name"], first["network.width"], first["solver.steps"]) == ("nag", 16, 10)
    assert [o["seed"] for o in others] == [1, 2]
    assert all({n for n in first if first[n] != o[n]} == {"seed", "data.rows_seed"} for o in others)
