"""What the tasks take: values that go together, and keys that a task does not know and that must be left alone."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import lru_cache
from typing import Any, get_type_hints

from unrolled.config.schema import LABELLED, TrainConfig
from unrolled.frames.unrolled import SOLVERS

Flat = dict[str, Any]


class ConfigError(ValueError):
    """A config is not allowed; the message is one line."""


@dataclass(frozen=True)
class Takes:
    """What a task takes.

    Args:
        choices: key -> the values that go with the task.
        unused: keys that it does not read: they must have their default, or null.
    """

    choices: dict[str, tuple[Any, ...]]
    unused: tuple[str, ...]


_OF_CLASSIFIERS = ("optim.patience", "optim.potential_weight", "optim.potential")
_OF_FRAMES = ("network.widths", "network.depth", "network.skip", "network.kernel", "network.stride", "network.groups")
_OF_PROBLEMS = (
    "data.file", "data.seed", "data.population", "data.dimension", "data.input_dimension", "data.strong_convexity",
    "data.smoothness",
)  # fmt: skip

_OF_LEARNED = ("solver.min_step_size",)
_OF_UNROLLED = ("solver.step_rule", "solver.first_step", "solver.differentiation")
_OF_ATTACKS = ("attack.linf", "attack.l2", "attack.steps", "attack.restarts", "attack.rows")

_REASONING = {
    "theory": ("reasoning",),
    "data.name": ("quadratic",),
    "network.name": ("eigenvalue",),
    "solver.name": ("gd", "nag", "rnn"),
}
_LABELLED = {"data.name": LABELLED, "network.name": ("frame",)}
_FRAMES = _LABELLED | {
    "theory": ("frames",),
    "solver.name": ("feedforward",),
    "solver.steps": (1,),
    "solver.step_size": (1.0,),
    "solver.learn_step_size": (False,),
}

_ELSEWHERE = (*_OF_UNROLLED, *_OF_ATTACKS)

TAKES = {
    "fit": Takes(_REASONING, (*_OF_FRAMES, *_OF_CLASSIFIERS, *_ELSEWHERE, "data.download")),
    "properties": Takes(_REASONING, (*_OF_FRAMES, *_OF_CLASSIFIERS, *_ELSEWHERE, "data.download")),
    "classify": Takes(_FRAMES | {"run.backend": ("auto", "eager")}, (*_OF_PROBLEMS, *_OF_LEARNED, *_ELSEWHERE)),
    "minimum": Takes(
        _FRAMES | {"theory": ("frames", "hybrid")}, (*_OF_PROBLEMS, *_OF_CLASSIFIERS, *_OF_LEARNED, *_ELSEWHERE)
    ),
    "hybrid": Takes(
        _LABELLED | {"theory": ("hybrid",), "solver.name": SOLVERS, "run.backend": ("auto", "eager")},
        (*_OF_PROBLEMS, *_OF_LEARNED),
    ),
}


@lru_cache
def defaults(node: type = TrainConfig, prefix: str = "") -> dict[str, Any]:
    """Return the default of every leaf of the schema, by dotted key."""
    found: dict[str, Any] = {}
    hints = get_type_hints(node)
    for f in fields(node):
        if is_dataclass(hints[f.name]):
            found |= defaults(hints[f.name], f"{prefix}{f.name}.")
        else:
            found[prefix + f.name] = None if f.default is MISSING else f.default
    return found


def check_task(flat: Flat) -> None:
    """Raise :class:`ConfigError` unless a config's values go with its task, and it sets nothing the task ignores."""
    task = flat["task"]
    for name, allowed in TAKES[task].choices.items():
        if flat[name] not in allowed:
            raise ConfigError(
                f"{name}: given {flat[name]!r}, allowed with task {task}: {', '.join(map(_word, allowed))}"
            )
    for name in TAKES[task].unused:
        if flat[name] not in (None, defaults()[name]):
            raise ConfigError(
                f"{name}: given {flat[name]!r}, allowed with task {task}, which does not read it: "
                f"{_word(defaults()[name])}"
            )
    if flat["network.name"] == "frame":
        _check_shape(flat)
    elif flat["network.width"] is None:
        raise ConfigError("network.width: given null, allowed with network eigenvalue: an integer >= 0")


def _check_shape(flat: Flat) -> None:
    """The widths of all layers, or one width and a depth, and nothing that only the other takes."""
    if flat["network.skip"] is None:
        raise ConfigError("network.skip: given null, allowed with network frame: a kind of structure, like chain")
    whole, grouped = flat["network.widths"] is not None, flat["network.groups"] is not None
    how = "network.widths" if whole else "network.groups"
    other = ("width", "depth", "groups") if whole else ("kernel", "stride") if grouped else ()
    for name in other:
        if flat[f"network.{name}"] is not None:
            raise ConfigError(
                f"network.{name}: given {flat[f'network.{name}']!r}, allowed with a net given by {how}: null"
            )
    for name in () if whole else ("width", "depth"):
        if flat[f"network.{name}"] is None:
            raise ConfigError(
                f"network.{name}: given null, allowed with network frame without network.widths: an integer >= 1"
            )
    if flat["network.width"] == 0:
        raise ConfigError("network.width: given 0, allowed with network frame: an integer >= 1 or null")


def _word(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
