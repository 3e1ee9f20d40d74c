"""What an application tells the packed sweeper and launcher: which trials can share a process, and how they are run.

An application that says nothing is run trial by trial, exactly as the wrapped launcher would. One that wants packs
marks its task function::

    @hydra.main(...)
    @packed(MyPacking())
    def train(config): ...

The object travels to the workers by pickle: keep state out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from hydra.types import TaskFunction

ATTRIBUTE = "packing"
"""Name of the task function's attribute that holds the protocol object."""

Config = dict[str, Any]
"""A resolved config as plain nested dictionaries, without Hydra's own node."""


@dataclass(frozen=True)
class Description:
    """What the launcher needs to know of one trial.

    Args:
        name: the trial's identity: two configs of one name are one trial.
        packable: dotted keys that may differ between the trials of one pack.
        cost: expected work; neighbours in a pack are alike in it.
        size: bytes of memory that it needs in its pack.
    """

    name: str
    packable: Collection[str]
    cost: float = 1.0
    size: int = 1


@dataclass(frozen=True)
class Outcome:
    """What became of one trial, as the application's own records tell it.

    Args:
        value: what the trial returns, as its task function would; None for a failed one.
        error: why it failed; None if it did not.
        final: False for a failed trial that is to run again.
    """

    value: Any = None
    error: str | None = None
    final: bool = False

    @property
    def done(self) -> bool:
        """Whether the trial is not to run."""
        return self.error is None or self.final


@runtime_checkable
class Packing(Protocol):
    """How an application runs many trials at once."""

    def describe(self, config: Config) -> Description:
        """Describe a trial, or raise an error with a readable message if its config is not allowed.

        Called for every trial before any runs.
        """
        ...

    def begin(self, configs: Sequence[Config]) -> None:
        """Note what there is to note about a whole sweep; called once, when all its trials have been described."""
        ...

    def outcomes(self, configs: Sequence[Config]) -> Mapping[str, Outcome]:
        """Return, by name, what is known of these trials; those that never ran are missing."""
        ...

    def run(self, configs: Sequence[Config]) -> None:
        """Run a pack and store the outcome of every trial; called in a worker process.

        What it raises is the outcome of the pack's unfinished trials. After a lost worker it may be called again with
        the same or fewer trials, and should go on from its last checkpoint.
        """
        ...


def packed(packing: Packing) -> Callable[[TaskFunction], TaskFunction]:
    """Return a decorator that tells the packed launcher how a task function's trials are run together.

    It stands below ``hydra.main``, next to the function that Hydra calls.
    """

    def mark(task_function: TaskFunction) -> TaskFunction:
        setattr(task_function, ATTRIBUTE, packing)
        return task_function

    return mark
