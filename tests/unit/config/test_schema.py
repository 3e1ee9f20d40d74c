"""The schema alone: what every key says about itself."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import get_type_hints

import pytest
import yaml
from omegaconf import OmegaConf

from unrolled.config.check import check_value, rules
from unrolled.config.schema import CONFIGS, TrainConfig


def leaves(node: type, prefix: str = "") -> set[str]:
    """Dotted names of all keys, found without the code under test."""
    names: set[str] = set()
    for f in fields(node):
        kind = get_type_hints(node)[f.name]
        names |= leaves(kind, f"{prefix}{f.name}.") if is_dataclass(kind) else {prefix + f.name}
    return names


DEFAULTS = OmegaConf.structured(TrainConfig)


def test_rules_cover_every_key() -> None:
    assert set(rules()) == leaves(TrainConfig)


@pytest.mark.parametrize("name", sorted(leaves(TrainConfig)))
def test_every_rule_says_what_is_allowed_and_its_default_passes(name: str) -> None:
    rule = rules()[name]
    assert rule["allowed"]
    assert callable(rule["check"])
    check_value(name, OmegaConf.select(DEFAULTS, name))


@pytest.mark.parametrize("name", sorted(leaves(TrainConfig)))
def test_null_is_allowed_in_words_exactly_where_the_type_allows_it(name: str) -> None:
    kind = get_type_hints(TrainConfig)
    for part in name.split(".")[:-1]:
        kind = get_type_hints(kind[part])
    optional = type(None) in getattr(kind[name.split(".")[-1]], "__args__", ())
    assert rules()[name]["optional"] == optional
    if optional and name != "experiment":
        assert "null" in rules()[name]["allowed"]


@pytest.mark.parametrize("group", ["data", "network", "solver", "optim", "scale", "tracker"])
def test_every_name_of_a_group_has_a_file_and_the_other_way_round(group: str) -> None:
    # OmegaConf.structured keeps no metadata, so the names are read from the sentence that the user sees.
    key = "tracker.mode" if group == "tracker" else f"{group}.name"
    names = set(rules()[key]["allowed"].removeprefix("one of ").split(", "))
    files = {path.stem: yaml.safe_load(path.read_text()) for path in (CONFIGS / group).glob("*.yaml")}
    assert names <= set(files)
    # A file may also be a preset of one of the names, like a residual net among the frames.
    assert all(content[key.split(".")[1]] in names for content in files.values())
    assert all(files[name][key.split(".")[1]] == name for name in names)
