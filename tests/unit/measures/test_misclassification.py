"""Log-odds of wrong answers, and what counts as one."""

from __future__ import annotations

import math

import pytest
import torch

from unrolled.measures.misclassification import Worst, climb, error, judged, log_odds

from .factory import normal, relu_net

ROUNDING = 1e-12
"""Float64 sums of some ten terms of order one."""

LABELS = torch.arange(12).view(2, 6) % 4


def test_log_odds_are_those_of_the_softmax() -> None:
    values = normal(0, 2, 6, 4) * 3
    p = values.softmax(-1).gather(-1, LABELS[..., None])[..., 0]
    torch.testing.assert_close(log_odds(values, LABELS), ((1 - p) / p).log(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_their_gradient_is_parallel_to_that_of_the_cross_entropy(classes: int) -> None:
    net, x, labels = relu_net([1, 2], (5, 8, classes)), normal(3, 2, 6, 5), LABELS % classes
    wrong, loss, gradient = climb(net, x, labels)
    x.requires_grad_()
    values = net(x)
    entropy = -values.log_softmax(-1).gather(-1, labels[..., None])[..., 0]
    (expected,) = torch.autograd.grad(entropy.sum(), x)
    factor = 1 - (-entropy.detach()).exp()  # the derivative of log(1 + e^l)
    torch.testing.assert_close(gradient * factor[..., None], expected, rtol=0, atol=ROUNDING)
    torch.testing.assert_close(loss, log_odds(values, labels).detach(), rtol=0, atol=0)
    assert torch.equal(wrong, values.argmax(-1) != labels)


def test_their_gradient_does_not_vanish_where_a_net_is_sure() -> None:
    values = torch.tensor([[[200.0, 0.0, 1.0]]], requires_grad=True)  # float32
    labels = torch.zeros(1, 1, dtype=torch.int64)
    entropy = torch.nn.functional.cross_entropy(values[0], labels[0])
    assert not bool(torch.autograd.grad(entropy, values)[0].any())
    (gradient,) = torch.autograd.grad(log_odds(values, labels).sum(), values)
    expected = torch.tensor([-1, 1 / (1 + math.e), math.e / (1 + math.e)])
    torch.testing.assert_close(gradient[0, 0], expected, rtol=1e-6, atol=0)


def test_a_score_that_is_nan_is_a_wrong_answer() -> None:
    values = torch.zeros(3, 2, 3)
    values[..., 0] = 1
    values[1, 0, 0] = values[2, 1, 2] = math.nan  # the class that argmax would name, and another
    labels = torch.zeros(3, 2, dtype=torch.int64)
    found = error(lambda x: values, torch.zeros(3, 2, 1), labels)
    assert found.tolist() == [0, 0.5, 0.5]
    assert found.dtype == torch.float64


def test_the_worst_keeps_the_first_wrong_answer_and_else_the_highest_log_odds() -> None:
    def scores(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros_like(x), x], -1)

    def offered(*values: float) -> float:
        labels = torch.zeros(1, 1, dtype=torch.int64)
        x = [torch.full((1, 1, 1), float(value)) for value in values]
        worst = Worst(scores, x[0], labels)
        for own in x[1:]:
            worst.offer(own, *judged(scores, own, labels))
        return float(worst.inputs)

    assert offered(-3, -2, -2.5) == -2
    assert offered(-3, 1, 2, -1) == 1  # settled
    assert offered(4, 9) == 4
    assert math.isnan(offered(-3, math.nan, 2))  # scores that are NaN are a wrong answer


def test_log_odds_that_are_nan_are_not_the_highest() -> None:
    worst = Worst(lambda x: x, torch.tensor([[[1.0, 0.0]]]), torch.zeros(1, 1, dtype=torch.int64))
    worst.offer(torch.ones(1, 1, 2), torch.tensor([[False]]), torch.tensor([[math.nan]]))
    assert worst.inputs.tolist() == [[[1, 0]]]


def test_shapes_and_labels_that_do_not_fit_are_refused() -> None:
    net, x = relu_net([1, 2], (5, 3)), torch.zeros(2, 6, 5, dtype=torch.float64)
    for labels in (LABELS[:1], LABELS.int(), LABELS[:, :5]):
        with pytest.raises(ValueError, match=r"labels: expected int64 \(2, 6\), as the inputs have, got"):
            error(net, x, labels)
    with pytest.raises(ValueError, match="labels: expected 0 to 2, got 0 to 3"):
        error(net, x, LABELS)
    with pytest.raises(ValueError, match="labels: expected 0 to 2, got -1 to 2"):
        error(net, x, LABELS - 1)
    for shape in ((2, 6), (2, 5, 3), (2, 6, 1)):
        with pytest.raises(ValueError, match=r"scores: expected \(2, 6\) and at least two classes, got"):
            error(lambda _, shape=shape: torch.zeros(shape), x, LABELS)
