"""The ledger of sweeps: what is finished, failed or missing, and why each trial will run or not.

python scripts/sweep.py status                                   all experiments at laptop scale
python scripts/sweep.py explain reasoning/rnn scale=smoke --state missing
python scripts/sweep.py retry scale=paper --dry-run              the failed trials alone
"""

from __future__ import annotations

import argparse
import sys

from unrolled.app import closing, guarded, run_configs, settings_of
from unrolled.config.check import ConfigError, experiment_names
from unrolled.sweep import expand, trials_of
from unrolled.sweep.ledger import STATES, Ledger
from unrolled.sweep.trial import trial_of


def main() -> int:
    """Return 1 if a retried trial failed again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("status", "explain", "retry"))
    parser.add_argument("words", nargs="*", metavar="experiment | override", help="default: all experiments, laptop")
    parser.add_argument("--state", choices=STATES, help="explain: only trials in this state")
    parser.add_argument("--trial", help="explain: only this trial, by the beginning of its hash")
    parser.add_argument("--dry-run", action="store_true", help="retry: only say what would run")
    options = parser.parse_args()
    overrides = [word for word in options.words if "=" in word]
    names = [word for word in options.words if "=" not in word] or experiment_names()
    configs = [config for name in names for config in expand([f"experiment={name}", *overrides])]
    ledger = Ledger(trials_of(configs), settings_of(configs))
    if options.command == "status":
        print(f"{ledger.settings.folder}\n{ledger.status().to_string()}")
        return 0
    state = "failed" if options.command == "retry" else options.state
    asked = [entry for entry in ledger.entries if entry.trial.name.startswith(options.trial or "")]
    if options.trial and not asked:
        raise ConfigError(f"--trial: given {options.trial!r}, allowed: the hash of a trial of these experiments")
    chosen = [entry for entry in asked if state in (None, entry.state)]
    none = f"none of {len(asked)} trials is {state}"
    if options.command == "explain" or options.dry_run:
        print("\n".join(ledger.lines(chosen)) or none)
        return 0
    wanted = {entry.trial.name for entry in chosen}
    again = [config | {"run.retry_failed": True} for config in configs if trial_of(config).name in wanted]
    summary = run_configs(again) if again else None
    print(closing(summary) if summary else none)
    return int(summary is not None and not summary.complete)


if __name__ == "__main__":
    sys.exit(guarded(main))
