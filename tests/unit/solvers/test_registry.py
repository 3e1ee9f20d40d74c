import pytest
import torch

from unrolled.solvers.filters import SOLVER_NAMES
from unrolled.solvers.gradient import GD, NAG
from unrolled.solvers.registry import SOLVERS, build_solver

from .factory import MU


def test_every_solver_with_a_filter_is_registered():
    assert tuple(SOLVERS) == SOLVER_NAMES


def test_names_build_what_they_say():
    gd = build_solver("gd", step_size=0.5, strong_convexity=MU)
    nag = build_solver("nag", step_size=0.5, strong_convexity=MU)
    assert isinstance(gd, GD)
    assert gd.step_size == 0.5
    assert isinstance(nag, NAG)
    assert (nag.step_size, nag.strong_convexity) == (0.5, MU)
    steps = torch.tensor([0.1, 0.2])
    assert build_solver("gd", step_size=steps, strong_convexity=MU).step_size is steps


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match="unknown solver 'sgd'; known are gd, nag"):
        build_solver("sgd", step_size=0.5, strong_convexity=MU)
    with pytest.raises(ValueError, match="RNNCell is built from its weights"):
        build_solver("rnn", step_size=0.5, strong_convexity=MU)
