"""What every figure of the bench means and how it is measured, in the words of the page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Meaning:
    """One figure, or a family of figures that differ in what stands in braces.

    Args:
        key: name in ``bench.json``; ``{...}`` stands for a part that varies, and may be used in ``says``.
        section: heading under which the page shows it.
        unit: of the value; empty for ratios, counts and words.
        says: what it is and how it is measured.
    """

    key: str
    section: str
    unit: str
    says: str


SECTIONS = {
    "Training": "A trial-step is one update of one trial's weights: forward, backward and optimiser on one batch of 50 "
    "rows. Unless another pack is named, 64 trials train together: gradient descent (GD), 16 hidden units, k = 10 "
    "solver steps, Adam, one core. Every time of a pack is the difference of a long and a short run, so that set-up "
    "and the final evaluation cancel.",
    "Different widths in one pack": "Packs hold one hidden width today. With masked units they could mix widths, and "
    "every trial would then pay for the largest one. Each ratio is the time of one pack of all trials at width 32, "
    "over the time of three packs of widths 0, 16 and 32, on one core. Below 1 mixing would pay.",
    "Memory": "Peak resident memory of a new process that imports the package and trains one pack for a few epochs: "
    "NAG, 32 hidden units, k = 30, all cores. Read from the kernel's own count when training has ended; 1 MB is 2^20 "
    "bytes.",
    "Sweeps": "A small Hydra app whose trials do nothing is run as a whole command in a new process. The overhead of a "
    "trial is the time of a sweep of N trials less that of one trial, over N − 1. Both launchers run the same app with "
    "the same settings. Its config is three lines; a larger config costs the basic launcher more for every trial.",
    "Planning": "What happens before the first trial of this application's own sweep over "
    "experiment=reasoning/generalization for GD can run: at paper scale 17 k, 3 widths, 20 seeds, 5 learning rates and "
    "2 optimisers, 10,200 trials. Nothing is trained.",
    "The paper's grid": "All fixed-step trials of experiment=reasoning/generalization at paper scale: GD and NAG, "
    "20,400 trials of 100,000 updates each. Nothing of it is run to its end. Each group (solver, width, optimiser) is "
    "timed on a pack with equally many of its trials for every k, on all cores; its time for one update is multiplied "
    "by the updates of all its trials, and the groups are added up.",
    "Deep frames": "The deep frame potential of a net's structure. Minimum potentials are what a user waits for: lower "
    "bound, constructions and searches of all nets, one after the other, on all cores, once.",
    "This run": "What the figures above were measured on.",
    "Other": "Figures without a description.",
}
"""Sections in the order of the page, with what holds for all figures in them."""

_T, _W, _M, _S, _P, _G, _F, _R = list(SECTIONS)[:8]

MEANINGS = (
    Meaning("trainer_speedup_per_core", _T, "", "How many times faster the pack trains a trial than the sequential "
            "twin, one PyTorch module with autograd and torch.optim. Both take turns; median of their ratios."),
    Meaning("twin_us_per_trial_step", _T, "µs", "The sequential twin."),
    Meaning("trainer_us_per_trial_step", _T, "µs", "The pack, in the same turns as the twin."),
    Meaning("trainer_us_per_trial_step_h32_k30_nag", _T, "µs", "A costlier pack: NAG, 32 hidden units, k = 30."),
    Meaning("trainer_fused_us_per_trial_step", _T, "µs", "The backend in plain torch that takes over without a C "
            "compiler, on a pack of 256."),
    Meaning("trainer_eager_us_per_trial_step", _T, "µs", "The first pack on the eager backend, plain PyTorch."),
    Meaning("trainer_us_trials_{n}", _T, "µs", "A pack of {n} trials."),
    Meaning("trainer_us_k_{k}_{solver}", _T, "µs", "Solver {solver} with k = {k}."),
    Meaning("trainer_us_width_{w}_{solver}", _T, "µs", "Solver {solver} with {w} hidden units."),
    Meaning("trainer_speedup_{n}_cores", _T, "", "A pack of 256 trials on {n} cores against the same on one core, in "
            "the same turn; {n} would be ideal."),
    Meaning("width_packing_ratio_{n}", _W, "", "{n} of each width."),
    Meaning("import_mb", _M, "MB", "The same process without training: Python, PyTorch and this package."),
    Meaning("pack_peak_mb_{n}", _M, "MB", "With a pack of {n}."),
    Meaning("pack_peak_mb", _M, "MB", "With the largest pack that the launcher makes by itself, 1,024 trials."),
    Meaning("sweep_startup_s", _S, "s", "A packed sweep of one trial."),
    Meaning("sweep_overhead_ms_per_trial_{n}", _S, "ms", "A trial of a packed sweep of {n}."),
    Meaning("sweep_overhead_ms_per_trial", _S, "ms", "A trial of a packed sweep of 10,000."),
    Meaning("hydra_basic_startup_s", _S, "s", "A sweep of one trial with Hydra's basic sweeper and launcher."),
    Meaning("hydra_basic_overhead_ms_per_trial", _S, "ms", "A trial with Hydra's basic sweeper and launcher."),
    Meaning("hydra_basic_trials", _S, "", "Trials of the sweep that the figure above comes from."),
    Meaning("sweep_overhead_ratio", _S, "", "Overhead of Hydra's basic sweeper and launcher over that of the packed "
            "ones at 10,000 trials; median of the ratios of each turn."),
    Meaning("sweep_plan_s_{n}", _P, "s", "{n} trials: the sum of the four parts below, within one process and with "
            "nothing in the store yet."),
    Meaning("sweep_plan_expand_s", _P, "s", "From overrides to one checked config a trial."),
    Meaning("sweep_plan_describe_s", _P, "s", "Every config checked against schema and data, and its trial named."),
    Meaning("sweep_plan_pack_s", _P, "s", "The distribution of all trials over packs."),
    Meaning("sweep_plan_store_s", _P, "s", "Comparison with the store."),
    Meaning("sweep_plan_command_s_{n}", _P, "s", "The whole command scripts/train.py in a new process where all {n} "
            "trials are stored already (placeholders of the size of real records): start-up, expansion, check, "
            "packs, and comparison with a full store."),
    Meaning("paper_grid_hours", _G, "h", "The whole grid on all cores of this machine."),
    Meaning("paper_grid_hours_gpu", _G, "h", "The whole grid on the GPU, automatic backend."),
    Meaning("paper_grid_trial_steps", _G, "", "Updates of all trials together."),
    Meaning("paper_grid_us_per_trial_step", _G, "µs", "Hours of the grid over its trial-steps."),
    Meaning("paper_grid_us_{solver}_{width}_{optimizer}", _G, "µs", "Solver {solver}, {width} hidden units, "
            "{optimizer}."),
    Meaning("paper_grid_setup_hours", _G, "h", "What is left out of the hours: building packs and evaluating finished "
            "trials, from what the short runs took besides their updates."),
    Meaning("paper_grid_linearity", _G, "", "Time of an update in a run of four times the epochs, over that in the run "
            "that was timed, for the costliest pack; 1 where time is linear in epochs."),
    Meaning("paper_grid_diverged", _G, "", "Trials of all samples that diverged, which could make an update cheaper."),
    Meaning("frames_fc{n}_seconds", _F, "s", "Minimum potentials of {n} fully connected nets of the papers' scatter "
            "figure, of two to four layers; a full run takes all 78."),
    Meaning("frames_minimum_conv_seconds", _F, "s", "Minimum potentials of six nets of seven convolutions for images "
            "of 32 x 32: chain, residual and dense, with 4 and with 8 channels at first."),
    Meaning("frames_speedup_vs_dense", _F, "", "How many times faster value and gradient of the potential come from "
            "the filters than from the inner products of all columns of the matrix that they stand for, 1216 x 1536, "
            "where each entry of the matrix comes from being known; one core, median of ratios. It grows with the "
            "side of the grid, as the filters do not."),
    Meaning("frames_potential_step_ratio_{net}", _F, "", "Time of an update with the potential over that without, "
            "{net}; batches of 50, Adam, ensembles of 8 on one core."),
    Meaning("frames_ensemble_speedup_{net}", _F, "", "How many times faster 8 nets train with the potential as one "
            "ensemble than in a loop, {net}; the rest as above."),
    Meaning("backend", _R, "", "Backend of the packs, with its vector lanes."),
    Meaning("machine", _R, "", "Processor, cores that this process may use, system, PyTorch."),
    Meaning("gpu", _R, "", "Graphics card that the grid was measured on, or none."),
    Meaning("load_before", _R, "", "Processes that ran or waited on this machine, averaged over the minute before the "
            "run. With other work on the machine times are too long, and ratios less sure."),
    Meaning("commit", _R, "", "Version of the code; + marks uncommitted changes."),
    Meaning("mode", _R, "", "full, or quick: few and short measurements for tests, whose numbers say little."),
)  # fmt: skip


@lru_cache
def _patterns() -> tuple[tuple[re.Pattern[str], Meaning], ...]:
    # Plain names first: pack_peak_mb is not a pack_peak_mb_{n}, and the most specific description counts.
    ordered = sorted(MEANINGS, key=lambda meaning: meaning.key.count("{"))
    return tuple((re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[a-z0-9]+)", meaning.key)), meaning) for meaning in ordered)


def meaning_of(key: str) -> Meaning:
    """Return what a figure means, with the varying parts of its name filled in.

    Args:
        key: a name of ``bench.json``; that of another device ends in ``_gpu``.

    Example:
        >>> meaning_of("trainer_us_k_30_gd").says
        'Solver GD with k = 30.'
        >>> meaning_of("paper_grid_linearity_gpu").says.startswith("On the GPU: Time of an update")
        True
        >>> meaning_of("nonsense").section
        'Other'
    """
    for pattern, meaning in _patterns():
        if found := pattern.fullmatch(key):
            parts = {name: _shown(value) for name, value in found.groupdict().items()}
            return Meaning(key, meaning.section, meaning.unit, meaning.says.format(**parts))
    if key.endswith("_gpu"):
        inner = meaning_of(key.removesuffix("_gpu"))
        return Meaning(key, inner.section, inner.unit, f"On the GPU: {inner.says}")
    return Meaning(key, "Other", "", "Not described.")


def _shown(part: str) -> str:
    names = {"gd": "GD", "nag": "NAG", "adam": "Adam", "sgd": "SGD",
             "fc": "a fully connected chain of 128 and 256 units on 3072 inputs",
             "conv": "a residual net of seven convolutions with 8 to 32 channels on images of 16 x 16"}  # fmt: skip
    return f"{int(part):,}" if part.isdigit() else names.get(part, part)
