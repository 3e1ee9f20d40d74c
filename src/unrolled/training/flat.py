"""The parameters of R replicas as one vector, so that an update is a few operations for all of them."""

from __future__ import annotations

import torch
from torch import Tensor

from unrolled.training.optimizers import Tensors


class Flat:
    """One vector, and views of it in the shapes that :class:`unrolled.training.gradients.Layer` multiplies with.

    ``hidden`` is ``(R, K, H)``, its last row the bias; ``output`` is ``(R, M, H)``, with ``bias`` ``(R, M)``. Without
    hidden units ``output`` is ``(R, M, K)``, its last column the bias. ``step_logit`` ``(R,)`` comes last.

    Args:
        tensors: name -> ``(R, ...)``, by the names of the ensemble; they are copied.
        prefix: what stands before those names.
    """

    def __init__(self, tensors: Tensors, prefix: str = "") -> None:
        self.prefix, self.names = prefix, [name for name in tensors if name.startswith(prefix)]
        parts = _joined({name.removeprefix(prefix): tensors[name] for name in self.names})
        self.vector = torch.cat([part.reshape(-1) for part in parts.values()])
        views = self.vector.split([part.numel() for part in parts.values()])
        self.parts = {name: view.view(part.shape) for (name, part), view in zip(parts.items(), views, strict=True)}

    def tensors(self) -> Tensors:
        """Return copies under the names, and in the shapes and order, that were given."""
        apart = _apart(self.parts)
        return {n: apart[n.removeprefix(self.prefix)].clone(memory_format=torch.contiguous_format) for n in self.names}

    def spread(self, values: Tensor) -> Tensor:
        """Return per-replica values ``(R,)`` as a vector with one value a parameter."""
        return torch.cat([values.repeat_interleave(part[0].numel()) for part in self.parts.values()])


def _joined(tensors: Tensors) -> Tensors:
    output, bias, logit = tensors["output.weight"], tensors["output.bias"], tensors["step_logit"]
    if "hidden.weight" not in tensors:
        return {"output": torch.cat([output, bias[..., None]], dim=-1), "step_logit": logit}
    hidden = torch.cat([tensors["hidden.weight"].mT, tensors["hidden.bias"][:, None]], dim=1)
    return {"hidden": hidden, "output": output, "bias": bias, "step_logit": logit}


def _apart(parts: Tensors) -> Tensors:
    output, logit = parts["output"], parts["step_logit"]
    if "hidden" not in parts:
        return {"output.weight": output[..., :-1], "output.bias": output[..., -1], "step_logit": logit}
    return {
        "hidden.weight": parts["hidden"][:, :-1].mT,
        "hidden.bias": parts["hidden"][:, -1],
        "output.weight": output,
        "output.bias": parts["bias"],
        "step_logit": logit,
    }
