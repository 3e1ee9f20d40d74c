"""Commands as a user runs them, in a folder of their own: no network, no account, no terminal, an empty home."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import matplotlib
import pytest
from filelock import FileLock

from unrolled.training.native.build import cache_folder

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"

NO_NETWORK = '''
"""Refuses every connection beyond this machine, and keeps a list of the attempts."""
import os, socket

_connect, _look_up = socket.socket.connect, socket.getaddrinfo
_LOCAL = ("127.0.0.1", "::1", "localhost")

def _refuse(what):
    with open(os.environ["NETWORK_LOG"], "a") as log:
        print(what, file=log)
    raise OSError(f"no network: {what}")

def connect(self, address):
    if self.family != socket.AF_UNIX and str(address[0]) not in _LOCAL:
        _refuse(address)
    return _connect(self, address)

def getaddrinfo(host, *rest, **options):
    if host is not None and str(host) not in _LOCAL:
        _refuse(host)
    return _look_up(host, *rest, **options)

socket.socket.connect, socket.getaddrinfo = connect, getaddrinfo
'''


@dataclass(frozen=True)
class Shell:
    """Runs commands in one folder.

    Args:
        folder: working directory.
        environment: of the commands.
    """

    folder: Path
    environment: dict[str, str]

    def start(self, *command: str | Path, output: int | None = subprocess.PIPE) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(part) for part in command],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            text=True,
            # Where the tests themselves run in the background of a shell, children would ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
        )

    def run(self, *command: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        process = self.start(*command)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def script(self, name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, SCRIPTS / name, *arguments)

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("make", *arguments)

    @property
    def network_attempts(self) -> str:
        log = Path(self.environment["NETWORK_LOG"])
        return log.read_text() if log.exists() else ""


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment without accounts and network; compiled kernels and font lists come from the real caches."""
    home = tmp_path_factory.mktemp("home")
    (home / "site").mkdir()
    (home / "site" / "sitecustomize.py").write_text(NO_NETWORK)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "HYDRA_", "MAKE"))}
    dead = "http://127.0.0.1:9"
    return kept | {
        "HOME": str(home),
        "NETRC": str(home / "no-netrc"),
        "NETWORK_LOG": str(home / "network.log"),
        "PYTHONPATH": f"{home / 'site'}{os.pathsep}{ROOT / 'src'}",
        "PYTHONUNBUFFERED": "1",
        "UNROLLED_CACHE": str(cache_folder()),
        "MPLCONFIGDIR": matplotlib.get_cachedir(),
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), dead),
    }


@pytest.fixture
def shell(tmp_path: Path, environment: dict[str, str]) -> Shell:
    return Shell(tmp_path, environment)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Shell:
    """A copy of the checkout by links, whose set-up is done: its targets run here and leave the checkout alone."""
    return link_checkout(tmp_path_factory.mktemp("project"), environment)


def link_checkout(folder: Path, environment: dict[str, str]) -> Shell:
    """Make a folder look like the checkout, with an environment that is set up."""
    for name in (
        "Makefile",
        "scripts",
        "configs",
        "src",
        "requirements.lock",
        "requirements-compiler.lock",
        "requirements-ray.lock",
        "pyproject.toml",
    ):
        (folder / name).symlink_to(ROOT / name)
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    python = programs / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (folder / ".venv" / ".ready").touch()
    return Shell(folder, environment)


@dataclass(frozen=True)
class Reproduced:
    """A finished ``make reproduce SCALE=smoke``; tests must not change its folder.

    Args:
        shell: where it ran.
        results: its results folder.
        done: exit status and output.
    """

    shell: Shell
    results: Path
    done: subprocess.CompletedProcess[str]


Made = TypeVar("Made")


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Made]) -> Made:
    """Make something that is costly once in a run of the tests, also where several processes run them.

    The first that asks makes it, the others wait for it. None may change it.

    Args:
        tmp_path_factory: of the process; the folders of all lie beside each other.
        name: of what is made, and of its folder.
        make: takes an empty folder, returns what can be pickled; where it fails, the next that asks tries again.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    result = folder.with_suffix(".pickle")
    with FileLock(folder.with_suffix(".lock")):
        if not result.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            result.write_bytes(pickle.dumps(make(folder)))
        made: Made = pickle.loads(result.read_bytes())
        return made


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Reproduced:
    """The one full run at smoke scale that many tests look at."""

    def make(folder: Path) -> Reproduced:
        shell = link_checkout(folder, environment)
        done = shell.run("make", "reproduce", "SCALE=smoke", timeout=240)  # other tests may run beside it
        return Reproduced(shell, folder / "results" / "smoke", done)

    return made_once(tmp_path_factory, "smoke", make)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 60) -> None:
    """Wait until a condition holds; fail if the process ends before."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"ended early with status {process.returncode}"
        assert time.monotonic() < end, f"nothing after {seconds:g} s"
        time.sleep(0.01)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Runs a script's main function here, in an empty folder, and puts back what a command may change."""
    warn, terminate = warnings.showwarning, signal.getsignal(signal.SIGTERM)
    monkeypatch.chdir(tmp_path)

    def call(main: Callable[[], int | None], *arguments: str | Path) -> int:
        monkeypatch.setattr(sys, "argv", ["script", *map(str, arguments)])
        return main() or 0

    yield call
    warnings.showwarning = warn
    signal.signal(signal.SIGTERM, terminate)
