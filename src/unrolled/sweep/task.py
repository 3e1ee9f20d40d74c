"""What a sweep needs to know about what computes its trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from unrolled.config.check import Flat

Metrics = dict[str, Any]

Cores = Literal["all", "one"]


@dataclass(frozen=True)
class RunContext:
    """How a pack is run; nothing here changes a result but the recorded backend.

    Args:
        backend: ``auto``, ``native``, ``fused`` or ``eager``.
        device: torch device.
        threads: cores, or None for all this process may use.
        checkpoint: the pack's checkpoint file, or None.
        checkpoint_seconds: time between checkpoints.
        key: names the pack in its checkpoint.
        on_progress: called with the share of the pack's work just done, 0 to 1.
    """

    backend: str = "auto"
    device: str = "cpu"
    threads: int | None = None
    checkpoint: Path | None = None
    checkpoint_seconds: float = 20.0
    key: str = ""
    on_progress: Callable[[float], None] = lambda share: None


class Task(Protocol):
    """What a sweep needs to know about a component that computes trials.

    Attributes:
        name: value of the config's ``task``.
        version: raised by hand when results would change; it enters every trial's identity.
        identity: config keys that are scientific for this task.
        packable: those of them that may differ inside a pack.
        cores: ``all`` that a pack may use, or ``one``, so that several packs run beside each other.
    """

    name: str
    version: int
    identity: frozenset[str]
    packable: frozenset[str]
    cores: Cores

    def resolve(self, config: Flat) -> tuple[Flat, str]:
        """Return the config with every default filled in, and the data's checksum."""
        ...

    def cost(self, config: Flat) -> float:
        """Return the expected work of a trial, in units of this task."""
        ...

    def memory(self, config: Flat) -> int:
        """Return about how many bytes a trial needs at once while it is computed."""
        ...

    def run(self, configs: Sequence[Flat], context: RunContext) -> list[Metrics]:
        """Compute a pack: ``status``, ``error``, ``backend`` and the metrics of each trial, in order."""
        ...
