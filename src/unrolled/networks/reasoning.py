r"""The hybrid architecture of the reasoning-layer paper as an ensemble of replicas.

.. math:: f(x, b) = \mathrm{Alg}^k(E_\theta(x, b; \cdot)), \qquad
          Q_\theta(x) = q\,\mathrm{diag}(L, \mu + (L - \mu)\,\mathrm{softmax}(\mathrm{net}_\theta(x)), \mu)\,q^\top

The problem's own rotation q cancels from the loss of GD and NAG, so these are computed in the eigenbasis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unrolled.data.quadratic import QuadraticProblems, glorot_uniform
from unrolled.data.streams import generator
from unrolled.solvers.energies import QuadraticEnergy
from unrolled.solvers.filters import solver_filter
from unrolled.solvers.learned import RNNCell
from unrolled.solvers.properties import step_range

REASONING_SOLVERS = ("gd", "nag", "rnn")

Parameters = dict[str, Tensor]


class Evaluation(NamedTuple):
    """Means over a set of rows, each ``(R,)`` in float64.

    Attributes:
        loss: Euclidean distance of the layer's output to y*.
        loss_true: the same with the true energy in the same layer (same rows, steps, step size, cell).
        representation_error: spectral norm of Q_theta - Q*.
    """

    loss: Tensor
    loss_true: Tensor
    representation_error: Tensor


class ReasoningEnsemble:
    r"""R replicas of an eigenvalue net with an unrolled solver on top.

    The replicas share the data set, the solver and the hidden width; steps, step size and whether it is learned are
    their own. A learned step is :math:`s = c_0 + (s_\max - c_0)\,\sigma(\theta_s)`, which keeps it in the range where
    the solver converges.

    Args:
        problems: the data set.
        solver: ``gd``, ``nag`` or ``rnn``.
        width: hidden units, >= 0; 0 is a linear net.
        steps: ``(R,)`` unrolled steps k >= 0 (rnn: >= 1).
        step_size: ``(R,)`` fixed step sizes s > 0; the start of a learned one, and of an RNN.
        learn_step_size: ``(R,)`` whether s is trained (not for rnn, whose cell is trained as a whole).
        min_step_size: c_0, the lower end of the range of learned step sizes.
        dtype: of parameters and arithmetic.
        device: where the tensors live.

    Raises:
        ValueError: an unknown solver, lengths that differ, steps or step sizes outside their range, or a learned step
            that starts outside its own.

    Reference:
        Chen et al. 2020 (arXiv 2006.13401), the hybrid architecture and its experiments.

    Deviation:
        The released code never hands the step size to its optimiser; here a learned step is really trained.
        The RNN follows the paper's formula, as the released path for it does not run.
    """

    def __init__(
        self,
        problems: QuadraticProblems,
        solver: str,
        width: int,
        steps: Sequence[int],
        step_size: Sequence[float],
        learn_step_size: Sequence[bool],
        min_step_size: float = 0.1,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> None:
        if solver not in REASONING_SOLVERS:
            raise ValueError(f"solver: expected one of {', '.join(REASONING_SOLVERS)}, got {solver!r}")
        if not len(steps) == len(step_size) == len(learn_step_size) > 0:
            raise ValueError("steps, step_size and learn_step_size: expected one value a replica in each")
        if min(steps) < 0 or not min(step_size) > 0:
            raise ValueError(f"expected steps >= 0 and step_size > 0, got {min(steps)} and {min(step_size):g} at least")
        if solver == "rnn" and (any(learn_step_size) or min(steps) < 1):
            raise ValueError("solver rnn: needs at least 1 step, and its cell is trained instead of a step size")
        self.problems, self.solver, self.width, self.dtype = problems, solver, width, dtype
        self.device = torch.device(device)
        self.max_steps = max(steps)
        self.steps = torch.as_tensor(list(steps), device=self.device)
        self.step_size = torch.tensor(list(step_size), dtype=torch.float64)
        self.learn_step_size = torch.tensor(list(learn_step_size))
        mu, smooth = problems.strong_convexity, problems.smoothness
        self.step_range = (
            (min_step_size, min_step_size) if solver == "rnn" else step_range(solver, mu, smooth, min_step_size)
        )
        self._check_learned_start()
        coefficients, target = problems.coefficients()
        arrays = (problems.inputs, problems.rotation, problems.linear, problems.eigenvalues, coefficients, target)
        self.inputs, self.rotation, self.linear, self.eigenvalues, self.coefficients, self.target = (
            torch.as_tensor(a, dtype=dtype, device=self.device) for a in arrays
        )
        self.solution = torch.as_tensor(problems.solution, dtype=dtype, device=self.device)

    @property
    def replicas(self) -> int:
        """Number R of replicas."""
        return len(self.steps)

    undecayed = frozenset({"step_logit"})
    """Parameters that weight decay leaves alone: a step size of mid-range is not simpler than another."""

    def _check_learned_start(self) -> None:
        low, high = self.step_range
        outside = self.learn_step_size & ~((self.step_size > low) & (self.step_size < high))
        if outside.any():
            given = float(self.step_size[outside][0])
            raise ValueError(
                f"solver.step_size: a learned step of {self.solver} starts strictly between {low:g} and {high:g}, "
                f"got {given:g}"
            )

    def initial_parameters(self, seeds: Sequence[int]) -> Parameters:
        """Return the initial weights: Glorot uniform, zero biases, an RNN cell that equals one GD step.

        Args:
            seeds: ``(R,)`` seed of each replica; it alone decides the replica's weights.

        Returns:
            Tensors with the replica axis first, in the fixed order of the parameters.
        """
        d_in, middle = self.inputs.shape[1], self.eigenvalues.shape[1] - 2
        shapes = [(self.width, d_in), (middle, self.width)] if self.width else [(middle, d_in)]
        draws = [[glorot_uniform(g, *shape) for shape in shapes] for g in (generator(s, "weights") for s in seeds)]
        layers = [torch.as_tensor(np.stack([d[i] for d in draws]), dtype=self.dtype) for i in range(len(shapes))]
        named: Parameters = {}
        for name, weight in zip(("hidden", "output") if self.width else ("output",), layers, strict=True):
            named[f"{name}.weight"] = weight
            named[f"{name}.bias"] = torch.zeros(weight.shape[:2], dtype=self.dtype)
        named |= self._initial_layer()
        return {name: value.to(self.device) for name, value in named.items()}

    def _initial_layer(self) -> Parameters:
        d = self.eigenvalues.shape[1]
        if self.solver == "rnn":
            cells = [RNNCell.from_step_size(d, float(s), dtype=torch.float64) for s in self.step_size]
            return {
                f"cell.{name}": torch.stack([getattr(cell, name).to(self.dtype) for cell in cells])
                for name in ("w1", "w2", "w3", "v")
            }
        low, high = self.step_range
        shares = torch.where(self.learn_step_size, (self.step_size - low) / (high - low), 0.5).tolist()
        return {"step_logit": torch.tensor([math.log(x / (1 - x)) for x in shares], dtype=self.dtype)}

    def step_sizes(self, parameters: Parameters) -> Tensor:
        """Return the ``(R,)`` step sizes in use, learned or fixed; the starting ones for an RNN."""
        fixed = self.step_size.to(self.device, self.dtype)
        if self.solver == "rnn":
            return fixed
        low, high = self.step_range
        logit = parameters["step_logit"]
        # Not torch.sigmoid: it rounds a replica by its place in the pack (vector or remainder), a softmax row does not.
        gate = torch.softmax(torch.stack([logit, torch.zeros_like(logit)], dim=-1), dim=-1)[..., 0]
        learned = low + (high - low) * gate
        return torch.where(self.learn_step_size.to(self.device), learned, fixed)

    def learned_eigenvalues(self, parameters: Parameters, rows: Tensor) -> Tensor:
        """Return the eigenvalues of Q_theta at rows ``(R, B)``, as ``(R, B, d)`` ordered [L, ..., mu]."""
        mu, smooth = self.problems.strong_convexity, self.problems.smoothness
        hidden = self.inputs[rows]  # (R, B, D_in)
        if self.width:
            weight, bias = parameters["hidden.weight"], parameters["hidden.bias"]
            hidden = torch.relu(hidden @ weight.mT + bias[:, None])  # (R, B, H)
        logits = hidden @ parameters["output.weight"].mT + parameters["output.bias"][:, None]
        middle = mu + (smooth - mu) * torch.softmax(logits, dim=-1)
        ends = self.eigenvalues[rows]
        return torch.cat([ends[..., :1], middle, ends[..., -1:]], dim=-1)

    def layer_losses(self, parameters: Parameters, rows: Tensor, eigenvalues: Tensor) -> Tensor:
        """Return the distance of the layer's output to y* for an energy with the given eigenvalues.

        Args:
            parameters: the replicas' parameters.
            rows: ``(R, B)`` row numbers.
            eigenvalues: ``(R, B, d)``.

        Returns:
            ``(R, B)`` Euclidean distances.
        """
        if self.solver == "rnn":
            return self._rnn_losses(parameters, rows, eigenvalues)
        step = self.step_sizes(parameters)[:, None, None]
        mu, steps = self.problems.strong_convexity, self.steps[:, None, None]
        p = solver_filter(self.solver, eigenvalues, steps, step, mu, max_steps=self.max_steps)
        return torch.linalg.vector_norm(p * self.coefficients[rows] - self.target[rows], dim=-1)

    def _rnn_losses(self, parameters: Parameters, rows: Tensor, eigenvalues: Tensor) -> Tensor:
        energy = QuadraticEnergy.from_eigen(self.rotation[rows], eigenvalues, self.linear[rows])
        cell = RNNCell(*(parameters[f"cell.{name}"] for name in ("w1", "w2", "w3", "v")))
        estimate, steps = energy.start(), self.steps[:, None, None]
        for done in range(self.max_steps):
            # Past its own k a replica stands still: were it to run on and overflow, 0 * inf would reach its gradient.
            estimate = torch.where(steps > done, cell.step(energy, estimate), estimate)  # (R, B, d)
        return torch.linalg.vector_norm(estimate - self.solution[rows], dim=-1)

    def losses(self, parameters: Parameters, rows: Tensor) -> Tensor:
        """Return the training loss of each row, ``(R, B)`` for rows ``(R, B)``."""
        return self.layer_losses(parameters, rows, self.learned_eigenvalues(parameters, rows))

    def penalty(self, parameters: Parameters) -> None:
        """Nothing is added to the loss."""

    def training_loss(self, parameters: Parameters, rows: Tensor) -> Tensor:
        """Return the mean loss ``(R,)`` of training rows ``(R, n)``, in float64."""
        return self.losses(parameters, rows).double().mean(1)

    def probe(self, parameters: Parameters) -> Parameters:
        """Training curves keep nothing but the loss."""
        return {}

    @torch.no_grad()
    def evaluate(self, parameters: Parameters, rows: Tensor, chunk: int = 1000) -> Evaluation:
        """Return the mean losses and representation error over rows.

        Args:
            parameters: the replicas' parameters.
            rows: ``(R, M)`` row numbers, or ``(M,)`` for the same rows in every replica.
            chunk: rows handled at a time; it bounds the memory.

        Returns:
            The three means.
        """
        rows = rows.expand(self.replicas, -1)
        sums = torch.zeros(3, self.replicas, dtype=torch.float64, device=self.device)
        for part in rows.split(chunk, dim=1):
            learned, true = self.learned_eigenvalues(parameters, part), self.eigenvalues[part]
            sums[0] += self.layer_losses(parameters, part, learned).double().sum(1)
            sums[1] += self.layer_losses(parameters, part, true).double().sum(1)
            sums[2] += (learned - true).abs().amax(-1).double().sum(1)
        return Evaluation(*(sums / rows.shape[1]))
