"""One update of all weights: the optimisers' few operations on two matrices instead of on every tensor."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from unrolled.training.optimizers import OPTIMIZERS, Tensors
from unrolled.training.state import FitSettings, FitState


class Update:
    """The optimiser of a fit, holding weights and moments of R replicas side by side.

    Deep nets have hundreds of small tensors: updated one by one, they would take longer than the gradient. All the
    arithmetic is entry by entry, so that the result is that of :mod:`unrolled.training.optimizers` to the bit.

    Args:
        undecayed: names of the weights that weight decay leaves alone; they have a matrix of their own.
        settings: of the fit.
        state: where it stands; its weights become views of the matrices.
    """

    def __init__(self, undecayed: Collection[str], settings: FitSettings, state: FitState) -> None:
        self.settings = settings
        groups = {
            "decayed": [name for name in state.weights if name not in undecayed],
            "undecayed": [name for name in state.weights if name in undecayed],
        }
        self.groups = {group: names for group, names in groups.items() if names}
        self.shapes = {name: w.shape for name, w in state.weights.items()}
        self.weights = self._joined(state.weights)
        orders = sorted({name.partition(".")[0] for name in state.moments})
        self.moments = {
            f"{order}.{group}": joined
            for order in orders
            for group, joined in self._joined(
                {name: state.moments[f"{order}.{name}"] for name in state.weights}
            ).items()
        }
        state.weights = self._apart(self.weights)

    @torch.no_grad()
    def __call__(self, gradients: Mapping[str, Tensor | None], time: int, going: Tensor | None) -> Tensors:
        """Return the weights after one update.

        Args:
            gradients: name -> ``(R, ...)``; None where a weight is not used.
            time: number of this update, counted from 1.
            going: ``(R,)`` replicas that move, None for all; the others stand still, moments and all.
        """
        found = {n: self.weights_like(n) if g is None else g for n, g in gradients.items()}
        step = OPTIMIZERS[self.settings.optimizer]
        new, moments = step(self.weights, self._joined(found), self.moments, self.settings.rates, time, {"undecayed"})
        self.weights = _moved(new, self.weights, going)
        self.moments = _moved(moments, self.moments, going)
        return self._apart(self.weights)

    def weights_like(self, name: str) -> Tensor:
        """Return zeros in the shape of a weight."""
        return next(iter(self.weights.values())).new_zeros(self.shapes[name])

    def leave(self, state: FitState) -> None:
        """Give weights and moments back as tensors of their own, in their first order."""
        apart = self._apart(self.weights)
        state.weights = {name: apart[name].clone(memory_format=torch.contiguous_format) for name in self.shapes}
        orders = sorted({name.partition(".")[0] for name in self.moments})
        state.moments = {}
        for order in orders:
            own = self._apart({group: self.moments[f"{order}.{group}"] for group in self.groups})
            state.moments |= {
                f"{order}.{name}": own[name].clone(memory_format=torch.contiguous_format) for name in self.shapes
            }

    def _joined(self, tensors: Mapping[str, Tensor]) -> Tensors:
        """Return a matrix ``(R, p)`` of each group."""
        return {
            group: torch.cat([tensors[name].reshape(len(tensors[name]), -1) for name in names], dim=1)
            for group, names in self.groups.items()
        }

    def _apart(self, matrices: Tensors) -> Tensors:
        """Return views of the matrices under the weights' names, in their order."""
        views: Tensors = {}
        for group, names in self.groups.items():
            sizes = [self.shapes[name][1:].numel() for name in names]
            for name, part in zip(names, matrices[group].split(sizes, dim=1), strict=True):
                views[name] = part.view(self.shapes[name])
        return {name: views[name] for name in self.shapes}


def _moved(new: Tensors, old: Tensors, going: Tensor | None) -> Tensors:
    if going is None:
        return new
    return {name: torch.where(going[:, None], new[name], value) for name, value in old.items()}
