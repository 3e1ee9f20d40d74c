"""Where a fit stood, on disk: written atomically, read back only by the fit it belongs to."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import torch

from unrolled.training.state import FitState


class UnreadableCheckpointWarning(UserWarning):
    """A checkpoint could not be used; the fit starts from the beginning."""


def save_checkpoint(path: Path, state: FitState, key: str) -> None:
    """Write a state, atomically.

    Args:
        path: file to replace.
        state: where the fit stands.
        key: names the fit (trials and backend); only the same key may go on from it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        torch.save({"key": key, "state": state.to_dict()}, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(path: Path, key: str, device: str = "cpu") -> FitState | None:
    """Return the state of a checkpoint, or None where there is none for this fit.

    A damaged file, or one of another fit, is removed with a warning: a fit can always start again.
    """
    if not path.exists():
        return None
    try:
        content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        if content["key"] == key:
            return FitState(**content["state"])
        reason = f"it belongs to {content['key']}"
    except Exception as error:  # torch.load raises whatever the damaged bytes lead it to
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    warnings.warn(f"{path} is not used ({reason}); this fit starts anew", UnreadableCheckpointWarning, stacklevel=2)
    path.unlink(missing_ok=True)
    return None
