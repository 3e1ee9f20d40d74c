"""From Hydra overrides to checked configs, without composing every trial."""

from __future__ import annotations

from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from hydra_plugins.packed import Expander, group_options
from unrolled.config.check import ConfigError, Flat, check, flatten, one_line
from unrolled.config.schema import CONFIGS, register


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
            loader = GlobalHydra.instance().config_loader()
            expander = Expander(
                lambda texts: compose("train", list(texts), return_hydra_config=True),
                lambda group: group_options(loader, group),
            )
            return [check(flatten(trial.config)) for trial in expander.expand(overrides)]
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(one_line(error, overrides)) from error
