"""Structures read off torchvision's models: the blocks are the convolutions, and compute what the models compute."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import densenet121, resnet18, resnet50, resnext50_32x4d, vgg11
from torchvision.models.densenet import DenseNet
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from unrolled.frames.dictionary import dictionary, random_filters, unit_identities
from unrolled.frames.minimum import lower_bound, minimum_potential
from unrolled.frames.overlap import overlap_count
from unrolled.frames.potential import frame_potential
from unrolled.frames.structure import Block, Structure, StructureError, resnet
from unrolled.networks.reading import read_structure

ROUNDING = 1e-10
"""Relative error of float64 sums of some thousand terms."""


def small_resnet(block: type[BasicBlock | Bottleneck], width: int, numbers: tuple[int, ...]) -> ResNet:
    """A net for small images: a 3x3 stem without pooling, and groups of blocks, each but the first with stride 2."""
    model = ResNet(block, [1, 1, 1, 1], num_classes=2)
    model.conv1, model.maxpool = nn.Conv2d(3, width, 3, padding=1, bias=False), nn.Identity()
    model.inplanes = width
    for group in range(4):
        stage = nn.Sequential()
        if group < len(numbers):
            stage = model._make_layer(block, width * 2**group, numbers[group], stride=2 if group else 1)
        setattr(model, f"layer{group + 1}", stage)
    return model


def small_densenet() -> DenseNet:
    return DenseNet(growth_rate=2, block_config=(2, 2), num_init_features=4, bn_size=2)


def shapes_of(build: Callable[..., nn.Module], **options: object) -> nn.Module:
    """A model of the published size, without memory for its weights."""
    with torch.device("meta"):
        return build(weights=None, **options)


def convolutions(model: nn.Module) -> list[nn.Conv2d]:
    return [module for module in model.modules() if isinstance(module, nn.Conv2d)]


def weights(model: nn.Module) -> int:
    return sum(module.weight.numel() for module in convolutions(model))


@pytest.mark.parametrize("build", [resnet18, resnet50, densenet121])
def test_the_analysis_form_has_the_weights_of_the_models_convolutions(build: Callable[..., nn.Module]) -> None:
    model = shapes_of(build)
    assert read_structure(model, 96, front=True).parameters == weights(model)


def test_the_synthesis_form_has_the_weights_but_where_rows_have_other_sizes() -> None:
    basic = shapes_of(resnet18)
    assert read_structure(basic, 96).parameters == weights(basic)
    # A bottleneck's shortcut ends in the row that its last convolution reads, which has a quarter of the channels.
    deep = shapes_of(resnet50)
    shortcuts = [module.weight.numel() for name, module in deep.named_modules() if name.endswith("downsample.0")]
    assert len(shortcuts) == 4
    assert read_structure(deep, 96).parameters == weights(deep) - sum(shortcuts) * 3 // 4
    # Skipping blocks have k_{i-1} rows for the k_i of the convolution.
    structure = read_structure(shapes_of(densenet121), 96)
    extra = sum(
        (structure.sizes[b.row] - structure.sizes[b.row - 1]) * structure.sizes[b.column] * b.kernel**2
        for b in structure.blocks
        if b.row > b.column + 1
    )
    assert structure.parameters + extra == weights(shapes_of(densenet121))


def test_layers_are_the_convolutions_in_order_with_the_strides_of_pooling() -> None:
    structure = read_structure(shapes_of(resnet50), 224)
    main = [m for name, m in shapes_of(resnet50).named_modules() if isinstance(m, nn.Conv2d) and "down" not in name]
    assert structure.sizes == (3, *(m.out_channels for m in main))
    assert structure.kernels == tuple(m.kernel_size[0] for m in main)
    assert structure.strides == (4, *(m.stride[0] for m in main[1:]))
    assert structure.grids[-1] == 7
    # Each of 120 layers is met once: 1 + 2 (6 + 12 + 24 + 16) in blocks + 3 transitions.
    dense = read_structure(shapes_of(densenet121), 224)
    assert dense.layers == 120
    assert dense.grids[-1] == 7


def test_a_net_of_basic_blocks_is_the_residual_structure_that_is_built_by_name() -> None:
    model = small_resnet(BasicBlock, 4, (3,))
    assert read_structure(model, 8) == resnet("residual", 4, 3, grid=8, groups=1)
    assert hash(read_structure(model, 8)) == hash(resnet("residual", 4, 3, grid=8, groups=1))


def test_structures_that_differ_in_their_blocks_alone_are_told_apart() -> None:
    # Tables of overlaps are kept by structure: equal sizes with other blocks must not share them.
    residual = read_structure(small_resnet(BasicBlock, 4, (2,)), 8)
    chain = replace(residual, blocks=tuple(b for b in residual.blocks if b.row <= b.column + 1))
    learned = replace(residual, blocks=tuple(replace(b, kernel=b.kernel or 1, sign=1) for b in residual.blocks))
    assert len({residual, chain, learned}) == 3
    assert overlap_count(chain) < overlap_count(residual)
    assert chain.parameters == residual.parameters < learned.parameters
    assert residual == pickle.loads(pickle.dumps(residual))


def test_shortcuts_lie_where_the_blocks_add() -> None:
    skips = [b for b in read_structure(small_resnet(Bottleneck, 2, (2, 1)), 8).blocks if b.row > b.column + 1]
    # Stem 1; bottlenecks 2-4, 5-7, 8-10: the first widens to 8 channels and the last has stride 2.
    assert skips == [Block(4, 1, 1), Block(7, 4, 0, -1), Block(10, 7, 1)]


def test_a_concatenation_is_read_by_one_block_for_each_of_its_layers() -> None:
    structure = read_structure(small_densenet(), 24)
    skips = {(b.row, b.column) for b in structure.blocks if b.row > b.column + 1}
    # Stem 1; dense layers (2, 3), (4, 5); transition 6 reads 1, 3, 5; dense layers (7, 8), (9, 10).
    assert skips == {(4, 1), (6, 1), (6, 3), (9, 6)}
    assert all(block.learned for block in structure.blocks if block.row > block.column + 1)


def as_analysis(structure: Structure, model: nn.Module) -> dict[str, Tensor]:
    """The model's own weights as filters of its analysis form."""
    main = [m for name, m in model.named_modules() if isinstance(m, nn.Conv2d) and "downsample" not in name]
    shortcuts = [m for name, m in model.named_modules() if isinstance(m, nn.Conv2d) and "downsample" in name]
    filters: dict[str, Tensor] = {}
    for row in range(1, structure.layers + 1):
        learned = [block for block in structure.row_blocks(row) if block.learned]
        weight, start = main[row - 1].weight.detach(), 0
        if isinstance(model, ResNet):
            for block in learned:
                own = weight if block.column >= row - 1 else shortcuts.pop(0).weight.detach()
                filters[block.name] = -own[None]
        else:  # the columns of a concatenation lie in the order of its layers
            for block in sorted(learned, key=lambda block: block.column):
                end = start + (structure.sizes[block.column] if row > 1 else structure.sizes[0])
                filters[block.name], start = -weight[None, :, start:end], end
            assert start == weight.shape[1]
    # Row 1 is the input: its block is transposed, and is not subtracted.
    filters["block.1.1"] = -filters["block.1.1"].transpose(1, 2)
    # An atom lists its rows by tap, a convolution its inputs: on one grid that is the other way round.
    grids = structure.grids
    same = {b.name for b in structure.blocks if b.row > 1 and grids[b.row] == grids[b.column]}
    return {name: values.flip(3, 4) if name in same else values for name, values in filters.items()}


def without_normalisation(model: nn.Module) -> nn.Module:
    """The model in double precision with circular padding, and neither normalisation nor pooling."""
    plain = copy.deepcopy(model).double()
    for parent in list(plain.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d | nn.MaxPool2d | nn.AvgPool2d):
                setattr(parent, name, nn.Identity())
    for module in convolutions(plain):
        module.padding_mode = "circular"
        p = module.padding[0]
        module._reversed_padding_repeated_twice = [p, p, p, p]
    return plain


def last_layer(model: nn.Module, x: Tensor) -> Tensor:
    """Units before the pooling on which the classifier stands."""
    if isinstance(model, DenseNet):
        return model.features(x).relu()
    stages = (model.conv1, model.relu, model.maxpool, model.layer1, model.layer2, model.layer3, model.layer4)
    return nn.Sequential(*stages)(x)


MODELS = {
    "basic": lambda: small_resnet(BasicBlock, 3, (2, 1)),
    "bottleneck": lambda: small_resnet(Bottleneck, 2, (1, 1)),
    "dense": small_densenet,
}


@pytest.mark.parametrize("name", MODELS)
def test_the_feed_forward_pass_of_the_analysis_form_is_the_model(name: str) -> None:
    model = without_normalisation(MODELS[name]())
    side = 14 if name == "dense" else 8
    structure = read_structure(model, side, front=True)
    whole = dictionary(structure, {n: f.double() for n, f in as_analysis(structure, model).items()})[0]
    x = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows, columns = np.cumsum([0, *structure.row_sizes]), np.cumsum([0, *structure.column_sizes])
    w = torch.zeros(structure.atoms, dtype=torch.float64)
    w[: columns[1]] = (whole[: rows[1], : columns[1]].T @ x.flatten()).relu()
    for i in range(1, structure.layers):  # row block i + 1, whose diagonal block is the identity
        w[columns[i] : columns[i + 1]] = (-whole[rows[i] : rows[i + 1], : columns[i]] @ w[: columns[i]]).relu()
    with torch.no_grad():
        expected = last_layer(model, x).flatten()
    found = w[columns[-2] :]
    if name == "dense":  # the model ends in a concatenation, of which the last layer is the last part
        expected = expected[-len(found) :]
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=ROUNDING, atol=ROUNDING * float(expected.abs().max()))


@pytest.mark.parametrize("front", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_potential_and_overlaps_agree_with_the_explicit_dictionary(name: str, front: bool) -> None:
    structure = read_structure(MODELS[name](), 24 if name == "dense" else 8, front=front)
    filters = random_filters(structure, [np.random.default_rng(3)])
    identity = [0.7 * t for t in unit_identities(structure, filters)]
    whole = dictionary(structure, filters, identity)[0]
    unit = whole / whole.norm(dim=0)
    gram = unit.T @ unit - torch.eye(structure.atoms, dtype=torch.float64)
    potential = frame_potential(structure, filters, identity)
    assert float(potential.f2) == pytest.approx(float(gram.square().sum()), rel=ROUNDING)
    pattern = (whole != 0).double()
    assert potential.pairs == int((pattern.T @ pattern > 0).sum()) - structure.atoms


@pytest.mark.parametrize("front", [False, True])
def test_the_minimum_of_a_read_structure_lies_above_its_bound(front: bool) -> None:
    structure = read_structure(small_resnet(Bottleneck, 2, (1,)), 3, front=front)
    found = minimum_potential(structure, restarts=1)
    assert found.lower.value == lower_bound(structure).value
    assert found.f2 >= found.lower.value * (1 - ROUNDING)
    assert float(frame_potential(structure, found.filters, found.identity).f2) == pytest.approx(found.f2, abs=1e-9)
    random = frame_potential(structure, random_filters(structure, [np.random.default_rng(0)]))
    assert found.f2 < float(random.f2)


def test_large_models_are_counted_in_moments() -> None:
    # Tables are looked up by structure some ten thousand times: the structure must not be hashed anew each time.
    structure = read_structure(shapes_of(densenet121), 96)
    assert overlap_count(structure) == overlap_count(pickle.loads(pickle.dumps(structure)))
    assert "_hash" in vars(structure)


@pytest.mark.parametrize("side", [32, 64, 100])
def test_an_input_of_the_wrong_side_is_told_which_fits(side: int) -> None:
    with pytest.raises(StructureError, match=f"multiple of 32, .* at least 96, .*got {side}"):
        read_structure(shapes_of(resnet18), side)
    assert read_structure(shapes_of(resnet18), 96).grids[-1] == 3


def test_what_has_no_place_in_a_dictionary_is_refused() -> None:
    with pytest.raises(StructureError, match="ResNet or DenseNet, got VGG"):
        read_structure(shapes_of(vgg11), 96)
    with pytest.raises(StructureError, match=r"groups=32.*: expected groups 1"):
        read_structure(shapes_of(resnext50_32x4d), 96)
    with pytest.raises(StructureError, match="dilation"):
        read_structure(shapes_of(resnet50, replace_stride_with_dilation=[False, False, True]), 96)


def replaced(change: str) -> ResNet:
    model = small_resnet(BasicBlock, 4, (1, 1))
    if change == "stem":
        model.conv1 = nn.Sequential(model.conv1)
    elif change == "pooling":
        model.maxpool = nn.ReLU()
    elif change == "channels":
        model.layer1[0].conv2 = nn.Conv2d(5, 4, 3, padding=1)
    elif change == "axes":
        model.conv1 = nn.Conv2d(3, 4, (3, 5), padding=(1, 2))
    elif change == "block":
        model.layer1 = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1))
    elif change == "shortcut":
        model.layer2[0].downsample = nn.AvgPool2d(2)
    elif change == "no shortcut":
        model.layer2[0].downsample = None
    return model


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("stem", "expected a convolution"),
        ("pooling", "expected a pooling layer"),
        ("channels", "expected 4 channels to read, of layers"),
        ("axes", "same kernel on both axes"),
        ("block", "expected BasicBlock or Bottleneck, got Conv2d"),
        ("shortcut", "expected one convolution of stride 2 from 4 to 8 channels"),
        ("no shortcut", "expected an identity between equal shapes"),
    ],
)
def test_layers_that_were_replaced_by_others_are_refused(change: str, says: str) -> None:
    with pytest.raises(StructureError, match=says):
        read_structure(replaced(change), 8)


def test_a_dense_net_with_other_layers_is_refused() -> None:
    model = small_densenet()
    model.features.add_module("more", nn.Linear(2, 2))
    with pytest.raises(StructureError, match="got Linear"):
        read_structure(model, 24)
