"""Attacks, against worst cases in closed form, a loop over single rows, and foolbox."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from unrolled.measures.adversarial import ascent, fgsm, pgd, random_search
from unrolled.measures.misclassification import Scores, error, log_odds
from unrolled.measures.perturbation import NORMS, Ball
from unrolled.training.one_core import cores

from .factory import Linear, draws, normal, relu_net


@pytest.fixture(autouse=True, scope="module")
def one_core():
    """Small operations only wait for each other on more cores, and sums are not cut."""
    with cores(1):
        yield


ROUNDING = 1e-10
"""Float64, twenty steps of some hundred terms of order one."""

SEEDS = [3, 1, 4]
RADII = {"linf": (0.02, 0.1, 0.3), "l2": (0.1, 0.4, 1.0)}
ATTACKS = ("fgsm", "pgd", "random")

BOTH = pytest.mark.parametrize("norm", NORMS)


def attacked(
    attack: str, scores: Scores, x: Tensor, labels: Tensor, radius: float, norm: str, *, seeds=SEEDS, **box: float
) -> Tensor:
    if attack == "fgsm":
        return fgsm(scores, x, labels, radius, norm, **box)
    if attack == "pgd":
        return pgd(scores, x, labels, radius, norm, steps=10, restarts=3, draws=draws(seeds), **box)
    return random_search(scores, x, labels, radius, norm, queries=40, draws=draws(seeds), **box)


@pytest.fixture
def net() -> tuple[Scores, Tensor, Tensor]:
    """Three nets of different labels; a part of their answers is wrong from the start."""
    scores, x = relu_net(SEEDS, (6, 16, 16, 4)), normal(0, 3, 80, 6)
    labels = scores(x).argmax(-1)
    labels[:, ::9] = (labels[:, ::9] + 1) % 4
    return scores, x, labels


# Closed forms: a linear classifier loses the dual norm of its weights times the radius.


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sure", [1.0, 1e3])
def test_the_robust_error_of_linear_classifiers_is_exact(norm: str, dtype: torch.dtype, sure: float) -> None:
    # The factor makes the classifiers so sure that the gradient of the cross-entropy is 0 in float32.
    linear, x = Linear(3, 7), normal(5, 3, 300, 7)
    labels = linear.labels(x)
    margins, dual = linear.margins(x, labels), linear.w.norm(p=1 if norm == "linf" else 2, dim=1)
    linear.w, linear.b = (sure * linear.w).to(dtype), (sure * linear.b).to(dtype)
    for radius in RADII[norm]:
        exact = (margins - radius * dual[:, None] < 0).double().mean(1)
        assert 0.1 < float(exact.mean()) < 0.9
        for attack in ("fgsm", "pgd"):
            found = attacked(attack, linear, x.to(dtype), labels, radius, norm)
            assert torch.equal(error(linear, found, labels), exact), attack


def test_the_box_takes_from_linear_classifiers_what_it_should() -> None:
    linear, x = Linear(3, 7), normal(5, 3, 300, 7).clamp(-0.5, 0.5)
    labels = linear.labels(x)
    towards = -linear.w[:, None].sign() * (2 * labels - 1)[..., None]
    room = torch.where(towards > 0, 0.5 - x, x + 0.5).clamp(max=0.2)
    exact = (linear.margins(x, labels) - (room * linear.w[:, None].abs()).sum(2) < 0).double().mean(1)
    free = attacked("fgsm", linear, x, labels, 0.2, "linf")
    assert bool((error(linear, free, labels) > exact).all())
    for attack in ("fgsm", "pgd"):
        found = attacked(attack, linear, x, labels, 0.2, "linf", low=-0.5, high=0.5)
        assert torch.equal(error(linear, found, labels), exact), attack


@BOTH
def test_the_search_without_gradients_comes_close_to_the_worst_case(norm: str) -> None:
    linear, x = Linear(3, 7), normal(5, 3, 300, 7)
    labels = linear.labels(x)
    dual, radius = linear.w.norm(p=1 if norm == "linf" else 2, dim=1), RADII[norm][1]
    exact = (linear.margins(x, labels) - radius * dual[:, None] < 0).double().mean(1)
    errors = [
        error(linear, random_search(linear, x, labels, radius, norm, queries=q, draws=draws(SEEDS)), labels)
        for q in (3, 300)
    ]
    assert bool((errors[0] < exact - 0.02).all())
    assert bool((errors[1] <= exact).all())
    assert bool((errors[1] > exact - 0.02).all())  # six rows of 300


# What holds for every attack on every net.


@BOTH
@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("box", [{}, {"low": -0.7, "high": 0.8}], ids=["free", "box"])
def test_attacks_stay_in_ball_and_box(attack: str, norm: str, box: dict[str, float], net) -> None:
    scores, x, labels = net
    x = x.clamp(-0.7, 0.8) if box else x
    for radius in RADII[norm]:
        found = attacked(attack, scores, x, labels, radius, norm, **box)
        change = (found - x).abs().amax(2) if norm == "linf" else (found - x).norm(dim=2)
        assert float(change.max()) <= radius + ROUNDING
        assert float(change.max()) > 0.5 * radius
        assert found.requires_grad is False
        if box:
            assert float(found.min()) >= -0.7
            assert float(found.max()) <= 0.8


@BOTH
@pytest.mark.parametrize("attack", ATTACKS)
def test_radius_zero_changes_nothing(attack: str, norm: str, net) -> None:
    assert torch.equal(attacked(attack, *net, 0.0, norm), net[1])


@BOTH
@pytest.mark.parametrize("attack", ATTACKS)
def test_rows_that_are_wrong_already_stay_as_they_are(attack: str, norm: str, net) -> None:
    scores, x, labels = net
    wrong = scores(x).argmax(-1) != labels
    found = attacked(attack, scores, x, labels, RADII[norm][2], norm)
    assert bool(wrong.any())
    assert torch.equal(found[wrong], x[wrong])
    assert bool((error(scores, found, labels) > error(scores, x, labels)).all())


@BOTH
@pytest.mark.parametrize("attack", ATTACKS)
def test_errors_rise_with_the_radius(attack: str, norm: str, net) -> None:
    errors = [error(net[0], attacked(attack, *net, radius, norm), net[2]) for radius in (0.0, *RADII[norm])]
    assert all(bool((b >= a).all()) for a, b in pairwise(errors))
    assert bool((errors[-1] > errors[0] + 0.3).all())


@BOTH
@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("classes", [2, 5, 10])
def test_a_replica_is_the_same_to_the_bit_in_any_pack(attack: str, norm: str, classes: int) -> None:
    x = normal(0, 1, 29, 1, 3, 3, dtype=torch.float32).clamp(-1, 1)
    labels = relu_net([0], (9, 11, classes), torch.float32)(x).argmax(-1)

    def found(seeds: list[int], broken: int | None = None) -> list[Tensor]:
        net = relu_net(seeds, (9, 11, classes), torch.float32)
        poison = torch.zeros(len(seeds), 1, 1)
        if broken is not None:
            poison[broken] = math.nan
        adversarial = attacked(
            attack, lambda x: net(x) + poison, x.expand(len(seeds), *x.shape[1:]), labels.expand(len(seeds), -1), 0.2,
            norm, seeds=seeds, low=-1.0, high=1.0,
        )  # fmt: skip
        return list(adversarial)

    alone = {seed: found([seed])[0] for seed in range(5)}
    assert not torch.equal(alone[0], alone[1])
    for pack in ([4, 0, 2], [0, 1, 2, 3, 4], [3, 3]):
        for seed, own in zip(pack, found(pack), strict=True):
            assert torch.equal(own, alone[seed]), f"replica {seed} of {pack}"
    beside = found([1, 2, 3], broken=1)
    assert torch.equal(beside[0], alone[1])
    assert torch.equal(beside[1], x[0])
    assert torch.equal(beside[2], alone[3])


# Projected gradient ascent.


def naive_path(scores: Scores, x0: Tensor, label: int, radius: float, norm: str, steps: int, step: float) -> Tensor:
    """Ascent of the cross-entropy for one row of a single net, ``(steps + 1, d)``."""
    path = [x0]
    for _ in range(steps):
        x = path[-1].clone().requires_grad_()
        (g,) = torch.autograd.grad(cross_entropy(scores(x[None, None])[0], torch.tensor([label])), x)
        d = path[-1] + step * (g.sign() if norm == "linf" else g / max(float(g.norm()), 1e-300)) - x0
        d = d.clamp(-radius, radius) if norm == "linf" else d * min(1.0, radius / float(d.norm()))
        path.append(x0 + d)
    return torch.stack(path)


@BOTH
def test_the_ascent_is_that_of_single_rows_on_the_cross_entropy(norm: str, net) -> None:
    scores, x, labels = net
    radius, steps = RADII[norm][1], 8
    path = torch.stack([p[0] for p in ascent(scores, x, labels, Ball(x, radius, norm), steps, 0.4 * radius)])
    for r, seed in enumerate(SEEDS):
        single = relu_net([seed], (6, 16, 16, 4))
        for row in range(0, 80, 7):
            expected = naive_path(single, x[r, row], int(labels[r, row]), radius, norm, steps, 0.4 * radius)
            torch.testing.assert_close(path[:, r, row], expected, rtol=0, atol=ROUNDING)


@BOTH
def test_pgd_keeps_the_worst_point_it_passes(norm: str, net) -> None:
    scores, x, labels = net
    radius = RADII[norm][0]
    found = pgd(scores, x, labels, radius, norm, steps=6, step_size=0.7 * radius)
    points = list(ascent(scores, x, labels, Ball(x, radius, norm), 6, 0.7 * radius))
    wrong = torch.stack([p[1] for p in points]).any(0)
    assert torch.equal(error(scores, found, labels), wrong.double().mean(1))
    highest = torch.stack([p[2] for p in points]).amax(0)
    torch.testing.assert_close(log_odds(scores(found), labels)[~wrong], highest[~wrong], rtol=0, atol=ROUNDING)


@BOTH
def test_more_restarts_are_never_worse_and_one_needs_no_draws(norm: str, net) -> None:
    scores, x, labels = net
    radius = RADII[norm][1]
    odds, wrong = [], []
    for restarts in (1, 2, 5):
        given = draws(SEEDS) if restarts > 1 else []
        found = pgd(scores, x, labels, radius, norm, steps=3, restarts=restarts, draws=given)
        odds.append(log_odds(scores(found), labels))
        wrong.append(scores(found).argmax(-1) != labels)
    for few, many in ((0, 1), (1, 2)):
        assert bool((wrong[many] | ~wrong[few]).all())
        right = ~wrong[many]
        assert bool((odds[many] >= odds[few] - ROUNDING)[right].all())
    assert bool((odds[2] > odds[0] + 1e-3)[~wrong[2]].any())


@BOTH
def test_what_was_found_before_is_kept_where_nothing_worse_is_found(norm: str, net) -> None:
    scores, x, labels = net
    small = pgd(scores, x, labels, RADII[norm][1], norm, steps=10)
    wrong = scores(small).argmax(-1) != labels
    for kept in (
        pgd(scores, x, labels, RADII[norm][2], norm, steps=1, step_size=1e-9, found=small),
        random_search(scores, x, labels, RADII[norm][2], norm, queries=1, draws=draws(SEEDS), found=small),
    ):
        assert torch.equal(kept[wrong], small[wrong])
    alone = pgd(scores, x, labels, RADII[norm][2], norm, steps=1, step_size=1e-9)
    assert bool((error(scores, alone, labels) < error(scores, small, labels)).all())


def test_the_search_goes_where_gradients_do_not_lead() -> None:
    # Steps of a staircase: gradients are 0 nearly everywhere.
    linear, x = Linear(3, 7), normal(5, 3, 300, 7)

    def stairs(x: Tensor) -> Tensor:
        return linear((8 * x).floor() / 8 + 0 * x)

    labels = linear.labels(x)
    clean, ascended, searched = (
        error(stairs, a, labels)
        for a in (x, pgd(stairs, x, labels, 0.3, "linf", steps=20), attacked("random", stairs, x, labels, 0.3, "linf"))
    )
    assert torch.equal(ascended, clean)
    assert bool((searched > clean + 0.1).all())


def test_arguments_outside_their_range_are_refused(net) -> None:
    with pytest.raises(ValueError, match="norm: expected one of linf, l2, got 'l0'"):
        fgsm(*net, 0.1, "l0")
    with pytest.raises(ValueError, match="radius: expected finite numbers >= 0"):
        pgd(*net, -0.1, "l2", steps=3)
    with pytest.raises(ValueError, match="steps: expected an integer >= 1, got 0"):
        pgd(*net, 0.1, "l2", steps=0)
    with pytest.raises(ValueError, match="restarts: expected an integer >= 1, got 0"):
        pgd(*net, 0.1, "l2", steps=3, restarts=0)
    for step_size in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="step_size: expected a finite number > 0"):
            pgd(*net, 0.1, "l2", steps=3, step_size=step_size)
    with pytest.raises(ValueError, match="draws: expected one generator for each of 3 replicas, got 0"):
        pgd(*net, 0.1, "l2", steps=3, restarts=2)
    with pytest.raises(ValueError, match="queries: expected an integer >= 1, got 0"):
        random_search(*net, 0.1, "l2", queries=0, draws=draws(SEEDS))
    with pytest.raises(ValueError, match="draws: expected one generator for each of 3 replicas, got 2"):
        random_search(*net, 0.1, "l2", queries=1, draws=draws([1, 2]))
    with pytest.raises(ValueError, match="found: expected the shape of the inputs"):
        pgd(*net, 0.1, "l2", steps=3, found=net[1][:, :2])
    with pytest.raises(ValueError, match="labels: expected int64"):
        fgsm(net[0], net[1], net[2][:, :2], 0.1, "l2")


# Foolbox: bounds that no point reaches, and one replica, as it knows neither None nor ensembles.


@pytest.fixture
def box():
    return pytest.importorskip("foolbox", reason="foolbox is not installed: pip install -r requirements-foolbox.lock")


def module_of(scores: Scores) -> torch.nn.Module:
    class Net(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return scores(x[None])[0]

    return Net().eval()


@BOTH
def test_fgsm_is_that_of_foolbox(norm: str, box, net) -> None:
    _, x, labels = net
    single = relu_net(SEEDS[:1], (6, 16, 16, 4))
    kind = box.attacks.LinfFastGradientAttack if norm == "linf" else box.attacks.L2FastGradientAttack
    model = box.PyTorchModel(module_of(single), bounds=(-10, 10), device="cpu")
    right = single(x[:1]).argmax(-1)[0] == labels[0]
    for radius in RADII[norm]:
        theirs = kind().run(model, x[0], box.criteria.Misclassification(labels[0]), epsilon=radius)
        ours = fgsm(single, x[:1], labels[:1], radius, norm, -10.0, 10.0)[0]
        torch.testing.assert_close(ours[right], theirs[right], rtol=0, atol=ROUNDING)


@BOTH
@pytest.mark.parametrize("bounds", [(-10.0, 10.0), (-0.7, 0.8)], ids=["free", "box"])
def test_the_ascent_is_that_of_foolbox_step_for_step(norm: str, bounds: tuple[float, float], box, net) -> None:
    _, x, labels = net
    x = x.clamp(*bounds)
    single, radius = relu_net(SEEDS[:1], (6, 16, 16, 4)), RADII[norm][1]
    kind = box.attacks.LinfPGD if norm == "linf" else box.attacks.L2PGD
    model = box.PyTorchModel(module_of(single), bounds=bounds, device="cpu")
    ball = Ball(x[:1], radius, norm, *bounds)
    for steps, (ours, *_) in enumerate(ascent(single, x[:1], labels[:1], ball, 8, 0.3 * radius)):
        if steps:
            attack = kind(abs_stepsize=0.3 * radius, steps=steps, random_start=False)
            theirs = attack.run(model, x[0], box.criteria.Misclassification(labels[0]), epsilon=radius)
            torch.testing.assert_close(ours[0], theirs, rtol=0, atol=ROUNDING)


@BOTH
def test_robust_errors_are_those_of_foolbox(norm: str, box, net) -> None:
    _, x, labels = net
    single = relu_net(SEEDS[:1], (6, 16, 16, 4))
    kind = box.attacks.LinfPGD if norm == "linf" else box.attacks.L2PGD
    model = box.PyTorchModel(module_of(single), bounds=(-10, 10), device="cpu")
    attack = kind(rel_stepsize=2.5 / 20, steps=20, random_start=False)
    theirs = attack(model, x[0], labels[0], epsilons=list(RADII[norm]))[2].double().mean(1)
    for radius, expected in zip(RADII[norm], theirs.tolist(), strict=True):
        found = pgd(single, x[:1], labels[:1], radius, norm, steps=20)
        ours = float(error(single, found, labels[:1]))
        # The last point of theirs is among those we pass; two of 80 rows are wrong on the way only.
        assert expected <= ours <= expected + 2 / 80
