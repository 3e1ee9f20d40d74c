"""The packed launcher: many trials a job, over any Hydra launcher, results taken from the application's records."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from hydra_plugins.packed._expansion import Expanded
from hydra_plugins.packed._planning import Plan, plan
from hydra_plugins.packed._protocol import ATTRIBUTE, Description, Outcome, Packing
from hydra_plugins.packed._sweep import PackedSweep, told_if_full

log = logging.getLogger(__name__)

GROUP = "hydra/launcher"
EXTRAS = {
    "joblib": "hydra-joblib-launcher",
    "ray": "hydra-ray-launcher",
    "submitit_local": "hydra-submitit-launcher",
    "submitit_slurm": "hydra-submitit-launcher",
}


@dataclass
class PackedLauncherConf:
    """Config of the packed launcher.

    Args:
        over: the launcher that runs the packs, by its name in the config group ``hydra/launcher``.
        settings: that launcher's own settings, merged into its config.
        max_pack: most trials a pack; null chooses by memory.
        attempts: how often a pack may be lost with its worker before it is given up.
        on_error: ``continue`` runs all packs; ``stop`` starts no pack after one has failed.
        dry_run: tell what would run, and run nothing.
        trial_folders: also write a folder for each trial into the sweep's, with its config and overrides.
    """

    _target_: str = "hydra_plugins.packed._launcher.PackedLauncher"
    over: str = "basic"
    settings: dict[str, Any] = field(default_factory=dict)
    max_pack: int | None = None
    attempts: int = 3
    on_error: str = "continue"
    dry_run: bool = False
    trial_folders: bool = False


ConfigStore.instance().store(group=GROUP, name="packed", node=PackedLauncherConf, provider="packed")


def known_launchers() -> list[str]:
    """Return the names of the launchers that are installed, without this one."""
    names = {Path(name).stem for name in ConfigStore.instance().list(GROUP)}
    return sorted(names - {"packed"})


def check_launcher(name: str, key: str = "hydra.launcher.over") -> None:
    """Raise :class:`HydraException` unless a launcher is installed; ``key`` is what the user set."""
    Plugins.instance()  # makes Hydra find the launchers
    if name not in known_launchers():
        hint = f" (pip install {EXTRAS[name]})" if name in EXTRAS else ""
        raise HydraException(f"{key}: given {name!r}, allowed: {', '.join(known_launchers())}{hint}")


class TrialReturn(JobReturn):
    """A trial's return, whose config is only made into a node when somebody looks: a sweep may have 20,000."""

    def __init__(self, trial: Expanded, outcome: Outcome | None, hydra_cfg: DictConfig, task_name: str) -> None:
        self._plain = trial.config
        failed = outcome is not None and outcome.error is not None
        super().__init__(
            overrides=list(trial.overrides),
            hydra_cfg=hydra_cfg,
            working_dir=os.getcwd(),
            task_name=task_name,
            status=JobStatus.UNKNOWN if outcome is None else JobStatus.FAILED if failed else JobStatus.COMPLETED,
        )
        if outcome is not None:
            self.return_value = PackedTrialError(outcome.error) if failed else outcome.value

    @property
    def cfg(self) -> DictConfig:
        """The trial's config."""
        return OmegaConf.create(self._plain)

    @cfg.setter
    def cfg(self, value: DictConfig | None) -> None:
        """Ignore what the parent's constructor sets; the config is fixed."""


class PackedTrialError(HydraException):
    """A trial failed; the message is the one its application recorded."""


class PackedLauncher(Launcher):
    """Runs trials in packs over another launcher; see :class:`PackedLauncherConf` for the arguments.

    An application without a :class:`hydra_plugins.packed._protocol.Packing` is handed to the wrapped launcher as it is.
    """

    def __init__(
        self,
        over: str,
        settings: dict[str, Any],
        max_pack: int | None,
        attempts: int,
        on_error: str,
        dry_run: bool,
        trial_folders: bool,
    ) -> None:
        self.over, self.settings, self.max_pack, self.attempts = over, settings, max_pack, attempts
        self.on_error, self.dry_run, self.trial_folders = on_error, dry_run, trial_folders
        self.config: DictConfig | None = None
        self.task_function: TaskFunction | None = None
        self.hydra_context: HydraContext | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take Hydra's context, and check the settings before anything is expanded."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config
        check_launcher(self.over)
        if self.on_error not in ("continue", "stop"):
            raise HydraException(f"hydra.launcher.on_error: given {self.on_error!r}, allowed: continue, stop")
        if self.max_pack is not None and self.max_pack < 1:
            raise HydraException(f"hydra.launcher.max_pack: given {self.max_pack}, allowed: an integer >= 1 or null")
        if self.attempts < 1:
            raise HydraException(f"hydra.launcher.attempts: given {self.attempts}, allowed: an integer >= 1")
        self._wrapped_config()

    @property
    def packing(self) -> Packing | None:
        """The application's protocol, or None."""
        return getattr(self.task_function, ATTRIBUTE, None)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run jobs that another sweeper made: each is composed by itself, then packed."""
        assert self.hydra_context is not None
        assert self.config is not None
        assert self.task_function is not None
        if self.packing is None:
            if self.dry_run:
                raise HydraException("hydra.launcher.dry_run: given true, allowed for applications that are packed")
            return self.wrapped(self.task_function).launch(job_overrides, initial_job_idx)
        trials = []
        for overrides in job_overrides:
            config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
            with open_dict(config):
                config.pop("hydra")
            plain = OmegaConf.to_container(config, resolve=True)
            assert isinstance(plain, dict)
            trials.append(Expanded(tuple(overrides), {str(key): value for key, value in plain.items()}))
        return self.launch_trials(trials, initial_job_idx)

    def launch_trials(self, trials: Sequence[Expanded], initial_job_idx: int = 0) -> list[JobReturn]:
        """Check, pack and run trials; return one JobReturn a trial, in order.

        A pack that was lost with its worker is submitted again until that has happened ``attempts`` times; the last
        time it runs alone, so that a deadly pack takes no other with it.
        """
        packing = self.packing
        assert packing is not None
        assert self.config is not None
        configs = [trial.config for trial in trials]
        whole = plan(configs, self._described(trials), self.max_pack)
        if not self.dry_run:
            packing.begin(configs)
        sweep = PackedSweep(self, packing, trials, whole, initial_job_idx)
        if self.dry_run:
            sweep.announce(sweep.unfinished())
        else:
            with told_if_full(self.config):
                self._write_folders(trials, whole)
            sweep.run()
        task_name = str(self.config.hydra.job.name)
        return [
            TrialReturn(trial, None if self.dry_run else sweep.outcome(name), self.config, task_name)
            for trial, name in zip(trials, whole.names, strict=True)
        ]

    def _described(self, trials: Sequence[Expanded]) -> list[Description]:
        """Let the application check and describe every trial; an error says which trial it is about."""
        assert self.packing is not None
        descriptions = []
        for number, trial in enumerate(trials, start=1):
            try:
                descriptions.append(self.packing.describe(trial.config))
            except Exception as error:  # whatever the application raises for a config that it does not allow
                given = " ".join(trial.overrides)
                raise HydraException(f"{error} (trial {number:,} of {len(trials):,}: {given})") from error
        return descriptions

    def _write_folders(self, trials: Sequence[Expanded], whole: Plan) -> None:
        """Write the sweep's config, as Hydra's own sweeper does, and those of the trials if asked for."""
        assert self.config is not None
        sweep = Path(str(self.config.hydra.sweep.dir))
        sweep.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, sweep / "multirun.yaml")
        for trial, name in zip(trials, whole.names, strict=True) if self.trial_folders else ():
            folder = sweep / name / ".hydra"
            folder.mkdir(parents=True, exist_ok=True)
            OmegaConf.save(OmegaConf.create(trial.config), folder / "config.yaml")
            OmegaConf.save(OmegaConf.create(list(trial.overrides)), folder / "overrides.yaml")

    def wrapped(self, task: TaskFunction) -> Launcher:
        assert self.hydra_context is not None
        return Plugins.instance().instantiate_launcher(
            hydra_context=self.hydra_context, task_function=task, config=self._wrapped_config()
        )

    def _wrapped_config(self) -> DictConfig:
        """Return Hydra's config with the wrapped launcher's node in place of this one's."""
        assert self.config is not None
        config = self.config.copy()
        node = ConfigStore.instance().load(f"{GROUP}/{self.over}.yaml").node
        try:
            with open_dict(config):
                config.hydra.launcher = OmegaConf.merge(node, self.settings)
        except OmegaConfBaseException as error:
            reason = str(error).splitlines()[0]
            allowed = ", ".join(str(key) for key in node if key != "_target_")
            raise HydraException(
                f"hydra.launcher.settings: {reason}; the settings of {self.over} are {allowed or 'none'}"
            ) from error
        return config
