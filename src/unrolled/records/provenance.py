"""Where a row came from: commit, versions, device, time."""

from __future__ import annotations

import datetime
import platform
import subprocess
from functools import lru_cache
from pathlib import Path

import torch

REPOSITORY = Path(__file__).resolve().parents[3]


@lru_cache(maxsize=1)
def git_state(folder: Path = REPOSITORY) -> tuple[str | None, bool | None]:
    """Return the commit of the checkout and whether tracked files differ from it.

    Returns:
        ``(commit, dirty)``; ``(None, None)`` where there is no git or no checkout.
    """
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        dirty = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None, None
    return commit, bool(dirty)


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def provenance(device: str) -> dict[str, object]:
    """Return the provenance columns of a record that starts now.

    Args:
        device: torch device string the trial runs on.

    Returns:
        ``git_commit``, ``git_dirty``, ``torch``, ``device`` (with the processor's name), ``started_at`` (UTC, ISO).
    """
    commit, dirty = git_state()
    return {
        "git_commit": commit,
        "git_dirty": dirty,
        "torch": str(torch.__version__),
        "device": f"{device}: {device_name(device)}",
        "started_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
    }


@lru_cache
def device_name(device: str) -> str:
    """Return the marketing name of a processor or graphics card, or the architecture where it is unknown."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
