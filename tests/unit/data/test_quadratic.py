import numpy as np
import pytest

from unrolled.data.quadratic import DataError, generate, glorot_uniform, load
from unrolled.data.streams import generator

# Orders of float64 rounding on numbers up to 50 (b / mu).
ROUNDING = 1e-11
POPULATION = 60


@pytest.fixture(scope="module")
def problems():
    return generate(population=POPULATION, seed=3)


@pytest.fixture
def arrays(problems):
    """What a problem file holds, as 32-bit numbers, with two named training sets."""
    columns = {
        "u": problems.inputs,
        "q": problems.rotation,
        "b": problems.linear,
        "eigenvalues": problems.eigenvalues,
        "y_star": problems.solution,
    }
    rows = {"train_index_seed0": np.arange(5, 15), "train_index_seed100": np.array([7, 3, 59])}
    return {name: values.astype(np.float32) for name, values in columns.items()} | rows


@pytest.fixture
def save(tmp_path, arrays):
    """Write the file with some arrays replaced, or left out where None; return its path."""

    def write(**changes):
        path = tmp_path / "problems.npz"
        np.savez(path, **{name: values for name, values in (arrays | changes).items() if values is not None})
        return path

    return write


def test_eigenvalues_are_ordered_ends_with_a_positive_middle(problems):
    e = problems.eigenvalues
    assert (problems.smoothness, problems.strong_convexity, problems.population) == (1.0, 0.1, POPULATION)
    assert np.all(e[:, 0] == 1.0)
    assert np.all(e[:, -1] == 0.1)
    assert np.all((e[:, 1:-1] > 0.1) & (e[:, 1:-1] < 1.0))
    # The middle is mu + (L - mu) softmax: its parts above mu share L - mu.
    assert np.allclose((e[:, 1:-1] - 0.1).sum(1), 0.9, atol=ROUNDING)


def test_rotations_are_orthogonal_and_the_solution_solves_the_explicit_matrices(problems):
    q = problems.rotation
    assert np.abs(np.swapaxes(q, 1, 2) @ q - np.eye(5)).max() < ROUNDING
    assert np.allclose(np.linalg.det(q), 1)
    matrices = np.einsum("nij,nj,nkj->nik", q, problems.eigenvalues, q)
    assert np.abs(np.linalg.solve(matrices, problems.linear[..., None])[..., 0] - problems.solution).max() < ROUNDING


def test_coefficients_are_the_eigenbasis(problems):
    c, target = problems.coefficients()
    assert np.abs(np.einsum("nij,nj->ni", problems.rotation, c) - problems.linear).max() < ROUNDING
    assert np.abs(problems.eigenvalues * target - c).max() < ROUNDING


def test_inputs_and_linear_terms_fill_their_range():
    drawn = generate(population=4000, seed=0)
    for values in (drawn.inputs, drawn.linear):
        assert -5 <= values.min() < -4.99
        assert 4.99 < values.max() <= 5
        # A uniform variable on [-5, 5] has variance 25/3; 4 % is 5 standard errors of 20,000 draws.
        assert values.var() == pytest.approx(25 / 3, rel=0.04)


def test_the_same_arguments_give_the_same_problems_and_others_do_not():
    first, again, other = generate(20, seed=0), generate(20, seed=0), generate(20, seed=1)
    for name in ("inputs", "rotation", "linear", "eigenvalues", "solution"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
        assert not np.array_equal(getattr(first, name), getattr(other, name))
    assert first.checksum == again.checksum


def test_every_argument_is_in_the_checksum():
    default = {
        "population": 9, "seed": 0, "dimension": 5, "input_dimension": 10, "strong_convexity": 0.1, "smoothness": 1.0
    }  # fmt: skip
    changes = {
        "population": 8, "seed": 1, "dimension": 4, "input_dimension": 9, "strong_convexity": 0.2, "smoothness": 2.0
    }  # fmt: skip
    sums = {generate(**default).checksum} | {generate(**default | {k: v}).checksum for k, v in changes.items()}
    assert len(sums) == 1 + len(changes)


def test_default_problems_vary_as_the_released_ones_and_no_smaller_seed_does():
    def spread_ratios(seed):
        spread = generate(seed=seed).eigenvalues[:, 1:-1].std(axis=0)
        return np.maximum(spread / (0.25, 0.17, 0.24), (0.25, 0.17, 0.24) / spread)

    assert spread_ratios(1).max() < 2
    assert spread_ratios(0).max() > 2
    assert generate().checksum == generate(seed=1).checksum


@pytest.mark.parametrize(("mu", "smooth"), [(1.0, 1.0), (2.0, 1.0), (0.0, 1.0), (-0.1, 1.0), (float("nan"), 1.0)])
def test_strong_convexity_lies_below_smoothness(mu, smooth):
    with pytest.raises(DataError, match=r"data\.strong_convexity: expected 0 < mu < L = 1 .*got "):
        generate(5, strong_convexity=mu, smoothness=smooth)


def test_other_sizes_and_constants():
    drawn = generate(12, seed=0, dimension=3, input_dimension=1, strong_convexity=0.5, smoothness=4.0)
    assert drawn.inputs.shape == (12, 1)
    # One middle eigenvalue takes the whole softmax.
    assert np.allclose(drawn.eigenvalues, [4.0, 4.0, 0.5])


def test_glorot_bound():
    drawn = glorot_uniform(generator(0, "weights"), 40, 60)
    assert drawn.shape == (40, 60)
    bound = np.sqrt(6 / 100)
    assert 0.99 * bound < np.abs(drawn).max() <= bound


def test_drawn_training_rows_are_distinct_and_nested(problems):
    all_rows = problems.training_rows(POPULATION, 4, named=False)
    assert sorted(all_rows.tolist()) == list(range(POPULATION))
    for n in (1, 7, 30):
        assert np.array_equal(problems.training_rows(n, 4, named=False), all_rows[:n])
    assert not np.array_equal(problems.training_rows(POPULATION, 5, named=False), all_rows)


@pytest.mark.parametrize("n", [0, -3, POPULATION + 1])
def test_a_training_set_fits_the_population(problems, n):
    with pytest.raises(DataError, match=rf"data\.n_train: expected 1 to {POPULATION} .*got {n}"):
        problems.training_rows(n, 0, named=False)


def test_asking_for_a_named_set_of_problems_without_any_draws_one(problems):
    assert np.array_equal(problems.training_rows(4, 9, named=True), problems.training_rows(4, 9, named=False))


def test_a_file_gives_back_what_was_written(save, arrays):
    loaded = load(save())
    assert np.array_equal(loaded.inputs, arrays["u"])
    assert np.array_equal(loaded.rotation, arrays["q"])
    assert np.array_equal(loaded.linear, arrays["b"])
    assert np.array_equal(loaded.eigenvalues, arrays["eigenvalues"])
    assert np.array_equal(loaded.solution, arrays["y_star"])
    assert {values.dtype for values in (loaded.inputs, loaded.rotation, loaded.solution)} == {np.dtype(np.float64)}
    assert loaded.strong_convexity == pytest.approx(0.1)
    assert loaded.train_index.keys() == {0, 100}


def test_named_training_sets_of_a_file(save):
    loaded = load(save())
    assert loaded.training_rows(10, 0, named=True).tolist() == list(range(5, 15))
    assert loaded.training_rows(3, 100, named=True).tolist() == [7, 3, 59]
    with pytest.raises(DataError, match=r"data\.rows_seed: the file lists the training sets 0, 100, got 1"):
        loaded.training_rows(3, 1, named=True)
    with pytest.raises(DataError, match=r"data\.n_train: training set 100 of the file has 3 rows, got 4"):
        loaded.training_rows(4, 100, named=True)
    # Not asked for by name: drawn, also where the number happens to be a name.
    assert loaded.training_rows(10, 0, named=False).tolist() != list(range(5, 15))


def test_a_files_checksum_follows_its_values_and_not_its_place(save, arrays, tmp_path):
    first = load(save()).checksum
    moved = tmp_path / "elsewhere.npz"
    np.savez_compressed(moved, **dict(reversed(arrays.items())))
    assert load(moved).checksum == first
    inputs = arrays["u"].copy()
    inputs[-1, -1] = np.nextafter(inputs[-1, -1], np.float32(9))
    assert load(save(u=inputs)).checksum != first
    assert load(save(train_index_seed100=np.array([3, 7, 59]))).checksum != first
    assert load(save(train_index_seed100=None, train_index_seed101=np.array([7, 3, 59]))).checksum != first


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"data\.file: expected an \.npz file .*nothing at .*absent\.npz"):
        load(tmp_path / "absent.npz")


@pytest.mark.parametrize("kept", [0, 3, 1000, -10])
def test_a_truncated_file(save, kept):
    path = save()
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"data\.file: .*problems\.npz is not a readable \.npz file"):
        load(path)


def test_a_file_with_flipped_bytes(save):
    path = save()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"is not a readable \.npz file"):
        load(path)


def test_things_that_are_no_problem_file(tmp_path):
    single, folder = tmp_path / "single.npy", tmp_path / "folder.npz"
    np.save(single, np.zeros(3))
    folder.mkdir()
    for path in (single, folder):
        with pytest.raises(DataError, match=r"is not a readable \.npz file"):
            load(path)


@pytest.mark.parametrize("name", ["u", "q", "b", "eigenvalues", "y_star"])
def test_a_missing_or_misshapen_array_is_named(save, arrays, name):
    for wrong in (None, arrays[name][0], np.full(arrays[name].shape, "text")):
        with pytest.raises(DataError, match=rf"needs an array '{name}' of numbers with \d axes; it has \['"):
            load(save(**{name: wrong}))


@pytest.mark.parametrize("name", ["u", "q", "eigenvalues", "y_star"])
def test_arrays_of_different_lengths(save, arrays, name):
    with pytest.raises(DataError, match=r"arrays of different lengths: b is \(60, 5\)"):
        load(save(**{name: arrays[name][:-1]}))


def test_eigenvalues_out_of_order(save, arrays):
    varied = arrays["eigenvalues"].copy()
    varied[3, 0] = 1.1
    for wrong in (arrays["eigenvalues"][:, ::-1], varied, -arrays["eigenvalues"]):
        with pytest.raises(DataError, match=r"eigenvalues must be ordered \[L, \.\.\., mu\]"):
            load(save(eigenvalues=wrong))


def test_a_wrong_solution_and_wrong_rotations(save, arrays):
    wrong = arrays["y_star"].copy()
    wrong[17, 2] += 0.1
    with pytest.raises(DataError, match=r"y_star does not solve Q y = b \(largest residual 0\.\d+\)"):
        load(save(y_star=wrong))
    wrong[17, 2] = np.nan
    with pytest.raises(DataError, match="y_star does not solve"):
        load(save(y_star=wrong))
    with pytest.raises(DataError, match="columns of q are not orthonormal"):
        load(save(q=2 * arrays["q"]))


@pytest.mark.parametrize("rows", [[0, POPULATION], [-1, 2], [4, 4], [], [0.5, 1.5], [[0, 1]]])
def test_training_sets_with_unusable_rows(save, rows):
    with pytest.raises(DataError, match=r"train_index_seed7 is not .* distinct rows from 0 to 59"):
        load(save(train_index_seed7=np.array(rows)))


def test_a_training_set_without_a_number(save):
    with pytest.raises(DataError, match="train_index_seedA is not train_index_seed<number>"):
        load(save(train_index_seedA=np.array([1])))


def test_too_few_dimensions_or_problems(save, arrays):
    two = {"q": arrays["q"][:, :2, :2], **{n: arrays[n][:, :2] for n in ("b", "eigenvalues", "y_star")}}
    none = {name: arrays[name][:0] for name in ("u", "q", "b", "eigenvalues", "y_star")}
    for wrong in (two, none):
        with pytest.raises(DataError, match="at least 1 problem of dimension 3 or more"):
            load(save(**wrong))
