"""The fused backend: reasoning layers with GD or NAG in plain torch, gradients by hand, on any device.

Replicas train in blocks, which share nothing; within a block no arithmetic crosses replicas. As in the native kernel,
the loss after an epoch shares the forward pass of the next epoch's first batch.
"""

from __future__ import annotations

from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from unrolled.data.streams import shuffled_rows
from unrolled.networks.reasoning import Evaluation, ReasoningEnsemble
from unrolled.training.flat import Flat
from unrolled.training.gradients import Layer, Rows, StepSizes, Table, of_rows
from unrolled.training.optimizers import ADAM_BETAS, ADAM_EPSILON, Tensors
from unrolled.training.residuals import UNROLLED
from unrolled.training.state import FitSettings, FitState

BLOCK = 256
"""Replicas trained together: enough to hide the cost of a call; more would leave the cache."""

FEW, CHUNK = 64, 200
"""Replicas and rows evaluated together, likewise."""

ORDERS = 1 << 21
"""Row numbers drawn at once, about; it bounds memory and changes no result."""


class FusedUnavailableError(RuntimeError):
    """The fused backend does not know the solver."""


class Fused:
    """Advance and evaluate a :class:`ReasoningEnsemble` with gradients by hand.

    Args:
        ensemble: its solver is gd or nag.

    Raises:
        FusedUnavailableError: another solver.
    """

    name = "fused"

    def __init__(self, ensemble: ReasoningEnsemble) -> None:
        if ensemble.solver not in UNROLLED:
            raise FusedUnavailableError(
                f"run.backend: fused knows solvers {', '.join(UNROLLED)}, got {ensemble.solver}; use auto or eager"
            )
        self.ensemble = ensemble
        learned, steps = ensemble.learn_step_size.tolist(), ensemble.steps.tolist()
        # Learned steps cost more, so they have blocks of their own; neighbours in depth belong together.
        order = sorted(range(len(steps)), key=lambda i: (learned[i], -steps[i]))
        kinds = [list(members) for _, members in groupby(order, key=lambda i: learned[i])]
        self.blocks = [kind[i : i + BLOCK] for kind in kinds for i in range(0, len(kind), BLOCK)]

    @torch.no_grad()
    def advance(self, settings: FitSettings, state: FitState, until: int) -> FitState:
        """Train until an epoch; same contract as :func:`unrolled.training.eager.advance_eager`."""
        parts = []
        for members in self.blocks:
            block = _Block(self.ensemble, settings, state, members)
            block.advance(state.epoch, until)
            parts.append(block.state(until))
        where = torch.as_tensor(np.argsort(np.concatenate(self.blocks)), device=state.best_loss.device)

        def joined(name: str) -> Tensor:
            return torch.cat([getattr(part, name) for part in parts], dim=-1)[..., where]

        def named(name: str) -> Tensors:
            return {key: torch.cat([getattr(p, name)[key] for p in parts])[where] for key in getattr(state, name)}

        return FitState(
            epoch=until,
            weights=named("weights"),
            moments=named("moments"),
            best_weights=named("best_weights"),
            best_loss=joined("best_loss"),
            best_epoch=joined("best_epoch"),
            diverged_epoch=joined("diverged_epoch"),
            curve=joined("curve"),
        )

    @torch.no_grad()
    def evaluate(self, parameters: Tensors, rows: Tensor) -> Evaluation:
        """Return means over rows; see :meth:`ReasoningEnsemble.evaluate`."""
        ensemble = self.ensemble
        rows = rows.to(ensemble.device).expand(ensemble.replicas, -1)
        means = torch.zeros(3, ensemble.replicas, dtype=torch.float64, device=ensemble.device)
        for block in self.blocks:
            for i in range(0, len(block), FEW):
                members = torch.as_tensor(block[i : i + FEW], device=ensemble.device)
                weights = Flat({name: values[members] for name, values in parameters.items()})
                own = rows[members] if rows.stride(0) else rows[: len(members)]
                means[:, members] = self._means(block[i : i + FEW], weights, own)
        return Evaluation(*means)

    def _means(self, members: list[int], weights: Flat, rows: Tensor) -> Tensor:
        steps = StepSizes(self.ensemble, members)
        steps.update(weights.parts["step_logit"])
        sums, layers = torch.zeros(3, len(members), dtype=torch.float64, device=rows.device), {}
        for part in rows.split(CHUNK, dim=1):
            size = part.shape[1]
            if size not in layers:
                layers[size] = Layer(self.ensemble, members, steps, size)
            layer, chunk = layers[size], Rows(Table(self.ensemble, part, steps), 0, size)
            chunk.refresh()
            truth = of_rows(self.ensemble.eigenvalues, part)[..., 1:-1].permute(2, 0, 1)
            off = (layer.find_eigenvalues(weights.parts, chunk) - truth).abs().amax(0)
            losses = layer.distances(chunk).sum(1, dtype=torch.float64)
            layer.e.copy_(truth)
            sums += torch.stack(
                [losses, layer.distances(chunk).sum(1, dtype=torch.float64), off.sum(1, dtype=torch.float64)]
            )
        return sums / rows.shape[1]


class _Block:
    """Some replicas of a fit, trained on their own."""

    def __init__(self, ensemble: ReasoningEnsemble, settings: FitSettings, state: FitState, members: list[int]) -> None:
        self.settings, self.keys = settings, settings.order_keys[members]
        chosen = torch.as_tensor(members, device=state.best_loss.device)
        weights, moments, best = (
            {name: t[chosen] for name, t in tensors.items()}
            for tensors in (state.weights, state.moments, state.best_weights)
        )
        self.now, self.best, self.gradient = Flat(weights), Flat(best), Flat(weights)
        self.gradient.vector.zero_()  # a fixed step has none, and nothing writes there
        self.moments = [Flat(moments, f"{order}.") for order in ("first", "second")] if moments else []
        self.best_loss, self.best_epoch = state.best_loss[chosen], state.best_epoch[chosen]
        self.diverged_epoch, self.curve = state.diverged_epoch[chosen], state.curve[:, chosen]
        self.any_diverged = bool((self.diverged_epoch >= 0).any())
        self._prepare_updates(members)
        self._prepare_rows(ensemble, members)

    def _prepare_updates(self, members: list[int]) -> None:
        vector, rates = self.now.vector, self.settings.rates
        self.rate = self.now.spread(rates.learning_rate[members].to(vector))
        self.inverse_rate = 1 / self.rate
        self.decay = self.now.spread(rates.weight_decay[members].to(vector))
        self.decay[-len(members) :] = 0  # the logits of steps, which are last
        self.beta2, self.epsilon = vector.new_tensor([ADAM_BETAS[1], ADAM_EPSILON])
        self.work = torch.empty_like(vector)

    def _prepare_rows(self, ensemble: ReasoningEnsemble, members: list[int]) -> None:
        rows = torch.as_tensor(self.settings.train_rows[members], device=self.best_loss.device)
        n = rows.shape[1]
        self.steps = StepSizes(ensemble, members)
        self.table = Table(ensemble, rows, self.steps)
        starts = range(0, n, self.settings.batch_size)
        self.batches = [Rows(self.table, i, min(i + self.settings.batch_size, n)) for i in starts]
        self.layers = {size: Layer(ensemble, members, self.steps, size) for size in {b.size for b in self.batches}}

    def state(self, epoch: int) -> FitState:
        """Return where the block stands."""
        moments = {name: value for flat in self.moments for name, value in flat.tensors().items()}
        return FitState(
            epoch,
            self.now.tensors(),
            moments,
            self.best.tensors(),
            self.best_loss,
            self.best_epoch,
            self.diverged_epoch,
            self.curve,
        )

    def advance(self, first: int, until: int) -> None:
        """Train until an epoch; after the last epoch of the fit its loss is judged too."""
        last, n = until + (until == self.settings.epochs), self.settings.train_rows.shape[1]
        together = max(1, ORDERS // (n * len(self.keys)))
        for start in range(first, last, together):
            epochs = range(start, min(start + together, last))
            orders = shuffled_rows(self.keys, epochs, n).transpose(1, 0, 2)
            for epoch, order in zip(epochs, torch.as_tensor(orders, device=self.best_loss.device), strict=True):
                self.table.take(order)
                for rows in self.batches:
                    rows.refresh()
                self._judge(epoch)
                if epoch < until:
                    self._train_epoch(epoch)

    def _losses(self, rows: Rows, learn: bool) -> Tensor:
        return self.layers[rows.size].losses(self.now.parts, rows, learn)

    def _judge(self, epoch: int) -> None:
        """Enter the training loss after ``epoch`` epochs: curve, best weights, divergence."""
        self.steps.update(self.now.parts["step_logit"])
        total = torch.zeros_like(self.best_loss, dtype=torch.float64)
        for rows in reversed(self.batches):  # the first comes last: its values serve the next update too
            total += self._losses(rows, learn=rows is self.batches[0]).sum(1, dtype=torch.float64)
        loss = (total / self.settings.train_rows.shape[1]).to(self.best_loss.dtype)
        alive, finite = self.diverged_epoch < 0, torch.isfinite(loss)
        self.diverged_epoch = torch.where(alive & ~finite, epoch, self.diverged_epoch)
        alive &= finite
        self.any_diverged = not bool(alive.all())
        if epoch in self.settings.curve_epochs:
            self.curve[self.settings.curve_epochs.index(epoch)] = torch.where(alive, loss, torch.nan)
        if epoch:  # as in the released code, only weights that were trained can be the best
            self._keep_best(alive & (loss < self.best_loss), loss, epoch)

    def _keep_best(self, improved: Tensor, loss: Tensor, epoch: int) -> None:
        self.best_loss = torch.where(improved, loss, self.best_loss)
        self.best_epoch = torch.where(improved, epoch, self.best_epoch)
        which = improved.nonzero()[:, 0]
        if len(which) == len(loss):
            self.best.vector.copy_(self.now.vector)
        elif len(which):
            for name, part in self.best.parts.items():
                part.index_copy_(0, which, self.now.parts[name].index_select(0, which))

    def _train_epoch(self, epoch: int) -> None:
        before = self.now.vector.clone() if self.any_diverged else None
        for number, rows in enumerate(self.batches):
            if number:
                self.steps.update(self.now.parts["step_logit"])
                self._losses(rows, learn=True)
            self.layers[rows.size].gradient(self.now.parts, rows, self.gradient.parts)
            self._update(epoch * len(self.batches) + number + 1)
        if before is not None:
            diverged = self.now.spread(self.diverged_epoch >= 0)
            self.now.vector.copy_(torch.where(diverged, before, self.now.vector))

    def _update(self, time: int) -> None:
        """Take one step of the optimiser; the twin of :mod:`unrolled.training.optimizers`."""
        w, g, work = self.now.vector, self.gradient.vector, self.work
        if not self.moments:
            w.sub_(torch.addcmul(g, w, self.decay, out=work).mul_(self.rate))
            return
        beta1, beta2 = ADAM_BETAS
        g = torch.addcmul(g, w, self.decay, out=work)
        first = self.moments[0].vector.lerp_(g, 1 - beta1)
        second = self.moments[1].vector.mul_(self.beta2).addcmul_(g, g, value=1 - beta2)
        root = torch.sqrt(second, out=work)
        torch.add(self.epsilon, root, alpha=(1 - beta2**time) ** -0.5, out=work)
        w.addcdiv_(first, work.mul_(self.inverse_rate), value=-1 / (1 - beta1**time))
