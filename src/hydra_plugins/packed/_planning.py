"""Which trials run together: groups that differ only in packable keys, split by memory and number."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from hydra_plugins.packed._protocol import Config, Description

MEMORY = 1 << 30
"""Bytes that a pack may need where ``max_pack`` is automatic."""

MOST = 1024
"""Most trials of an automatic pack: more would gain nothing and cost more when a worker is lost."""


@dataclass(frozen=True)
class Plan:
    """A sweep as packs.

    Args:
        names: identity of every trial of the sweep, in its order; a repeated trial repeats its name.
        packs: positions of the trials of each pack; of a repeated trial the first counts.
    """

    names: tuple[str, ...]
    packs: tuple[tuple[int, ...], ...]


def plan(configs: Sequence[Config], descriptions: Sequence[Description], max_pack: int | None) -> Plan:
    """Group a sweep's trials into packs.

    The split is by the whole sweep, not by what is missing of it, so that a pack keeps its trials, and its checkpoint,
    across interruptions.

    Args:
        configs: the resolved config of every trial.
        descriptions: what the application says of each.
        max_pack: most trials a pack, or None to choose by memory.

    Returns:
        The plan.
    """
    names = tuple(description.name for description in descriptions)
    first: dict[str, int] = {}
    for position, name in enumerate(names):
        first.setdefault(name, position)
    keyed = sorted(
        ((_group(configs[i], descriptions[i]), descriptions[i].cost, names[i], i) for i in first.values()),
        key=lambda entry: entry[:3],
    )
    packs: list[tuple[int, ...]] = []
    for _, members in groupby(keyed, key=lambda entry: entry[0]):
        ordered = [entry[3] for entry in members]
        most = max_pack or max(1, min(MOST, MEMORY // max(1, max(descriptions[i].size for i in ordered))))
        packs += [tuple(ordered[at : at + most]) for at in range(0, len(ordered), most)]
    return Plan(names, tuple(packs))


def _group(config: Config, description: Description) -> str:
    packable = set(description.packable)
    fixed = {key: value for key, value in leaves(config) if key not in packable}
    return json.dumps(fixed, sort_keys=True, default=str)


def leaves(config: Config, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted keys and values of a nested config."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def pack_name(names: Sequence[str]) -> str:
    """Return a short name of a pack: a hash of its trials."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:16]
