r"""Classifiers that are one sweep of inference in a deep frame, as an ensemble of replicas.

.. math:: w_i = \mathrm{relu}\Big(B_{ii}^\top \big(y_i - \sum_{k<i} B_{ik} w_k\big) + b_i\Big), \qquad
          y = [x; 0; \dots; 0]

This is one Gauss-Seidel sweep of block proximal gradient from 0 with step 1: an ordinary feed-forward, residual or
densely connected net, by the structure of B. A linear classifier reads the last layer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from unrolled.data.streams import generator
from unrolled.frames.potential import Potential, frame_potential
from unrolled.frames.structure import Structure, StructureError
from unrolled.networks.convolution import Statistics
from unrolled.networks.frame_pass import feed_forward

Parameters = dict[str, Tensor]

POTENTIALS = ("f2_mean", "f2", "f")
"""What a potential weight multiplies: F2 / N = F^2, F2, or F."""

REFERENCE_ROWS = 256
"""Training rows whose statistics normalise a convolutional net when it is judged."""

CHUNK_VALUES = 1 << 18
"""Patches of a layer handled at a time where nothing is learned, about: they stay in the cache."""


class FrameClassifiers:
    r"""R replicas of a classifier with the structure of a deep frame.

    The replicas share the data and the structure; their weights and potential weights are their own. The loss is the
    cross-entropy, to which the trainer adds :meth:`penalty`, the potential of the net's own weights with identities of
    length 1.

    Convolutional layers normalise :math:`B_{ii}^\top(\cdot)` over the batch, with a learned scale and shift for each
    channel. The potential does not change with the length of a learned column, so the scale takes nothing from it.

    Args:
        structure: of the frame; without a grid its input is the flattened image.
        inputs: ``(n, C, H, W)`` images of all rows, of training and test.
        labels: ``(n,)`` integers 0 to classes - 1.
        classes: number of classes, >= 2.
        potential_weight: ``(R,)`` factors >= 0 of the penalty.
        potential: what is multiplied, one of :data:`POTENTIALS` for all replicas or ``(R,)`` of them.
        dtype: of parameters and arithmetic.
        device: where the tensors live.

    Raises:
        StructureError: the structure does not read these inputs.
        ValueError: labels or weights outside their range.

    Deviation:
        When a convolutional net is judged, its statistics are those of a fixed batch of training rows under the current
        weights, not running averages of the batches it was trained on: what a net computes then depends on its weights
        alone.
    """

    def __init__(
        self,
        structure: Structure,
        inputs: Tensor | NDArray[np.floating],
        labels: Tensor | NDArray[np.integer],
        classes: int,
        potential_weight: Sequence[float],
        potential: str | Sequence[str] = "f2_mean",
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> None:
        self.structure, self.classes = structure, classes
        self.potential = [potential] * len(potential_weight) if isinstance(potential, str) else list(potential)
        self.dtype, self.device = dtype, torch.device(device)
        self.inputs = torch.as_tensor(inputs).to(self.device, dtype)
        self.labels = torch.as_tensor(labels).to(self.device, torch.int64)
        self.potential_weight = torch.tensor(list(potential_weight), dtype=dtype, device=self.device)
        self._check()
        self.inputs = self.inputs.flatten(2) if structure.convolutional else self.inputs.flatten(1)

    def _check(self) -> None:
        if self.inputs.ndim != 4 or len(self.inputs) != len(self.labels):
            raise ValueError(
                f"inputs and labels: expected (n, C, H, W) and (n,), got {tuple(self.inputs.shape)} and "
                f"{tuple(self.labels.shape)}"
            )
        channels, height, width = self.inputs.shape[1:]
        check_reads(self.structure, (channels, height, width))
        if self.classes < 2 or int(self.labels.min()) < 0 or int(self.labels.max()) >= self.classes:
            raise ValueError(
                f"labels: expected 0 to {self.classes - 1} of at least two classes, got {int(self.labels.min())} to "
                f"{int(self.labels.max())}"
            )
        if len(self.potential_weight) == 0 or not bool((self.potential_weight >= 0).all()):
            raise ValueError(
                f"potential_weight: expected one number >= 0 a replica, got {self.potential_weight.tolist()}"
            )
        if len(self.potential) != self.replicas or not set(self.potential) <= set(POTENTIALS):
            raise ValueError(f"potential: expected one of {', '.join(POTENTIALS)} a replica, got {self.potential}")

    def select(self, members: Sequence[int]) -> FrameClassifiers:
        """Return an ensemble of some of the replicas, by their numbers; the data are shared."""
        part = copy(self)
        part.potential_weight = self.potential_weight[list(members)]
        part.potential = [self.potential[m] for m in members]
        return part

    @property
    def replicas(self) -> int:
        """Number R of replicas."""
        return len(self.potential_weight)

    @cached_property
    def undecayed(self) -> frozenset[str]:
        """Parameters that weight decay leaves alone: biases, and scales and shifts of normalisations."""
        return frozenset(name for name in self._shapes if not name.startswith("block.") and name != "classifier.weight")

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of one replica's parameters, in their fixed order."""
        s = self.structure
        shapes: dict[str, tuple[int, ...]] = {
            b.name: (*s.channels(b), b.kernel, b.kernel) for b in s.blocks if b.learned
        }
        for j, size in enumerate(s.sizes[1:], 1):
            shapes |= {f"scale.{j}": (size,), f"shift.{j}": (size,)} if s.convolutional else {f"bias.{j}": (size,)}
        return shapes | {"classifier.weight": (s.sizes[-1], self.classes), "classifier.bias": (self.classes,)}

    def initial_parameters(self, seeds: Sequence[int]) -> Parameters:
        """Return the initial weights: normal, with variance 2 over the inputs of a unit (1 in the classifier).

        Where several learned blocks feed a unit, as in dense nets, they share that variance.

        Args:
            seeds: ``(R,)`` seed of each replica; it alone decides the replica's weights.

        Returns:
            Tensors with the replica axis first, in a fixed order.

        Reference:
            He et al. 2015, "Delving deep into rectifiers", equation 10.
        """
        draws = [generator(seed, "weights") for seed in seeds]
        named: Parameters = {}
        for name, shape in self._shapes.items():
            if name.startswith("block.") or name == "classifier.weight":
                own = [self._deviation(name) * draw.standard_normal(shape) for draw in draws]
            else:
                own = [np.full(shape, float(name.startswith("scale.")))] * len(draws)
            named[name] = torch.as_tensor(np.stack(own), dtype=self.dtype).to(self.device)
        return named

    def _deviation(self, name: str) -> float:
        if name == "classifier.weight":
            return math.sqrt(1 / self.structure.sizes[-1])
        (block,) = (b for b in self.structure.blocks if b.name == name)
        rows, columns = self.structure.channels(block)
        if block.row == block.column:
            return math.sqrt(2 / (rows * block.kernel**2))
        together = sum(b.learned and b.column < b.row for b in self.structure.row_blocks(block.row))
        return math.sqrt(2 / (columns * block.kernel**2 * together))

    def losses(self, parameters: Parameters, rows: Tensor) -> Tensor:
        """Return the cross-entropy of each row, ``(R, B)`` for rows ``(R, B)`` that are trained on as one batch."""
        return self._losses(parameters, rows, None)

    def _losses(self, parameters: Parameters, rows: Tensor, statistics: list[Statistics] | None) -> Tensor:
        scores = self._scores(parameters, self._taken(rows), statistics)
        labels = self.labels[rows]
        return cross_entropy(scores.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)

    def filters(self, parameters: Parameters) -> Parameters:
        """Return the learned blocks of the dictionary, name -> ``(R, k_row, k_col, f, f)``."""
        return {name: value for name, value in parameters.items() if name.startswith("block.")}

    def potentials(self, parameters: Parameters) -> Potential:
        """Return the potential of the replicas' dictionaries, with identities of length 1."""
        return frame_potential(self.structure, self.filters(parameters), check=False)

    def penalty(self, parameters: Parameters) -> Tensor | None:
        """Return what is added to each replica's loss, ``(R,)``: its weight times its potential; None where all are 0.

        Replicas without a weight stay out of the computation, so that nothing of it reaches them.
        """
        weights = self.potential_weight.tolist()
        total = None
        for kind in POTENTIALS:
            which = [r for r, own in enumerate(self.potential) if own == kind and weights[r] > 0]
            if which:
                added = self._weighted(parameters, kind, which)
                total = added if total is None else total + added
        return total

    def _weighted(self, parameters: Parameters, kind: str, members: Sequence[int]) -> Tensor:
        """Return the penalty of replicas that are penalised alike, ``(R,)``, 0 for the others."""
        chosen, which = self.filters(parameters), torch.as_tensor(members, device=self.device)
        if len(members) < self.replicas:
            chosen = {name: value.index_select(0, which) for name, value in chosen.items()}
        # Unchecked, as a replica that has diverged must not stop the others.
        found = frame_potential(self.structure, chosen, check=False)
        value = {"f2": lambda: found.f2, "f": lambda: found.f, "f2_mean": lambda: found.f2 / max(found.pairs, 1)}[
            kind
        ]()
        weighted = self.potential_weight[which] * value
        return weighted.new_zeros(self.replicas).index_copy(0, which, weighted)

    @torch.no_grad()
    def training_loss(self, parameters: Parameters, rows: Tensor) -> Tensor:
        """Return the mean cross-entropy ``(R,)``, in float64, of training rows ``(R, n)`` as the net is judged."""
        return self.evaluate(parameters, rows, self.statistics(parameters, rows))[0]

    @torch.no_grad()
    def probe(self, parameters: Parameters) -> Parameters:
        """Return what a training curve keeps besides the loss: the potential F, ``(R,)``."""
        return {"potential": self.potentials(parameters).f}

    @torch.no_grad()
    def statistics(self, parameters: Parameters, rows: Tensor) -> list[Statistics] | None:
        """Return the statistics that judging uses; None for fully connected nets, which are not normalised.

        Args:
            parameters: the replicas' parameters.
            rows: ``(R, n)`` training rows; the first :data:`REFERENCE_ROWS` of them are used.

        Returns:
            One a layer.
        """
        if not self.structure.convolutional:
            return None
        found: list[Statistics] = []
        self._scores(parameters, self._taken(rows[:, :REFERENCE_ROWS]), None, found)
        return found

    @torch.no_grad()
    def evaluate(
        self, parameters: Parameters, rows: Tensor, statistics: list[Statistics] | None
    ) -> tuple[Tensor, Tensor]:
        """Return the mean cross-entropy and the share of wrong answers over rows.

        Args:
            parameters: the replicas' parameters.
            rows: ``(R, m)``, or ``(m,)`` for the same rows in every replica.
            statistics: those of :meth:`statistics`.

        Returns:
            Both ``(R,)`` in float64.
        """
        rows = rows.to(self.device).expand(self.replicas, -1)
        loss, wrong = torch.zeros(2, self.replicas, dtype=torch.float64, device=self.device)
        for part in rows.split(self.chunk, dim=1):
            scores = self._scores(parameters, self._taken(part), statistics)
            labels = self.labels[part]
            each = cross_entropy(scores.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)
            loss += each.double().sum(1)
            wrong += (scores.argmax(-1) != labels).double().sum(1)
        return loss / rows.shape[1], wrong / rows.shape[1]

    @cached_property
    def chunk(self) -> int:
        """Rows handled at a time where nothing is learned; the same for every number of replicas."""
        largest = max(self.structure.column_sizes) * max((*self.structure.kernels, 1)) ** 2
        return max(1, CHUNK_VALUES // largest)

    def outputs(self, parameters: Parameters, inputs: Tensor, statistics: list[Statistics] | None = None) -> Tensor:
        """Return the scores of the classes.

        Args:
            parameters: the replicas' parameters.
            inputs: ``(B, C, H, W)``, or ``(R, B, C, H, W)`` with inputs of its own for each replica.
            statistics: those of :meth:`statistics`; by default a batch is normalised by itself.

        Returns:
            ``(R, B, classes)``, differentiable once in parameters and inputs.
        """
        own = inputs if inputs.ndim == 5 else inputs.expand(self.replicas, *inputs.shape)
        return self._scores(parameters, self._laid_out(own), statistics)

    def layers(
        self, parameters: Parameters, inputs: Tensor, statistics: list[Statistics] | None = None
    ) -> list[Tensor]:
        """Return w_1, ..., w_l; see :meth:`outputs`. Shapes ``(R, B, k)``, convolutional ``(R, k, positions, B)``."""
        own = inputs if inputs.ndim == 5 else inputs.expand(self.replicas, *inputs.shape)
        return feed_forward(self.structure, parameters, self._laid_out(own), statistics)

    def _taken(self, rows: Tensor) -> Tensor:
        """Return the inputs of rows ``(R, B)`` as the layers read them."""
        taken = self.inputs[rows]  # (R, B, k_0), or (R, B, C, P)
        return taken.permute(0, 2, 3, 1).contiguous() if self.structure.convolutional else taken

    def _laid_out(self, images: Tensor) -> Tensor:
        """Return images ``(R, B, C, H, W)`` as the layers read them."""
        images = images.to(self.device, self.dtype)
        if self.structure.convolutional:
            return images.flatten(3).permute(0, 2, 3, 1).contiguous()
        return images.flatten(2)

    def _scores(
        self,
        parameters: Parameters,
        x: Tensor,
        statistics: list[Statistics] | None,
        found: list[Statistics] | None = None,
    ) -> Tensor:
        last = feed_forward(self.structure, parameters, x, statistics, found)[-1]
        if self.structure.convolutional:
            last = (last.sum(2) / last.shape[2]).mT  # (R, B, C)
        return torch.baddbmm(parameters["classifier.bias"][:, None], last, parameters["classifier.weight"])


def check_reads(structure: Structure, image: tuple[int, int, int]) -> None:
    """Raise :class:`StructureError` unless a structure reads images of a shape (C, H, W)."""
    channels, height, width = image
    if structure.convolutional:
        if (structure.sizes[0], structure.grid, structure.grid) != image:
            raise StructureError(
                f"input: expected images of {channels} channels on {height}x{width}, as the data has, got a structure "
                f"for {structure.sizes[0]} on {structure.grid}x{structure.grid}"
            )
    elif structure.sizes[0] != channels * height * width:
        raise StructureError(
            f"input: expected size {channels * height * width}, as the data has, got {structure.sizes[0]}"
        )
