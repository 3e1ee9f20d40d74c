"""The native backend of reasoning-layer ensembles: a fused C kernel, one replica a vector lane.

The kernel trains blocks of 8 or 16 replicas; blocks share nothing, so they run on all cores at once. Lanes share no
arithmetic, so a replica's result does not depend on its neighbours.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.networks.reasoning import Evaluation, ReasoningEnsemble
from unrolled.training.native.build import NativeUnavailableError, load_library
from unrolled.training.optimizers import Tensors
from unrolled.training.state import FitSettings, FitState

SOURCE = Path(__file__).with_name("reasoning.c")

_INTS = ("rows", "batch", "hidden", "recurrent", "accelerated", "adam", "row_floats", "parameters", "max_steps")
_FLOATS = ("strong_convexity", "smoothness")
_ARRAYS: dict[str, type[np.generic]] = {
    "population": np.float32,
    "train_index": np.int32,
    "order_key": np.uint64,
    "steps": np.int32,
    "step_low": np.float32,
    "step_high": np.float32,
    "step_size": np.float32,
    "learn_step": np.float32,
    "learning_rate": np.float32,
    "weight_decay": np.float32,
    "weights": np.float32,
    "moment1": np.float32,
    "moment2": np.float32,
    "best_weights": np.float32,
    "best_loss": np.float32,
    "best_epoch": np.int32,
    "diverged_epoch": np.int32,
    "curve_slot": np.int32,
    "curve": np.float32,
}


class _Run(ctypes.Structure):
    """The C struct of the same name; field order must match."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in _INTS),
        *((name, ctypes.c_float) for name in _FLOATS),
        *((name, ctypes.c_void_p) for name in _ARRAYS),
    ]


Block = dict[str, NDArray[Any]]


@lru_cache
def kernel(inputs: int, dimension: int) -> ctypes.CDLL:
    """Return the kernel compiled for a length of inputs and a dimension of problems.

    Raises:
        NativeUnavailableError: it cannot be built here.
    """
    library = load_library(SOURCE, {"INPUTS": inputs, "DIM": dimension})
    if library.run_bytes() != ctypes.sizeof(_Run):
        raise NativeUnavailableError("the kernel's struct and its Python twin differ in size")
    return library


class NativeReasoning:
    """Advance and evaluate a :class:`ReasoningEnsemble` with the kernel.

    Args:
        ensemble: float32 on the CPU.
        threads: blocks run at once; the cores this process may use by default.

    Raises:
        NativeUnavailableError: no compiler, or the ensemble is not float32 on the CPU.
    """

    def __init__(self, ensemble: ReasoningEnsemble, threads: int | None = None) -> None:
        if ensemble.dtype != torch.float32 or ensemble.device.type != "cpu":
            raise NativeUnavailableError(f"native is for float32 on the cpu, got {ensemble.dtype} on {ensemble.device}")
        self.ensemble = ensemble
        self.kernel = kernel(ensemble.inputs.shape[1], ensemble.eigenvalues.shape[1])
        self.lanes = int(self.kernel.lanes())
        self.name = f"native-{self.lanes}"
        # Launchers that start several workers on a machine say by this variable how many cores each may use.
        self.threads = threads or int(os.environ.get("OMP_NUM_THREADS") or 0) or len(os.sched_getaffinity(0))
        self.population = _population_rows(ensemble, self.lanes)
        # Lanes of a block run as long as its deepest: neighbours in steps belong together, deepest blocks first.
        order = torch.argsort(ensemble.steps, descending=True, stable=True).tolist()
        order += [order[-1]] * (-len(order) % self.lanes)
        self.blocks = [order[i : i + self.lanes] for i in range(0, len(order), self.lanes)]

    def advance(self, settings: FitSettings, state: FitState, until: int) -> FitState:
        """Train until an epoch; same contract as :func:`unrolled.training.eager.advance_eager`."""
        self._check_rows(settings.train_rows)
        blocks = [self._training_block(settings, state, members) for members in self.blocks]
        first, final = state.epoch, int(until == settings.epochs)
        sizes = {"rows": settings.train_rows.shape[1], "batch": settings.batch_size}
        sizes["adam"] = int(settings.optimizer == "adam")

        def train(block: Block) -> int:
            run = self._run(block, sizes)
            return int(self.kernel.train(ctypes.byref(run), first, until, final))

        self._each(train, blocks)
        return self._collect(blocks, state, until)

    def evaluate(self, parameters: Tensors, rows: Tensor) -> Evaluation:
        """Return the means over rows; same contract as :meth:`ReasoningEnsemble.evaluate`."""
        self._check_rows(rows.numpy())
        rows = rows.expand(self.ensemble.replicas, -1).to(torch.int32)
        result = np.zeros((3, self.ensemble.replicas))

        def evaluate(members: list[int]) -> int:
            block = self._layer_block(members) | {"weights": _lanes_of(parameters, members)}
            index = [np.ascontiguousarray(rows[m].numpy()) for m in members]
            pointers = (ctypes.c_void_p * self.lanes)(*(i.ctypes.data for i in index))
            means = np.zeros((3, self.lanes))
            run = self._run(block, {})
            outputs = (means[i].ctypes.data_as(ctypes.c_void_p) for i in range(3))
            status = self.kernel.evaluate(ctypes.byref(run), pointers, rows.shape[1], *outputs)
            result[:, members] = means
            return int(status)

        self._each(evaluate, self.blocks)
        return Evaluation(*torch.as_tensor(result))

    def _check_rows(self, rows: NDArray[np.int64]) -> None:
        """The kernel reads memory by these numbers unchecked."""
        population = self.ensemble.problems.population
        if rows.min() < 0 or rows.max() >= population:
            raise IndexError(f"expected rows 0 to {population - 1}, got {rows.min()} to {rows.max()}")

    def _each(self, work: Callable[[Any], int], items: list[Any]) -> None:
        with ThreadPoolExecutor(self.threads) as pool:
            if any(pool.map(work, items)):
                raise MemoryError("the native kernel could not get its scratch memory; use smaller packs")

    def _layer_block(self, members: list[int]) -> Block:
        e = self.ensemble
        low, high = e.step_range
        return {
            "population": self.population,
            "steps": e.steps[members].numpy(),
            "step_low": np.full(self.lanes, low),
            "step_high": np.full(self.lanes, high),
            "step_size": e.step_size[members].numpy(),
            "learn_step": e.learn_step_size[members].numpy(),
        }

    def _training_block(self, settings: FitSettings, state: FitState, members: list[int]) -> Block:
        slots = np.full(settings.epochs + 1, -1)
        slots[list(settings.curve_epochs)] = np.arange(len(settings.curve_epochs))
        empty = {name: torch.zeros_like(w) for name, w in state.weights.items()}
        moments = {
            order: {name: state.moments.get(f"{order}.{name}", empty[name]) for name in state.weights}
            for order in ("first", "second")
        }
        return self._layer_block(members) | {
            "train_index": settings.train_rows[members],
            "order_key": settings.order_keys[members],
            "learning_rate": settings.rates.learning_rate[members].numpy(),
            "weight_decay": settings.rates.weight_decay[members].numpy(),
            "weights": _lanes_of(state.weights, members),
            "moment1": _lanes_of(moments["first"], members),
            "moment2": _lanes_of(moments["second"], members),
            "best_weights": _lanes_of(state.best_weights, members),
            "best_loss": state.best_loss[members].numpy(),
            "best_epoch": state.best_epoch[members].numpy(),
            "diverged_epoch": state.diverged_epoch[members].numpy(),
            "curve_slot": slots,
            "curve": state.curve[:, members].numpy(),
        }

    def _run(self, block: Block, sizes: dict[str, int]) -> _Run:
        e = self.ensemble
        run = _Run(
            hidden=e.width,
            recurrent=int(e.solver == "rnn"),
            accelerated=int(e.solver == "nag"),
            row_floats=self.population.shape[1],
            parameters=len(block["weights"]),
            max_steps=int(np.max(block["steps"])),
            strong_convexity=e.problems.strong_convexity,
            smoothness=e.problems.smoothness,
            **sizes,
        )
        for name, array in block.items():
            # The kernel writes into its own aligned copy, which lives in the block as long as the run.
            block[name] = array if array is self.population else _aligned(array, _ARRAYS[name])
            setattr(run, name, block[name].ctypes.data)
        return run

    def _collect(self, blocks: list[Block], state: FitState, until: int) -> FitState:
        members = [m for block in self.blocks for m in block]
        where = torch.as_tensor(np.argsort(members, kind="stable")[_first_of(members)])

        def joined(name: str) -> Tensor:
            return torch.as_tensor(np.concatenate([b[name] for b in blocks], axis=-1))[..., where]

        def named(name: str) -> Tensors:
            flat, at, out = joined(name), 0, {}
            for key, like in state.weights.items():
                count = like[0].numel()
                out[key] = flat[at : at + count].T.reshape(like.shape).contiguous()
                at += count
            return out

        moments: Tensors = {}
        if state.moments:
            for order, field in (("first", "moment1"), ("second", "moment2")):
                moments |= {f"{order}.{name}": value for name, value in named(field).items()}
        return FitState(
            epoch=until,
            weights=named("weights"),
            moments=moments,
            best_weights=named("best_weights"),
            best_loss=joined("best_loss"),
            best_epoch=joined("best_epoch").long(),
            diverged_epoch=joined("diverged_epoch").long(),
            curve=joined("curve").contiguous(),
        )


def _first_of(members: list[int]) -> NDArray[np.bool_]:
    """Mark, in sorted order, the first of equal members: a short last block repeats one."""
    ordered = np.sort(members, kind="stable")
    return np.concatenate([[True], ordered[1:] != ordered[:-1]])


def _lanes_of(tensors: Tensors, members: list[int]) -> NDArray[np.float32]:
    """Return ``(parameters, lanes)``: every scalar of a replica in the tensors' order, replicas last."""
    flat = [t.detach().reshape(len(t), -1)[members].T for t in tensors.values()]
    return torch.cat(flat).numpy()


def _population_rows(ensemble: ReasoningEnsemble, lanes: int) -> NDArray[np.float32]:
    """Return the data set as the rows that the kernel reads (see the head of reasoning.c)."""
    p = ensemble.problems
    truth = p.eigenvalues[:, 1:-1]
    if ensemble.solver == "rnn":
        parts = [p.inputs, p.rotation.reshape(p.population, -1), p.linear, p.solution, truth]
    else:
        parts = [p.inputs, *p.coefficients(), truth]
    rows = np.hstack(parts).astype(np.float32)
    return _aligned(np.pad(rows, ((0, 0), (0, -rows.shape[1] % lanes))), np.float32)


def _aligned(array: NDArray[Any], dtype: type[np.generic], boundary: int = 64) -> NDArray[Any]:
    """Return a C-ordered copy that starts at a multiple of ``boundary`` bytes, as vector loads need."""
    size = array.size * np.dtype(dtype).itemsize
    raw = np.empty(size + boundary, dtype=np.uint8)
    start = -raw.ctypes.data % boundary
    copy = raw[start : start + size].view(dtype).reshape(array.shape)
    copy[...] = array
    return copy
