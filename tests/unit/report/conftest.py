from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from tests.unit.figures.factory import spoiled, synthetic_records

from unrolled.figures import render_figures


@pytest.fixture(scope="session")
def records() -> pd.DataFrame:
    """Records without the sweep over n, with two runs that did not finish; tests must not change them."""
    frame = synthetic_records(steps=(2, 5), widths=(0, 16), seeds=range(3))
    kept = [e != ["reasoning/training_size"] for e in frame["experiments"]]
    return spoiled(frame[kept].reset_index(drop=True))


@pytest.fixture(scope="session")
def figures(records: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    render_figures(records, folder, "reasoning")
    return folder
