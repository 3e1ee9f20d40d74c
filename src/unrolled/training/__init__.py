"""Fitting ensembles: optimisers with per-replica settings, backends, checkpoints."""

from unrolled.training.fit import choose_backend, fit
from unrolled.training.state import FitSettings, FitState, initial_state

__all__ = ["FitSettings", "FitState", "choose_backend", "fit", "initial_state"]
