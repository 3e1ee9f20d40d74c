"""C7 and H5 in detail: which errors they compare, and where their limits are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from tests.unit.claims.hybrid_factory import RADII, ROBUST, net, trained

from unrolled.claims.claim import Cell, Role, Verdict, judge, votes
from unrolled.claims.grid import MixedRecordsError
from unrolled.claims.hybrid import CLAIMS


@pytest.fixture(scope="module", autouse=True)
def few_resamples() -> Iterator[None]:
    """A twentieth of the resamples: enough for effects far from their limits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unrolled.claims.statistics.RESAMPLES", 499)
        yield


def frame_of(**columns: object) -> pd.DataFrame:
    rows = trained(ROBUST, net("digits"), "digits", solvers=["fista"], steps=[1, 4, 16], attack=True)
    return pd.DataFrame([row | columns for row in rows])


def changed(frame: pd.DataFrame, column: str, shift: list[float], k: int | None = None) -> pd.DataFrame:
    """Return the records with a shift of a list column, at one k or at all."""
    moved = [
        (np.asarray(value) + shift).tolist() if k in (None, steps) else value
        for value, steps in zip(frame[column], frame["solver.steps"], strict=True)
    ]
    return frame.assign(**{column: moved})


def conditions(name: str, frame: pd.DataFrame) -> dict[str, bool | None]:
    return {f"{cell.k}: {cell.part}": cell.holds for cell in CLAIMS[name].evaluate(frame) if cell.role.counts}


def parts(cells: list[Cell]) -> dict[tuple[str, int | None], Cell]:
    return {(cell.part, cell.k): cell for cell in cells}


def test_c7_compares_the_largest_k_at_the_middle_radius() -> None:
    assert conditions("C7", frame_of()) == {
        "16: clean test error (wants not below 0, and above -0.02)": True,
        "16: PGD error, l-infinity radius 0.1": True,
        "16: PGD error, l2 radius 1": True,
    }


def test_c7_difference_is_paired_by_seed() -> None:
    frame = frame_of()
    cell = parts(CLAIMS["C7"].evaluate(frame))["PGD error, l2 radius 1", 16]
    at = {
        k: frame[frame["solver.steps"] == k].set_index("seed")["robust_pgd_l2"].map(lambda curve: curve[2])
        for k in (1, 16)
    }
    expected = at[1] - at[16]
    assert cell.interval.effect == pytest.approx(expected.mean(), rel=1e-12)
    assert cell.per_seed is not None
    pd.testing.assert_series_equal(cell.per_seed.sort_index(), expected.sort_index(), check_names=False)


@pytest.mark.parametrize(("loss", "holds"), [(-0.1, True), (0.01, False), (0.03, False)])
def test_c7_clean_accuracy_may_not_be_lost(loss: float, holds: bool) -> None:
    """A loss beyond doubt fails even if it is small; the noise of the factory is far smaller than 0.01."""
    frame = frame_of()
    error = 0.2 + np.where(frame["solver.steps"] == 16, loss, 0.0) + 1e-3 * frame["seed"]
    outcome = conditions("C7", frame.assign(test_error=error))
    assert outcome["16: clean test error (wants not below 0, and above -0.02)"] is holds


@pytest.mark.parametrize(("loss", "holds"), [(0.01, True), (0.03, False)])
def test_c7_a_doubtful_loss_must_be_small(loss: float, holds: bool) -> None:
    frame = frame_of()
    spread = np.array([-0.2, 0.2, -0.1, 0.1])[frame["seed"]]
    error = 0.4 + np.where(frame["solver.steps"] == 16, loss + spread, 0.0)
    outcome = conditions("C7", frame.assign(test_error=error))
    assert outcome["16: clean test error (wants not below 0, and above -0.02)"] is holds


def test_c7_wants_both_norms_and_takes_one_where_one_was_attacked() -> None:
    frame = changed(frame_of(), "robust_pgd_l2", [0.5] * 5, k=16)
    assert judge(CLAIMS["C7"].evaluate(frame)) is Verdict.NOT_REPRODUCED
    assert judge(CLAIMS["C7"].evaluate(frame.assign(attack_l2=None))) is Verdict.REPRODUCED


def test_c7_needs_the_feedforward_net() -> None:
    frame = frame_of()
    assert CLAIMS["C7"].evaluate(frame[frame["solver.steps"] > 1]) == []
    assert CLAIMS["C7"].evaluate(frame[frame["solver.steps"] == 1]) == []


def test_c7_shows_the_rest_beside() -> None:
    cells = parts([cell for cell in CLAIMS["C7"].evaluate(frame_of()) if cell.role is Role.BESIDE])
    for k in (4, 16):
        for norm, radii in (("l-infinity", RADII["linf"]), ("l2", RADII["l2"])):
            assert (f"FGSM error, {norm} radius {radii[1]:g}", k) in cells
            assert (f"PGD error, {norm} radius {radii[4]:g}", k) in cells
            assert (f"PGD error beyond the clean error, {norm} radius {radii[2]:g}", k) in cells
    assert ("k = 4: PGD error, l2 radius 1", 4) in cells
    assert not [part for part, _ in cells if "radius 0 " in part or part.endswith("radius 0")]


def test_c7_area_is_the_mean_gain_over_the_range() -> None:
    gain = [0.0, 0.1, 0.2, 0.1, 0.0]
    frame = frame_of(robust_pgd_l2=[0.5] * 5)
    frame = changed(frame, "robust_pgd_l2", gain, k=1)
    cells = parts(CLAIMS["C7"].evaluate(frame))
    area = cells["area under the curve of PGD accuracy, l2 (share of its range; k - 1)", 16]
    assert area.interval.effect == pytest.approx(0.5 * sum(gain) / 2.0, rel=1e-12), "step 0.5, range 2"


def test_c7_strongest_attack_is_the_largest_error_of_each_seed() -> None:
    frame = changed(frame_of(), "robust_random_linf", [0.0, 0.0, 0.6, 0.0, 0.0], k=16)
    cells = parts(CLAIMS["C7"].evaluate(frame))
    found = cells["error under the strongest attack, l-infinity radius 0.1", 16].interval.effect
    first, last = (frame[frame["solver.steps"] == k] for k in (1, 16))
    worst = [
        max(row[f"robust_{attack}_linf"][2] for attack in ("pgd", "fgsm", "random")) for row in last.to_dict("records")
    ]
    expected = np.mean([row[2] for row in first["robust_pgd_linf"]]) - np.mean(worst)
    assert found == pytest.approx(expected, rel=1e-12)
    assert found < cells["PGD error, l-infinity radius 0.1", 16].interval.effect


def test_two_step_sizes_are_refused() -> None:
    frame = frame_of()
    other = frame.assign(**{"solver.step_size": 0.5}, trial=frame["trial"].str[::-1])
    with pytest.raises(MixedRecordsError, match="expected one run for each"):
        CLAIMS["C7"].evaluate(pd.concat([frame, other], ignore_index=True))


def test_h5_places_are_the_nets() -> None:
    assert set(votes(CLAIMS["H5"].evaluate(frame_of()))) == {f"digits, fista, k = {k}" for k in (1, 4, 16)}


@pytest.mark.parametrize(("far", "holds"), [(1.0, True), (0.991, True), (0.98, False)])
def test_h5_far_radius_fools_nearly_all(far: float, holds: bool) -> None:
    outcome = conditions("H5", frame_of(robust_far_linf=far))
    assert outcome["4: PGD error at a very large l-infinity radius (wants a mean >= 0.99)"] is holds


@pytest.mark.parametrize(("fall", "holds"), [(0.005, True), (0.05, False)])
def test_h5_more_steps_do_not_find_less(fall: float, holds: bool) -> None:
    frame = frame_of(robust_by_steps_linf=[0.3, 0.5, 0.5 - fall, 0.6])
    outcome = conditions("H5", frame)
    assert outcome["4: smallest rise of PGD error to the next number of steps (wants >= -0.01)"] is holds


@pytest.mark.parametrize("rival", ["fgsm", "random"])
@pytest.mark.parametrize(("lead", "holds"), [(0.005, True), (0.05, False)])
def test_h5_weaker_attacks_find_no_more(rival: str, lead: float, holds: bool) -> None:
    frame = frame_of()
    frame[f"robust_{rival}_l2"] = [[0.9, *curve[1:3], curve[3] + lead, curve[4]] for curve in frame["robust_pgd_l2"]]
    named = {"fgsm": "FGSM", "random": "random search"}[rival]
    outcome = conditions("H5", frame)
    assert outcome[f"4: smallest lead of PGD over {named}, l2 radii (wants >= -0.01)"] is holds, "radius 0 is no attack"
    assert outcome[f"4: smallest lead of PGD over {named}, l-infinity radii (wants >= -0.01)"]


def test_h5_leaves_out_what_was_not_measured() -> None:
    frame = frame_of(attack_l2=None, attack_steps=None, robust_random_linf=None)
    assert set(conditions("H5", frame[frame["solver.steps"] == 4])) == {
        "4: PGD error at a very large l-infinity radius (wants a mean >= 0.99)",
        "4: smallest lead of PGD over FGSM, l-infinity radii (wants >= -0.01)",
    }
