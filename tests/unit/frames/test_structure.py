import pytest

from unrolled.frames.structure import KINDS, StructureError, build, parse_numbers, resnet

from .explicit import ALL_STRUCTURES


def pattern(kind, layers):
    """The block dictionary as text: L learned, + and - identities, a dot for zero."""
    structure = build(kind, 2, (2,) * layers)
    marks = {(b.row, b.column): "L" if b.learned else "+-"[b.sign < 0] for b in structure.blocks}
    return [
        "".join(marks.get((i, j), ".") for j in range(1, layers + 1)) for i in range(1, max(i for i, _ in marks) + 1)
    ]


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("chain", ["L....", "-L...", ".-L..", "..-L.", "...-L"]),
        ("residual", ["L....", "-L...", "--L..", "..-L.", "..--L"]),
        ("residual_all", ["L....", "-L...", "--L..", ".--L.", "..--L"]),
        ("dense", ["L....", "-L...", "L-L..", "LL-L.", "LLL-L"]),
        ("chain_front", ["L....", "L+...", ".L+..", "..L+.", "...L+"]),
        ("residual_front", ["L....", "L+...", "-L+..", "..L+.", "..-L+"]),
        ("dense_front", ["L....", "L+...", "LL+..", "LLL+.", "LLLL+"]),
    ],
)
def test_the_blocks_of_every_kind(kind, rows):
    assert pattern(kind, 5) == rows
    # A net of one layer has nothing to skip.
    assert pattern(kind, 1) == ["L"]


def test_the_gram_pattern_of_residual_all_leaves_one_of_four_layers_out():
    def empty(kind):
        structure = build(kind, 2, (2,) * 4)
        rows = {j: {b.row for b in structure.column_blocks(j)} for j in range(1, 5)}
        return [(j, k) for j in range(1, 5) for k in range(j, 5) if not rows[j] & rows[k]]

    assert empty("residual_all") == [(1, 4)]
    assert empty("dense") == []
    assert empty("chain") == [(1, 3), (1, 4), (2, 4)]


@pytest.mark.parametrize("name", ALL_STRUCTURES)
def test_sizes_fit_together(name):
    structure = ALL_STRUCTURES[name]
    assert structure.atoms == sum(structure.column_sizes)
    assert structure.grids[0] == structure.grid
    for block in structure.blocks:
        assert 1 <= block.column <= structure.layers
        assert block in structure.column_blocks(block.column)
        assert block in structure.row_blocks(block.row)
        assert structure.diagonal(block) == min(structure.channels(block))
    for j, side in enumerate(structure.grids):
        assert structure.spacings[j] * side == structure.grid
        assert j == 0 or structure.column_sizes[j - 1] == structure.sizes[j] * side**2
    first, columns = structure.sizes[0] * structure.grid**2, structure.column_sizes
    assert structure.row_sizes == (first, *(columns[1:] if structure.kind.endswith("_front") else columns[:-1]))


def test_parameters_of_fully_connected_nets_by_hand():
    widths = (4, 5, 3)
    chain = 6 * 4 + 4 * 5 + 5 * 3
    assert build("chain", 6, widths).parameters == chain
    assert build("residual_all", 6, widths).parameters == chain  # its shortcuts have none
    assert build("chain_front", 6, widths).parameters == chain
    assert build("dense", 6, widths).parameters == chain + 5 * 4  # layer 1 into the row block of layer 2
    assert build("dense_front", 6, widths).parameters == chain + 3 * 4  # layer 1 into layer 3
    assert build("chain", 6, widths).hidden_parameters == chain - 6 * 4
    # Biases, and a classifier of ten outputs with biases.
    assert build("chain", 6, widths).network_parameters(10) == chain + (4 + 5 + 3) + 3 * 10 + 10


def test_parameters_of_residual_nets_for_small_images():
    # Three groups of three blocks of two 3x3 convolutions, 16, 32, 64 channels: the net with 20 layers.
    convolutions = 9 * (3 * 16 + 6 * 16 * 16 + 16 * 32 + 5 * 32 * 32 + 32 * 64 + 5 * 64 * 64)
    net = resnet("residual", 16, 3)
    assert (net.layers, net.parameters) == (19, convolutions)
    assert net.parameters == 267_696
    assert net.grids[:2] == (32, 32)
    assert net.grids[-1] == 8
    # The published number of parameters counts scale and shift of batch normalisation, 1376, and the classifier, 650.
    assert net.parameters + 2 * sum(net.sizes[1:]) + 650 == 269_722
    assert net.network_parameters(10) == net.parameters + sum(net.sizes[1:]) + 650
    skips = [b for b in net.blocks if not b.learned and b.row == b.column + 2]
    assert len(skips) == 9  # one a block of two convolutions


def test_kernels_and_strides_may_be_given_once():
    once = build("dense", 3, (4, 4, 8), kernels=3, strides=(1, 1, 2), grid=8)
    assert once == build("dense", 3, [4, 4, 8], kernels=[3, 3, 3], strides=[1, 1, 2], grid=8)
    assert hash(once) == hash(build("dense", 3, (4, 4, 8), kernels=(3,), strides=(1, 1, 2), grid=8))
    assert not build("chain", 3, (4,)).convolutional


def test_descriptions_tell_structures_apart():
    found = [
        build(kind, 3, (4,) * n, kernels=f, strides=s, grid=8)
        for kind in KINDS
        for n in (1, 3, 4, 7)
        for f in (1, 3)
        for s in (1, (2,) + (1,) * (n - 1))
    ]
    # The patterns of several kinds agree where there are few layers; the kind is part of a structure all the same.
    assert len({structure.describe() for structure in found}) == len(set(found))
    assert build("chain", 16, (8, 4)).describe() == "chain 16: 8x4"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "ring"}, "kind: expected one of chain, .*, got 'ring'"),
        ({"widths": ()}, "at least one layer, got none"),
        ({"widths": (4, 0)}, "width of layer 2: expected a whole number >= 1, got 0"),
        ({"widths": (4, 2.5)}, "width of layer 2: expected a whole number >= 1, got 2.5"),
        ({"input_size": 0}, "input: expected a whole number >= 1, got 0"),
        ({"kernels": 9, "grid": 8}, "layer 1: expected a kernel of at most 8, .*got 9"),
        ({"kernels": (3, 5), "strides": (2, 1), "grid": 8}, "layer 2: expected a kernel of at most 4, .*got 5"),
        ({"kernels": 3, "strides": 3, "grid": 8}, "layer 1: expected a stride that divides the side 8 .*got 3"),
        ({"kernels": 3}, "layer 1: kernel 3 and stride 1 need a grid"),
        ({"strides": 2}, "layer 1: kernel 1 and stride 2 need a grid"),
        ({"kernels": (3, 3, 3), "grid": 8}, r"kernel: expected one for all or one a layer \(2\), got 3"),
        ({"kernels": 0, "grid": 8}, "kernel of layer 1: expected a whole number >= 1, got 0"),
        ({"grid": 0}, "grid: expected a whole number >= 1, got 0"),
        ({"shortcut": "conv"}, "shortcut: expected subsample or none, got 'conv'"),
    ],
)
def test_impossible_structures_are_refused(arguments, message):
    given = {"kind": "chain", "input_size": 3, "widths": (4, 4)} | arguments
    with pytest.raises(StructureError, match=message):
        build(given.pop("kind"), given.pop("input_size"), given.pop("widths"), **given)


def test_shortcuts_across_shapes_need_leave():
    build("residual", 3, (4, 4, 4), kernels=3, grid=8, shortcut="none")
    build("chain", 3, (4, 4, 8), kernels=3, strides=(1, 1, 2), grid=8, shortcut="none")
    with pytest.raises(StructureError, match=r"identity from layer 1 to layer 2.*on 8x8 and 4 channels on 4x4"):
        build("residual", 3, (4, 4, 4), kernels=3, strides=(1, 2, 1), grid=8, shortcut="none")
    with pytest.raises(StructureError, match="expected equal shapes, got 4 channels on 8x8 and 6 channels on 8x8"):
        build("residual", 3, (4, 6, 4), kernels=3, grid=8, shortcut="none")
    assert build("residual", 3, (4, 6, 4), kernels=3, grid=8).blocks


def test_residual_nets_need_blocks():
    with pytest.raises(StructureError, match="at least 1 of each, got 0 and 3"):
        resnet("residual", 16, 0)
    with pytest.raises(StructureError, match="stride that divides"):
        resnet("residual", 16, 1, grid=6, groups=4)


def test_numbers_are_parsed():
    assert parse_numbers("widths", " 8X16x32 ") == (8, 16, 32)
    for text in ("8,16", "8x", "", "8x-1", "8x1.5", "x"):
        with pytest.raises(StructureError, match="widths: expected whole numbers joined by x, like 8x16x32"):
            parse_numbers("widths", text)
