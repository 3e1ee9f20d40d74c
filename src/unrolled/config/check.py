"""Checks of a composed config, and errors told in one line: the key, what was given, what is allowed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from unrolled.config.schema import CONFIGS, TrainConfig
from unrolled.config.tasks import ConfigError, Flat, check_task


@lru_cache
def rules(node: type = TrainConfig, prefix: str = "") -> dict[str, Any]:
    """Return the metadata of every leaf of the schema, by dotted key."""
    found: dict[str, Any] = {}
    hints = get_type_hints(node)
    for f in fields(node):
        if is_dataclass(hints[f.name]):
            found |= rules(hints[f.name], f"{prefix}{f.name}.")
        else:
            optional = type(None) in get_args(hints[f.name])
            found[prefix + f.name] = {**f.metadata, "optional": optional}
    return found


def flatten(config: Mapping[str, Any], prefix: str = "") -> Flat:
    """Return a nested config as one dictionary with dotted keys; ``scale.grids`` is left out."""
    flat: Flat = {}
    for name, value in config.items():
        if f"{prefix}{name}" == "scale.grids":
            continue
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def check_value(name: str, value: Any) -> None:
    """Raise :class:`ConfigError` unless a single key is known and its value in its range."""
    if name not in rules():
        raise ConfigError(_unknown(name, value))
    rule = rules()[name]
    if value is None:
        if not rule["optional"]:
            raise ConfigError(f"{name}: given null, allowed: {rule['allowed']}")
    elif not rule["check"](value):
        raise ConfigError(f"{name}: given {value!r}, allowed: {rule['allowed']}")


def check_together(flat: Flat) -> None:
    """Raise :class:`ConfigError` unless values that depend on each other fit together."""
    check_task(flat)
    n = flat["data.n_train"]
    if flat["data.name"] == "quadratic":
        if n is None:
            raise ConfigError("data.n_train: given null, allowed with data quadratic: an integer >= 1")
        _check_problems(flat)
    batch = flat["optim.batch_size"]
    if batch is not None and n is not None and batch > n:
        raise ConfigError(f"optim.batch_size: given {batch}, allowed: 1 to data.n_train = {n}")
    _check_solver(flat)


def _check_problems(flat: Flat) -> None:
    mu, smooth = flat["data.strong_convexity"], flat["data.smoothness"]
    if flat["data.file"] is None:
        if mu >= smooth:
            raise ConfigError(f"data.strong_convexity: given {mu:g}, allowed: below data.smoothness = {smooth:g}")
        if flat["data.n_train"] > flat["data.population"]:
            raise ConfigError(
                f"data.n_train: given {flat['data.n_train']}, allowed: 1 to data.population = {flat['data.population']}"
            )


def _check_solver(flat: Flat) -> None:
    if flat["solver.name"] == "feedforward":
        return
    if flat["task"] == "hybrid":
        if flat["solver.steps"] < 1:
            raise ConfigError(f"solver.steps: given {flat['solver.steps']}, allowed with task hybrid: an integer >= 1")
        if flat["solver.learn_step_size"] and flat["solver.differentiation"] == "implicit":
            raise ConfigError(
                "solver.learn_step_size: given true, allowed with solver.differentiation=implicit: false (a fixed "
                "point does not depend on the step size)"
            )
        return
    if flat["solver.name"] == "rnn":
        if flat["solver.learn_step_size"]:
            raise ConfigError(
                "solver.learn_step_size: given true, allowed with solver rnn: false (its cell is learned)"
            )
        if flat["solver.steps"] < 1:
            raise ConfigError(f"solver.steps: given {flat['solver.steps']}, allowed with solver rnn: an integer >= 1")
        if flat["task"] == "properties":
            raise ConfigError("solver.name: given 'rnn', allowed with task properties: gd, nag")
    elif flat["solver.learn_step_size"] and flat["data.file"] is None:
        check_learned_start(flat, flat["data.strong_convexity"], flat["data.smoothness"])


def check_learned_start(flat: Flat, mu: float, smooth: float) -> None:
    """Raise :class:`ConfigError` unless a learned step starts inside the range where its solver converges."""
    from unrolled.solvers.properties import step_range

    low, high = step_range(flat["solver.name"], mu, smooth, flat["solver.min_step_size"])
    if not low < flat["solver.step_size"] < high:
        raise ConfigError(
            f"solver.step_size: given {flat['solver.step_size']:g}, allowed for a learned step of "
            f"{flat['solver.name']}: strictly between {low:g} and {high:g}"
        )


def check(flat: Flat) -> Flat:
    """Check a whole config.

    Args:
        flat: every key of the schema, dotted.

    Returns:
        The same dictionary.

    Raises:
        ConfigError: the first thing that is not allowed.
    """
    for name, value in flat.items():
        if name not in rules():
            raise ConfigError(_unknown(name, value))
    for name in rules():
        if name != "scale.grids":
            if name not in flat:
                raise ConfigError(f"{name}: given nothing, allowed: {rules()[name]['allowed']}")
            check_value(name, flat[name])
    check_together(flat)
    return flat


def one_line(error: BaseException, overrides: list[str]) -> str:
    """Tell an error of Hydra or OmegaConf in one line: the key, what was given, what is allowed.

    Args:
        error: what was raised while a config was composed.
        overrides: the command line's overrides, to find what was given.

    Returns:
        One line; the error's own words where its key is not known.
    """
    text = " ".join(str(error).split())
    if not isinstance(error, (HydraException, OmegaConfBaseException)):
        return text
    if missing := re.search(
        r"Could not find '(.+?)/([^/']+)'(?: Available options in '.*?': (.*?) Config search)?", text
    ):
        return _unknown_choice(*missing.groups())
    if there := re.search(r"already at '(.+?)'", text):
        return f"{there[1]}: given with +, allowed: without it, for the key is there already"
    found = re.search(r"(?:not|merging|parsing) override '?[+~]{0,2}([\w./@]+)|full_key: (\S+)", text)
    if not found:
        return text
    name = next(group for group in found.groups() if group)
    # A key may be given twice or swept: the error's own text says best what it is about.
    merged = re.search(rf"merging override [+]*{re.escape(name)}=(.*)", text)
    texts = [o.split("=", 1)[1] for o in overrides if "=" in o and o.lstrip("+~").split("=")[0] == name]
    given = merged[1] if merged else texts[-1] if texts else None
    if name not in rules():
        return _unknown(name, given)
    return f"{name}: given {'nothing' if given is None else repr(given)}, allowed: {rules()[name]['allowed']}"


def _unknown(name: str, given: object) -> str:
    near = difflib.get_close_matches(name, rules(), n=1, cutoff=0.5)
    room = name.rpartition(".")[0]
    siblings = [k for k in rules() if k.rpartition(".")[0] == room] or sorted({k.split(".")[0] for k in rules()})
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"{name}: given {given!r}, but there is no such key{hint}; allowed: {', '.join(siblings)}"


def _unknown_choice(group: str, option: str, options: str | None) -> str:
    if group.startswith("experiment"):
        group, option = "experiment", f"{group}/{option}".removeprefix("experiment/")
        options = " ".join(experiment_names())
    allowed = f"one of {', '.join(options.split())}" if options else "a file of that group in configs/"
    return f"{group}: given {option!r}, allowed: {allowed}"


def experiment_names(folder: Path = CONFIGS) -> list[str]:
    """Return the names of all experiments, like ``reasoning/generalization``."""
    root = folder / "experiment"
    return sorted(str(path.relative_to(root).with_suffix("")) for path in root.rglob("*.yaml"))
