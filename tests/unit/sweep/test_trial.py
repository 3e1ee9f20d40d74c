"""What a trial's name depends on, and which trials run together."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.unit.sweep.factory import problem_file, save_problems, tiny

from unrolled.config.check import ConfigError, Flat, rules
from unrolled.data.quadratic import DataError, generate
from unrolled.sweep.tasks import TASKS, FitTask
from unrolled.sweep.trial import Pack, Trial, packs_of, trial_of, trials_of

SCIENTIFIC = {
    "task": "properties",
    "seed": 1,
    "data.n_train": 11,
    "data.rows_seed": 1,
    "data.seed": 2,
    "data.population": 61,
    "data.dimension": 4,
    "data.input_dimension": 9,
    "data.strong_convexity": 0.2,
    "data.smoothness": 2.0,
    "network.width": 5,
    "solver.name": "nag",
    "solver.steps": 3,
    "solver.step_size": 0.9,
    "solver.learn_step_size": True,
    "solver.min_step_size": 0.2,
    "optim.name": "sgd",
    "optim.lr": 0.02,
    "optim.weight_decay": 0.0,
    "optim.epochs": 5,
    "optim.batch_size": 4,
}
"""Keys that change what is computed, with another value than the tiny config's."""

FREE = {
    "experiment": "reasoning/rnn",
    "data.root": "somewhere",
    "scale.name": "paper",
    "tracker.mode": "online",
    "tracker.project": "other",
    "tracker.entity": "me",
    "run.folder": "elsewhere",
    "run.backend": "eager",
    "run.device": "cuda:7",
    "run.threads": 7,
    "run.workers": 7,
    "run.max_pack": 7,
    "run.checkpoint_seconds": 7.0,
    "run.on_error": "stop",
    "run.retry_failed": False,
}
"""Keys that only say how, where or what for."""

ONE_VALUE = {"theory", "data.name", "network.name"}
"""Keys that take one value with the tasks of the reasoning layers."""

OF_FRAMES = {
    "network.widths", "network.depth", "network.skip", "network.kernel", "network.stride", "network.groups",
    "data.download", "optim.patience", "optim.potential_weight", "optim.potential",
}  # fmt: skip
"""Keys of the tasks of deep frames, which have tests of their own."""

OF_HYBRID = {
    "solver.step_rule", "solver.first_step", "solver.differentiation",
    "attack.linf", "attack.l2", "attack.steps", "attack.restarts", "attack.rows",
}  # fmt: skip
"""Keys of the task of hybrid nets, which has tests of its own."""

OTHERWISE_TESTED = {"data.file", "scale.grids"}
"""A file has tests of its own; grids are no part of a flat config."""


@pytest.fixture(scope="module")
def base() -> Flat:
    return tiny()[0]


def test_every_key_is_known_to_these_tests() -> None:
    known = set(SCIENTIFIC) | set(FREE) | ONE_VALUE | OF_FRAMES | OF_HYBRID | OTHERWISE_TESTED
    assert known == set(rules())


@pytest.mark.parametrize("name", SCIENTIFIC)
def test_the_name_changes_with_what_is_scientific(base: Flat, name: str) -> None:
    assert base[name] != SCIENTIFIC[name]
    assert trial_of(base | {name: SCIENTIFIC[name]}).name != trial_of(base).name


def test_all_scientific_changes_give_different_names(base: Flat) -> None:
    names = {trial_of(base | {name: value}).name for name, value in SCIENTIFIC.items()}
    assert len(names) == len(SCIENTIFIC)


@pytest.mark.parametrize("name", FREE)
def test_the_name_does_not_depend_on_how_and_where(base: Flat, name: str) -> None:
    assert base[name] != FREE[name]
    assert trial_of(base | {name: FREE[name]}).name == trial_of(base).name


@pytest.mark.parametrize("name", ["seed", "solver.name", "solver.steps", "solver.step_size", "solver.min_step_size"])
def test_properties_depend_on_the_layer_alone(base: Flat, name: str) -> None:
    layer = base | {"task": "properties"}
    assert trial_of(layer | {name: SCIENTIFIC[name]}).name != trial_of(layer).name
    assert trial_of(layer | {"optim.lr": 0.02, "network.width": 5, "data.n_train": 11}).name == trial_of(layer).name


def test_the_name_is_a_short_hash_and_the_same_in_any_process(base: Flat) -> None:
    name = trial_of(base).name
    assert len(name) == 16
    assert int(name, 16) >= 0
    assert trial_of(dict(reversed(base.items()))).name == name


def test_the_name_changes_with_the_version_of_the_task(base: Flat, monkeypatch: pytest.MonkeyPatch) -> None:
    before = trial_of(base).name
    monkeypatch.setattr(FitTask, "version", FitTask.version + 1)
    assert trial_of(base).name != before


def test_a_file_counts_by_its_content_not_by_its_place(base: Flat, tmp_path: Path) -> None:
    here = problem_file(tmp_path / "here.npz")
    there = tmp_path / "folder" / "there.npz"
    there.parent.mkdir()
    shutil.copyfile(here, there)
    name = trial_of(base | {"data.file": str(here)}).name
    assert trial_of(base | {"data.file": str(there)}).name == name
    assert trial_of(base | {"data.root": str(there.parent), "data.file": "there.npz"}).name == name
    assert name != trial_of(base).name
    other = problem_file(tmp_path / "other.npz", seed=2)
    assert trial_of(base | {"data.file": str(other)}).name != name
    # What would generate data does not matter where a file gives them.
    assert trial_of(base | {"data.file": str(here), "data.seed": 5, "data.population": 999}).name == name


def test_a_file_that_differs_in_one_number_is_another_data_set(base: Flat, tmp_path: Path) -> None:
    problems = generate(60)
    one = save_problems(tmp_path / "one.npz", problems)
    problems.inputs[0, 0] = np.nextafter(problems.inputs[0, 0], np.inf)
    two = save_problems(tmp_path / "two.npz", problems)
    assert trial_of(base | {"data.file": str(one)}).name != trial_of(base | {"data.file": str(two)}).name


def test_rows_follow_the_seed_unless_they_have_their_own(base: Flat) -> None:
    for seed in (0, 3):
        free = trial_of(base | {"seed": seed, "data.rows_seed": None})
        assert free.config["data.rows_seed"] == seed
        assert trial_of(base | {"seed": seed, "data.rows_seed": seed}).name == free.name
    # Seed 0 is a seed: asked for, it is not replaced by the trial's own.
    assert trial_of(base | {"seed": 3, "data.rows_seed": 0}).config["data.rows_seed"] == 0
    assert trial_of(base | {"seed": 3, "data.rows_seed": 0}).name != trial_of(base | {"seed": 3}).name
    assert trial_of(base | {"seed": 0}).name != trial_of(base | {"seed": 1}).name


def test_named_rows_of_a_file_are_another_training_set_than_drawn_ones(base: Flat, tmp_path: Path) -> None:
    file = {"data.file": str(problem_file(tmp_path / "p.npz")), "seed": 100}
    assert trial_of(base | file | {"data.rows_seed": 100}).name != trial_of(base | file).name
    with pytest.raises(DataError, match=r"data.rows_seed: the file lists the training sets 100, got 3"):
        trial_of(base | file | {"data.rows_seed": 3})
    with pytest.raises(DataError, match=r"data.n_train: expected 1 to 60"):
        trial_of(base | file | {"data.n_train": 61})


def test_no_batch_size_means_half_of_the_rows(base: Flat) -> None:
    free = trial_of(base | {"data.n_train": 10, "optim.batch_size": None})
    assert free.config["optim.batch_size"] == 5
    assert trial_of(base | {"data.n_train": 10, "optim.batch_size": 5}).name == free.name
    assert trial_of(base | {"data.n_train": 1}).config["optim.batch_size"] == 1


def test_a_learned_step_is_checked_against_the_data_of_a_file(base: Flat, tmp_path: Path) -> None:
    file = {"data.file": str(problem_file(tmp_path / "p.npz")), "solver.learn_step_size": True}
    with pytest.raises(ConfigError, match=r"solver.step_size: given 5, allowed .* strictly between"):
        trial_of(base | file | {"solver.step_size": 5.0})


def test_trials_that_several_experiments_ask_for_are_one() -> None:
    configs = tiny("experiment=reasoning/generalization", "scale=smoke", "seed=0,1", "solver=gd", "optim.lr=0.1")
    again = [config | {"experiment": "reasoning/training_size"} for config in configs[:1]]
    trials = trials_of([*configs, *again, *again])
    assert [trial.experiments for trial in trials] == [
        ("reasoning/generalization", "reasoning/training_size"),
        ("reasoning/generalization",),
    ]
    assert trials_of([configs[0] | {"experiment": None}])[0].experiments == ()


@pytest.fixture(scope="module")
def mixed() -> list[Trial]:
    """A sweep over everything that may and may not share a pack."""
    fits = tiny(
        "solver=gd,nag,rnn", "optim=adam,sgd", "network.width=0,4", "data.n_train=5,10", "data.seed=1,2",
        "data.population=60,70", "solver.steps=1,3", "seed=0,1", "optim.lr=0.1,0.01",
    )  # fmt: skip
    return trials_of(fits + tiny("task=properties", "solver=gd,nag", "solver.steps=range(1,5)"))


@pytest.mark.parametrize("max_pack", [1, 3, 256])
def test_inside_a_pack_only_packable_keys_differ(mixed: list[Trial], max_pack: int) -> None:
    packs = packs_of(mixed, max_pack)
    assert sorted(t.name for pack in packs for t in pack.trials) == sorted(t.name for t in mixed)
    for pack in packs:
        assert 1 <= len(pack.trials) <= max_pack
        task = pack.trials[0].task
        assert {trial.task.name for trial in pack.trials} == {task.name}
        science = {name for name in rules() if name.partition(".")[0] in ("data", "network", "solver", "optim")}
        for name in (science | task.identity) - task.packable:
            assert len({trial.config[name] for trial in pack.trials}) == 1, name


def test_packs_are_as_large_as_they_may_be() -> None:
    trials = trials_of(tiny("seed=range(5)", "optim.lr=0.1,0.01"))
    assert [len(pack.trials) for pack in packs_of(trials, 4)] == [4, 4, 2]
    assert [len(pack.trials) for pack in packs_of(trials, 256)] == [10]


def test_data_sets_never_share_a_pack(tmp_path: Path) -> None:
    files = [str(problem_file(tmp_path / f"{seed}.npz", seed)) for seed in (1, 2)]
    configs = tiny("data.seed=1,2") + [tiny()[0] | {"data.file": file} for file in files]
    assert [len(pack.trials) for pack in packs_of(trials_of(configs), 256)] == [1, 1, 1, 1]


def test_packs_do_not_depend_on_the_order_of_trials(mixed: list[Trial]) -> None:
    names = [pack.name for pack in packs_of(mixed, 3)]
    shuffled = random.Random(0).sample(mixed, len(mixed))
    assert shuffled != mixed
    assert [pack.name for pack in packs_of(shuffled, 3)] == names
    assert len(set(names)) == len(names)


def test_packs_keep_their_names_when_trials_elsewhere_go(mixed: list[Trial]) -> None:
    wide = [trial for trial in mixed if trial.config["network.width"] != 0]
    before = {pack.name: pack for pack in packs_of(mixed, 5)}
    names = {pack.name for pack in packs_of(wide, 5)}
    untouched = {name for name, pack in before.items() if all(t.config["network.width"] != 0 for t in pack.trials)}
    assert untouched
    assert names == untouched


def test_the_name_of_a_pack_depends_on_its_trials_only() -> None:
    one, two = trials_of(tiny("seed=0,1"))
    assert Pack((one, two)).name == Pack((two, one)).name
    assert Pack((one,)).name != Pack((two,)).name
    assert Pack((one, two)).cost == pytest.approx(Pack((one,)).cost + Pack((two,)).cost)


def test_costlier_trials_have_higher_costs() -> None:
    few, many = (TASKS["fit"].cost(trial_of(config).config) for config in tiny("solver.steps=1,30"))
    assert 0 < few < many
