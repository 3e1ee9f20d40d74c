"""Robust errors over radii, their checks, and attacks in the units of raw images."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from unrolled.measures.adversarial import fgsm, pgd
from unrolled.measures.misclassification import Scores, error
from unrolled.measures.robustness import FRACTIONS, STEPS, Curves, in_raw_units, robustness
from unrolled.training.one_core import cores

from .factory import Linear, draws, normal, relu_net


@pytest.fixture(autouse=True, scope="module")
def one_core():
    """Small operations only wait for each other on more cores, and sums are not cut."""
    with cores(1):
        yield


SEEDS = [3, 1, 4]
SETTING = {"linf": 0.3, "l2": 1.0, "steps": 8, "restarts": 2, "queries": 30}


def measured(scores: Scores, x: Tensor, labels: Tensor, seeds=SEEDS, **changed) -> Curves:
    return robustness(scores, x, labels, seeds=seeds, **(SETTING | changed))


@pytest.fixture(scope="module")
def net() -> tuple[Scores, Tensor, Tensor]:
    scores, x = relu_net(SEEDS, (6, 16, 16, 4)), normal(0, 3, 60, 6)
    labels = scores(x).argmax(-1)
    labels[:, ::9] = (labels[:, ::9] + 1) % 4
    return scores, x, labels


@pytest.fixture(scope="module")
def columns(net) -> Curves:
    return measured(*net)


def test_the_columns_and_their_shapes(columns: Curves) -> None:
    assert columns["attack_linf"] == [0.3 * f for f in FRACTIONS]
    assert columns["attack_l2"] == [1.0 * f for f in FRACTIONS]
    assert columns["attack_steps"] == list(STEPS)
    shapes = {name: tuple(value.shape) for name, value in columns.items() if isinstance(value, Tensor)}
    curves = {f"robust_{attack}_{norm}": (3, 5) for attack in ("fgsm", "pgd", "random") for norm in ("linf", "l2")}
    assert shapes == curves | {"robust_by_steps_linf": (3, 6), "robust_far_linf": (3,)}
    assert all(columns[name].dtype == torch.float64 for name in shapes)


def test_curves_begin_at_the_clean_error_and_rise(net, columns: Curves) -> None:
    clean = error(*net)
    assert float(clean.min()) > 0
    for attack in ("fgsm", "pgd", "random"):
        for norm in ("linf", "l2"):
            curve = columns[f"robust_{attack}_{norm}"]
            assert torch.equal(curve[:, 0], clean)
            assert bool((curve[:, -1] > clean + 0.2).all())
            if attack != "fgsm":
                assert all(bool((b >= a).all()) for a, b in pairwise(curve.unbind(1)))


def test_each_number_is_that_of_the_attack_alone(net, columns: Curves) -> None:
    scores, x, labels = net
    one_step = error(scores, fgsm(scores, x, labels, 0.15, "linf"), labels)
    assert torch.equal(columns["robust_fgsm_linf"][:, 3], one_step)
    for i, steps in enumerate(STEPS):
        found = pgd(scores, x, labels, 0.3 / 4, "linf", steps=steps, restarts=2, draws=draws(SEEDS))
        assert torch.equal(columns["robust_by_steps_linf"][:, i], error(scores, found, labels))
    # What smaller radii found is kept: no less than alone.
    alone = error(scores, pgd(scores, x, labels, 1.0, "l2", steps=8, restarts=2, draws=draws(SEEDS)), labels)
    assert bool((columns["robust_pgd_l2"][:, -1] >= alone).all())


def test_linear_classifiers_lose_what_the_closed_form_says() -> None:
    linear, x = Linear(3, 7), normal(5, 3, 200, 7)
    labels = linear.labels(x)
    found, margins = measured(linear, x, labels), linear.margins(x, labels)
    for norm, p in (("linf", 1), ("l2", 2)):
        dual = linear.w.norm(p=p, dim=1)[:, None]
        exact = torch.stack([(margins - r * dual < 0).double().mean(1) for r in found[f"attack_{norm}"]], 1)
        assert torch.equal(found[f"robust_pgd_{norm}"], exact)
        assert torch.equal(found[f"robust_fgsm_{norm}"], exact)
        assert bool((found[f"robust_random_{norm}"] <= exact).all())
        if norm == "linf":
            assert torch.equal(found["robust_by_steps_linf"], exact[:, 2:3].expand(-1, len(STEPS)))
    assert found["robust_far_linf"].tolist() == [1, 1, 1]


def test_a_far_attack_leaves_nothing_right_unless_gradients_are_masked(net) -> None:
    scores, x, labels = net
    assert measured(*net, steps=20)["robust_far_linf"].tolist() == [1, 1, 1]
    masked = measured(lambda x: scores((8 * x).floor() / 8 + 0 * x), x, labels, restarts=1, queries=60)
    assert bool((masked["robust_far_linf"] < 0.5).all())
    assert bool((masked["robust_random_linf"] > masked["robust_pgd_linf"] + 0.1)[:, -1].all())


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_norm_that_is_left_out_changes_nothing_else(norm: str, net, columns: Curves) -> None:
    found = measured(*net, **{norm: None})
    assert set(found) == set(columns)
    for name, value in found.items():
        if name.endswith(f"_{norm}") or (norm == "linf" and name == "attack_steps"):
            assert value is None
        elif isinstance(value, Tensor):
            assert torch.equal(value, columns[name])
        else:
            assert value == columns[name]


def test_results_do_not_depend_on_the_pack_and_do_on_the_seed() -> None:
    x = normal(0, 1, 41, 6, dtype=torch.float32)
    labels = relu_net([0], (6, 16, 4), torch.float32)(x).argmax(-1)

    def found(nets: list[int], seeds: list[int], broken: int | None = None) -> Curves:
        scores, poison = relu_net(nets, (6, 16, 4), torch.float32), torch.zeros(len(nets), 1, 1)
        if broken is not None:
            poison[broken] = math.nan
        rows = x.expand(len(nets), -1, -1), labels.expand(len(nets), -1)
        return measured(lambda x: scores(x) + poison, *rows, seeds)

    pack, beside = found([0, 1, 2], [5, 6, 7]), found([0, 9, 2], [5, 8, 7], broken=1)
    for r in range(3):
        alone = found([r], [5 + r])
        for name, value in alone.items():
            if isinstance(value, Tensor):
                assert torch.equal(value[0], pack[name][r]), name
                assert torch.equal(beside[name][r], value[0]) or r == 1, name
    assert all(bool((v[1] == 1).all()) for v in beside.values() if isinstance(v, Tensor))
    other = found([0, 1, 2], [15, 16, 17])
    assert not torch.equal(other["robust_random_linf"], pack["robust_random_linf"])
    assert torch.equal(other["robust_fgsm_linf"], pack["robust_fgsm_linf"])


def test_raw_units_are_those_of_the_images() -> None:
    mean, deviation = torch.tensor([0.3, 0.6]), torch.tensor([0.2, 0.4])
    images = torch.rand(2, 20, 2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    m, s = (own.double().view(-1, 1, 1) for own in (mean, deviation))
    net = relu_net([1, 2], (18, 9, 3))
    scores, raw = in_raw_units(net, (images - m) / s, mean.numpy(), deviation)
    torch.testing.assert_close(raw, images, rtol=0, atol=1e-12)
    torch.testing.assert_close(scores(raw), net((images - m) / s), rtol=0, atol=1e-12)
    labels = scores(raw).argmax(-1)
    moved = fgsm(scores, raw, labels, 0.1, "linf", 0.0, 1.0)
    inside = (raw > 0.11) & (raw < 0.89)
    # The same attack on the standardised images has a radius for each channel.
    radius = 0.1 / s
    standard = (images - m) / s
    x = standard.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((net(x).logsumexp(-1) - net(x).amax(-1)).sum(), x)
    expected = ((standard + radius * gradient.sign()) * s + m)[inside]
    torch.testing.assert_close(moved[inside], expected, rtol=0, atol=1e-12)
    assert float(moved.min()) >= 0
    assert float(moved.max()) <= 1


def test_an_identity_standardisation_changes_no_bit() -> None:
    x, net = normal(0, 2, 5, 1, 1, 6, dtype=torch.float32), relu_net([1, 2], (6, 3), torch.float32)
    scores, raw = in_raw_units(net, x, torch.zeros(1), torch.ones(1))
    assert torch.equal(raw, x)
    assert torch.equal(scores(raw), net(x))


def test_arguments_outside_their_range_are_refused(net) -> None:
    with pytest.raises(ValueError, match="radius: expected finite numbers >= 0"):
        measured(*net, linf=-0.1)
    with pytest.raises(ValueError, match="draws: expected one generator for each of 3 replicas, got 2"):
        measured(*net, seeds=[1, 2])
    with pytest.raises(ValueError, match="queries: expected an integer >= 1, got 0"):
        measured(*net, queries=0)
