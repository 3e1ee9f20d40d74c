"""Every command of the README runs, at smoke scale or as a dry run; its scorecard is that of the reference."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.entrypoints.conftest import Reproduced

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def commands_in(text: str) -> list[str]:
    """The lines of a page's shell blocks, without comments."""
    blocks = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
    return [line.split("   #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


COMMANDS = commands_in(README)
LOCKS = ("requirements.lock", "requirements-compiler.lock", "requirements-ray.lock")
SECONDS = 300
"""Most that one command may take on a busy machine."""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, smoke: Reproduced) -> Path:
    """A folder that looks like the checkout, whose results are its own: at smoke scale it has been reproduced."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(smoke.results, folder / "results" / "smoke")
    for name in (
        "Makefile",
        "configs",
        "pyproject.toml",
        "requirements.lock",
        "requirements-compiler.lock",
        "requirements-ray.lock",
        "scripts",
        "src",
    ):
        (folder / name).symlink_to(ROOT / name)
    (folder / "structures.csv").write_text("kind,input,widths\nchain,64,8x16\nresidual,64,8x16x32\n")
    return folder


def as_run(command: str) -> list[str]:
    words = shlex.split(command)
    if words[0] == "make":
        # This environment stands for .venv, and counts as ready.
        words += [f"VENV={sys.prefix}", "-o", f"{sys.prefix}/.ready", "-o", f"{sys.prefix}/.ray"]
        return words if "SCALE=smoke" in words else [*words, "-n"]
    root = os.environ.get("UNROLLED_DATA")
    words = [f"data.root={root}" if root and word.startswith("data.root=") else word for word in words]
    assert words[0] == "python", f"the README's commands begin with make or python, got {command!r}"
    return [sys.executable, *words[1:]]


def test_readme_has_commands() -> None:
    assert {"make reproduce", "make test"} <= set(COMMANDS)


def test_every_command_runs_in_order(checkout: Path) -> None:
    """In the README's order, as a reader would: later ones use what earlier ones left.

    That smoke scale can be reproduced from nothing is for test_reproduce; here it has been, and is gone over again.
    """
    environment = {k: v for k, v in os.environ.items() if k != "WANDB_API_KEY"} | {"HOME": str(checkout)}
    environment.setdefault("UNROLLED_CACHE", str(Path.home() / ".cache" / "unrolled"))
    # Targets without a scale would train for minutes: they are checked as dry runs.
    for command in COMMANDS:
        words = as_run(command)
        if "data.root=" in command and "UNROLLED_DATA" not in environment:
            refused(words, checkout, environment)
        else:
            run(words, checkout, environment)


def refused(words: list[str], folder: Path, environment: dict[str, str]) -> None:
    """Where the data are not, and may not be downloaded, the command says how to get them."""
    done = subprocess.run(
        [*words, "data.download=false"], cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr[-2000:]
    assert "data.root" in done.stderr


def run(words: list[str], folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


PAGES = [
    "sweeps.md",
    "slurm.md",
    "hybrid.md",
    pytest.param("ray.md", marks=pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: make ray")),
]


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_the_pages_on_sweeps_plan_what_they_say(page: str, tmp_path: Path) -> None:
    """The paper's grid takes hours, and a cluster: at smoke scale everything up to the first job is run."""
    commands = commands_in((ROOT / "docs" / page).read_text())
    assert commands
    for name in ("Makefile", "configs", "scripts", "src", "pyproject.toml", *LOCKS):
        (tmp_path / name).symlink_to(ROOT / name)
    for command in commands:
        words = as_run(command.replace("scale=paper", "scale=smoke").replace("--scale paper", "--scale smoke"))
        words += {"train.py": ["hydra.launcher.dry_run=true"], "reproduce.py": ["--dry-run"]}.get(
            Path(words[1]).name, []
        )
        run(words, tmp_path, dict(os.environ))
    assert not (tmp_path / "results").exists()


def test_links_and_pictures_exist() -> None:
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", README) if not t.startswith("https:")]
    assert targets
    assert [t for t in targets if not (ROOT / t).exists()] == []


def test_scorecard_is_that_of_the_reference() -> None:
    claims = json.loads((ROOT / "results/reference/claims.json").read_text())
    shown = dict(
        re.findall(r"^\| (R\d+) \|.*\| (reproduced|partly|not reproduced|not run) \|", README, flags=re.MULTILINE)
    )
    assert shown == {claim["id"]: claim["verdict"] for claim in claims}


def test_named_experiments_exist() -> None:
    named = set(re.findall(r"`(reasoning/\w+)`", README))
    files = {f"reasoning/{path.stem}" for path in (ROOT / "configs/experiment/reasoning").glob("*.yaml")}
    assert named == files
