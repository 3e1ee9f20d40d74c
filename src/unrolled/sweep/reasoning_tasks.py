"""The tasks of the reasoning layers: fits of ensembles, and the properties of the layers alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from unrolled.config.check import ConfigError, Flat, check_learned_start
from unrolled.data.quadratic import QuadraticProblems, generate, load
from unrolled.data.streams import stream_key
from unrolled.measures.generalization import generalization
from unrolled.networks.reasoning import ReasoningEnsemble
from unrolled.solvers import properties
from unrolled.solvers.filters import SOLVER_NAMES
from unrolled.sweep.task import Cores, Metrics, RunContext
from unrolled.training.fit import choose_backend, fit
from unrolled.training.optimizers import Rates
from unrolled.training.state import FitSettings, FitState, initial_state, log_spaced_epochs

FLOAT_BYTES = 4
COPIES = 12
"""Copies of a trial's training rows that the eager backend holds at once, forward and backward."""


@lru_cache(maxsize=8)
def _problems(
    file: str | None, population: int, seed: int, dimension: int, input_dimension: int, mu: float, smooth: float
) -> QuadraticProblems:
    if file is not None:
        return load(Path(file))
    return generate(population, seed, dimension, input_dimension, mu, smooth)


def problems_of(config: Flat) -> QuadraticProblems:
    """Return the data set of a config; a relative ``data.file`` is looked for in ``data.root`` where that is given.

    Raises:
        DataError: the file is missing or unusable.
    """
    file = config["data.file"]
    if file is not None and config["data.root"] is not None:
        file = str(Path(config["data.root"]) / file)
    names = ("population", "seed", "dimension", "input_dimension", "strong_convexity", "smoothness")
    return _problems(file, *(config[f"data.{name}"] for name in names))


class FitTask:
    """Train a reasoning-layer ensemble and measure its approximation and generalisation."""

    name = "fit"
    version = 1
    cores: Cores = "all"
    identity = frozenset(
        {
            "seed", "data.name", "data.n_train", "data.rows_seed", "data.rows_named", "network.name", "network.width",
            "solver.name", "solver.steps", "solver.step_size", "solver.learn_step_size", "solver.min_step_size",
            "optim.name", "optim.lr", "optim.weight_decay", "optim.epochs", "optim.batch_size",
        }
    )  # fmt: skip
    packable = frozenset(
        {
            "seed", "data.rows_seed", "data.rows_named", "solver.steps", "solver.step_size", "solver.learn_step_size",
            "optim.lr", "optim.weight_decay",
        }
    )  # fmt: skip

    def resolve(self, config: Flat) -> tuple[Flat, str]:
        """Fill in what follows from seed and data, and check it against the data."""
        problems = problems_of(config)
        named = config["data.rows_seed"] is not None and bool(problems.train_index)
        n = config["data.n_train"]
        resolved = config | {
            "data.rows_seed": config["seed"] if config["data.rows_seed"] is None else config["data.rows_seed"],
            "data.rows_named": named,
            "data.population": problems.population,
            "data.dimension": problems.linear.shape[1],
            "data.input_dimension": problems.inputs.shape[1],
            "data.strong_convexity": problems.strong_convexity,
            "data.smoothness": problems.smoothness,
            "optim.batch_size": max(1, n // 2) if config["optim.batch_size"] is None else config["optim.batch_size"],
        }
        if n > problems.population or named:
            problems.training_rows(n, resolved["data.rows_seed"], named=named)  # raises where they cannot be had
        if config["solver.learn_step_size"]:
            check_learned_start(config, problems.strong_convexity, problems.smoothness)
        return resolved, problems.checksum

    def cost(self, config: Flat) -> float:
        """Return multiply-adds, forward and backward, of all updates and evaluations."""
        d, width, inputs = config["data.dimension"], config["network.width"], config["data.input_dimension"]
        net = inputs * width + (d - 2) * width if width else (d - 2) * inputs
        a_step = {"gd": 3 * (d - 2), "nag": 6 * (d - 2), "rnn": 14 * d * d}[config["solver.name"]]
        a_row = 3.5 * (net + a_step * config["solver.steps"]) + 200
        return float(config["optim.epochs"] * config["data.n_train"] * a_row)

    def memory(self, config: Flat) -> int:
        """Return the bytes of the intermediate values of one update, the largest part of a trial's memory."""
        rows, width = config["data.n_train"], config["network.width"] or 1
        return int(FLOAT_BYTES * COPIES * rows * (width + config["solver.steps"] * config["data.dimension"]))

    def run(self, configs: Sequence[Flat], context: RunContext) -> list[Metrics]:
        """Fit the pack and measure it at each replica's best epoch."""
        first, seeds = configs[0], [c["seed"] for c in configs]
        problems = problems_of(first)
        ensemble = ReasoningEnsemble(
            problems,
            first["solver.name"],
            first["network.width"],
            [c["solver.steps"] for c in configs],
            [c["solver.step_size"] for c in configs],
            [c["solver.learn_step_size"] for c in configs],
            first["solver.min_step_size"],
            device=context.device,
        )
        settings = _fit_settings(problems, configs)
        backend = choose_backend(context.backend, ensemble, context.threads)
        state = fit(
            backend,
            settings,
            initial_state(ensemble.initial_parameters(seeds), settings),
            checkpoint=context.checkpoint,
            checkpoint_seconds=context.checkpoint_seconds,
            key=context.key,
            on_epochs=lambda epochs: context.on_progress(epochs / settings.epochs),
        )
        measured = generalization(
            backend, state.best_weights, torch.as_tensor(settings.train_rows), problems.population
        )
        measured["learned_step"] = ensemble.step_sizes(state.best_weights).double()
        if ensemble.solver == "rnn":
            measured["learned_step"] = torch.full_like(measured["learned_step"], torch.nan)
        return [
            {"backend": backend.name, **fit_row(settings, state, measured, replica)} for replica in range(len(configs))
        ]


def _fit_settings(problems: QuadraticProblems, configs: Sequence[Flat]) -> FitSettings:
    first = configs[0]
    rows = [problems.training_rows(c["data.n_train"], c["data.rows_seed"], named=c["data.rows_named"]) for c in configs]
    return FitSettings(
        optimizer=first["optim.name"],
        rates=Rates(
            torch.tensor([c["optim.lr"] for c in configs]), torch.tensor([c["optim.weight_decay"] for c in configs])
        ),
        epochs=first["optim.epochs"],
        batch_size=first["optim.batch_size"],
        train_rows=np.stack(rows),
        order_keys=np.array([stream_key(c["seed"], "order") for c in configs], dtype=np.uint64),
        curve_epochs=log_spaced_epochs(first["optim.epochs"]),
    )


def fit_row(settings: FitSettings, state: FitState, measured: dict[str, torch.Tensor], replica: int) -> Metrics:
    """Return what a record keeps of one replica's fit: how it ended, its training curve, and its measures."""
    diverged = int(state.diverged_epoch[replica])
    curve = state.curve[:, replica]
    kept = torch.isfinite(curve)
    row: Metrics = {
        "status": "finished" if diverged < 0 else "diverged",
        "error": None if diverged < 0 else f"the training loss was not finite after epoch {diverged}",
        "diverged_epoch": None if diverged < 0 else diverged,
        "best_epoch": int(state.best_epoch[replica]),
        "initial_loss": float(curve[0]) if kept[0] else None,
        "curve_epoch": [e for e, keep in zip(settings.curve_epochs, kept.tolist(), strict=True) if keep],
        "curve_train_loss": curve[kept].tolist(),
    }
    # A diverged fit has no result: its numbers would enter means.
    return row | {name: v[replica].tolist() if diverged < 0 else None for name, v in measured.items()}


class PropertiesTask:
    """Convergence, stability and sensitivity of a layer: exact, by the paper's rates, and measured on the layer."""

    name = "properties"
    version = 1
    cores: Cores = "all"
    identity = frozenset(
        {"seed", "solver.name", "solver.steps", "solver.step_size", "solver.min_step_size"}
        | {"data.strong_convexity", "data.smoothness"}
    )
    packable = identity

    def resolve(self, config: Flat) -> tuple[Flat, str]:
        """Nothing is left open, and no data is read."""
        if config["solver.name"] not in SOLVER_NAMES:
            raise ConfigError(f"solver.name: given {config['solver.name']!r}, allowed with task properties: gd, nag")
        unused = [name for name in config if name.partition(".")[0] in ("network", "optim") or name == "data.n_train"]
        return config | dict.fromkeys(unused), ""

    def cost(self, config: Flat) -> float:
        """Return a nominal second's hundredth of work a step."""
        return float(1 + config["solver.steps"])

    def memory(self, config: Flat) -> int:
        """Return the bytes of a layer's steps."""
        return int(FLOAT_BYTES * COPIES * (1 + config["solver.steps"] * config["data.dimension"]))

    def run(self, configs: Sequence[Flat], context: RunContext) -> list[Metrics]:
        """Compute the properties; the seed draws the rotation of the measured layer."""
        rows = []
        for config in configs:
            rows.append({"status": "finished", "error": None, "backend": "eager", **_properties_row(config)})
            context.on_progress(1 / len(configs))
        return rows


def _properties_row(config: Flat) -> Metrics:
    name, k, s = config["solver.name"], config["solver.steps"], config["solver.step_size"]
    mu, smooth, low = config["data.strong_convexity"], config["data.smoothness"], config["solver.min_step_size"]
    draw = torch.Generator().manual_seed(stream_key(config["seed"], "probes") % 2**63)
    at = (name, k, s, mu, smooth)
    return {
        "cvg_exact": properties.convergence(*at),
        "cvg_rate": properties.convergence_rate(*at),
        "cvg_measured": properties.measured_convergence(*at, generator=draw),
        "stab_exact": properties.stability(*at),
        "stab_rate": properties.stability_rate(*at),
        "stab_measured": properties.measured_stability(*at, generator=draw),
        "stab_b_exact": properties.stability_linear(*at),
        "stab_b_measured": properties.measured_stability_linear(*at, generator=draw),
        "sens_exact": properties.sensitivity(*at),
        "sens_rate": properties.sensitivity_rate(name, k, low, mu),
        "sens_measured": properties.measured_sensitivity(*at, generator=draw),
    }
