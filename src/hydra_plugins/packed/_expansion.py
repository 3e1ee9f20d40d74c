"""From overrides to the configs of all trials: one composition a choice of groups, not one a trial.

Hydra composes every job from files, 0.1 s or more each. Here a composition is made for every combination of swept
config groups; swept values are set on it through the schema. Where a config refers to a swept key by interpolation,
each trial is resolved by itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

Choices = dict[str, list[str]]


@dataclass(frozen=True)
class Expanded:
    """One trial of a sweep.

    Args:
        overrides: what Hydra would call its overrides.
        config: its resolved config, plain and nested, without Hydra's node.
    """

    overrides: tuple[str, ...]
    config: dict[str, Any]


def group_options(loader: ConfigLoader, group: str) -> list[str]:
    """Return the options of a config group, those of its subgroups as ``subgroup/option``; empty for no group."""
    subgroups = loader.get_group_options(group, results_filter=ObjectType.GROUP)
    nested = [f"{name}/{option}" for name in subgroups for option in group_options(loader, f"{group}/{name}")]
    return sorted([*loader.get_group_options(group), *nested])


class Expander:
    """Expands overrides against the configs that a composer reads.

    Args:
        compose: from overrides without sweeps to a config; its ``hydra`` node is used for ``hydra.sweeper.params``.
        options: from a key to the options of that config group, empty for a key that is no group.
    """

    def __init__(self, compose: Callable[[list[str]], DictConfig], options: Callable[[str], Sequence[str]]) -> None:
        self.compose = compose
        self.options = lru_cache(maxsize=None)(options)

    def expand(self, overrides: Sequence[str]) -> Iterator[Expanded]:
        """Yield the trials of a sweep, in the order of the product of its sweeps.

        ``hydra.sweeper.params`` of the composed config (an experiment file's sweep, say) applies to the keys that the
        overrides do not name.

        Args:
            overrides: Hydra overrides, with or without sweeps.

        Raises:
            HydraException, OmegaConfBaseException: an override or its value is not allowed.
        """
        fixed, groups, values = self._split(overrides)
        named = {_key(override) for override in parsed(overrides)}
        for choice in _product(groups):
            config = self.compose([*fixed, *choice])
            params = _params(config)
            more = [f"{key}={value}" for key, value in params.items() if key not in named]
            more_fixed, more_groups, more_values = self._split(more)
            for inner in _product(more_groups):
                chosen = [*more_fixed, *inner, *fixed, *choice]
                composed = self.compose(chosen) if more_fixed or inner else config
                yield from _trials(_without_hydra(composed), chosen, more_values | values)

    def _split(self, overrides: Sequence[str]) -> tuple[list[str], Choices, Choices]:
        """Split overrides into fixed ones, swept groups and swept values; of a key given twice the last counts."""
        fixed: dict[str, str] = {}
        groups: Choices = {}
        values: Choices = {}
        for text, override in zip(overrides, parsed(overrides), strict=True):
            name = _key(override)
            if override.value() is None and not override.is_delete() and self.options(name):
                raise HydraException(f"{name}: given null, allowed: a name, or ~{name} for none")
            for earlier in (fixed, groups, values):
                earlier.pop(name, None)
            if not override.is_sweep_override():
                fixed[name] = text
                continue
            chosen = [str(option) for option in self._chosen(override, name)]
            if not chosen:
                given = override.get_value_string()
                raise HydraException(f"{name}: given {given}, which is empty; allowed: at least one value")
            (groups if self.options(name) else values)[_prefixed(override)] = chosen
        return list(fixed.values()), groups, values

    def _chosen(self, override: Override, name: str) -> Iterable[Any]:
        value = override.value()
        if isinstance(value, Glob):
            return sorted(value.filter(list(self.options(name))))
        if not override.is_discrete_sweep():
            raise HydraException(f"{name}: given {override.get_value_string()}, allowed: a choice, range or glob")
        return override.sweep_string_iterator()


def parsed(overrides: Sequence[str]) -> list[Override]:
    """Parse overrides in Hydra's grammar."""
    return OverridesParser.create().parse_overrides(list(overrides))


def _key(override: Override) -> str:
    return str(override.get_key_element()).lstrip("+~").split("@")[0]


def _prefixed(override: Override) -> str:
    """The key with its ``+``, if it has one: an added key stays an added one in every trial."""
    return str(override.get_key_element())


def _params(config: DictConfig) -> dict[str, Any]:
    node = OmegaConf.select(config, "hydra.sweeper.params")
    return {} if node is None else dict(OmegaConf.to_container(node, resolve=True))  # type: ignore[arg-type]


def _product(choices: Choices) -> Iterator[list[str]]:
    for combination in itertools.product(*choices.values()):
        yield [f"{name}={option}" for name, option in zip(choices, combination, strict=True)]


def _without_hydra(config: DictConfig) -> DictConfig:
    bare = config.copy()
    with open_dict(bare):
        bare.pop("hydra", None)
    return bare


def _trials(config: DictConfig, chosen: Sequence[str], choices: Choices) -> Iterator[Expanded]:
    raw = OmegaConf.to_container(config, resolve=False)
    fixed = tuple(text for text in chosen if not text.startswith("hydra"))
    if any(_refers(raw, name.lstrip("+")) for name in choices):
        for combination in itertools.product(*choices.values()):
            copy = config.copy()
            pairs = tuple(zip(choices, combination, strict=True))
            for name, text in pairs:
                _set(copy, name, text)
            yield Expanded((*fixed, *(f"{n}={t}" for n, t in pairs)), _plain(copy))
        return
    base = _plain(config)
    scratch = config.copy()
    typed = [[(text, _typed(scratch, name, text)) for text in texts] for name, texts in choices.items()]
    paths = [name.lstrip("+").split(".") for name in choices]
    for row in itertools.product(*typed):
        trial = _copied(base)
        for path, (_, value) in zip(paths, row, strict=True):
            _place(trial, path, value)
        yield Expanded((*fixed, *(f"{n}={text}" for n, (text, _) in zip(choices, row, strict=True))), trial)


def _plain(config: DictConfig) -> dict[str, Any]:
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def _copied(node: Any) -> Any:
    """Copy nested dictionaries; leaves are shared, as nobody writes into them."""
    return {key: _copied(value) for key, value in node.items()} if isinstance(node, dict) else node


def _place(config: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for part in path[:-1]:
        config = config.setdefault(part, {})
    config[path[-1]] = value


def _refers(raw: Any, name: str) -> bool:
    """Whether any value is an interpolation of a key, so that it changes with it; a relative one may be."""
    if isinstance(raw, dict):
        return any(_refers(value, name) for value in raw.values())
    if isinstance(raw, list):
        return any(_refers(value, name) for value in raw)
    return isinstance(raw, str) and (f"${{{name}" in raw or "${." in raw)


def _typed(scratch: DictConfig, name: str, text: str) -> Any:
    """Return one swept value as the schema's type; it is left in the scratch config."""
    _set(scratch, name, text)
    value = OmegaConf.select(scratch, name.lstrip("+"))
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _set(config: DictConfig, name: str, text: str) -> None:
    value = parsed([f"{name}={text}"])[0].value()
    try:
        OmegaConf.update(config, name.lstrip("+"), value, force_add=name.startswith("+"))
    except OmegaConfBaseException as error:
        raise HydraException(f"Error merging override {name}={text}") from error
