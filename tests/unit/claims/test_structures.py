"""Minimum potentials by structure, nets joined to them, and tables without gaps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tests.unit.claims.frames_factory import (
    CONVOLUTIONAL_MINIMUM,
    FULLY_CONNECTED,
    FULLY_CONNECTED_MINIMUM,
    LAMBDA,
    classified,
    minimised,
    true_minimum,
)

from unrolled.claims.grid import MixedRecordsError
from unrolled.claims.structures import Nets, complete, minima_of
from unrolled.frames.structure import build, resnet

FLAT, DEEP = build("chain", 64, (16,)), build("chain", 64, (16, 16, 16, 16))
GROWING = build("chain", 64, (16, 32))


def frame_of(*rows: dict[str, object] | list[dict[str, object]]) -> pd.DataFrame:
    return pd.DataFrame([row for part in rows for row in (part if isinstance(part, list) else [part])])


def small() -> pd.DataFrame:
    return frame_of(
        classified(FULLY_CONNECTED, GROWING, "digits"), minimised(FULLY_CONNECTED_MINIMUM, GROWING, "digits")
    )


def test_the_lowest_minimum_counts_and_tiny_ones_are_zero() -> None:
    rows = [minimised(FULLY_CONNECTED_MINIMUM, GROWING, "digits", trial=str(i), f_min=f) for i, f in enumerate((3, 2))]
    rows.append(minimised(FULLY_CONNECTED_MINIMUM, DEEP, "digits", f_min=2e-6))
    rows.append(minimised(FULLY_CONNECTED_MINIMUM, FLAT, "digits", status="failed", f_min=np.nan))
    minima = minima_of(pd.DataFrame(rows), [FULLY_CONNECTED_MINIMUM])
    assert dict(zip(minima["structure"], minima["f_min"], strict=True)) == {
        "chain 64: 16x32": 2.0,
        "chain 64: 16*4": 0.0,
    }


def test_shapes_join_kinds_and_keep_depths_apart() -> None:
    nets = [build(kind, 64, (16,) * layers) for kind in ("chain", "dense") for layers in (1, 4)]
    rows = [minimised(FULLY_CONNECTED_MINIMUM, net, "digits") for net in nets]
    deep = {"network.width": 4, "network.depth": 3, "network.groups": 2, "network.widths": None}
    for kind in ("chain", "residual"):
        net = resnet(kind, 4, 3, channels=1, grid=8, groups=2)
        rows.append(minimised(CONVOLUTIONAL_MINIMUM, net, "digits", **deep))
    minima = minima_of(pd.DataFrame(rows), [FULLY_CONNECTED_MINIMUM, CONVOLUTIONAL_MINIMUM])
    found = minima.groupby(["shape", "layers", "inputs"])["network.skip"].agg(list).to_dict()
    assert found == {
        ("64: 16", 1, 64): ["chain", "dense"],
        ("64: 16x16x16x16", 4, 64): ["chain", "dense"],
        ("1, b = 4, n = 3 on 8x8", 13, 1): ["chain", "residual"],
    }


def test_without_records_there_are_no_minima_and_no_nets() -> None:
    for frame in (pd.DataFrame(), small().assign(status="failed")):
        assert minima_of(frame, [FULLY_CONNECTED_MINIMUM]).empty
        nets = Nets(frame, [FULLY_CONNECTED], [FULLY_CONNECTED_MINIMUM])
        assert nets.data_sets() == []
        assert nets.table("digits", "chain", regularised=True).empty


def test_nets_are_joined_by_structure_and_parameters() -> None:
    trained = [classified(FULLY_CONNECTED, net, "digits") for net in (FLAT, DEEP)]
    minima = [minimised(FULLY_CONNECTED_MINIMUM, net, "digits", f_min=f) for net, f in ((FLAT, 0.1), (DEEP, 0.2))]
    nets = Nets(frame_of(*trained, minima), [FULLY_CONNECTED], [FULLY_CONNECTED_MINIMUM])
    family = nets.family(nets.table("digits", "chain", regularised=True))
    assert family.f_min.tolist() == [0.1, 0.2]
    np.testing.assert_allclose(2**family.log_parameters, [FLAT.network_parameters(10), DEEP.network_parameters(10)])
    assert family.errors.shape == (4, 2)


def test_nets_without_a_minimum_are_left_out() -> None:
    both = pd.concat([small(), frame_of(classified(FULLY_CONNECTED, DEEP, "digits"))], ignore_index=True)
    nets = Nets(both, [FULLY_CONNECTED], [FULLY_CONNECTED_MINIMUM])
    assert list(nets.table("digits", "chain", regularised=True).columns) == [("chain 64: 16x32", GROWING.parameters)]


def test_the_best_rate_counts_for_every_seed() -> None:
    rows = [classified(FULLY_CONNECTED, GROWING, "digits", weights=(0.0,), lr=lr) for lr in (1e-3, 1e-4)]
    frame = frame_of(*rows, minimised(FULLY_CONNECTED_MINIMUM, GROWING, "digits"))
    nets = Nets(frame, [FULLY_CONNECTED], [FULLY_CONNECTED_MINIMUM])
    assert set(nets.runs["optim.lr"]) == {1e-3}, "the factory's rate 1e-3 has the lower training loss"
    assert len(nets.runs) == 4


def test_a_missing_weight_is_no_regularisation() -> None:
    frame = small()
    frame.loc[frame["optim.potential_weight"] == 0, "optim.potential_weight"] = np.nan
    nets = Nets(frame, [FULLY_CONNECTED], [FULLY_CONNECTED_MINIMUM])
    for on in (True, False):
        assert nets.table("digits", "chain", regularised=on).shape == (4, 1)


@pytest.mark.parametrize(
    ("column", "value", "named"),
    [("optim.epochs", 99, "optim.epochs"), ("optim.potential_weight", 5 * LAMBDA, "optim.potential_weight above 0")],
)
def test_variations_that_are_no_axis_are_refused(column: str, value: float, named: str) -> None:
    frame = small()
    changed = frame[frame["optim.potential_weight"] > 0].assign(**{column: value})
    changed = changed.assign(trial=changed["trial"].str[::-1])
    with pytest.raises(MixedRecordsError, match=f"{FULLY_CONNECTED} on digits: expected one value of {named}, got"):
        Nets(pd.concat([frame, changed], ignore_index=True), [FULLY_CONNECTED], [FULLY_CONNECTED_MINIMUM])


def test_data_sets_may_differ_in_what_is_held() -> None:
    other = frame_of(classified(FULLY_CONNECTED, build("chain", 40, (16, 32)), "mnist1d")).assign(
        **{"optim.epochs": 99}
    )
    nets = Nets(pd.concat([small(), other], ignore_index=True), [FULLY_CONNECTED], [FULLY_CONNECTED_MINIMUM])
    assert nets.data_sets() == ["digits", "mnist1d"]


def test_one_lost_run_costs_its_structure_not_the_seed() -> None:
    table = pd.DataFrame(np.arange(12.0).reshape(3, 4))
    table.iloc[1, 2] = np.nan
    assert complete(table).shape == (3, 3)
    table.iloc[1, 1:] = np.nan
    assert complete(table).shape == (2, 4), "a seed that most structures lack goes first"
    assert complete(pd.DataFrame()).empty


def test_factory_agrees_with_the_closed_form() -> None:
    # (k, 2 k): F2 = 2 k, N = 9 k^2 - 3 k.
    assert true_minimum(GROWING) == pytest.approx(np.sqrt(32 / (9 * 256 - 48)), rel=1e-12)
