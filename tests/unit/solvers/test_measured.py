import pytest
import torch

from unrolled.solvers import properties
from unrolled.solvers.filters import SOLVER_NAMES

from .factory import MU, L

PAIRS = {
    "convergence": (properties.convergence, properties.measured_convergence),
    "stability": (properties.stability, properties.measured_stability),
    "stability_linear": (properties.stability_linear, properties.measured_stability_linear),
    "sensitivity": (properties.sensitivity, properties.measured_sensitivity),
}
# The project's own promise. Found: at most 3e-9.
AGREEMENT = 1e-6


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("name", SOLVER_NAMES)
@pytest.mark.parametrize("step_size", [0.5, 1.0, 1.2])
def test_the_running_layer_agrees_with_the_exact_value(pair, name, step_size):
    exact, measured = PAIRS[pair]
    for steps in (1, 2, 3, 5, 10, 20, 30):
        generator = torch.Generator().manual_seed(steps)
        found = measured(name, steps, step_size, MU, L, generator)
        assert found == pytest.approx(exact(name, steps, step_size, MU, L), rel=AGREEMENT, abs=AGREEMENT)


@pytest.mark.parametrize("pair", PAIRS)
def test_the_measurement_tells_the_solvers_and_settings_apart(pair):
    exact, measured = PAIRS[pair]
    found = measured("nag", 7, 1.0, MU, L)
    for other in (("gd", 7, 1.0, MU, L), ("nag", 8, 1.0, MU, L), ("nag", 7, 0.8, MU, L), ("nag", 7, 1.0, 0.12, L)):
        assert found != pytest.approx(exact(*other), rel=1e-3)


@pytest.mark.parametrize("pair", PAIRS)
def test_no_rotation_matters_and_the_default_one_is_fixed(pair):
    measured = PAIRS[pair][1]
    values = [measured("nag", 4, 1.0, MU, L, torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    assert values[0] == pytest.approx(values[1], abs=1e-8)
    assert measured("nag", 4, 1.0, MU, L) == values[0]


@pytest.mark.parametrize("pair", PAIRS)
def test_no_steps_and_bad_settings(pair):
    exact, measured = PAIRS[pair]
    assert measured("gd", 0, 1.0, MU, L) == exact("gd", 0, 1.0, MU, L)
    with pytest.raises(ValueError, match="gd, nag"):
        measured("rnn", 3, 1.0, MU, L)
