"""Fit an ensemble to its end on a backend: in chunks, with progress, checkpoints and resume."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from torch import Tensor

from unrolled.networks.reasoning import Evaluation, ReasoningEnsemble
from unrolled.training.checkpoint import load_checkpoint, save_checkpoint
from unrolled.training.eager import advance_eager
from unrolled.training.fused import Fused
from unrolled.training.native.build import NativeUnavailableError
from unrolled.training.native.reasoning import NativeReasoning
from unrolled.training.optimizers import Tensors
from unrolled.training.residuals import UNROLLED
from unrolled.training.state import FitSettings, FitState

CHUNK_SECONDS = 0.5
"""Aim for the time between two looks at progress, interrupts and checkpoints."""

BACKENDS = ("auto", "native", "fused", "eager")


SLOWER = {"fused": "fused torch, some six times slower", "eager": "eager torch, some thirty times slower"}
"""What to say of a backend that takes over from the native one."""


class Trainer(Protocol):
    """What trains an ensemble. Results are compared bit for bit only within one ``name``."""

    name: str

    def advance(self, settings: FitSettings, state: FitState, until: int) -> FitState:
        """Train until an epoch."""
        ...


class Backend(Trainer, Protocol):
    """What trains and evaluates a reasoning-layer ensemble."""

    def evaluate(self, parameters: Tensors, rows: Tensor) -> Evaluation:
        """Return means over rows."""
        ...


class Eager:
    """Plain torch operations, on any device."""

    name = "eager"

    def __init__(self, ensemble: ReasoningEnsemble) -> None:
        self.ensemble = ensemble

    def advance(self, settings: FitSettings, state: FitState, until: int) -> FitState:
        """Train until an epoch; see :func:`unrolled.training.eager.advance_eager`."""
        return advance_eager(self.ensemble, settings, state, until)

    def evaluate(self, parameters: Tensors, rows: Tensor) -> Evaluation:
        """Return means over rows; see :meth:`ReasoningEnsemble.evaluate`."""
        return self.ensemble.evaluate(parameters, rows.to(self.ensemble.device))


class BackendWarning(UserWarning):
    """The fast backend is not to be had; a slower one takes over, and the records say so."""


def choose_backend(name: str, ensemble: ReasoningEnsemble, threads: int | None = None) -> Backend:
    """Return a backend for an ensemble.

    Args:
        name: ``native``, ``fused``, ``eager``, or ``auto``: the first of them that can be had. Where that is not the
            native one, a warning says so, but not on other devices than the CPU, which it does not know.
        ensemble: what is to be trained.
        threads: cores of the native backend; all that this process may use by default.

    Returns:
        The backend; its ``name`` goes into the records.

    Raises:
        NativeUnavailableError: ``native`` was asked for and cannot be had.
        FusedUnavailableError: ``fused`` was asked for and does not know the solver.
        ValueError: an unknown name.
    """
    if name not in BACKENDS:
        raise ValueError(f"run.backend: expected one of {', '.join(BACKENDS)}, got {name!r}")
    if name in ("auto", "native"):
        try:
            return NativeReasoning(ensemble, threads)
        except NativeUnavailableError as error:
            if name == "native":
                raise
            name = "fused" if ensemble.solver in UNROLLED else "eager"
            if ensemble.device.type == "cpu":
                warnings.warn(f"training with {SLOWER[name]}: {error}", BackendWarning, stacklevel=2)
    return Fused(ensemble) if name == "fused" else Eager(ensemble)


def fit(
    backend: Trainer,
    settings: FitSettings,
    state: FitState,
    *,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 20.0,
    key: str = "",
    on_epochs: Callable[[int], None] = lambda epochs: None,
) -> FitState:
    """Train to the last epoch, or until all replicas stand still, resuming from a checkpoint where there is one.

    Where the fit is cut into chunks changes no bit of its result. On an interrupt the last whole chunk is saved.

    Args:
        backend: what trains; with a patience, one of the eager ones.
        settings: how.
        state: the state before the first epoch.
        checkpoint: file of the fit's checkpoint; removed by :func:`discard_checkpoint` once the result is safe.
        checkpoint_seconds: time between two checkpoints.
        key: names the fit; the backend's name is added to it.
        on_epochs: called with the number of epochs just done, also with those a checkpoint spares.

    Returns:
        The final state, its last epoch judged.

    Raises:
        ValueError: the backend knows no patience.
    """
    if settings.patience is not None and backend.name != "eager":
        raise ValueError(
            f"patience: expected None for backend {backend.name}, as it knows none, got {settings.patience}"
        )
    key = f"{key} {backend.name}"
    if checkpoint is not None and (found := load_checkpoint(checkpoint, key, str(state.best_loss.device))) is not None:
        on_epochs(found.epoch)
        state = found
    saved, epochs = time.monotonic(), 1
    try:
        while state.epoch < settings.epochs and bool(state.going.any()):
            began = time.monotonic()
            until = min(state.epoch + epochs, settings.epochs)
            new = backend.advance(settings, state, until)
            on_epochs(new.epoch - state.epoch)
            state = new
            now = time.monotonic()
            epochs = max(1, min(4 * epochs, int(epochs * CHUNK_SECONDS / max(now - began, 1e-6))))
            # The last state is already judged: going on from it would judge it twice.
            if checkpoint is not None and now - saved > checkpoint_seconds and state.epoch < settings.epochs:
                save_checkpoint(checkpoint, state, key)
                saved = now
    except KeyboardInterrupt:
        if checkpoint is not None and 0 < state.epoch < settings.epochs:
            save_checkpoint(checkpoint, state, key)
        raise
    if state.epoch < settings.epochs:
        on_epochs(settings.epochs - state.epoch)  # those that nobody needs
    return state


def discard_checkpoint(path: Path) -> None:
    """Remove a checkpoint whose fit has its result in the records."""
    path.unlink(missing_ok=True)
