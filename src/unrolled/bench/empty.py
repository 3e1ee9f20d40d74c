"""A Hydra app whose trials do nothing, to time sweeps by: python -m unrolled.bench.empty -m 'seed=range(10000)'.

It imports nothing of the package, so that what a command takes is Hydra's, the sweeper's and the launcher's alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from hydra_plugins.packed import Description, Outcome, packed

CONFIG = {
    "defaults": ["_self_", {"override hydra/sweeper": "packed"}, {"override hydra/launcher": "packed"}],
    "seed": 0,
    "store": "store",
    "hydra": {
        "output_subdir": None,
        "run": {"dir": "."},
        "sweep": {"dir": "sweep", "subdir": "."},
        "job": {"chdir": False},
    },
}
"""Hydra's settings are those of ``configs/train.yaml``."""


class EmptyPacking:
    """The packing protocol of trials without work: a pack's outcomes are one JSON file in the folder ``store``."""

    def describe(self, config: Mapping[str, Any]) -> Description:
        """Describe a trial, which has no work and differs from others in its seed alone."""
        if config["seed"] < 0:
            raise ValueError(f"seed: given {config['seed']}, allowed: an integer >= 0")
        return Description(str(config["seed"]), {"seed"}, cost=0.0)

    def begin(self, configs: Sequence[Mapping[str, Any]]) -> None:
        """Note nothing."""

    def outcomes(self, configs: Sequence[Mapping[str, Any]]) -> Mapping[str, Outcome]:
        """Return what the files hold."""
        folders = {Path(config["store"]) for config in configs}
        packs = [json.loads(file.read_text()) for folder in sorted(folders) for file in sorted(folder.glob("*.json"))]
        return {name: Outcome(value) for pack in packs for name, value in pack.items()}

    def run(self, configs: Sequence[Mapping[str, Any]]) -> None:
        """Record every trial's outcome, in one file that appears whole."""
        names = [str(config["seed"]) for config in configs]
        file = Path(configs[0]["store"]) / f"{min(names)}-{max(names)}-{len(names)}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(dict.fromkeys(names, 0.0)))
        temporary.replace(file)


@packed(EmptyPacking())
def empty(config: DictConfig) -> float:
    """Do nothing; what Hydra calls for every job where the basic launcher runs them."""
    return 0.0


if __name__ == "__main__":
    ConfigStore.instance().store(name="empty", node=CONFIG)
    hydra.main(version_base="1.3", config_path=None, config_name="empty")(empty)()
