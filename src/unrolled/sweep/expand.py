"""From Hydra overrides to trials: one composition a choice of groups, values applied through the schema."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from unrolled.config.check import ConfigError, Flat, check, check_value, flatten, one_line
from unrolled.config.schema import CONFIGS, register

Choices = dict[str, list[str]]


def expand(overrides: list[str], folder: Path = CONFIGS) -> list[Flat]:
    """Return the config of every trial of a sweep, checked.

    Args:
        overrides: Hydra overrides, sweeps among them (``seed=range(20)``, ``solver=gd,nag``, ``optim.lr=1e-2,1e-3``).
            The sweep of an experiment file (``hydra.sweeper.params``) applies to keys that the overrides do not name.
        folder: the Hydra config folder.

    Returns:
        One flat config a trial, in the order of the product; each passed :func:`unrolled.config.check.check`.

    Raises:
        ConfigError: one line that names the key, what was given and what is allowed.
    """
    register()
    try:
        with initialize_config_dir(str(folder), version_base="1.3"):
            return list(_expand(overrides, folder))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(one_line(error, overrides)) from error


def _expand(overrides: list[str], folder: Path) -> Iterator[Flat]:
    fixed, groups, values = _split(overrides, folder)
    named = {_key(o).split("@")[0] for o in OverridesParser.create().parse_overrides(overrides)}
    for choice in _product(groups):
        config = compose("train", [*fixed, *choice], return_hydra_config=True)
        params = OmegaConf.to_container(config.hydra.sweeper.get("params") or OmegaConf.create(), resolve=True)
        assert isinstance(params, dict)
        more = [f"{key!s}={value}" for key, value in params.items() if key not in named]
        more_fixed, more_groups, more_values = _split(more, folder)
        for inner in _product(more_groups):
            yield from _trials(compose("train", [*fixed, *choice, *more_fixed, *inner]), more_values | values)


def _split(overrides: list[str], folder: Path) -> tuple[list[str], Choices, Choices]:
    """Split overrides into fixed ones, swept groups and swept values."""
    fixed: list[str] = []
    groups: Choices = {}
    values: Choices = {}
    for text, override in zip(overrides, OverridesParser.create().parse_overrides(overrides), strict=True):
        name = _key(override)
        if override.value() is None and (folder / name).is_dir() and not override.is_delete():
            raise ConfigError(f"{name}: given null, allowed: a name, or ~{name} for none")
        if not override.is_sweep_override():
            fixed.append(text)
            groups.pop(name, None)  # what comes last counts, as in Hydra
            values.pop(name, None)
            continue
        target = groups if (folder / name).is_dir() else values
        target[name] = [str(option) for option in _options(override, folder)]
        if not target[name]:
            raise ConfigError(f"{name}: given {override.get_value_string()}, which is empty; allowed: at least one value")
    return fixed, groups, values


def _key(override: Override) -> str:
    return str(override.get_key_element()).lstrip("+~")


def _options(override: Override, folder: Path) -> Iterable[Any]:
    """Return the swept values; a glob matches the files of its group."""
    value = override.value()
    if not isinstance(value, Glob):
        return list(override.sweep_string_iterator())
    group = folder / _key(override)
    return sorted(value.filter([str(path.relative_to(group).with_suffix("")) for path in group.rglob("*.yaml")]))


def _product(choices: Choices) -> Iterator[list[str]]:
    for combination in itertools.product(*choices.values()):
        yield [f"{name}={option}" for name, option in zip(choices, combination, strict=True)]


def _trials(config: DictConfig, choices: Choices) -> Iterator[Flat]:
    raw = OmegaConf.to_container(config, resolve=False)
    if any(_refers(raw, name) for name in choices):
        yield from _trials_with_references(config, choices)
        return
    base = _resolved(config)
    scratch = config.copy()
    typed = [[_typed(scratch, name, text) for text in texts] for name, texts in choices.items()]
    # Whatever a swept key does not touch is checked once; a swept value alone once, together for every trial.
    for combination in itertools.product(*typed):
        yield check({**base, **dict(zip(choices, combination, strict=True))})


def _resolved(config: DictConfig) -> Flat:
    container = OmegaConf.to_container(config, resolve=True)
    assert isinstance(container, dict)
    return flatten({str(key): value for key, value in container.items()})


def _refers(raw: Any, name: str) -> bool:
    """Whether any value is an interpolation of a key, so that it changes with it; a relative one may be."""
    if isinstance(raw, dict):
        return any(_refers(value, name) for value in raw.values())
    return isinstance(raw, str) and (f"${{{name}" in raw or "${." in raw)


def _trials_with_references(config: DictConfig, choices: Choices) -> Iterator[Flat]:
    for combination in itertools.product(*choices.values()):
        copy = config.copy()
        for name, text in zip(choices, combination, strict=True):
            _set(copy, name, text)
        yield check(_resolved(copy))


def _typed(scratch: DictConfig, name: str, text: str) -> Any:
    """Return one swept value as the schema's type, checked; it is left in the scratch config."""
    _set(scratch, name, text)
    value = OmegaConf.select(scratch, name)
    check_value(name, value)
    return value


def _set(config: DictConfig, name: str, text: str) -> None:
    value = OverridesParser.create().parse_override(f"{name}={text}").value()
    try:
        OmegaConf.update(config, name, value)
    except OmegaConfBaseException as error:
        raise ConfigError(one_line(error, [f"{name}={text}"])) from error
