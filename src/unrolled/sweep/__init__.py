"""From configs to records: trial identity, packing, resume."""

from unrolled.sweep.expand import expand
from unrolled.sweep.run import run_sweep
from unrolled.sweep.todo import RunSettings
from unrolled.sweep.trial import Trial, trials_of

__all__ = ["RunSettings", "Trial", "expand", "run_sweep", "trials_of"]
