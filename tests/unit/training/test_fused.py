import warnings

import numpy as np
import pytest
import torch

from unrolled.solvers.filters import filter_slopes, residual
from unrolled.solvers.gradient import momentum
from unrolled.training import fused
from unrolled.training.fit import BackendWarning, choose_backend
from unrolled.training.flat import Flat
from unrolled.training.fused import Fused, FusedUnavailableError
from unrolled.training.residuals import UNROLLED

from .factory import Job, Member, assert_same_states, varied

MU, SMOOTH = 0.1, 1.0
ROUNDING = 1e-12
"""Of numbers of order 1 to 1000 in float64, along up to 40 steps."""


def test_an_rnn_is_refused_and_left_to_eager():
    ensemble = Job("rnn", dtype=torch.float64).ensemble(varied(2))
    with pytest.raises(FusedUnavailableError, match="fused knows solvers gd, nag, got rnn; use auto or eager"):
        choose_backend("fused", ensemble)
    with pytest.warns(BackendWarning, match=r"eager torch, some thirty times slower: native is for float32"):
        assert choose_backend("auto", ensemble).name == "eager"


def test_fused_is_chosen_where_native_does_not_reach():
    job = Job(dtype=torch.float64)
    with pytest.warns(BackendWarning, match=r"fused torch, some six times slower: native is for float32"):
        assert choose_backend("auto", job.ensemble(varied(2))).name == "fused"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_backend("fused", job.ensemble(varied(2))).name == "fused"


@pytest.mark.parametrize("count", [1, 4, 5, 13])
def test_blocks_hold_every_replica_once_learned_ones_apart_and_deepest_first(count, monkeypatch):
    monkeypatch.setattr(fused, "BLOCK", 4)
    members = varied(count)
    blocks = Fused(Job().ensemble(members)).blocks
    assert sorted(np.concatenate(blocks)) == list(range(count))
    for block in blocks:
        assert len(block) <= 4
        assert len({members[i].learn for i in block}) == 1
        depths = [members[i].steps for i in block]
        assert depths == sorted(depths, reverse=True)


@pytest.mark.parametrize("orders", [1, 100])
def test_how_a_fit_is_divided_changes_no_bit(orders, monkeypatch):
    job, members = Job("nag", 4, epochs=5), varied(11)
    expected = job.train(members, "fused")
    monkeypatch.setattr(fused, "BLOCK", 3)
    monkeypatch.setattr(fused, "ORDERS", orders)
    assert_same_states(job.train(members, "fused"), expected)


@pytest.mark.parametrize("steps", [[0], [1], [5, 5, 5], [40, 9, 8, 8, 7, 3, 2, 1, 1, 0, 0]])
@pytest.mark.parametrize("solver", ["gd", "nag"])
def test_residuals_and_slopes_are_those_of_the_solvers(solver, steps):
    generator = torch.Generator().manual_seed(0)
    e = MU + (SMOOTH - MU) * torch.rand((2, len(steps), 3), generator=generator, dtype=torch.float64)
    s = 0.5 + 0.5 * torch.rand((len(steps), 1), generator=generator, dtype=torch.float64)
    k, a = torch.tensor(steps)[:, None], momentum(s, MU)
    unrolled = UNROLLED[solver](steps, e)
    expected = residual(solver, e, k, s, MU)
    slopes = filter_slopes(solver, e, k, s, MU)
    for order in (2, 0, 1, 2):  # buffers are used again
        found = unrolled(1 - s * e, a.expand(len(steps), 3), order)
        torch.testing.assert_close(found.r, expected, rtol=ROUNDING, atol=ROUNDING)
        if order == 0:
            assert found.by_shrink is None
            continue
        by_e = (s * found.by_shrink - (1 - found.r) / e) / e
        torch.testing.assert_close(by_e, slopes.dp_de, rtol=ROUNDING, atol=ROUNDING * 100)
        if order == 2:
            root = (MU * s) ** 0.5
            by_a = 0 if solver == "gd" else -root / (s * (1 + root) ** 2) * found.by_momentum
            torch.testing.assert_close(found.by_shrink - by_a / e, slopes.dp_ds, rtol=ROUNDING, atol=ROUNDING)


def test_powers_beyond_a_replicas_own_do_not_overflow_into_it():
    # |B| = 5: B^1000 is beyond numbers, the neighbour's B^2 is not.
    shrink = torch.full((1, 2, 1), -5.0)
    found = UNROLLED["gd"]([1000, 2], shrink)(shrink, shrink, 1)
    assert found.r[0, 1].item() == 25.0
    assert found.by_shrink[0, 1].item() == -10.0


@pytest.mark.parametrize("width", [0, 4])
@pytest.mark.parametrize("prefix", ["", "first."])
def test_a_vector_of_parameters_gives_them_back(width, prefix):
    weights = {f"{prefix}{name}": w for name, w in Job(width=width).start(varied(3)).weights.items()}
    flat = Flat(weights | {"other": torch.ones(3)} if prefix else weights, prefix)
    found = flat.tensors()
    assert list(found) == list(weights)
    for name, expected in weights.items():
        assert torch.equal(found[name], expected)
        assert found[name].is_contiguous()
        assert found[name].data_ptr() != expected.data_ptr()
    owner = Flat({name: torch.ones_like(w) * torch.arange(3).reshape(-1, *(1,) * (w.ndim - 1)) for name, w in
                  weights.items()}, prefix)  # fmt: skip
    assert torch.equal(owner.vector, flat.spread(torch.arange(3)).float())


def test_a_loss_of_zero_has_no_gradient():
    # With y* = 0 = b the layer is exact.
    job, members = Job("gd", 4, "sgd", epochs=1), [Member(seed=0), Member(seed=0, learn=True)]
    ensemble = job.ensemble(members)
    ensemble.coefficients.zero_()
    ensemble.target.zero_()
    end = Fused(ensemble).advance(job.settings(members), job.start(members), 1)
    start = job.start(members)
    assert end.curve.tolist() == [[0, 0], [0, 0]]
    assert all(torch.isfinite(weight).all() for weight in end.weights.values())
    assert torch.equal(end.weights["output.bias"], start.weights["output.bias"])
    assert torch.equal(end.weights["step_logit"], start.weights["step_logit"])
