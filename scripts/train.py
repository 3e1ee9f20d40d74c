"""Run one trial, or with -m a sweep: python scripts/train.py -m experiment=reasoning/generalization seed=0,1."""

from __future__ import annotations

import os
import sys

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hydra_plugins.packed import packed
from unrolled.app import closing, folder_of, guarded, run_configs
from unrolled.config import ConfigError, check, flatten, one_line, register
from unrolled.config.schema import CONFIGS
from unrolled.launch import TrainPacking
from unrolled.records.store import load_records
from unrolled.sweep import expand, trials_of
from unrolled.sweep.trial import trial_of


@hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="train")
@packed(TrainPacking())
def train(config: DictConfig) -> float | None:
    """Run the trial of one composed config; return its training loss."""
    container = OmegaConf.to_container(config, resolve=True)
    assert isinstance(container, dict)
    flat = check(flatten({str(key): value for key, value in container.items()}))
    summary = run_configs([flat])
    if not summary.complete:
        raise ConfigError(closing(summary))
    records = load_records(folder_of(flat) / "records")
    row = records[records["trial"] == trial_of(flat).name].iloc[0]
    names = [n for n in ("train_loss", "test_loss", "gap", "representation_error", "learned_step") if n in row]
    print(f"trial {row['trial']} {row['status']}: " + ", ".join(f"{n} {row[n]:.6g}" for n in names))
    return float(row["train_loss"]) if "train_loss" in row else None


def main() -> None:
    """Compose and run, telling config errors in one line."""
    register()
    traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise instead of printing, so that one line can be told
    try:
        # Every trial is checked, against its data too, before the first one trains; the packed launcher does so itself.
        overrides = [a for a in sys.argv[1:] if not a.startswith("-") and ("=" in a or a.startswith("~"))]
        if not {"-m", "--multirun"} & set(sys.argv) or any(o.startswith("hydra/") for o in overrides):
            trials_of(expand(overrides))
        train()
    except (HydraException, OmegaConfBaseException) as error:
        if traceback:
            raise
        raise ConfigError(one_line(error, sys.argv[1:])) from error
    finally:
        os.environ["HYDRA_FULL_ERROR"] = str(int(traceback))


if __name__ == "__main__":
    sys.exit(guarded(main))
