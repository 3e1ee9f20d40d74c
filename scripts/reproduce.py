"""Reproduce the papers' figures and claims: run what is missing, draw, test the claims, write the report."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from unrolled.app import RESULTS, closing, guarded, run_configs
from unrolled.claims import evaluate_claims, table, write_claims
from unrolled.config.check import ConfigError, experiment_names
from unrolled.figures import render_figures
from unrolled.records.store import load_records
from unrolled.report import write_report
from unrolled.sweep import expand

THEORIES = ("reasoning", "frames", "hybrid", "neurashed", "geometry")
LAUNCHERS = ("basic", "joblib", "submitit_local", "submitit_slurm", "ray")


def main() -> int:
    """Run the command line; return 1 if a pack failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", default="laptop", choices=("smoke", "laptop", "paper"))
    parser.add_argument("--theory", default="all", choices=(*THEORIES, "all"))
    parser.add_argument("--launcher", default="basic", choices=LAUNCHERS)
    parser.add_argument("overrides", nargs="*", help="Hydra overrides for every experiment, like run.threads=1")
    options = parser.parse_args()
    built = sorted({name.split("/")[0] for name in experiment_names()})
    theories = built if options.theory == "all" else [options.theory]
    if unbuilt := sorted(set(theories) - set(built)):
        raise ConfigError(f"THEORY: given {unbuilt[0]!r}, which is not built yet; built: {', '.join(built)}, all")
    if options.launcher != "basic":
        raise ConfigError(f"LAUNCHER: given {options.launcher!r}, which is not built yet; built: basic")

    names = [name for name in experiment_names() if name.split("/")[0] in theories]
    common = [f"scale={options.scale}", *options.overrides]
    summary = run_configs([c for name in names for c in expand([f"experiment={name}", *common])])
    folder = RESULTS / options.scale
    results = present(folder, options.scale, theories if options.theory != "all" else ["all"])
    print(results)
    print(closing(summary))
    return int(bool(summary.failures))


def present(folder: Path, scale: str, theories: list[str]) -> str:
    """Draw figures, test claims and write the report from the records; return the table of verdicts."""
    frame = load_records(folder / "records")
    theory = theories[0]
    for figure in render_figures(frame, folder / "figures", theory, again=False):
        if figure.reason:
            print(f"not drawn: {figure.name}: {figure.reason}")
    claims = evaluate_claims(frame, "all")
    write_claims(claims, folder / "claims.json")
    page = write_report(
        frame, [c.entry() for c in claims], folder / "figures", folder / "report/index.html", scale, "all"
    )
    print(f"report: {page}")
    return table([c for c in claims if theory in ("all", c.claim.theory)])


if __name__ == "__main__":
    sys.exit(guarded(main))
