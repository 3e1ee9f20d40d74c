"""The task of the deep frames that trains: classifiers with a given structure, with or without the potential."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from unrolled.config.check import ConfigError, Flat
from unrolled.data import LabelledImages, load_labelled
from unrolled.data.streams import stream_key
from unrolled.frames.structure import Structure, StructureError, build, parse_numbers, resnet
from unrolled.measures.classification import classification, frame_measures
from unrolled.networks.frames import FrameClassifiers
from unrolled.sweep.reasoning_tasks import fit_row
from unrolled.sweep.task import Cores, Metrics, RunContext
from unrolled.training.fit import fit
from unrolled.training.one_core import EagerOnOneCore, cores
from unrolled.training.optimizers import Rates, Tensors
from unrolled.training.state import FitSettings, FitState, initial_state, log_spaced_epochs

BATCH = 64
"""Rows of an update where the config says nothing."""

LAYER_WORK = 2e4
"""What a layer costs a row beside its products, in multiply-adds: calls, normalisation, memory."""

FLOAT_BYTES, COPIES = 4, 10
"""Values of a layer that training holds at once: activations, gradients, patches of one replica."""

UNWEIGHTED = "f2_mean"
"""Stands in for the potential of a trial that adds none to its loss."""


@lru_cache(maxsize=2)
def labelled(name: str, root: str | None, download: bool) -> LabelledImages:
    """Return a data set for classification, from memory where it was read before."""
    return load_labelled(name, root, download=download)


def labelled_of(config: Flat) -> LabelledImages:
    """Return the data set of a config.

    Raises:
        DataError: it is missing or unusable.
    """
    return labelled(config["data.name"], config["data.root"], config["data.download"])


def structure_of(config: Flat, image: tuple[int, int, int]) -> Structure:
    """Return the structure that a config describes, for images (C, H, W).

    Raises:
        ConfigError: there is none, or it cannot read these images.
    """
    channels, height, width = image
    kind, widths = config["network.skip"], config["network.widths"]
    kernels = _numbers(config, "kernel")
    strides = _numbers(config, "stride")
    convolutional = config["network.groups"] is not None or max(kernels) > 1
    if convolutional and height != width:
        raise ConfigError(
            f"data.name: given {config['data.name']!r} with inputs of {height}x{width}, allowed for convolutional "
            "nets: square images; network.kernel=null and network.widths make a fully connected net"
        )
    try:
        size, depth, groups = config["network.width"], config["network.depth"], config["network.groups"]
        if groups is not None:
            return resnet(kind, size, depth, channels=channels, grid=height, groups=groups)
        sizes = (size,) * (1 + depth) if widths is None else parse_numbers("widths", widths)
        inputs, grid = (channels, height) if convolutional else (channels * height * width, 1)
        return build(kind, inputs, sizes, kernels=kernels, strides=strides, grid=grid)
    except StructureError as error:
        raise ConfigError(f"{_key_of(str(error), config)}: {error}") from error


def _numbers(config: Flat, name: str) -> tuple[int, ...]:
    text = config[f"network.{name}"]
    return (1,) if text is None else parse_numbers(name, text)


def _key_of(message: str, config: Flat) -> str:
    """Return the key that an error about a structure is about, by the words it uses."""
    if config["network.groups"] is not None:
        return "network.depth"
    named = [n for n in ("stride", "kernel") if f"a {n} " in message or message.startswith(n)]
    if "need a grid" in message:  # a flat net has no kernel, so it is the stride
        named = ["stride"]
    return f"network.{named[0]}" if named else f"network.{'widths' if config['network.widths'] else 'depth'}"


@dataclass(frozen=True)
class Fitted:
    """What training left of some replicas.

    Args:
        initial: parameters before it.
        weights: those of the best epoch.
        train_rows: ``(R, n)`` rows trained on.
        test_rows: ``(m,)`` rows that no replica has seen.
    """

    initial: Tensors
    weights: Tensors
    train_rows: torch.Tensor
    test_rows: torch.Tensor


class ClassifyTask:
    """Train classifiers with the structure of a deep frame, and measure what they have learned."""

    name = "classify"
    version = 1
    cores: Cores = "one"
    identity = frozenset(
        {
            "seed", "data.name", "data.n_train", "data.rows_seed", "network.name", "network.structure",
            "optim.name", "optim.lr", "optim.weight_decay", "optim.epochs", "optim.batch_size", "optim.patience",
            "optim.potential_weight", "optim.potential",
        }
    )  # fmt: skip
    packable = frozenset(
        {"seed", "data.rows_seed", "optim.lr", "optim.weight_decay", "optim.potential_weight", "optim.potential"}
    )

    def resolve(self, config: Flat) -> tuple[Flat, str]:
        """Fill in what follows from seed and data, and check it against the data."""
        data = labelled_of(config)
        structure = structure_of(config, data.shape)
        n = data.population if config["data.n_train"] is None else config["data.n_train"]
        rows_seed = config["seed"] if config["data.rows_seed"] is None else config["data.rows_seed"]
        if n > data.population:
            data.training_rows(n, rows_seed)  # raises, and says how many there are
        batch = min(BATCH, n) if config["optim.batch_size"] is None else config["optim.batch_size"]
        if batch > n:
            raise ConfigError(f"optim.batch_size: given {batch}, allowed: 1 to data.n_train = {n}")
        unused = ("file", "seed", "population", "dimension", "input_dimension", "strong_convexity", "smoothness")
        resolved = config | dict.fromkeys(f"data.{name}" for name in unused)
        resolved |= {
            "data.n_train": n,
            "data.rows_seed": rows_seed,
            "network.structure": structure.describe(),
            "network.work": float(_work(structure)),
            "optim.batch_size": batch,
        }
        if config["optim.potential_weight"] == 0:
            # Nothing is added to the loss, whatever it would have been a multiple of.
            resolved["optim.potential"] = None
        return resolved, data.checksum

    def cost(self, config: Flat) -> float:
        """Return multiply-adds, forward and backward, of all updates and evaluations."""
        return float(config["optim.epochs"] * config["data.n_train"] * 4 * config["network.work"])

    def memory(self, config: Flat) -> int:
        """Return the bytes of the values of one update."""
        return int(FLOAT_BYTES * COPIES * config["optim.batch_size"] * config["network.work"] / 9)

    def run(self, configs: Sequence[Flat], context: RunContext) -> list[Metrics]:
        """Fit the pack and measure it at each replica's best epoch."""
        first, seeds = configs[0], [c["seed"] for c in configs]
        data = labelled_of(first)
        structure = structure_of(first, data.shape)
        ensemble = self.ensemble(structure, data, configs, context.device)
        settings = _settings(data, configs)
        backend = EagerOnOneCore(ensemble, context.threads)
        initial = ensemble.initial_parameters(seeds)
        state = fit(
            backend,
            settings,
            initial_state(initial, settings),
            checkpoint=context.checkpoint,
            checkpoint_seconds=context.checkpoint_seconds,
            key=context.key,
            on_epochs=lambda epochs: context.on_progress(epochs / settings.epochs),
        )
        with cores(context.threads or 1):
            measured = self._measured(ensemble, initial, state, settings, data, configs)
        return [
            {
                "backend": backend.name,
                "structure": structure.describe(),
                "parameters": structure.parameters,
                "network_parameters": structure.network_parameters(data.classes),
                **_row(settings, state, measured, replica),
            }
            for replica in range(len(configs))
        ]

    def ensemble(
        self, structure: Structure, data: LabelledImages, configs: Sequence[Flat], device: str
    ) -> FrameClassifiers:
        """Return the pack's nets on training and test rows, one after the other."""
        return FrameClassifiers(
            structure,
            np.concatenate([data.train_inputs, data.test_inputs]),
            np.concatenate([data.train_labels, data.test_labels]),
            data.classes,
            [c["optim.potential_weight"] for c in configs],
            [c["optim.potential"] or UNWEIGHTED for c in configs],
            device=device,
        )

    def measures(
        self, ensemble: FrameClassifiers, fitted: Fitted, data: LabelledImages, configs: Sequence[Flat]
    ) -> dict[str, torch.Tensor]:
        """Return the measures of replicas that did not diverge, name -> ``(R, ...)``."""
        found = classification(ensemble, fitted.weights, fitted.train_rows, fitted.test_rows)
        return found | frame_measures(ensemble, fitted.initial, fitted.weights)

    def _measured(
        self,
        ensemble: FrameClassifiers,
        initial: Tensors,
        state: FitState,
        settings: FitSettings,
        data: LabelledImages,
        configs: Sequence[Flat],
    ) -> dict[str, torch.Tensor]:
        """Return the measures of all replicas, NaN for those that diverged: their numbers would enter means."""
        kept = (state.diverged_epoch < 0).nonzero()[:, 0].tolist()
        if not kept:
            return {}
        fitted = Fitted(
            {name: w[kept] for name, w in initial.items()},
            {name: w[kept] for name, w in state.best_weights.items()},
            torch.as_tensor(settings.train_rows[kept]),
            torch.arange(data.population, len(ensemble.labels)),
        )
        found = self.measures(ensemble.select(kept), fitted, data, [configs[r] for r in kept])
        return _spread(found, kept, ensemble.replicas)


def _work(structure: Structure) -> float:
    """Return the multiply-adds of a row on its way through the net, with what else a layer costs."""
    products = 0
    for block in structure.blocks:
        if block.learned:
            rows, columns = structure.channels(block)
            side = min(structure.grids[structure.row_layer(block.row)], structure.grids[block.column])
            products += rows * columns * block.kernel**2 * side**2
    return products + LAYER_WORK * structure.layers


def _settings(data: LabelledImages, configs: Sequence[Flat]) -> FitSettings:
    first = configs[0]
    rates = [torch.tensor([c[f"optim.{name}"] for c in configs]) for name in ("lr", "weight_decay")]
    return FitSettings(
        optimizer=first["optim.name"],
        rates=Rates(*rates),
        epochs=first["optim.epochs"],
        batch_size=first["optim.batch_size"],
        train_rows=np.stack([data.training_rows(c["data.n_train"], c["data.rows_seed"]) for c in configs]),
        order_keys=np.array([stream_key(c["seed"], "order") for c in configs], dtype=np.uint64),
        curve_epochs=log_spaced_epochs(first["optim.epochs"]),
        patience=first["optim.patience"],
    )


def _spread(found: dict[str, torch.Tensor], kept: Sequence[int], replicas: int) -> dict[str, torch.Tensor]:
    """Return measures of some replicas ``(kept, ...)`` as those of all, NaN for the others."""
    whole = {}
    for name, value in found.items():
        value = value.double()
        blank = value.new_full((replicas, *value.shape[1:]), torch.nan)
        whole[name] = blank.index_copy(0, torch.tensor(kept).to(value.device), value)
    return whole


def _row(settings: FitSettings, state: FitState, measured: dict[str, torch.Tensor], replica: int) -> Metrics:
    row = fit_row(settings, state, measured, replica)
    stopped = int(state.stopped_epoch[replica])
    curve, kept = state.probes["potential"][:, replica], torch.isfinite(state.curve[:, replica])
    return row | {"stopped_epoch": None if stopped < 0 else stopped, "curve_potential": curve[kept].tolist()}
