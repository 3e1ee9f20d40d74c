from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from unrolled.bench.memory import bench_memory, peak_mb
from unrolled.bench.timing import QUICK

CHILD = "print(open('/proc/self/status').read())"
LARGE = f"import subprocess, sys; block = b'x' * 2**29; subprocess.run([sys.executable, '-c', {CHILD!r}])"


def test_a_process_is_measured_by_its_own_memory_and_not_by_its_parents() -> None:
    def peak(code: str) -> float:
        return peak_mb(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

    assert peak(LARGE) == pytest.approx(peak(CHILD), rel=0.2)


def test_a_pack_is_counted_on_top_of_the_imports() -> None:
    figures = bench_memory(replace(QUICK, packs=(256,)))
    assert set(figures) == {"import_mb", "pack_peak_mb"}
    assert 50 < float(str(figures["import_mb"])) < float(str(figures["pack_peak_mb"]))
