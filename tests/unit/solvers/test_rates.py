import numpy as np
import pytest
import torch

from unrolled.solvers.filters import SOLVER_NAMES, residual
from unrolled.solvers.properties import convergence
from unrolled.solvers.rates import check_setting, convergence_rate, sensitivity_rate, stability_rate, step_range

from .factory import MU, ROUNDING, L


@pytest.mark.parametrize("steps", [0, 1, 2, 5, 30])
@pytest.mark.parametrize("step_size", [0.1, 1.0, 1.5, 2 / (MU + L)])
def test_gd_rate_is_the_exact_convergence_within_the_range(steps, step_size):
    assert convergence_rate("gd", steps, step_size, MU) == pytest.approx(
        convergence("gd", steps, step_size, MU, L), abs=ROUNDING
    )


def test_gd_rate_is_not_exact_beyond_the_range():
    beyond = 1.05 * step_range("gd", MU, L)[1]
    assert convergence("gd", 5, beyond, MU, L) > 1.5 * convergence_rate("gd", 5, beyond, MU)


def test_nag_rate_rises_until_three_steps_and_then_falls():
    rates = [convergence_rate("nag", steps, 1.0, MU) for steps in range(1, 31)]
    assert np.argmax(rates) == 2
    assert np.all(np.diff(rates[2:]) < 0)


def test_rates_by_hand():
    # s mu = 0.16: GD contracts by 0.84, NAG by 0.6.
    assert convergence_rate("gd", 3, 1.6, 0.1) == pytest.approx(0.84**3, rel=ROUNDING)
    assert convergence_rate("nag", 3, 1.6, 0.1) == pytest.approx(3 * 0.6**3, rel=ROUNDING)
    assert stability_rate("gd", 3, 1.6, 0.1) == pytest.approx(1 - 0.84**3, rel=ROUNDING)
    assert stability_rate("nag", 3, 1.6, 0.1) == pytest.approx(1 - 3 * 0.6**3, rel=ROUNDING)
    assert sensitivity_rate("gd", 3, 1.6, 0.1) == pytest.approx(3 * 0.84**3, rel=ROUNDING)
    assert sensitivity_rate("nag", 3, 1.6, 0.1) == pytest.approx(27 * 0.6**3, rel=ROUNDING)


@pytest.mark.parametrize("rate", [convergence_rate, stability_rate, sensitivity_rate])
@pytest.mark.parametrize("name", SOLVER_NAMES)
def test_the_smoothness_may_be_given_and_changes_nothing(rate, name):
    assert rate(name, 4, 1.0, MU, L) == rate(name, 4, 1.0, MU)
    with pytest.raises(ValueError, match="smoothness >= the strong convexity"):
        rate(name, 4, 1.0, MU, 0.5 * MU)


def test_step_ranges():
    assert step_range("gd", MU, L) == (0.1, pytest.approx(2 / 1.1))
    low, high = step_range("nag", MU, L, c0=0.2)
    assert (low, high) == (0.2, pytest.approx(4 / 3.1))


def test_convergence_ends_where_the_docstring_says_and_not_before_the_range_does():
    # s L = 4 / (3 - sqrt(mu s)) by fixed-point iteration; it contracts, as the right side hardly moves with s.
    eigenvalues = torch.linspace(MU, L, 101, dtype=torch.float64)
    end = 1.0
    for _ in range(50):
        end = 4 / (3 - (MU * end) ** 0.5) / L
    for name, last in (("gd", 2 / L), ("nag", end)):
        assert step_range(name, MU, L)[1] < last
        below, above = (residual(name, eigenvalues, 2000, share * last, MU).abs().max() for share in (0.99, 1.01))
        assert below < 1e-3
        assert above > 1e3


def test_an_empty_step_range_is_refused():
    with pytest.raises(ValueError, match=r"below the upper end 1\.29032"):
        step_range("nag", MU, L, c0=1.3)


def test_steps_of_other_libraries_are_taken_and_bad_settings_refused():
    count = check_setting("gd", np.int64(3), 1.0, MU, L)
    assert count == 3
    assert type(count) is int
    for arguments, message in (
        (("adam", 1, 1.0, MU), "gd, nag"),
        (("gd", 1.5, 1.0, MU), "integer number of steps"),
        (("gd", -1, 1.0, MU), "steps >= 0"),
        (("gd", 1, 0.0, MU), "step size > 0"),
        (("gd", 1, float("nan"), MU), "step size > 0"),
        (("gd", 1, 1.0, 0.0), "strong convexity > 0"),
        (("gd", 1, 1.0, MU, float("inf")), "smoothness"),
    ):
        with pytest.raises(ValueError, match=message):
            check_setting(*arguments)
