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
class Outcome:
    """What became of one trial, as the application's own records tell it.

    Args:
        value: what the trial returns, as its task function would; None for a failed one.
        error: why it failed; None if it did not.
    """

    value: Any = None
    error: str | None = None


@runtime_checkable
class Packing(Protocol):
    """How an application runs many trials at once."""

    def check(self, config: Config) -> None:
        """Raise an error with a readable message unless a config is allowed; called before anything runs."""
        ...

    def name(self, config: Config) -> str:
        """Return the trial's identity: two configs of one name are one trial."""
        ...

    def packable(self, config: Config) -> Collection[str]:
        """Return the dotted keys that may differ between the trials of one pack."""
        ...

    def cost(self, config: Config) -> float:
        """Return the expected work of a trial; neighbours in a pack are alike in it."""
        ...

    def size(self, config: Config) -> int:
        """Return how many bytes of memory a trial needs in its pack."""
        ...

    def outcomes(self, configs: Sequence[Config]) -> Mapping[str, Outcome]:
        """Return, by name, the outcomes of those trials that are done; the others are missing."""
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
