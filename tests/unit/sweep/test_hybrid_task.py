"""The task of hybrid nets: identities, packs, records, attacks, and fixed points that were not reached."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from unrolled.config.check import Flat
from unrolled.sweep.estimate import measured_seconds
from unrolled.sweep.expand import expand
from unrolled.sweep.tasks import TASKS
from unrolled.sweep.trial import packs_of, trial_of, trials_of

from .factory import comparable, run

HYBRID = (
    "theory=hybrid", "task=hybrid", "data=digits", "network=hybrid", "solver=fista", "solver.steps=3",
    "tracker=disabled", "network.width=6", "data.n_train=100", "optim.epochs=3", "optim.batch_size=32",
)  # fmt: skip


def hybrid(*overrides: str) -> list[Flat]:
    """Expand overrides on top of a config whose trial takes a fraction of a second."""
    return [dict(config) for config in _hybrid(overrides)]


@lru_cache
def _hybrid(overrides: tuple[str, ...]) -> list[Flat]:
    return expand([*HYBRID, *overrides])


def ran(folder: Path, *overrides: str, **options: object) -> pd.DataFrame:
    summary, records = run(hybrid(*overrides), folder, **options)
    assert summary.failures == []
    return records


DIFFERENT = (
    "seed=1", "network.width=7", "network.depth=3", "network.skip=residual", "solver=ista", "solver.steps=4",
    "solver.step_size=0.5", "solver.learn_step_size=true", "solver.step_rule=absolute", "solver.first_step=unit",
    "solver.differentiation=implicit", "attack.linf=0.1", "attack.l2=1", "optim.potential_weight=1",
)  # fmt: skip


def test_what_is_scientific_changes_the_name_and_nothing_else_does() -> None:
    names = [trial_of(hybrid(change)[0]).name for change in ("seed=0", *DIFFERENT)]
    assert len(set(names)) == len(names)
    same = ("run.threads=2", "scale=smoke", "attack.steps=3", "attack.rows=9", "attack.restarts=1")
    assert {trial_of(hybrid(change)[0]).name for change in same} == {names[0]}
    attacked = [trial_of(hybrid("attack.l2=1", change)[0]).name for change in ("seed=0", *same[2:])]
    assert len(set(attacked)) == len(attacked)


def test_the_rule_of_the_step_size_is_not_one_of_admm() -> None:
    relative, absolute = hybrid("solver=admm", "solver.step_rule=relative,absolute")
    assert trial_of(relative).name == trial_of(absolute).name


def test_step_sizes_share_a_pack_and_sweeps_do_not() -> None:
    assert len(packs_of(trials_of(hybrid("solver.step_size=0.5,1", "seed=0,1", "optim.lr=0.1,0.2")), 100)) == 1
    assert len(packs_of(trials_of(hybrid("solver.steps=1,2", "solver=ista,admm")), 100)) == 4


def test_cost_and_memory_grow_with_sweeps_and_attacks() -> None:
    task = TASKS["hybrid"]
    small, deep, attacked = (
        task.resolve(hybrid(change)[0])[0] for change in ("seed=0", "solver.steps=30", "attack.l2=1")
    )
    assert task.cost(deep) > task.cost(small) > 0
    assert task.memory(deep) > 5 * task.memory(small) > 0
    assert task.cost(attacked) > task.cost(small)
    # 256 rows and 2 restarts at once, where an update has 32 rows.
    assert task.memory(attacked) == 16 * task.memory(small)


def test_records_without_attacks_tell_what_trials_with_them_take(tmp_path: Path) -> None:
    records = ran(tmp_path, "optim.epochs=1")
    plain, attacked = (
        measured_seconds(packs_of(trials_of(hybrid("seed=1", *more)), 9), records) for more in ((), ("attack.l2=1",))
    )
    assert 0 < plain < attacked


@pytest.mark.parametrize(
    "net",
    [
        (),
        ("solver=admm", "solver.learn_step_size=true", "solver.first_step=unit"),
        ("network.kernel=3", "network.stride=2x1x1", "network.width=3", "network.skip=residual", "solver=block_prox"),
    ],
    ids=["fista", "admm", "conv"],
)
def test_a_pack_leaves_whole_records_that_do_not_depend_on_it(net: tuple[str, ...], tmp_path: Path) -> None:
    conv = "network.kernel=3" in net  # whose attacks would take a minute
    attacks = () if conv else ("attack.linf=0.2", "attack.l2=1", "attack.steps=3", "attack.rows=16")
    sweep = (*net, *attacks, "seed=0,1", "solver.step_size=0.5" if conv else "solver.step_size=0.5,1")
    together = ran(tmp_path / "together", *sweep)
    alone = ran(tmp_path / "alone", *sweep, max_pack=1)
    pd.testing.assert_frame_equal(comparable(together), comparable(alone), check_exact=True)
    for _, row in together.iterrows():
        assert row["status"] == "finished"
        assert row["inference_sweep"][:5].tolist() == [0, 1, 2, 3, 4]
        assert len(row["inference_sweep"]) == len(row["inference_objective"]) == len(row["inference_distance"])
        assert row["convergence"] == row["inference_distance"][3] > 0
        assert row["stability"] > 0
        for norm, largest in (("linf", 0.2), ("l2", 1.0)) if attacks else ():
            assert row[f"attack_{norm}"].tolist() == [0, largest / 8, largest / 4, largest / 2, largest]  # not rounded
            errors = row[f"robust_pgd_{norm}"]
            assert (np.diff(errors) >= 0).all()
            assert 0 <= errors[0] <= errors[-1] <= 1
            assert len(row["attack_steps"]) == len(row["robust_by_steps_linf"])
    if "solver.learn_step_size=true" in net:
        assert (together["step_size_taken"] != together["solver.step_size"]).all()
    else:
        np.testing.assert_allclose(together["step_size_taken"], together["solver.step_size"])


def test_without_radii_nothing_is_attacked(tmp_path: Path) -> None:
    (row,) = ran(tmp_path, "optim.epochs=1").to_dict("records")
    assert not any(name.startswith("robust") for name in row)
    assert pd.isna(row.get("attack.rows"))


def test_a_fixed_point_that_was_not_reached_is_told(tmp_path: Path) -> None:
    (row,) = ran(tmp_path, "solver.differentiation=implicit").to_dict("records")
    assert row["status"] == "diverged"
    assert "implicit differentiation needs codes that converge in solver.steps sweeps: raise them" in row["error"]
    (row,) = ran(
        tmp_path, "solver.differentiation=implicit", "solver=admm", "solver.steps=80", "network.depth=1"
    ).to_dict("records")[1:]
    assert row["status"] == "finished"
    assert row["train_loss"] < row["curve_train_loss"][0]
