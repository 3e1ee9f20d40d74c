r"""Deep-frame structures of torchvision's residual and densely connected nets, read off their modules.

Layers are the convolutions in the order in which they run. What skips a layer becomes a block of the dictionary:

- residual nets: the last convolution of a block of layers, number i, is added to what layer j gave, which the block
  reads. That is minus the identity at (i, j), with j = i - 2 in basic blocks and j = i - 3 in bottlenecks, or a learned
  block where the shortcut is a convolution.
- densely connected nets: a convolution i that reads the concatenation of several layers has a learned block of its own
  kernel at (i, j) for each of them.

In analysis form (``front``) block row i has the size of layer i, the blocks are the convolutions, and structure and
model have equally many weights. In synthesis form, the package's default, block row i has the size of layer i - 1:
identities lose or gain channels there, and skipping blocks have ``k_{i-1}`` rows where the convolution has ``k_i``.

Reference:
    He et al. 2016, arXiv 1512.03385 (residual nets); Huang et al. 2017, arXiv 1608.06993 (densely connected nets).

Deviation:
    Padding is circular. The stride of a pooling layer is put on the convolution before it, which then skips the
    positions that pooling would merge. Batch normalisation, biases and the classifier are not in the dictionary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn
from torchvision.models.densenet import DenseNet, _DenseBlock, _DenseLayer, _Transition
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from unrolled.frames.structure import Block, Structure, StructureError


def read_structure(model: nn.Module, side: int, *, front: bool = False) -> Structure:
    """Return the structure of one of torchvision's residual or densely connected nets.

    Args:
        model: a ``ResNet`` of basic blocks or bottlenecks, or a ``DenseNet``; of any depth and width, also with layers
            replaced, as long as each is one convolution (a pooling layer may become ``nn.Identity``).
        side: of the square input; a multiple of the product of all strides, so large that every kernel fits its grid.
        front: analysis form instead of synthesis form.

    Returns:
        Kind ``residual`` or ``dense``, or the same with ``_front``, with the blocks that the modules say.

    Raises:
        StructureError: another model, a convolution without a place in a dictionary (groups, dilation, other padding),
            or an input of the wrong side: the message names the smallest that fits.

    Example:
        >>> from torchvision.models import resnet18
        >>> read_structure(resnet18(weights=None), 96, front=True).parameters
        11166912
    """
    walk = _Walk()
    if isinstance(model, ResNet):
        _walk_resnet(walk, model)
    elif isinstance(model, DenseNet):
        _walk_densenet(walk, model)
    else:
        raise StructureError(f"model: expected torchvision's ResNet or DenseNet, got {type(model).__name__}")
    _check_side(walk.kernels, walk.strides, side)
    family = "residual" if isinstance(model, ResNet) else "dense"
    return Structure(
        f"{family}_front" if front else family,
        tuple(walk.sizes),
        tuple(walk.kernels),
        tuple(walk.strides),
        side,
        _blocks(walk, front),
    )


class _Walk:
    """What has been met so far; layer 0 is the input.

    Attributes:
        sizes: channels of the input and of every layer.
        kernels: of every layer.
        strides: of every layer, with those of the pooling after it.
        skips: (row, column) -> side of a learned filter, or 0 for an identity.
    """

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.kernels: list[int] = []
        self.strides: list[int] = []
        self.skips: dict[tuple[int, int], int] = {}

    @property
    def last(self) -> int:
        """Number of the last layer."""
        return len(self.kernels)

    def convolution(self, module: nn.Module, reads: Sequence[int] | None = None) -> int:
        """Add a layer that reads the concatenation of some layers, the last one by default; return its number."""
        kernel, stride, inputs, outputs = _shape(module)
        if not self.sizes:
            self.sizes.append(inputs)
        sources = [self.last] if reads is None else list(reads)
        expected = sum(self.sizes[j] for j in sources)
        if inputs != expected or self.last not in sources:
            raise StructureError(f"{module}: expected {expected} channels to read, of layers {sources}")
        self.sizes.append(outputs)
        self.kernels.append(kernel)
        self.strides.append(stride)
        self.skips |= {(self.last, j): kernel for j in sources if j != self.last - 1}
        return self.last

    def pooling(self, module: nn.Module) -> None:
        """Put the stride of a pooling layer on the last convolution."""
        if isinstance(module, nn.Identity):
            return
        if not isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            raise StructureError(f"expected a pooling layer or nn.Identity, got {module}")
        self.strides[-1] *= _side(module, "stride", module.stride)


def _walk_resnet(walk: _Walk, model: ResNet) -> None:
    walk.convolution(model.conv1)
    walk.pooling(model.maxpool)
    for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
        for block in stage:
            start = walk.last
            if not isinstance(block, BasicBlock | Bottleneck):
                raise StructureError(f"expected BasicBlock or Bottleneck, got {type(block).__name__}")
            walk.convolution(block.conv1)
            walk.convolution(block.conv2)
            if isinstance(block, Bottleneck):
                walk.convolution(block.conv3)
            walk.skips[walk.last, start] = _shortcut(walk, block.downsample, start)


def _shortcut(walk: _Walk, module: nn.Module | None, start: int) -> int:
    """Return the kernel of the shortcut from a layer to the last one, 0 for an identity."""
    stride, ends = math.prod(walk.strides[start:]), (walk.sizes[start], walk.sizes[walk.last])
    if module is None:
        if stride > 1 or ends[0] != ends[1]:
            raise StructureError(f"layer {walk.last}: expected an identity between equal shapes, got stride {stride}, "
                                 f"{ends[0]} and {ends[1]} channels")  # fmt: skip
        return 0
    found = [child for child in module.modules() if isinstance(child, nn.Conv2d)]
    if len(found) != 1 or _shape(found[0])[1:] != (stride, *ends):
        raise StructureError(
            f"shortcut to layer {walk.last}: expected one convolution of stride {stride} from {ends[0]} to {ends[1]} "
            f"channels, got {module}"
        )
    return _shape(found[0])[0]


def _walk_densenet(walk: _Walk, model: DenseNet) -> None:
    sources: list[int] | None = None
    for child in model.features.children():
        if isinstance(child, nn.Conv2d):
            sources = [walk.convolution(child, sources)]
        elif isinstance(child, nn.MaxPool2d | nn.AvgPool2d):
            walk.pooling(child)
        elif isinstance(child, _DenseBlock):
            sources = _walk_dense_block(walk, child, sources or [])
        elif isinstance(child, _Transition):
            sources = [walk.convolution(child.conv, sources)]
            walk.pooling(child.pool)
        elif not isinstance(child, nn.BatchNorm2d | nn.ReLU | nn.Identity):
            raise StructureError(f"features: expected torchvision's layers of a DenseNet, got {type(child).__name__}")


def _walk_dense_block(walk: _Walk, block: _DenseBlock, sources: Sequence[int]) -> list[int]:
    """Add the block's layers; return the layers whose concatenation it gives."""
    found = list(sources)
    for layer in block.children():
        if not isinstance(layer, _DenseLayer):
            raise StructureError(f"dense block: expected torchvision's layers, got {type(layer).__name__}")
        walk.convolution(layer.conv1, found)
        found.append(walk.convolution(layer.conv2))
    return found


def _shape(module: nn.Module) -> tuple[int, int, int, int]:
    """Return kernel, stride, and channels in and out of a convolution that has a place in a dictionary."""
    if not isinstance(module, nn.Conv2d):
        raise StructureError(f"expected a convolution (nn.Conv2d), got {module}")
    kernel, stride = _side(module, "kernel", module.kernel_size), _side(module, "stride", module.stride)
    whole = module.groups == 1 and _side(module, "dilation", module.dilation) == 1
    if not whole or module.padding != ((kernel - 1) // 2,) * 2:
        raise StructureError(f"{module}: expected groups 1, dilation 1 and padding {(kernel - 1) // 2}")
    return kernel, stride, module.in_channels, module.out_channels


def _side(module: nn.Module, name: str, value: int | Sequence[int]) -> int:
    """Return the common value of both axes."""
    values = {value} if isinstance(value, int) else set(value)
    if len(values) > 1:
        raise StructureError(f"{module}: expected the same {name} on both axes")
    return values.pop()


def _check_side(kernels: Sequence[int], strides: Sequence[int], side: int) -> None:
    """Raise unless an input of this side gives every layer a whole grid that its kernel fits."""
    before = [math.prod(strides[:i]) for i in range(len(strides) + 1)]
    needed = max(kernel * step for kernel, step in zip(kernels, before, strict=False))
    smallest = -(-needed // before[-1]) * before[-1]
    if side % before[-1] or side < smallest:
        raise StructureError(
            f"side: expected a multiple of {before[-1]}, the product of all strides, and at least {smallest}, so that "
            f"every kernel fits the grid it reads (padding is circular), got {side}"
        )


def _blocks(walk: _Walk, front: bool) -> tuple[Block, ...]:
    form = _analysis if front else _synthesis
    found = [block for j in range(1, walk.last + 1) for block in form(walk, j)]
    found += [Block(i, j, kernel) if kernel else Block(i, j, 0, -1) for (i, j), kernel in walk.skips.items()]
    return tuple(sorted(found, key=lambda block: (block.column, block.row)))


def _synthesis(walk: _Walk, j: int) -> list[Block]:
    own = [Block(j, j, walk.kernels[j - 1])]
    return own + ([Block(j + 1, j, 0, -1)] if j < walk.last else [])


def _analysis(walk: _Walk, j: int) -> list[Block]:
    own = [Block(j, j, 0) if j > 1 else Block(1, 1, walk.kernels[0])]
    return own + ([Block(j + 1, j, walk.kernels[j])] if j < walk.last else [])
