from __future__ import annotations

import pandas as pd
import pytest
from tests.unit.figures.factory import spoiled, synthetic_records


@pytest.fixture(scope="session")
def records() -> pd.DataFrame:
    """Records of all experiments with two runs that did not finish; tests must not change them."""
    return spoiled(synthetic_records(steps=(1, 2, 5, 10), widths=(0, 16), seeds=range(4)))
