"""The task that computes minimum potentials, against the functions that it calls."""

from __future__ import annotations

import numpy as np
import pytest

from unrolled.config.check import Flat
from unrolled.frames import build, minimum_potential
from unrolled.sweep.expand import expand
from unrolled.sweep.task import RunContext
from unrolled.sweep.tasks import TASKS
from unrolled.sweep.trial import packs_of, trial_of

TASK = TASKS["minimum"]


def config(*overrides: str) -> Flat:
    base = ["task=minimum", "theory=frames", "data=digits", "network=frame", "solver=feedforward"]
    (found,) = expand([*base, "network.skip=chain", "network.widths=4x8x16", *overrides])
    return found


def row(*overrides: str) -> dict[str, object]:
    resolved, _ = TASK.resolve(config(*overrides))
    (found,) = TASK.run([resolved], RunContext())
    return found


def test_a_row_holds_the_minimum_and_what_it_is_compared_with() -> None:
    found, own = row(), minimum_potential(build("chain", 64, (4, 8, 16)))
    assert (found["f2_min"], found["f_min"], found["pairs"]) == (own.f2, own.f, own.pairs)
    assert found["minimum_status"] == "exact"
    assert found["f2_lower"] == pytest.approx(24.0)
    assert found["f2_simple"] == pytest.approx(24.0)
    assert found["f_random"] > found["f_min"]
    assert found["coherence_random"] >= found["f_random"]
    assert found["coherence_min"] >= found["f_min"]
    assert found["parameters"] == 64 * 4 + 4 * 8 + 8 * 16
    assert found["network_parameters"] == found["parameters"] + 28 + 17 * 10


def test_the_picture_is_that_of_the_minimal_dictionary() -> None:
    found = row()
    sizes = found["gram_sizes"]
    assert sizes == [4, 8, 16]
    gram, pattern = (np.reshape(found[name], (28, 28)) for name in ("gram", "gram_pattern"))
    np.testing.assert_allclose(np.diag(gram), 1, atol=1e-12)
    assert (gram[pattern == 0] == 0).all()
    assert pattern.sum() - 28 == found["pairs"]
    assert (gram**2).sum() - 28 == pytest.approx(found["f2_min"])


def test_only_chains_have_the_simple_form_and_only_small_nets_a_picture() -> None:
    assert row("network.skip=dense")["f2_simple"] is None
    assert "gram" not in row("network.widths=32x96")


def test_what_is_not_trained_is_no_part_of_a_trial() -> None:
    names = {trial_of(config(*more)).name for more in ([], ["optim.lr=0.1"], ["data.n_train=10"])}
    assert len(names) == 1
    assert trial_of(config("seed=1")).name not in names
    assert trial_of(config("network.skip=residual")).name not in names
    structures = [trial_of(config(f"network.widths={widths}")) for widths in ("4x8", "8x4", "4x8x4x8")]
    assert len(packs_of(structures, 8)) == 3
