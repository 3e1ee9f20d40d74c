"""From overrides to configs: the product, its order, and the same configs as Hydra composes."""

from __future__ import annotations

from itertools import product

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from tests.unit.sweep.factory import tiny

from unrolled.config.check import Flat, check, flatten
from unrolled.config.schema import CONFIGS, register
from unrolled.sweep.expand import expand


def values(configs: list[Flat], *names: str) -> list[tuple[object, ...]]:
    return [tuple(config[name] for name in names) for config in configs]


def composed_one_by_one(*overrides: str) -> list[Flat]:
    """The naive twin: Hydra's own sweeper splits the overrides, and Hydra composes every trial on its own."""
    register()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        chosen = [o for o in overrides if o.startswith(("experiment=", "scale="))]
        whole = compose("train", chosen, return_hydra_config=True)
        params = OmegaConf.to_container(whole.hydra.sweeper.get("params") or OmegaConf.create(), resolve=True)
        lines = [f"{key}={value}" for key, value in params.items()] + list(overrides)  # type: ignore[union-attr]
        (batch,) = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(lines), None)
        found = []
        for job in batch:
            container = OmegaConf.to_container(compose("train", list(job)), resolve=True)
            found.append(check(flatten(container)))  # type: ignore[arg-type]
    return found


def as_set(configs: list[Flat]) -> set[str]:
    return {repr(sorted(config.items())) for config in configs}


def test_without_sweeps_there_is_one_config_with_the_defaults() -> None:
    (config,) = expand([])
    assert values([config], "seed", "solver.name", "solver.steps", "scale.name", "experiment") == [
        (0, "gd", 10, "laptop", None)
    ]


def test_values_are_the_product_in_order_the_last_key_fastest() -> None:
    configs = tiny("seed=3,1,2", "optim.lr=1e-2,1e-3")
    assert values(configs, "seed", "optim.lr") == list(product([3, 1, 2], [0.01, 0.001]))


def test_ranges_choices_and_their_types() -> None:
    assert [c["seed"] for c in tiny("seed=range(4)")] == [0, 1, 2, 3]
    assert [c["seed"] for c in tiny("seed=range(2,7,2)")] == [2, 4, 6]
    assert [c["seed"] for c in tiny("seed=choice(5,6)")] == [5, 6]
    rates = [c["optim.lr"] for c in tiny("optim.lr=1,0.5")]
    assert rates == [1.0, 0.5]
    assert all(isinstance(rate, float) for rate in rates)
    assert [c["solver.learn_step_size"] for c in tiny("solver.learn_step_size=true,false")] == [True, False]
    assert [c["data.rows_seed"] for c in tiny("data.rows_seed=null,0")] == [None, 0]
    assert [c["run.folder"] for c in tiny("run.folder='a b','c,d'")] == ["a b", "c,d"]


def test_groups_come_from_their_files_and_globs_match_all_of_them() -> None:
    assert values(tiny("solver=nag,gd"), "solver.name") == [("nag",), ("gd",)]
    assert values(tiny("solver=glob(*,exclude=[f*,a*,b*,i*])"), "solver.name") == [("gd",), ("nag",), ("rnn",)]
    assert values(tiny("solver=glob([g*,n*])"), "solver.name") == [("gd",), ("nag",)]
    configs = expand(["scale=smoke", "experiment=glob([reasoning/p*,reasoning/r*])", "solver=gd"])
    assert {c["experiment"] for c in configs} == {"reasoning/properties", "reasoning/rnn"}


def test_groups_and_values_multiply() -> None:
    configs = tiny("solver=gd,nag", "seed=0,1", "optim=adam,sgd")
    found = values(configs, "solver.name", "optim.name", "seed")
    assert len(configs) == 8
    assert set(found) == set(product(["gd", "nag"], ["adam", "sgd"], [0, 1]))


def test_the_sweep_of_an_experiment_applies_and_the_users_override_replaces_it() -> None:
    both = expand(["scale=smoke", "experiment=reasoning/rnn"])
    assert {c["solver.name"] for c in both} == {"rnn"}
    assert len(both) == 3 * 3 * 2 * 3  # steps, widths, rates, seeds of the scale
    fewer = expand(["scale=smoke", "experiment=reasoning/rnn", "seed=7", "optim.lr=0.5,0.25,0.125"])
    assert {c["seed"] for c in fewer} == {7}
    assert {c["optim.lr"] for c in fewer} == {0.5, 0.25, 0.125}
    assert len(fewer) == 3 * 3 * 3
    swapped = expand(["scale=smoke", "experiment=reasoning/rnn", "solver=gd"])
    assert {c["solver.name"] for c in swapped} == {"gd"}


def test_a_scale_changes_the_sizes_of_the_sweep() -> None:
    counts = [len(expand([f"scale={scale}", "experiment=reasoning/properties"])) for scale in ("smoke", "laptop")]
    assert counts == [8, 34]


def test_what_is_given_last_counts() -> None:
    assert [c["seed"] for c in tiny("seed=1,2", "seed=3")] == [3]
    assert [c["seed"] for c in tiny("seed=3", "seed=1,2")] == [1, 2]
    assert [c["seed"] for c in tiny("seed=1,2", "seed=3,4")] == [3, 4]
    assert [c["optim.name"] for c in tiny("optim=adam,sgd", "optim=sgd")] == ["sgd"]


@pytest.mark.parametrize("reference", ["${optim.lr}", "${.lr}"])
def test_a_value_that_refers_to_a_swept_key_follows_it(reference: str) -> None:
    configs = tiny(f"optim.weight_decay={reference}", "optim.lr=0.1,0.2", "seed=0,1")
    assert [c["optim.weight_decay"] for c in configs] == [c["optim.lr"] for c in configs] == [0.1, 0.1, 0.2, 0.2]


def test_a_reference_changes_nothing_but_the_key_that_refers() -> None:
    overrides = ["solver=gd,nag", "seed=range(3)", "optim.lr=1e-2,1e-3", "data.rows_seed=null,4"]
    plain = tiny(*overrides)
    referring = tiny(*overrides, "optim.weight_decay=${optim.lr}")
    assert len(plain) == 24
    assert [c | {"optim.weight_decay": c["optim.lr"]} for c in plain] == referring


SWEEPS = [
    ["scale=smoke", "experiment=reasoning/properties"],
    ["scale=smoke", "experiment=reasoning/learned_step", "seed=0", "network.width=0,4", "optim.lr=0.1"],
    ["solver=nag,rnn", "seed=0,5", "optim=sgd", "optim.weight_decay=${optim.lr}", "optim.lr=0.1,0.2"],
    ["seed=range(3)", "data.n_train=5", "optim.batch_size=null,2", "solver.steps=4", "seed=1,2"],
]


@pytest.mark.parametrize("overrides", SWEEPS, ids=lambda overrides: overrides[1])
def test_every_config_is_the_one_hydra_composes_for_that_trial(overrides: list[str]) -> None:
    twin = composed_one_by_one(*overrides)
    assert len(as_set(twin)) >= 4
    assert as_set(expand(overrides)) == as_set(twin)
