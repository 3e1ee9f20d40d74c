"""The task that trains deep-frame classifiers: structures from configs, identities, packs, records."""

from __future__ import annotations

import math
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import pandas as pd
import pytest

from unrolled.config.check import ConfigError, Flat, check, flatten
from unrolled.config.schema import TrainConfig
from unrolled.data import DataError
from unrolled.frames.structure import build, resnet
from unrolled.sweep.expand import expand
from unrolled.sweep.frames_tasks import structure_of
from unrolled.sweep.tasks import TASKS
from unrolled.sweep.trial import packs_of, trial_of, trials_of

from .factory import comparable, run

FRAMES = (
    "theory=frames", "task=classify", "data=digits", "network=frame", "solver=feedforward", "tracker=disabled",
    "network.widths=12x8", "data.n_train=100", "optim.epochs=3", "optim.batch_size=32",
)  # fmt: skip


def frames(*overrides: str) -> list[Flat]:
    """Expand overrides on top of a config whose trial takes milliseconds."""
    return [dict(config) for config in _frames(overrides)]


@lru_cache
def _frames(overrides: tuple[str, ...]) -> list[Flat]:
    return expand([*FRAMES, *overrides])


RESNET = ("network.widths=null", "network.width=4", "network.depth=1")

STRUCTURES = {
    "flat": ((), (1, 8, 8), build("chain", 64, (12, 8))),
    "channels of a flat net": ((), (3, 4, 4), build("chain", 48, (12, 8))),
    "signals": ((), (1, 1, 40), build("chain", 40, (12, 8))),
    "of a kind": (("network.skip=dense_front",), (1, 8, 8), build("dense_front", 64, (12, 8))),
    "convolutions": (
        ("network.kernel=3", "network.stride=1x2"), (1, 8, 8),
        build("chain", 1, (12, 8), kernels=3, strides=(1, 2), grid=8),
    ),
    "kernels of their own": (("network.kernel=5x1",), (3, 8, 8), build("chain", 3, (12, 8), kernels=(5, 1), grid=8)),
    "residual net": (
        (*RESNET, "network.groups=3", "network.skip=residual"), (3, 32, 32),
        resnet("residual", 4, 1, channels=3, grid=32),
    ),
    "equal layers": ((*RESNET, "network.depth=2"), (1, 8, 8), build("chain", 64, (4, 4, 4))),
    "equal convolutions": (
        (*RESNET, "network.kernel=3", "network.stride=1x2"), (1, 8, 8),
        build("chain", 1, (4, 4), kernels=3, strides=(1, 2), grid=8),
    ),
    "residual net of groups": (
        (*RESNET, "network.groups=2"), (1, 8, 8), resnet("chain", 4, 1, channels=1, grid=8, groups=2)
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", STRUCTURES)
def test_a_config_describes_a_structure(what: str) -> None:
    overrides, image, expected = STRUCTURES[what]
    assert structure_of(frames(*overrides)[0], image) == expected


IMPOSSIBLE = {
    "a stride of a flat net": (("network.stride=2",), (1, 8, 8), ("network.stride", "grid")),
    "a large kernel": (("network.kernel=9",), (1, 8, 8), ("network.kernel", "at most 8")),
    "a stride that does not divide": (
        ("network.kernel=3", "network.stride=3"), (1, 8, 8), ("network.stride", "the side 8")
    ),
    "too many kernels": (("network.kernel=3x3x3",), (1, 8, 8), ("network.kernel", "one a layer (2)")),
    "a deep net on a small grid": ((*RESNET, "network.groups=1"), (1, 2, 2), ("network.depth", "at most 2")),
    "convolutions of a signal": (("network.kernel=3",), (1, 1, 40), ("data.name", "1x40", "square images")),
}  # fmt: skip


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_impossible_structures_are_told_in_one_line_with_their_key(what: str) -> None:
    overrides, image, said = IMPOSSIBLE[what]
    with pytest.raises(ConfigError) as caught:
        structure_of(frames(*overrides)[0], image)
    line = str(caught.value)
    assert line.startswith(said[0])
    assert "\n" not in line
    assert all(part in line for part in said), line


def test_a_config_is_resolved_against_the_data() -> None:
    resolved, checksum = TASKS["classify"].resolve(frames("data.n_train=null", "optim.batch_size=null", "seed=3")[0])
    assert resolved["data.n_train"] == 1297
    assert resolved["data.rows_seed"] == 3
    assert resolved["optim.batch_size"] == 64
    assert resolved["data.smoothness"] is None
    assert checksum.startswith("sha256:")
    with pytest.raises(DataError, match="1 to 1297 training rows, got 1298"):
        TASKS["classify"].resolve(frames("data.n_train=1298")[0])
    with pytest.raises(ConfigError, match=r"optim.batch_size: given 1298, allowed: 1 to data.n_train = 1297"):
        TASKS["classify"].resolve(frames("data.n_train=null", "optim.batch_size=1298")[0])


DIFFERENT = (
    "seed=1", "data.n_train=99", "data.rows_seed=7", "data=mnist1d", "network.widths=12x9", "network.widths=12x8x8",
    "network.skip=dense", "network.kernel=3", "optim=sgd", "optim.lr=0.5", "optim.weight_decay=0", "optim.epochs=2",
    "optim.batch_size=31", "optim.patience=5", "optim.potential_weight=1",
)  # fmt: skip


def test_what_is_scientific_changes_the_name_and_nothing_else_does() -> None:
    names = [trial_of(frames(change)[0]).name for change in ("seed=0", *DIFFERENT)]
    assert len(set(names)) == len(names)
    same = ("run.threads=2", "data.download=false", "scale=smoke", "run.backend=eager", "optim.potential=f")
    assert {trial_of(frames(change)[0]).name for change in same} == {names[0]}
    weighted = {trial_of(c).name for c in frames("optim.potential_weight=1", "optim.potential=f,f2,f2_mean")}
    assert len(weighted) == 3


def test_the_same_net_by_widths_and_as_a_residual_net_is_the_same_trial() -> None:
    one = trial_of(frames(*RESNET, "network.groups=1")[0])
    other = trial_of(frames("network.widths=4x4x4", "network.kernel=3")[0])
    assert one.name == other.name


def test_structures_of_equal_widths_and_different_depth_are_different_trials() -> None:
    texts = ("8x8x8x8", "8x8x8x8x8", "8")
    assert len({trial_of(frames(f"network.widths={text}")[0]).name for text in texts}) == 3


def test_trials_that_differ_in_numbers_share_a_pack() -> None:
    overrides = ("seed=0,1", "optim.lr=0.1,0.2", "optim.potential_weight=0,1", "data.rows_seed=3,4")
    assert len(packs_of(trials_of(frames(*overrides)), 100)) == 1
    assert len(packs_of(trials_of(frames("network.widths=8,9", "optim.epochs=1,2")), 100)) == 4


def test_cost_and_memory_grow_with_the_net() -> None:
    task = TASKS["classify"]
    small, large = (task.resolve(c)[0] for c in frames("network.widths=8,800"))
    assert task.cost(large) > task.cost(small) > 0
    assert task.memory(large) > task.memory(small) > 0
    assert task.cost(small | {"optim.epochs": 6}) == 2 * task.cost(small)


def ran(folder: Path, *overrides: str, **options: object) -> pd.DataFrame:
    summary, records = run(frames(*overrides), folder, **options)
    assert summary.failures == []
    return records


@pytest.mark.parametrize("net", [(), ("network.kernel=3", "network.skip=residual_all", "network.widths=3x4x3")])
def test_a_pack_leaves_whole_records_that_do_not_depend_on_it(net: tuple[str, ...], tmp_path: Path) -> None:
    sweep = (*net, "seed=0,1", "optim.potential_weight=0,2")
    together = ran(tmp_path / "together", *sweep)
    alone = ran(tmp_path / "alone", *sweep, max_pack=1)
    pd.testing.assert_frame_equal(comparable(together), comparable(alone), check_exact=True)
    for _, row in together.iterrows():
        assert row["status"] == "finished"
        assert row["gap"] == row["test_loss"] - row["train_loss"]
        assert row["gap_error"] == row["test_error"] - row["train_error"]
        assert len(row["curve_epoch"]) == len(row["curve_train_loss"]) == len(row["curve_potential"]) == 4
        assert row["curve_potential"][0] == pytest.approx(row["f_initial"], abs=1e-6)
        assert 0 < row["f_trained"] <= row["coherence_trained"] <= 1
        assert row["structure"] == row["network.structure"]
        assert math.isnan(row["stopped_epoch"])
        assert row["network_parameters"] > row["parameters"] > 0
        assert pd.isna(row["optim.potential"]) == (row["optim.potential_weight"] == 0)


def test_patience_and_divergence_are_recorded(tmp_path: Path) -> None:
    overrides = ("optim.epochs=6", "optim.patience=2", "optim.lr=1e-9,1e-2,1e30")
    records = ran(tmp_path, *overrides).sort_values("optim.lr").reset_index(drop=True)
    assert list(records["status"]) == ["finished", "finished", "diverged"]
    assert records.loc[0, "stopped_epoch"] == 2
    assert math.isnan(records.loc[1, "stopped_epoch"])
    assert records.loc[[0, 1], ["train_loss", "test_error", "f_trained"]].notna().all(axis=None)
    assert records.loc[2, ["train_loss", "test_error", "f_trained", "coherence_trained"]].isna().all()


KNOWN = {
    (): "a423f0f660beebe2",
    (("seed", 3), ("solver.name", "nag"), ("solver.steps", 5), ("network.width", 0), ("optim.lr", 1e-3)): (
        "f5b724c1b834edbd"
    ),
    (("task", "properties"), ("solver.name", "nag"), ("solver.steps", 5)): "cc3260bbbc07ef53",
}
"""Names of reasoning trials from before there were frames: records of theirs must be found again."""


@pytest.mark.parametrize("change", KNOWN)
def test_keys_of_frames_leave_the_names_of_other_trials_alone(change: tuple[tuple[str, object], ...]) -> None:
    assert trial_of(check(flatten(asdict(TrainConfig())) | dict(change))).name == KNOWN[change]
