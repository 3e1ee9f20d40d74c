"""Reproduce the papers' figures and claims: run what is missing, draw, test the claims, write the report."""

from __future__ import annotations

import argparse
import sys

from unrolled.app import closing, folder_of, guarded, run_configs, settings_of
from unrolled.config.check import ConfigError, experiment_names
from unrolled.launch import sweep_over
from unrolled.records.store import load_records
from unrolled.report.presentation import present
from unrolled.sweep import expand, trials_of
from unrolled.sweep.ledger import Ledger

THEORIES = ("reasoning", "frames", "hybrid", "neurashed", "geometry")
LAUNCHERS = ("basic", "joblib", "submitit_local", "submitit_slurm", "ray")


def main() -> int:
    """Return 1 if a pack failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", default="laptop", choices=("smoke", "laptop", "paper"))
    parser.add_argument("--theory", default="all", choices=(*THEORIES, "all"))
    parser.add_argument("--launcher", default="basic", choices=LAUNCHERS)
    retry = argparse.BooleanOptionalAction
    parser.add_argument("--retry-failed", action=retry, default=True, help="run again what failed earlier")
    parser.add_argument("--dry-run", action="store_true", help="only say what would run, and how long it would take")
    parser.add_argument("overrides", nargs="*", help="Hydra overrides for every experiment, like run.threads=1")
    options = parser.parse_args()
    built = sorted({name.split("/")[0] for name in experiment_names()})
    theories = built if options.theory == "all" else [options.theory]
    if not set(theories) <= set(built):
        raise ConfigError(f"THEORY: given {options.theory!r}, which is not built yet; built: {', '.join(built)}, all")
    names = [name for name in experiment_names() if name.split("/")[0] in theories]
    overrides = [f"scale={options.scale}", f"run.retry_failed={options.retry_failed}", *options.overrides]
    configs = [config for name in names for config in expand([f"experiment={name}", *overrides])]
    if options.dry_run:
        ledger = Ledger(trials_of(configs), settings_of(configs))
        print(ledger.status().to_string(), "nothing was run, as --dry-run was given", sep="\n")
        return 0
    launcher, on_error = options.launcher, configs[0]["run.on_error"]
    failed = sweep_over(launcher, names, overrides, on_error) if launcher != "basic" else []
    summary = run_configs(configs) if not failed else None
    frame = load_records(folder_of(configs[0]) / "records")
    # Variations of an experiment may lie beside its own trials: they are not part of what is reproduced.
    own = frame["trial"].isin([trial.name for trial in trials_of(configs)]) | ~frame["theory"].isin(theories)
    print(present(frame[own], folder_of(configs[0]), options.scale, options.theory))
    print(closing(summary) if summary else f"FAILED: {', '.join(failed)}; the reasons are above")
    return int(not (summary and summary.complete))


if __name__ == "__main__":
    sys.exit(guarded(main))
