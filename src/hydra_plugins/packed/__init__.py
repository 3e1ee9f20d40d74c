"""A Hydra sweeper and launcher that pack many short trials into few jobs, over any other launcher.

The modules' names begin with an underscore because Hydra executes every other module below ``hydra_plugins`` itself, a
second time: classes would exist twice. :mod:`hydra_plugins.packed.plugins` is the one that it finds.
"""

from hydra_plugins.packed._expansion import Expanded, Expander, group_options
from hydra_plugins.packed._launcher import check_launcher
from hydra_plugins.packed._protocol import Description, Outcome, Packing, packed

__all__ = ["Description", "Expanded", "Expander", "Outcome", "Packing", "check_launcher", "group_options", "packed"]
