"""Trainable networks built from the theory rooms, as ensembles with a leading replica axis."""

from unrolled.networks.reasoning import ReasoningEnsemble

__all__ = ["ReasoningEnsemble"]
