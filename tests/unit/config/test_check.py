"""Bad input is told in one line with key, given and allowed, alone and as the last trial of a sweep."""

from __future__ import annotations

import pytest
from tests.unit.sweep.factory import tiny

from unrolled.config.check import ConfigError, check, check_value, experiment_names, flatten, one_line
from unrolled.sweep.expand import expand

HYBRID = ["theory=hybrid", "task=hybrid", "data=digits", "network=hybrid", "solver=ista"]
FRAMES = ["theory=frames", "task=classify", "data=digits", "network=frame", "solver=feedforward"]
FRAMES += ["data.population=10000", "data.n_train=null", "solver.steps=1", "network.width=null"]
"""What a classifying deep frame is given by."""

BAD = {
    # what is wrong: (overrides, the bad one last; what the line must say)
    "unknown key": (["foo=1"], ["foo", "'1'", "allowed: experiment, theory, task, seed"]),
    "unknown key with +": (["+foo=1"], ["foo", "1", "allowed: "]),
    "unknown key with ++": (["++foo=1"], ["foo", "1", "allowed: "]),
    "misspelt key": (["solver.stepz=3"], ["solver.stepz", "'3'", "did you mean solver.steps?", "solver.step_size"]),
    "unknown key with + in a group": (["+solver.foo=3"], ["solver.foo", "3", "allowed: solver.name, solver.steps"]),
    "known key with +": (["+seed=1"], ["seed", "given with +", "allowed: without"]),
    "text for a number": (["solver.steps=abc"], ["solver.steps", "'abc'", "allowed: an integer >= 0"]),
    "fraction for an integer": (["solver.steps=1.5"], ["solver.steps", "'1.5'", "an integer >= 0"]),
    "list for an integer": (["data.n_train=[1,2]"], ["data.n_train", "[1,2]", "an integer >= 1"]),
    "truth value for an integer": (["seed=true"], ["seed", "'true'", "an integer >= 0"]),
    "text for a truth value": (["solver.learn_step_size=perhaps"], ["solver.learn_step_size", "true or false"]),
    "null for a number": (["seed=null"], ["seed", "null", "an integer >= 0"]),
    "nothing": (["seed="], ["seed", "''", "an integer >= 0"]),
    "key without a value": (["seed"], ["seed", "nothing", "an integer >= 0"]),
    "removed key": (["~seed"], ["seed", "nothing", "an integer >= 0"]),
    "removed key of a group": (["~optim.lr"], ["optim.lr", "nothing", "a finite number > 0"]),
    "removed unknown key": (["~foo"], ["foo", "does not exist"]),
    "negative steps": (["solver.steps=-1"], ["solver.steps", "-1", "an integer >= 0"]),
    "no step size": (["solver.step_size=0"], ["solver.step_size", "0.0", "a finite number > 0"]),
    "negative step size": (["solver.step_size=-1"], ["solver.step_size", "-1.0", "a finite number > 0"]),
    "mu above L": (["data.strong_convexity=2"], ["data.strong_convexity", "2", "below data.smoothness = 1"]),
    "mu equal to L": (["data.strong_convexity=1"], ["data.strong_convexity", "1", "below data.smoothness = 1"]),
    "n above the population": (["data.n_train=61"], ["data.n_train", "61", "1 to data.population = 60"]),
    "no training rows": (["data.n_train=0"], ["data.n_train", "0", "an integer >= 1"]),
    "batch above n": (["optim.batch_size=11"], ["optim.batch_size", "11", "1 to data.n_train = 10"]),
    "no learning rate": (["optim.lr=0"], ["optim.lr", "0.0", "a finite number > 0"]),
    "negative learning rate": (["optim.lr=-0.1"], ["optim.lr", "-0.1", "a finite number > 0"]),
    "learning rate not a number": (["optim.lr=nan"], ["optim.lr", "nan", "a finite number > 0"]),
    "infinite learning rate": (["optim.lr=inf"], ["optim.lr", "inf", "a finite number > 0"]),
    "negative weight decay": (["optim.weight_decay=-1"], ["optim.weight_decay", "-1", "a finite number >= 0"]),
    "no epochs": (["optim.epochs=0"], ["optim.epochs", "0", "an integer >= 1"]),
    "negative seed": (["seed=-1"], ["seed", "-1", "an integer >= 0"]),
    "negative rows seed": (["data.rows_seed=-1"], ["data.rows_seed", "-1", "an integer >= 0 or null"]),
    "negative width": (["network.width=-1"], ["network.width", "-1", "an integer >= 0"]),
    "depth of a net that has none": (["network.depth=2"], ["network.depth", "2", "null"]),
    "unknown solver": (
        ["solver=foo"],
        ["solver", "'foo'", "allowed: one of admm, block_prox, feedforward, fista, gd, ista, nag, rnn"],
    ),
    "unknown solver by name": (["solver.name=foo"], ["solver.name", "'foo'", "one of gd, nag, rnn"]),
    "unknown optimiser": (["optim=foo"], ["optim", "'foo'", "adam"]),
    "unknown scale": (["scale=foo"], ["scale", "'foo'", "one of laptop, paper, smoke"]),
    "unknown tracker": (["tracker.mode=foo"], ["tracker.mode", "'foo'", "one of offline, online, disabled"]),
    "unknown backend": (["run.backend=foo"], ["run.backend", "'foo'", "one of auto, native, fused, eager"]),
    "unknown theory": (["theory=foo"], ["theory", "'foo'", "one of "]),
    "unknown task": (["task=foo"], ["task", "'foo'", "one of fit, properties"]),
    "unknown experiment": (["experiment=foo"], ["experiment", "'foo'", *experiment_names()]),
    "unknown experiment of a theory": (
        ["experiment=reasoning/foo"],
        ["experiment", "'reasoning/foo'", *experiment_names()],
    ),
    "null for an experiment": (["experiment=null"], ["experiment", "null", "allowed: a name, or ~experiment"]),
    "learned step below its range": (
        ["solver.learn_step_size=true", "solver.step_size=0.05"],
        ["solver.step_size", "0.05", "strictly between 0.1 and 1.81818"],
    ),
    "learned step above its range": (
        ["solver.learn_step_size=true", "solver=nag", "solver.step_size=1.3"],
        ["solver.step_size", "1.3", "learned step of nag", "strictly between 0.1 and 1.29032"],
    ),
    "rnn with a learned step": (
        ["solver.learn_step_size=true", "solver=rnn"],
        ["solver.learn_step_size", "true", "allowed with solver rnn: false"],
    ),
    "rnn without steps": (["solver=rnn", "solver.steps=0"], ["solver.steps", "0", "allowed with solver rnn"]),
    "properties of an rnn": (["task=properties", "solver=rnn"], ["solver.name", "'rnn'", "gd, nag"]),
    "classifying with the wrong solver": (
        [*FRAMES, "solver=gd"],
        ["solver.name", "'gd'", "task classify: feedforward"],
    ),
    "classifying problems": ([*FRAMES, "data=quadratic"], ["data.name", "'quadratic'", "task classify: mnist1d"]),
    "classifying for another theory": (
        [*FRAMES, "theory=reasoning"],
        ["theory", "'reasoning'", "allowed with task classify: frames"],
    ),
    "classifying natively": ([*FRAMES, "run.backend=native"], ["run.backend", "'native'", "classify: auto, eager"]),
    "a key of problems with images": (
        [*FRAMES, "data.smoothness=2"],
        ["data.smoothness", "2.0", "does not read it: 1"],
    ),
    "a fit of images": (["data=digits"], ["data.name", "'digits'", "allowed with task fit: quadratic"]),
    "a fit with a potential": (["optim.potential_weight=1"], ["optim.potential_weight", "1.0", "task fit", "0"]),
    "negative potential weight": (
        [*FRAMES, "optim.potential_weight=-0.1"],
        ["optim.potential_weight", "-0.1", "a finite number >= 0"],
    ),
    "unknown potential": ([*FRAMES, "optim.potential=g"], ["optim.potential", "'g'", "one of f2_mean, f2, f"]),
    "no patience": ([*FRAMES, "optim.patience=0"], ["optim.patience", "0", "an integer >= 1 or null"]),
    "unknown kind": ([*FRAMES, "network.skip=some"], ["network.skip", "'some'", "one of chain, residual"]),
    "no kind": ([*FRAMES, "network.skip=null"], ["network.skip", "null", "a kind of structure"]),
    "widths that are no numbers": ([*FRAMES, "network.widths=8x"], ["network.widths", "'8x'", "joined by x"]),
    "widths and a depth": ([*FRAMES, "network.depth=2"], ["network.depth", "2", "given by network.widths: null"]),
    "no widths at all": ([*FRAMES, "network.widths=null"], ["network.width", "null", "an integer >= 1"]),
    "a kernel for a residual net": (
        [*FRAMES, "network.widths=null", "network.width=4", "network.depth=1", "network.groups=1", "network.kernel=3"],
        ["network.kernel", "'3'", "given by network.groups: null"],
    ),
    "unrolling without a sweep": (
        [*HYBRID, "data.population=10000", "solver.steps=0"],
        ["solver.steps", "0", "task hybrid: an integer >= 1"],
    ),
    "unrolling the wrong solver": ([*HYBRID, "solver=nag"], ["solver.name", "'nag'", "block_prox, ista, fista, admm"]),
    "unknown step rule": ([*HYBRID, "solver.step_rule=safe"], ["solver.step_rule", "'safe'", "relative, absolute"]),
    "unknown first step": ([*HYBRID, "solver.first_step=one"], ["solver.first_step", "'one'", "one of safe, unit"]),
    "unknown differentiation": (
        [*HYBRID, "solver.differentiation=none"],
        ["solver.differentiation", "'none'", "unrolled, implicit"],
    ),
    "a learned step at a fixed point": (
        [*HYBRID, "data.population=10000", "solver.differentiation=implicit", "solver.learn_step_size=true"],
        ["solver.learn_step_size", "true", "solver.differentiation=implicit: false"],
    ),
    "the least step of another task": (
        [*HYBRID, "data.population=10000", "solver.min_step_size=0.2"],
        ["solver.min_step_size", "0.2", "task hybrid, which does not read it: 0.1"],
    ),
    "a negative radius": ([*HYBRID, "attack.linf=-0.1"], ["attack.linf", "-0.1", "a finite number > 0 or null"]),
    "an attack without steps": ([*HYBRID, "attack.steps=0"], ["attack.steps", "0", "an integer >= 1"]),
    "a feed-forward net with a first step": (
        [*FRAMES, "solver.first_step=unit"],
        ["solver.first_step", "'unit'", "task classify, which does not read it: safe"],
    ),
    "an attack on a feed-forward net": ([*FRAMES, "attack.l2=1"], ["attack.l2", "1.0", "does not read it: null"]),
    "all rows of a population": (["data.n_train=null"], ["data.n_train", "null", "data quadratic: an integer >= 1"]),
    "a reasoning net without width": (["network.width=null"], ["network.width", "null", "network eigenvalue"]),
    "a sweep over nothing": (["seed=range(0)"], ["seed", "range(0)", "at least one value"]),
    "a glob that matches nothing": (["solver=glob(x*)"], ["solver", "glob(x*)", "at least one value"]),
}


def line_of(*overrides: str) -> str:
    """The message that overrides on a tiny config lead to."""
    with pytest.raises(ConfigError) as caught:
        tiny(*overrides)
    return str(caught.value)


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_told_in_one_line(what: str) -> None:
    overrides, said = BAD[what]
    line = line_of(*overrides)
    assert "\n" not in line
    assert all(part in line for part in said), line
    assert line.startswith(said[0]) or what == "removed unknown key", line


# The same as the last trial of a sweep that begins well.
SWEPT = {
    "text for a number": (["solver.steps=1,2,abc"], ["solver.steps", "'abc'"]),
    "fraction for an integer": (["seed=0,1,1.5"], ["seed", "'1.5'"]),
    "unknown key": (["foo=1,2"], ["foo", "there is no such key"]),
    "unknown key with +": (["+foo=1,2"], ["foo", "there is no such key"]),
    "negative steps": (["solver.steps=1,-1"], ["solver.steps", "-1"]),
    "no step size": (["solver.step_size=1,0"], ["solver.step_size", "0.0"]),
    "mu above L": (["data.strong_convexity=0.1,2"], ["data.strong_convexity", "2"]),
    "n above the population": (["data.n_train=10,61"], ["data.n_train", "61"]),
    "batch above n": (["optim.batch_size=5,11"], ["optim.batch_size", "11"]),
    "no learning rate": (["optim.lr=0.1,0"], ["optim.lr", "0.0"]),
    "learning rate not a number": (["optim.lr=0.1,nan"], ["optim.lr", "nan"]),
    "negative seed": (["seed=0,1,-1"], ["seed", "-1"]),
    "unknown solver": (["solver=gd,foo"], ["solver", "'foo'"]),
    "unknown experiment": (["experiment=reasoning/rnn,foo"], ["experiment", "'foo'"]),
    "learned step out of range": (
        ["solver.learn_step_size=true", "solver.step_size=1,2"],
        ["solver.step_size", "given 2", "strictly between 0.1 and 1.81818"],
    ),
    "learned step out of the range of the second solver": (
        ["solver.learn_step_size=true", "solver.step_size=1.5", "solver=gd,nag"],
        ["solver.step_size", "given 1.5", "learned step of nag"],
    ),
    "rnn with a learned step": (
        ["solver.learn_step_size=true", "solver=gd,rnn"],
        ["solver.learn_step_size", "allowed with solver rnn: false"],
    ),
    "one of a product": (["seed=0,1", "optim.lr=0.1,0.2,-1"], ["optim.lr", "-1.0", "a finite number > 0"]),
}


@pytest.mark.parametrize("what", SWEPT)
def test_a_bad_value_at_the_end_of_a_sweep_is_told_before_any_config_is_given_out(what: str) -> None:
    overrides, said = SWEPT[what]
    line = line_of(*overrides)
    assert "\n" not in line
    assert line.startswith(f"{said[0]}: given ")
    assert all(part in line for part in said), line


def test_the_same_without_the_bad_part_is_allowed() -> None:
    assert len(tiny("solver.learn_step_size=true", "solver=nag", "solver.step_size=1.2")) == 1
    assert len(tiny("solver=rnn", "solver.steps=1")) == 1
    assert len(tiny("data.n_train=60", "optim.batch_size=60")) == 1
    assert tiny("seed=0")[0]["seed"] == 0


def test_checks_against_the_population_wait_for_the_data_of_a_file() -> None:
    config = tiny("data.file=problems.npz", "data.n_train=61", "data.strong_convexity=2")[0]
    assert config["data.n_train"] == 61


def test_check_names_a_key_that_is_missing_or_unknown() -> None:
    config = expand([])[0]
    assert check(config) is config
    with pytest.raises(ConfigError, match=r"^optim\.lr: given nothing, allowed: a finite number > 0$"):
        check({name: value for name, value in config.items() if name != "optim.lr"})
    with pytest.raises(ConfigError, match=r"^foo: given 1, but there is no such key"):
        check(config | {"foo": 1})
    with pytest.raises(ConfigError, match=r"^foo: given 1, but there is no such key"):
        check_value("foo", 1)


def test_flatten_joins_names_and_leaves_the_grids_out() -> None:
    nested = {"seed": 1, "scale": {"name": "smoke", "grids": {"a": 1}}, "optim": {"lr": 0.1}}
    assert flatten(nested) == {"seed": 1, "scale.name": "smoke", "optim.lr": 0.1}


def test_one_line_gives_the_words_of_an_error_it_does_not_know() -> None:
    assert one_line(RuntimeError("two\n  lines"), []) == "two lines"


def test_experiment_names_are_those_of_the_files() -> None:
    names = experiment_names()
    assert names == sorted(names)
    assert "reasoning/generalization" in names
