"""The packed sweeper: ordinary Hydra sweeps, expanded without composing every trial."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from hydra_plugins.packed._expansion import Expander, group_options
from hydra_plugins.packed._launcher import PackedLauncher

MOST_REASONS = 5
"""Reasons told at the end of a sweep."""


@dataclass
class PackedSweeperConf:
    """Config of the packed sweeper; the same keys as Hydra's basic one."""

    _target_: str = "hydra_plugins.packed._sweeper.PackedSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = None


ConfigStore.instance().store(group="hydra/sweeper", name="packed", node=PackedSweeperConf, provider="packed")


class PackedSweeper(Sweeper):
    """Expands a sweep and hands all its trials to the packed launcher.

    With another launcher, or an application without the packing protocol, it is Hydra's basic sweeper.
    """

    def __init__(self, max_batch_size: int | None, params: dict[str, str] | None = None) -> None:
        self.max_batch_size, self.params = max_batch_size, params
        self.hydra_context: HydraContext | None = None
        self.config: DictConfig | None = None
        self.task_function: TaskFunction | None = None
        self.launcher: Launcher | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take Hydra's context and make the launcher, which checks its settings."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config
        if self.max_batch_size is not None and self.max_batch_size < 1:
            given = f"given {self.max_batch_size}, allowed: an integer >= 1 or null"
            raise HydraException(f"hydra.sweeper.max_batch_size: {given}")
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep of a command line.

        Returns:
            A list of batches of JobReturn, as Hydra's basic sweeper gives it.

        Raises:
            HydraException: a value is not allowed (before anything runs), or trials failed (after all have run).
        """
        assert self.config is not None
        assert self.hydra_context is not None
        if not isinstance(self.launcher, PackedLauncher) or self.launcher.packing is None:
            return self._basic().sweep(arguments)
        config, loader = self.config, self.hydra_context.config_loader
        expander = Expander(
            lambda overrides: loader.load_sweep_config(config, list(overrides)),
            lambda group: group_options(loader, group),
        )
        trials = list(expander.expand(arguments))
        size = self.max_batch_size or len(trials)
        batches = [
            self.launcher.launch_trials(trials[at : at + size], initial_job_idx=at)
            for at in range(0, len(trials), size)
        ]
        failed = [r for batch in batches for r in batch if r.status is JobStatus.FAILED]
        if failed:
            raise HydraException(f"{len(failed)} of {len(trials)} trials failed: {_reasons(failed)}")
        return batches

    def _basic(self) -> Sweeper:
        """Return Hydra's basic sweeper, by its config: Hydra's scan makes classes of its own, so none is imported."""
        assert self.config is not None
        assert self.hydra_context is not None
        assert self.task_function is not None
        config = self.config.copy()
        node = ConfigStore.instance().load("hydra/sweeper/basic.yaml").node
        with open_dict(config):
            settings = {"max_batch_size": self.max_batch_size, "params": self.params}
            config.hydra.sweeper = OmegaConf.merge(node, settings)
        return Plugins.instance().instantiate_sweeper(
            hydra_context=self.hydra_context, task_function=self.task_function, config=config
        )


def _reasons(failed: list[JobReturn]) -> str:
    """Tell why trials failed: each reason once, with the number of its trials and the first of them."""
    of: dict[str, list[JobReturn]] = {}
    for returned in failed:
        of.setdefault(str(returned._return_value), []).append(returned)
    told = [f"{reason} ({len(r)} trials, first: {' '.join(r[0].overrides or [])})" for reason, r in of.items()]
    return "; ".join(told[:MOST_REASONS]) + (f"; and {len(told) - MOST_REASONS} more" * (len(told) > MOST_REASONS))
