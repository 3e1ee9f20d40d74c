"""Hydra's own test suites for launchers, passed by the packed launcher with either sweeper."""

from __future__ import annotations

import pytest
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.test_utils.launcher_common_tests import IntegrationTestSuite, LauncherTestSuite
from hydra.version import VersionBase

from hydra_plugins.packed.plugins import PackedLauncher, PackedSweeper


@pytest.fixture(autouse=True)
def hydra_as_in_a_new_process() -> None:
    """The suites count on Hydra's oldest defaults; whoever set a version base before, in this process, kept it set."""
    Singleton._instances.pop(VersionBase, None)


SWEEPERS = [pytest.param([], id="basic sweeper"), pytest.param(["hydra/sweeper=packed"], id="packed sweeper")]


def test_hydra_finds_the_plugins() -> None:
    assert PackedLauncher.__name__ in [found.__name__ for found in Plugins.instance().discover(Launcher)]
    assert PackedSweeper.__name__ in [found.__name__ for found in Plugins.instance().discover(Sweeper)]


@pytest.mark.parametrize("launcher_name", ["packed"])
@pytest.mark.parametrize("overrides", SWEEPERS)
class TestPackedLauncher(LauncherTestSuite):
    """An application without the packing protocol is run as by the wrapped launcher."""


PACKED = ["-m", "hydra/launcher=packed"]


@pytest.mark.parametrize("task_launcher_cfg", [{}])
@pytest.mark.parametrize("extra_flags", [PACKED, [*PACKED, "hydra/sweeper=packed"]], ids=["basic", "packed"])
class TestPackedLauncherIntegration(IntegrationTestSuite):
    """The same in processes of their own."""
