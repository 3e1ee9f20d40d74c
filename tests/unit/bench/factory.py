"""The figures of a bench that nobody ran, with every name of a full one."""

from __future__ import annotations

import itertools

SOLVERS, OPTIMIZERS = ("gd", "nag"), ("adam", "sgd")


def bench_figures(**changed: object) -> dict[str, object]:
    """Numbers that differ from each other; keywords replace some."""
    families: dict[str, tuple[object, ...]] = {
        "trainer_us_trials_{}": (1, 4, 16, 64, 256),
        "trainer_us_k_{}": tuple(f"{k}_{s}" for k, s in itertools.product((1, 3, 10, 30), SOLVERS)),
        "trainer_us_width_{}": tuple(f"{w}_{s}" for w, s in itertools.product((0, 16, 32, 64), SOLVERS)),
        "trainer_speedup_{}_cores": (2, 4),
        "width_packing_ratio_{}": (1, 4, 16, 64),
        "pack_peak_mb_{}": (1, 64, 256),
        "sweep_overhead_ms_per_trial_{}": (100, 1000),
        "sweep_plan_{}_s": ("expand", "describe", "pack", "store"),
        "sweep_plan_{}_10200": ("s", "command_s"),
        "paper_grid_us_{}": tuple("_".join(p) for p in itertools.product(SOLVERS, ("0", "16", "32"), OPTIMIZERS)),
        "paper_grid_{}": ("hours", "us_per_trial_step", "setup_hours", "linearity"),
        "trainer_{}": (
            "speedup_per_core", "us_per_trial_step", "us_per_trial_step_h32_k30_nag", "eager_us_per_trial_step",
            "fused_us_per_trial_step",
        ),
        "frames_{}": ("fc78_seconds", "minimum_conv_seconds", "speedup_vs_dense"),
        "frames_potential_step_ratio_{}": ("fc", "conv"),
        "frames_ensemble_speedup_{}": ("fc", "conv"),
        "{}": (
            "twin_us_per_trial_step", "import_mb", "pack_peak_mb", "sweep_startup_s", "sweep_overhead_ms_per_trial",
            "hydra_basic_startup_s", "hydra_basic_overhead_ms_per_trial", "sweep_overhead_ratio"
        ),
    }  # fmt: skip
    names = [family.format(part) for family, parts in families.items() for part in parts]
    figures: dict[str, object] = {name: 1.0 + i / 7 for i, name in enumerate(names)}
    figures |= {
        "hydra_basic_trials": 50,
        "paper_grid_trial_steps": 2_040_000_000,
        "paper_grid_diverged": 0,
        "load_before": 0.5,
    }
    words = {"backend": "native-16", "machine": "a <fast> one", "gpu": "none", "commit": "0123456789ab", "mode": "full"}
    return {**words, **figures, **changed}
