r"""The structure of a deep frame: which blocks of its dictionary are learned, which are identities, which are empty.

A network with layers :math:`w_1, \dots, w_l` is one sweep of inference in the block dictionary B of
:math:`\tfrac12\|y - Bw\|^2 + \sum_j b_j \cdot w_j`, :math:`w_j \ge 0`, :math:`y = [x; 0; \dots; 0]`. Block column j
belongs to layer j. Sizes are :math:`k_0` (input), :math:`k_1, \dots, k_l`; a convolutional layer has channels instead
of units and sits on a square grid with circular padding, its block is the Toeplitz matrix of its filters.

Synthesis kinds (block row i has the size of layer i - 1):

- ``chain``: learned (j, j), minus the identity at (j + 1, j);
- ``residual``: chain, and minus the identity of layer j at (j + 2, j) for odd j, as in residual nets whose blocks have
  two layers; ``residual_all``: for every j;
- ``dense``: chain, and a learned block at every (i, j) with j < i - 1.

Analysis kinds (block row 1 as above, block row i > 1 has the size of layer i, with the identity at (i, i) and a learned
block at (i, i - 1)): ``chain_front``; ``residual_front`` with minus the identity at (i, i - 2) for odd i > 1;
``dense_front`` with a learned block at every (i, j), j < i.

Reference:
    Murdock, Cazenavette, Lucey, arXiv 2103.05804, figure 1; Murdock, Lucey, arXiv 2003.13866, figures 2 and 3.

Deviation:
    Which of synthesis and analysis the published values use is not stated for residual and dense nets. Synthesis is
    the default, as the analysis form contradicts plotted values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import groupby

KINDS = ("chain", "residual", "residual_all", "dense", "chain_front", "residual_front", "dense_front")


class StructureError(ValueError):
    """No dictionary has this structure; the message says what was expected, what came and what to do."""


@dataclass(frozen=True)
class Block:
    """A block of the dictionary that is not zero.

    Args:
        row: block row i, counted from 1.
        column: block column j, counted from 1: the layer whose atoms these are.
        kernel: side f of a learned filter (1 in fully connected nets), or 0 for an identity.
        sign: coefficient of an identity; 1 for learned blocks.
    """

    row: int
    column: int
    kernel: int
    sign: int = 1

    @property
    def learned(self) -> bool:
        """Whether its entries are trained."""
        return self.kernel > 0

    @property
    def name(self) -> str:
        """Name of its filters among a network's parameters."""
        return f"block.{self.row}.{self.column}"


@dataclass(frozen=True)
class Structure:
    """A network's shape and the zero pattern of its dictionary.

    Args:
        kind: one of :data:`KINDS`.
        sizes: (k_0, ..., k_l) units or channels, of the input and of every layer.
        kernels: (f_1, ..., f_l) sides of the filters; 1 in fully connected nets.
        strides: (s_1, ..., s_l).
        grid: side p_0 of the input's square grid; 1 in fully connected nets.
        blocks: the non-zero blocks, by column, then row. :func:`build` makes those of the kind, but a structure may
            have others, such as the shortcuts of a net that was built elsewhere.

    Example:
        >>> build("chain", 16, (8, 4)).blocks
        (Block(row=1, column=1, kernel=1, sign=1), Block(row=2, column=1, kernel=0, sign=-1), \
Block(row=2, column=2, kernel=1, sign=1))
    """

    kind: str
    sizes: tuple[int, ...]
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    grid: int
    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        # Caches compare structures at every call: of equal blocks that are the same object it takes one look.
        object.__setattr__(self, "blocks", _shared(self.blocks))

    def __hash__(self) -> int:
        """Return a number that equal structures share; tables by structure are looked up very often."""
        return self._hash

    @cached_property
    def _hash(self) -> int:
        # Numbers alone: the hash of a text would differ in another process that unpickles this one's.
        blocks = tuple((block.row, block.column, block.kernel) for block in self.blocks)
        return hash((self.sizes, self.kernels, self.strides, self.grid, blocks))

    @property
    def layers(self) -> int:
        """Number l of layers."""
        return len(self.kernels)

    @property
    def convolutional(self) -> bool:
        """Whether its layers have positions."""
        return self.grid > 1

    @cached_property
    def grids(self) -> tuple[int, ...]:
        """Sides (p_0, ..., p_l) of the grids."""
        sides = [self.grid]
        for stride in self.strides:
            sides.append(sides[-1] // stride)
        return tuple(sides)

    @cached_property
    def spacings(self) -> tuple[int, ...]:
        """Distances (h_0, ..., h_l) of neighbours on the layers' grids, in input positions."""
        return tuple(self.grid // side for side in self.grids)

    def row_layer(self, row: int) -> int:
        """Return the layer that has a block row's size: 0 is the input."""
        return row if self.kind.endswith("_front") and row > 1 else row - 1

    def column_blocks(self, column: int) -> tuple[Block, ...]:
        """Return the blocks of a block column."""
        return self._by_column.get(column, ())

    @cached_property
    def _by_column(self) -> dict[int, tuple[Block, ...]]:
        found: dict[int, list[Block]] = {}
        for block in self.blocks:
            found.setdefault(block.column, []).append(block)
        return {column: tuple(blocks) for column, blocks in found.items()}

    def row_blocks(self, row: int) -> tuple[Block, ...]:
        """Return the blocks of a block row."""
        return tuple(block for block in self.blocks if block.row == row)

    def channels(self, block: Block) -> tuple[int, int]:
        """Return the block's numbers of rows and columns, each per position."""
        return self.sizes[self.row_layer(block.row)], self.sizes[block.column]

    def diagonal(self, block: Block) -> int:
        """Return the number of channels that an identity passes on: the smaller of the two, the rest is zero."""
        return min(self.channels(block))

    @cached_property
    def row_sizes(self) -> tuple[int, ...]:
        """Numbers of rows of the block rows, over the whole grid."""
        layers = [self.row_layer(row) for row in range(1, self.layers + 1)]
        return tuple(self.sizes[j] * self.grids[j] ** 2 for j in layers)

    @cached_property
    def column_sizes(self) -> tuple[int, ...]:
        """Numbers of atoms of the block columns, over the whole grid."""
        return tuple(k * p**2 for k, p in zip(self.sizes[1:], self.grids[1:], strict=True))

    @property
    def atoms(self) -> int:
        """Number of columns of the dictionary."""
        return sum(self.column_sizes)

    @property
    def parameters(self) -> int:
        """Number of learned filter weights: the classifier on top and biases are not in the dictionary."""
        return sum(b.kernel**2 * self.channels(b)[0] * self.channels(b)[1] for b in self.blocks)

    @property
    def hidden_parameters(self) -> int:
        """Learned filter weights without those that read the input (the colour of the papers' scatter figure)."""
        first = self.kernels[0] ** 2 * self.sizes[0] * self.sizes[1]
        return self.parameters - first

    def network_parameters(self, classes: int) -> int:
        """Return the weights of the classifying network: filters, biases, and a linear classifier on pooled units.

        Args:
            classes: outputs of the classifier, >= 1.
        """
        return self.parameters + sum(self.sizes[1:]) + (self.sizes[-1] + 1) * classes

    def describe(self) -> str:
        """Return the structure in a few words, like ``residual 3: 16*5x32 kernel 3*6 stride 1*5x2 on 32x32``.

        Different structures have different descriptions.
        """
        text = f"{self.kind} {self.sizes[0]}: {_joined(self.sizes[1:])}"
        if not self.convolutional:
            return text
        return f"{text} kernel {_joined(self.kernels)} stride {_joined(self.strides)} on {self.grid}x{self.grid}"


@lru_cache(maxsize=1024)
def _shared(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    """Return the first of all equal tuples."""
    return blocks


def build(
    kind: str,
    input_size: int,
    widths: Sequence[int],
    *,
    kernels: int | Sequence[int] = 1,
    strides: int | Sequence[int] = 1,
    grid: int = 1,
    shortcut: str = "subsample",
) -> Structure:
    """Return the structure of a network.

    Args:
        kind: one of :data:`KINDS`.
        input_size: k_0: dimension of the input, or its channels where there is a grid; >= 1.
        widths: units or channels of the layers, each >= 1.
        kernels: sides of the filters, one for all or one a layer; 1 without a grid.
        strides: likewise.
        grid: side of the input's square grid with circular padding; 1 for fully connected nets.
        shortcut: how an identity joins layers of different shape: ``subsample`` takes every s-th position, and pads
            channels with zeros or leaves the last ones out; ``none`` allows no such identity.

    Returns:
        The structure.

    Raises:
        StructureError: there is no such dictionary.

    Example:
        >>> build("dense", 3, (4, 4, 8), kernels=3, strides=(1, 1, 2), grid=8).grids
        (8, 8, 8, 4)
    """
    if kind not in KINDS:
        raise StructureError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    if shortcut not in ("subsample", "none"):
        raise StructureError(f"shortcut: expected subsample or none, got {shortcut!r}")
    layers = len(widths)
    if layers == 0:
        raise StructureError("widths: expected at least one layer, got none")
    sizes = tuple(_whole(f"width of layer {j}" if j else "input", k) for j, k in enumerate((input_size, *widths)))
    f, s = _per_layer("kernel", kernels, layers), _per_layer("stride", strides, layers)
    structure = Structure(kind, sizes, f, s, _whole("grid", grid), _blocks(kind, f))
    _check_grids(structure)
    if shortcut == "none":
        _check_shortcuts(structure)
    return structure


def resnet(kind: str, width: int, blocks: int, *, channels: int = 3, grid: int = 32, groups: int = 3) -> Structure:
    """Return the residual net for small images that the papers vary, or its chain or dense form.

    A first 3x3 convolution, then groups of blocks of two 3x3 convolutions; each group after the first doubles the
    width and halves the grid.

    Args:
        kind: one of :data:`KINDS`.
        width: channels b of the first group, >= 1.
        blocks: blocks n of a group, >= 1.
        channels: of the input.
        grid: side of the input.
        groups: number of groups, >= 1.

    Reference:
        He et al. 2016, section 4.2; arXiv 2103.05804, figure on parameter efficiency (b in 4..32, n in 1..15).
    """
    if blocks < 1 or groups < 1:
        raise StructureError(f"blocks and groups: expected at least 1 of each, got {blocks} and {groups}")
    widths, strides = [width], [1]
    for group in range(groups):
        widths += [width * 2**group] * (2 * blocks)
        strides += [2 if group else 1] + [1] * (2 * blocks - 1)
    return build(kind, channels, widths, kernels=3, strides=strides, grid=grid)


def parse_numbers(name: str, text: str) -> tuple[int, ...]:
    """Return numbers written like ``8x16x32``.

    Raises:
        StructureError: the text is something else.

    Example:
        >>> parse_numbers("widths", "8x16x32")
        (8, 16, 32)
    """
    parts = text.strip().lower().split("x")
    if not all(part.strip().isdecimal() for part in parts):
        raise StructureError(f"{name}: expected whole numbers joined by x, like 8x16x32, got {text!r}")
    return tuple(int(part) for part in parts)


def _blocks(kind: str, kernels: tuple[int, ...]) -> tuple[Block, ...]:
    layers = range(1, len(kernels) + 1)
    last = layers[-1]
    family, front = kind.removesuffix("_front"), kind.endswith("_front")
    found = [Block(1, 1, kernels[0])]
    for j in layers:
        if front:
            found += [Block(j, j, 0)] if j > 1 else []
            reach = last if family == "dense" else min(j + 1, last)
            found += [Block(i, j, kernels[i - 1]) for i in range(j + 1, reach + 1)]
        else:
            found += [Block(j, j, kernels[j - 1])] if j > 1 else []
            found += [Block(j + 1, j, 0, -1)] if j < last else []
            if family == "dense":
                found += [Block(i, j, kernels[i - 1]) for i in range(j + 2, last + 1)]
        skips = family == "residual_all" or (family == "residual" and j % 2 == 1)
        if skips and j + 2 <= last:
            found.append(Block(j + 2, j, 0, -1))
    return tuple(sorted(found, key=lambda block: (block.column, block.row)))


def _check_grids(structure: Structure) -> None:
    for j, (kernel, stride) in enumerate(zip(structure.kernels, structure.strides, strict=True), 1):
        side = structure.grids[j - 1]
        if not structure.convolutional and (kernel > 1 or stride > 1):
            raise StructureError(
                f"layer {j}: kernel {kernel} and stride {stride} need a grid larger than 1: give the input's side"
            )
        if kernel > side:
            raise StructureError(
                f"layer {j}: expected a kernel of at most {side}, the side of the grid it reads (padding is circular, "
                f"so larger ones would overlap themselves), got {kernel}"
            )
        if side % stride:
            raise StructureError(
                f"layer {j}: expected a stride that divides the side {side} of the grid it reads, got {stride}"
            )


def _check_shortcuts(structure: Structure) -> None:
    for block in structure.blocks:
        row = structure.row_layer(block.row)
        here, there = ((structure.sizes[j], structure.grids[j]) for j in (block.column, row))
        if not block.learned and here != there:
            raise StructureError(
                f"identity from layer {block.column} to layer {row}: expected equal shapes, got {_shape(*here)} and "
                f"{_shape(*there)}: use shortcut='subsample', which leaves out positions and pads channels"
            )


def _shape(channels: int, side: int) -> str:
    return f"{channels} channels on {side}x{side}"


def _per_layer(name: str, values: int | Sequence[int], layers: int) -> tuple[int, ...]:
    given = (values,) * layers if isinstance(values, int) else tuple(values)
    if len(given) == 1:
        given *= layers
    if len(given) != layers:
        raise StructureError(f"{name}: expected one for all or one a layer ({layers}), got {len(given)}")
    return tuple(_whole(f"{name} of layer {j}", value) for j, value in enumerate(given, 1))


def _whole(name: str, value: int) -> int:
    if int(value) != value or value < 1:
        raise StructureError(f"{name}: expected a whole number >= 1, got {value}")
    return int(value)


def _joined(numbers: Sequence[int]) -> str:
    """Return numbers joined by x; four or more equal ones in a row are written like 8*5."""
    runs = [(number, len(list(same))) for number, same in groupby(numbers)]
    return "x".join(f"{number}*{n}" if n > 3 else "x".join([str(number)] * n) for number, n in runs)
