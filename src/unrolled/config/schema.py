"""The schema of a run: every key, its type, its default and what it may be."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore

from unrolled.frames.structure import KINDS
from unrolled.frames.unrolled import DIFFERENTIATIONS, FIRST_STEPS, RULES, SOLVERS

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
"""The Hydra config folder of this checkout."""


def key(default: Any, allowed: str, check: Callable[[Any], bool]) -> Any:
    """Return a dataclass field with its allowed values in words and as a test.

    Args:
        default: value of a config that says nothing.
        allowed: what is allowed, as it stands in the error message.
        check: True for allowed values; never called with None where the default is None.
    """
    return field(default=default, metadata={"allowed": allowed, "check": check})


def one_of(default: str, *names: str) -> Any:
    """Return a field that takes one of some names."""
    return key(default, f"one of {', '.join(names)}", lambda value: value in names)


def at_least(default: int | None, least: int, null: bool = False) -> Any:
    """Return a field that takes integers from ``least`` up; null too, where it is the default or ``null`` says so."""
    return key(
        default, f"an integer >= {least}" + (" or null" if null or default is None else ""), lambda v: v >= least
    )


def positive(default: float) -> Any:
    """Return a field that takes finite numbers above 0."""
    return key(default, "a finite number > 0", lambda value: math.isfinite(value) and value > 0)


def anything(default: Any, allowed: str) -> Any:
    """Return a field whose values only the component that reads it can judge."""
    return key(default, allowed, lambda value: True)


def not_negative(default: float) -> Any:
    """Return a field that takes finite numbers from 0 up."""
    return key(default, "a finite number >= 0", lambda value: math.isfinite(value) and value >= 0)


def numbers(joined: str) -> Any:
    """Return a field that takes null, or whole numbers joined by x."""
    pattern = re.compile(r"[1-9]\d*(x[1-9]\d*)*")
    return key(None, f"whole numbers >= 1 joined by x, like {joined}, or null", lambda v: bool(pattern.fullmatch(v)))


LABELLED = ("mnist1d", "digits", "fashion_mnist", "cifar10", "cifar100", "svhn", "parquet", "image_folder")
"""Data sets for classification."""


@dataclass
class DataConfig:
    """Which problems or images, and which of them are trained on."""

    name: str = one_of("quadratic", "quadratic", *LABELLED)
    root: str | None = anything(None, "a folder or null")
    file: str | None = anything(None, "an .npz file of problems, or null to generate them")
    download: bool = anything(True, "true or false")
    n_train: int | None = at_least(100, 1, null=True)
    rows_seed: int | None = at_least(None, 0)
    seed: int = at_least(1, 0)
    population: int = at_least(10_000, 1)
    dimension: int = at_least(5, 3)
    input_dimension: int = at_least(10, 1)
    strong_convexity: float = positive(0.1)
    smoothness: float = positive(1.0)


@dataclass
class NetworkConfig:
    """What is trained: a net that predicts an energy, or one with the structure of a deep frame."""

    name: str = one_of("eigenvalue", "eigenvalue", "frame")
    width: int | None = at_least(16, 0, null=True)
    widths: str | None = numbers("8x16x32")
    depth: int | None = at_least(None, 1)
    skip: str | None = key(None, f"one of {', '.join(KINDS)}, or null", lambda value: value in KINDS)
    kernel: str | None = numbers("3 or 5x3x3")
    stride: str | None = numbers("1 or 1x2x1")
    groups: int | None = at_least(None, 1)


@dataclass
class SolverConfig:
    """The unrolled algorithm: k steps of size s, fixed or learned; ``feedforward`` is one sweep of inference."""

    name: str = one_of("gd", "gd", "nag", "rnn", "feedforward", *SOLVERS)
    steps: int = at_least(10, 0)
    step_size: float = positive(1.0)
    learn_step_size: bool = anything(False, "true or false")
    min_step_size: float = positive(0.1)
    step_rule: str = one_of("relative", *RULES)
    first_step: str = one_of("safe", *FIRST_STEPS)
    differentiation: str = one_of("unrolled", *DIFFERENTIATIONS)


@dataclass
class AttackConfig:
    """Adversarial perturbations of test rows: largest radii, in units of the raw inputs, and how they are sought."""

    linf: float | None = key(None, "a finite number > 0 or null", lambda value: math.isfinite(value) and value > 0)
    l2: float | None = key(None, "a finite number > 0 or null", lambda value: math.isfinite(value) and value > 0)
    steps: int = at_least(20, 1)
    restarts: int = at_least(2, 1)
    rows: int = at_least(256, 1)


@dataclass
class OptimConfig:
    """How the network is trained."""

    name: str = one_of("adam", "adam", "sgd")
    lr: float = positive(1e-2)
    weight_decay: float = not_negative(1e-4)
    epochs: int = at_least(10_000, 1)
    batch_size: int | None = at_least(None, 1)
    patience: int | None = at_least(None, 1)
    potential_weight: float = not_negative(0.0)
    potential: str = one_of("f2_mean", "f2_mean", "f2", "f")


@dataclass
class ScaleConfig:
    """Sizes of the experiments; ``grids`` holds what their sweeps refer to."""

    name: str = one_of("laptop", "smoke", "laptop", "paper")
    grids: dict[str, Any] = field(default_factory=dict, metadata={"allowed": "values", "check": lambda value: True})


@dataclass
class TrackerConfig:
    """Where runs are shown besides the records."""

    mode: str = one_of("offline", "offline", "online", "disabled")
    project: str = anything("unrolled", "a W&B project name")
    entity: str | None = anything(None, "a W&B entity or null")


@dataclass
class RunConfig:
    """How trials are run; nothing here changes what a trial is."""

    folder: str | None = anything(None, "a folder, or null for results/<scale>")
    backend: str = one_of("auto", "auto", "native", "fused", "eager")
    device: str = anything("cpu", "a torch device")
    threads: int | None = at_least(None, 1)
    workers: int | None = at_least(None, 1)
    max_pack: int = at_least(256, 1)
    checkpoint_seconds: float = positive(20.0)
    on_error: str = one_of("continue", "continue", "stop")
    retry_failed: bool = anything(True, "true or false")


@dataclass
class TrainConfig:
    """One trial: what is scientific (task, seed, data, network, solver, optim) and how it is run."""

    experiment: str | None = anything(None, "the name of the experiment, like reasoning/generalization")
    theory: str = one_of("reasoning", "reasoning", "frames", "hybrid")
    task: str = one_of("fit", "fit", "properties", "classify", "minimum", "hybrid")
    seed: int = at_least(0, 0)
    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    solver: SolverConfig = field(default_factory=SolverConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    attack: AttackConfig = field(default_factory=AttackConfig)
    scale: ScaleConfig = field(default_factory=ScaleConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    run: RunConfig = field(default_factory=RunConfig)


def register() -> None:
    """Make the schema known to Hydra, as the base of ``configs/train.yaml``."""
    ConfigStore.instance().store(name="schema", node=TrainConfig)
