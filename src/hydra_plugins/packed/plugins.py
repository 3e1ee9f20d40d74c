"""What Hydra's plugin scan finds."""

from hydra_plugins.packed._launcher import PackedLauncher
from hydra_plugins.packed._sweeper import PackedSweeper

__all__ = ["PackedLauncher", "PackedSweeper"]
