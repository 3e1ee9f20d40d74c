r"""Hybrid classifiers: the representation is the solution of a deep sparse coding problem, found by an unrolled solver.

.. math:: w_k(x) \approx \arg\min_{w \ge 0} \tfrac12\|y - Bw\|^2 + \sum_j b_j \cdot w_j, \qquad y = [x; 0; \dots; 0]

after k sweeps with shared weights; a linear classifier reads the last layer, averaged over positions where it has some.
With a first sweep of unit steps, which uses each layer's own block row only, k = 1 is the ordinary feed-forward,
residual or densely connected net, and k > 1 a recurrent one with the same parameters.

Reference:
    Murdock, Cazenavette, Lucey, arXiv 2103.05804 (recurrent inference, trained end to end).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.frames.equilibrium import TOLERANCE, ConvergenceError, implicit
from unrolled.frames.inference import feed_forward
from unrolled.frames.operator import FrameOperator
from unrolled.frames.quadratic import GramForm, OperatorForm, Quadratic
from unrolled.frames.structure import Structure
from unrolled.frames.unrolled import DIFFERENTIATIONS, FIRST_STEPS, RULES, SOLVERS, curvatures, unroll
from unrolled.networks.convolution import Statistics
from unrolled.networks.frame_pass import feed_forward as fully_connected_pass
from unrolled.networks.frames import FrameClassifiers, Parameters

LEAST_STEP = 1e-3
"""A learned step size stays at or above it."""


@dataclass(frozen=True)
class Inference:
    """How codes are found.

    Args:
        solver: one of :data:`unrolled.frames.unrolled.SOLVERS`.
        steps: number k of sweeps, >= 1.
        rule: whether step sizes are ``relative`` to the safe step, or ``absolute``.
        first_step: ``unit`` makes the first sweep the feed-forward pass; ``safe`` starts the solver from zero.
        differentiation: ``unrolled`` through all sweeps, or ``implicit`` at the fixed point.
        learned: whether the step size is trained.

    Raises:
        ValueError: a value that is not allowed.
    """

    solver: str
    steps: int
    rule: str = "relative"
    first_step: str = "safe"
    differentiation: str = "unrolled"
    learned: bool = False

    def __post_init__(self) -> None:
        allowed = {"solver": SOLVERS, "rule": RULES, "first_step": FIRST_STEPS, "differentiation": DIFFERENTIATIONS}
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name}: expected one of {', '.join(values)}, got {getattr(self, name)!r}")
        if self.steps < 1:
            raise ValueError(f"steps: expected at least 1 sweep, got {self.steps}")


class HybridClassifiers(FrameClassifiers):
    r"""R replicas of a linear classifier on deep sparse codes.

    Parameters are those of :class:`FrameClassifiers`, with thresholds as biases, ``bias.<layer>`` = -b_j, in
    convolutional nets too, and ``solver.step`` where the step size is learned.

    Args:
        structure: of the frame.
        inputs: ``(n, C, H, W)`` images of all rows.
        labels: ``(n,)`` integers.
        classes: number of classes.
        inference: how codes are found, the same for all replicas.
        step_size: ``(R,)`` factors > 0 on the safe step (absolute steps, by the rule), or where learning begins.
        potential_weight: ``(R,)`` factors >= 0 of the frame potential in the loss; 0 where None.
        potential: what is multiplied.
        dtype: of parameters and arithmetic.
        device: where the tensors live.

    Raises:
        StructureError: the structure does not read these inputs.
        ValueError: labels, weights or step sizes outside their range.

    Deviation:
        Convolutional layers are not normalised: a normalisation between sweeps would change the energy they minimise.
    """

    def __init__(
        self,
        structure: Structure,
        inputs: Tensor | NDArray[np.floating],
        labels: Tensor | NDArray[np.integer],
        classes: int,
        inference: Inference,
        step_size: Sequence[float],
        potential_weight: Sequence[float] | None = None,
        potential: str | Sequence[str] = "f2_mean",
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> None:
        weight = [0.0] * len(step_size) if potential_weight is None else potential_weight
        super().__init__(structure, inputs, labels, classes, weight, potential, dtype, device)
        self.inference = inference
        self._held: tuple[Parameters, list[Tensor]] | None = None
        self.step_size = torch.tensor(list(step_size), dtype=dtype, device=self.device)
        if len(self.step_size) != self.replicas or not bool(
            (torch.isfinite(self.step_size) & (self.step_size > 0)).all()
        ):
            raise ValueError(f"step_size: expected a finite number > 0 for each replica, got {list(step_size)}")

    def select(self, members: Sequence[int]) -> HybridClassifiers:
        """Return an ensemble of some of the replicas, by their numbers; the data are shared."""
        part = copy(self)
        part.potential_weight = self.potential_weight[list(members)]
        part.potential = [self.potential[m] for m in members]
        part.step_size = self.step_size[list(members)]
        return part

    def to(self, dtype: torch.dtype) -> HybridClassifiers:
        """Return the ensemble with another arithmetic; inputs are converted when they are taken."""
        part = copy(self)
        part.dtype, part.step_size = dtype, self.step_size.to(dtype)
        part.potential_weight = self.potential_weight.to(dtype)
        return part

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        s = self.structure
        shapes: dict[str, tuple[int, ...]] = {
            b.name: (*s.channels(b), b.kernel, b.kernel) for b in s.blocks if b.learned
        }
        shapes |= {f"bias.{j}": (size,) for j, size in enumerate(s.sizes[1:], 1)}
        shapes |= {"classifier.weight": (s.sizes[-1], self.classes), "classifier.bias": (self.classes,)}
        return shapes | ({"solver.step": ()} if self.inference.learned else {})

    def initial_parameters(self, seeds: Sequence[int]) -> Parameters:
        """Return the initial weights, as :meth:`FrameClassifiers.initial_parameters`, and step sizes."""
        named = super().initial_parameters(seeds)
        if self.inference.learned:
            named["solver.step"] = self.step_size.clone()
        return named

    def statistics(self, parameters: Parameters, rows: Tensor) -> None:
        """Return None: nothing is normalised."""

    def steps_taken(self, parameters: Parameters) -> Tensor:
        """Return the step sizes, ``(R,)``: the given ones, or the learned ones."""
        return parameters["solver.step"].clamp_min(LEAST_STEP) if self.inference.learned else self.step_size

    def problem(self, parameters: Parameters, x: Tensor) -> Quadratic:
        """Return the energies that inputs have.

        Args:
            parameters: the replicas' parameters.
            x: inputs as :meth:`read` gives them.
        """
        limits = [-parameters[f"bias.{j}"] for j in range(1, self.structure.layers + 1)]
        filters = self.filters(parameters)
        if not self.structure.convolutional:
            return GramForm(self.structure, filters, x, limits)
        return OperatorForm(FrameOperator(self.structure, filters, check=False), x, limits)

    def first_pass(self, parameters: Parameters, x: Tensor) -> Tensor:
        """Return the codes of the feed-forward pass, ``(R, B, K)``."""
        if not self.structure.convolutional:
            return torch.cat(fully_connected_pass(self.structure, parameters, x), dim=2)
        limits = [-parameters[f"bias.{j}"] for j in range(1, self.structure.layers + 1)]
        operator = FrameOperator(self.structure, self.filters(parameters), check=False)
        return operator.flatten(feed_forward(operator, x, limits))

    def codes(self, parameters: Parameters, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the codes after k sweeps.

        Args:
            parameters: the replicas' parameters.
            x: inputs as :meth:`read` gives them.

        Returns:
            ``(R, B, K)``; and with implicit differentiation the relative change ``(R,)`` that one more step made.
        """
        how, start, left = self.inference, None, self.inference.steps
        with torch.set_grad_enabled(torch.is_grad_enabled() and how.differentiation == "unrolled"):
            if how.first_step == "unit":
                start, left = self.first_pass(parameters, x), left - 1
            if start is not None and left == 0 and how.differentiation == "unrolled":
                return start, None
            problem, known = self.problem(parameters, x), None
            if self._held is not None and self._held[0] is parameters:
                known = self._held[1]
            found = unroll(problem, how.solver, left, self.steps_taken(parameters), how.rule, start, known)
        if how.differentiation == "unrolled":
            return found, None
        return implicit(self.problem(parameters, x), found)

    @contextmanager
    def holding(self, parameters: Parameters) -> Iterator[None]:
        """Compute the curvatures of these parameters once, for all codes that are inferred meanwhile."""
        before, blank = self._held, self.inputs.new_zeros((), dtype=self.dtype)
        x = blank.expand(self.replicas, 1, *self._input_shape)
        with torch.no_grad():
            self._held = (
                parameters,
                curvatures(self.problem(parameters, x), self.inference.solver, self.inference.rule),
            )
        try:
            yield
        finally:
            self._held = before

    @property
    def _input_shape(self) -> tuple[int, ...]:
        s = self.structure
        return (s.sizes[0], s.grid, s.grid) if s.convolutional else s.sizes[:1]

    @torch.no_grad()
    def evaluate(
        self, parameters: Parameters, rows: Tensor, statistics: list[Statistics] | None
    ) -> tuple[Tensor, Tensor]:
        """Return losses and errors over rows; see :meth:`FrameClassifiers.evaluate`."""
        with self.holding(parameters):
            return super().evaluate(parameters, rows, statistics)

    def read(self, images: Tensor) -> Tensor:
        """Return images ``(B, C, H, W)`` or ``(R, B, C, H, W)`` as the codes' problem has them."""
        own = images if images.ndim == 5 else images.expand(self.replicas, *images.shape)
        own = own.to(self.device, self.dtype)
        return own if self.structure.convolutional else own.flatten(2)

    def outputs(self, parameters: Parameters, inputs: Tensor, statistics: list[Statistics] | None = None) -> Tensor:
        """Return the scores of the classes; see :meth:`FrameClassifiers.outputs`.

        Raises:
            ConvergenceError: with implicit differentiation, where the sweeps did not converge.
        """
        codes, change = self.codes(parameters, self.read(inputs))
        if change is not None and not bool((change <= TOLERANCE).all()):
            raise ConvergenceError(
                f"implicit differentiation: expected codes that one more step changes by at most {TOLERANCE:g} of "
                f"their size, got {change.max():.2g} after {self.inference.steps} sweeps of {self.inference.solver}; "
                "raise solver.steps, or take solver.differentiation=unrolled"
            )
        return self._classified(parameters, codes)

    def scores(self, parameters: Parameters, images: Tensor) -> Tensor:
        """Return what :meth:`outputs` does; NaN for replicas whose codes did not converge, where that is needed."""
        return self._scores(parameters, self.read(images), None)

    def layers(
        self, parameters: Parameters, inputs: Tensor, statistics: list[Statistics] | None = None
    ) -> list[Tensor]:
        """Return w_1, ..., w_l after k sweeps, each ``(R, B, K_j)``."""
        return list(self.codes(parameters, self.read(inputs))[0].split(self.structure.column_sizes, dim=2))

    def taken(self, rows: Tensor) -> Tensor:
        """Return the inputs of rows ``(R, B)`` as the codes' problem has them."""
        return self._taken(rows)

    def _taken(self, rows: Tensor) -> Tensor:
        taken = self.inputs[rows].to(self.dtype)
        side = self.structure.grid
        return taken.unflatten(3, (side, side)) if self.structure.convolutional else taken

    def _scores(
        self,
        parameters: Parameters,
        x: Tensor,
        statistics: list[Statistics] | None,
        found: list[Statistics] | None = None,
    ) -> Tensor:
        codes, change = self.codes(parameters, x)
        if change is not None:
            # A replica without a fixed point has no result, and its neighbours go on.
            codes = torch.where((change <= TOLERANCE)[:, None, None], codes, torch.nan)
        return self._classified(parameters, codes)

    def _classified(self, parameters: Parameters, codes: Tensor) -> Tensor:
        last = codes[:, :, -self.structure.column_sizes[-1] :]
        if self.structure.convolutional:
            places = self.structure.grids[-1] ** 2
            last = last.unflatten(2, (-1, places)).sum(3) / places
        return torch.baddbmm(parameters["classifier.bias"][:, None], last, parameters["classifier.weight"])
