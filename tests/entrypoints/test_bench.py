"""The whole bench, quickly: every figure is there, and page and JSON agree."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

from scripts import bench

from unrolled.bench.meanings import meaning_of
from unrolled.bench.page import render_page

NUMBERS = """trainer_speedup_per_core trainer_us_per_trial_step trainer_us_per_trial_step_h32_k30_nag
trainer_us_trials_16 trainer_us_k_30_gd trainer_us_width_64_gd width_packing_ratio_1 pack_peak_mb import_mb
sweep_overhead_ms_per_trial_100 hydra_basic_overhead_ms_per_trial paper_grid_hours paper_grid_trial_steps
paper_grid_us_per_trial_step paper_grid_linearity frames_fc5_seconds frames_speedup_vs_dense
frames_potential_step_ratio_fc frames_potential_step_ratio_conv frames_ensemble_speedup_fc
frames_ensemble_speedup_conv"""
WORDS = {"machine", "backend", "gpu", "commit", "mode"}


def test_a_quick_bench_writes_every_figure_and_the_page(in_process: Callable[..., int], tmp_path: Path) -> None:
    assert in_process(bench.main, "--quick") == 0
    figures = json.loads((tmp_path / "results" / "bench.json").read_text())
    assert set(NUMBERS.split()) | WORDS <= set(figures)
    # What a small run cannot tell is absent.
    assert not {
        "sweep_overhead_ms_per_trial",
        "sweep_overhead_ratio",
        "sweep_plan_s_10200",
        "frames_fc78_seconds",
    } & set(figures)
    assert figures["mode"] == "quick"
    numbers = {name: value for name, value in figures.items() if name not in WORDS}
    assert all(isinstance(value, (int, float)) and math.isfinite(value) for value in numbers.values())
    # Set-up is a difference of short times, no trial should diverge, a machine may be idle: these may be 0 or less.
    free = {"paper_grid_setup_hours", "paper_grid_diverged", "load_before"}
    assert all(value > 0 for name, value in numbers.items() if name not in free)
    assert not [name for name in figures if meaning_of(name).section == "Other"]
    assert (tmp_path / "results" / "bench.html").read_text() == render_page(figures)
