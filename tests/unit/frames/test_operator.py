import pytest
import torch

from unrolled.frames.dictionary import dictionary
from unrolled.frames.operator import FrameOperator
from unrolled.frames.structure import StructureError, build

from .naive import STRUCTURES, naive_dictionary, normal, random_filters, random_identity

# Sums of a few hundred products of numbers of order 1, in float64.
ROUNDING = 1e-12
# What power iteration may fall short by after 300 products at worst: about log(132 atoms) / (2 * 300).
NORM_TOLERANCE = 8e-3


def make(name, lengths=False):
    structure = STRUCTURES[name]
    return FrameOperator(structure, random_filters(structure), random_identity(structure) if lengths else None)


@pytest.fixture(
    scope="module", params=[(n, t) for n in STRUCTURES for t in (False, True)], ids=lambda p: f"{p[0]}-{p[1]}"
)
def frame(request):
    operator = make(*request.param)
    return operator, naive_dictionary(operator)


def test_products_are_those_of_the_dictionary(frame):
    operator, matrix = frame
    w, z = normal(2, 3, matrix.shape[2]), normal(2, 3, matrix.shape[1], seed=2)
    rows, codes = operator.apply(operator.split(w)), operator.adjoint(operator.split_rows(z))
    torch.testing.assert_close(operator.flatten(rows), w @ matrix.mT, rtol=0, atol=ROUNDING)
    torch.testing.assert_close(operator.flatten(codes), z @ matrix, rtol=0, atol=ROUNDING)


def test_the_explicit_dictionary_has_the_same_geometry(frame):
    operator, twin = frame
    explicit = dictionary(operator.structure, operator.filters, operator.identity)
    torch.testing.assert_close(explicit, twin, rtol=0, atol=0)


def test_the_adjoint_identity(frame):
    operator, _ = frame
    w, z = normal(2, 3, operator.structure.atoms), normal(2, 3, sum(operator.structure.row_sizes), seed=2)
    left = (operator.flatten(operator.apply(operator.split(w))) * z).sum(2)
    right = (operator.flatten(operator.adjoint(operator.split_rows(z))) * w).sum(2)
    # Inner products of up to 2000 terms: relative to the length of the vectors.
    scale = w.norm(dim=2) * z.norm(dim=2)
    assert ((left - right).abs() <= ROUNDING * scale).all()


def test_the_products_of_columns_and_blocks_add_up(frame):
    operator, _ = frame
    codes = operator.split(normal(2, 3, operator.structure.atoms))
    rows = operator.apply(codes)
    again = [torch.zeros_like(part) for part in rows]
    for j in operator.columns:
        for row, part in operator.column_apply(j, codes[j - 1]).items():
            again[row - 1] += part
    for part, other in zip(rows, again, strict=True):
        torch.testing.assert_close(part, other, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("name", ["chain-fc", "dense-stride", "dense_front-conv"])
def test_norms_are_the_largest_singular_values(name):
    operator = make(name, lengths=True)
    matrix = naive_dictionary(operator)
    sizes, rows = operator.structure.column_sizes, operator.structure.row_sizes
    exact = torch.linalg.matrix_norm(matrix, 2)
    norm = operator.norm(300)
    assert (norm <= exact * (1 + ROUNDING)).all()
    torch.testing.assert_close(norm, exact, rtol=NORM_TOLERANCE, atol=0)
    for column, estimate in zip(matrix.split(list(sizes), dim=2), operator.column_norms(300), strict=True):
        torch.testing.assert_close(estimate, torch.linalg.matrix_norm(column, 2), rtol=NORM_TOLERANCE, atol=0)
    for block_name, estimate in operator.block_norms(300).items():
        i, j = (int(part) for part in block_name.split(".")[1:])
        block = matrix.split(list(rows), dim=1)[i - 1].split(list(sizes), dim=2)[j - 1]
        torch.testing.assert_close(estimate, torch.linalg.matrix_norm(block, 2), rtol=NORM_TOLERANCE, atol=0)


def test_the_norm_of_a_chain_column_is_bounded_by_its_block_and_the_identity():
    operator = make("chain-conv")
    columns, blocks = operator.column_norms(300), operator.block_norms(300)
    for j, column in zip(operator.columns, columns, strict=True):
        bound = blocks[f"block.{j}.{j}"].square() + (j < operator.structure.layers)
        # The identity adds exactly 1 to the Gram matrix.
        torch.testing.assert_close(column.square(), bound, rtol=2 * NORM_TOLERANCE, atol=0)


def test_a_replicas_norm_does_not_depend_on_its_neighbours():
    structure = STRUCTURES["residual-conv"]
    filters = random_filters(structure, replicas=3)
    together = FrameOperator(structure, filters).norm()
    alone = FrameOperator(structure, {name: f[1:2] for name, f in filters.items()}).norm()
    torch.testing.assert_close(together[1:2], alone, rtol=ROUNDING, atol=0)


def test_the_objective_is_that_of_the_definition():
    operator = make("dense-stride", lengths=True)
    matrix = naive_dictionary(operator)
    x, w = normal(2, 3, 2, 8, 8), normal(2, 3, matrix.shape[2], seed=2).abs()
    thresholds = [normal(2, 1, k, 1, 1, seed=j) for j, k in enumerate(operator.structure.sizes[1:])]
    b = torch.cat([t.expand(s.shape).flatten(2) for t, s in zip(thresholds, operator.split(w), strict=True)], 2)
    y = torch.cat([x.flatten(2), x.new_zeros(2, 3, matrix.shape[1] - 2 * 64)], 2)
    expected = 0.5 * (y - w @ matrix.mT).square().sum(2) + (b * w).sum(2)
    torch.testing.assert_close(operator.objective(x, operator.split(w), thresholds), expected, rtol=ROUNDING, atol=0)


def test_inputs_may_be_shared_by_the_replicas():
    operator = make("chain-fc")
    x = normal(1, 3, 6, 1, 1)
    target = operator.target(x)
    assert [tuple(part.shape) for part in target] == [(2, 3, k, 1, 1) for k in (6, 4, 5, 3)]
    assert (target[0][0] == target[0][1]).all()
    assert not any(part.any() for part in target[1:])


@pytest.mark.parametrize("shape", [(2, 3, 6), (3, 3, 6, 1, 1), (2, 3, 5, 1, 1), (2, 3, 6, 2, 2)])
def test_inputs_of_another_shape_are_refused(shape):
    with pytest.raises(StructureError, match=r"inputs: expected shape .* = \(2 or 1, N, 6, 1, 1\)"):
        make("chain-fc").target(torch.zeros(shape))


def test_filters_and_identities_must_be_those_of_the_structure():
    structure = build("dense", 4, (3, 3, 3))
    filters = random_filters(structure)
    with pytest.raises(StructureError, match=r"filters: expected .*block\.3\.1"):
        FrameOperator(structure, {name: f for name, f in filters.items() if name != "block.3.1"})
    with pytest.raises(StructureError, match=r"filters block\.3\.1: expected \(R, 3, 3, 1, 1\), got \(2, 3, 1, 1\)"):
        FrameOperator(structure, {**filters, "block.3.1": filters["block.3.1"][:, 0]})
    with pytest.raises(StructureError, match=r"as many replicas of every block, got .*'block\.3\.1': 1"):
        FrameOperator(structure, {**filters, "block.3.1": filters["block.3.1"][:1]})
    identity = random_identity(structure)
    identity[1] = torch.ones(3)
    with pytest.raises(StructureError, match=r"identity of layer 2: expected shape .* \(2, 3\), got \(3,\)"):
        FrameOperator(structure, filters, identity)


def test_filters_that_are_not_finite_are_refused_or_kept_to_their_replica():
    structure = build("chain", 4, (3, 3))
    filters = random_filters(structure, replicas=3)
    filters["block.2.2"][1, 0, 0] = float("nan")
    with pytest.raises(StructureError, match=r"block\.2\.2: expected finite numbers"):
        FrameOperator(structure, filters)
    rows = FrameOperator(structure, filters, check=False).apply([normal(3, 1, 3, 1, 1), normal(3, 1, 3, 1, 1)])
    assert rows[1].isfinite().flatten(1).all(1).tolist() == [True, False, True]


def test_the_number_of_power_iterations_is_checked():
    with pytest.raises(ValueError, match="power iterations >= 1"):
        make("chain-fc").norm(0)
