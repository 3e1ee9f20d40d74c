"""Lists of records as rows, and the choice of what a figure shows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tests.unit.claims.hybrid_factory import RADII, ROBUST, as_read, net, trained

from unrolled.figures.hybrid_tables import (
    at_radius,
    attacked_nets,
    list_means,
    listed,
    middle_radius,
    norms_in,
    one_depth,
    solvers_in,
)
from unrolled.figures.spec import UndrawableError


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    found = trained(ROBUST, net("digits"), "digits", solvers=["ista", "fista"], steps=[1, 4, 8], attack=True)
    return pd.DataFrame(found)


def test_lists_become_rows_and_back(rows: pd.DataFrame) -> None:
    for frame in (rows, as_read(rows)):
        long = listed(frame, "attack_l2", "robust_pgd_l2")
        assert len(long) == len(rows) * len(RADII["l2"])
        first = rows.iloc[0]
        keys = ("solver.name", "solver.steps", "seed")
        own = long[np.logical_and.reduce([long[key] == first[key] for key in keys])]
        assert own["value"].tolist() == first["robust_pgd_l2"]
        assert own["position"].tolist() == list(RADII["l2"])


def test_runs_without_a_list_are_left_out(rows: pd.DataFrame) -> None:
    half = rows.assign(robust_pgd_l2=[v if i % 2 else None for i, v in enumerate(rows["robust_pgd_l2"])])
    assert len(listed(half, "attack_l2", "robust_pgd_l2")) == len(rows) // 2 * len(RADII["l2"])
    for frame in (rows.assign(attack_l2=np.nan), rows.drop(columns="attack_l2")):
        assert listed(frame, "attack_l2", "robust_pgd_l2").empty
        means = list_means(frame, "attack_l2", "robust_pgd_l2")
        assert means.empty
        assert at_radius(means, 0.0).empty
        assert norms_in(frame) == ["linf"]
    assert norms_in(rows) == ["linf", "l2"]


def test_the_middle_radius_is_entry_half_of_the_list(rows: pd.DataFrame) -> None:
    assert middle_radius(rows, "linf") == RADII["linf"][2]
    radii = [[0.0, 1.0, 2.0, 3.0]] * len(rows)
    assert middle_radius(rows.assign(attack_l2=radii, robust_pgd_l2=radii), "l2") == 2.0


def test_means_are_over_seeds(rows: pd.DataFrame) -> None:
    means = at_radius(list_means(rows, "attack_linf", "robust_fgsm_linf"), RADII["linf"][3])
    assert len(means) == 6
    assert set(means["n"]) == {4}
    own = rows[(rows["solver.name"] == "ista") & (rows["solver.steps"] == 4)]
    found = means[(means["solver.name"] == "ista") & (means["solver.steps"] == 4)]["mean"].item()
    assert found == pytest.approx(np.mean([curve[3] for curve in own["robust_fgsm_linf"]]), rel=1e-12)


def test_one_depth_passes_the_first_over(rows: pd.DataFrame) -> None:
    assert set(one_depth(rows)["solver.steps"]) == {8}
    assert set(one_depth(rows[rows["solver.steps"] == 1])["solver.steps"]) == {1}


def test_nets_attacked_in_one_norm_are_attacked(rows: pd.DataFrame) -> None:
    one = rows.assign(robust_pgd_linf=None)
    assert len(attacked_nets(one)) == len(rows)
    with pytest.raises(UndrawableError, match="no net in the records was attacked"):
        attacked_nets(one.assign(robust_pgd_l2=np.nan))


def test_solvers_stand_in_the_order_of_legends(rows: pd.DataFrame) -> None:
    assert solvers_in(rows) == ["ista", "fista"]
    with pytest.raises(UndrawableError, match="no style for solver newton; known: block_prox"):
        solvers_in(rows.assign(**{"solver.name": "newton"}))
