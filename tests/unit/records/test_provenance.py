"""Where a row came from."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path

import pytest
import torch

from unrolled.records.provenance import device_name, git_state, provenance


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "-m", "one")
    return tmp_path


def test_commit_and_changes_of_a_checkout_are_told(checkout: Path) -> None:
    state = git_state.__wrapped__  # without its cache
    commit = git(checkout, "rev-parse", "HEAD")
    assert state(checkout) == (commit, False)
    (checkout / "untracked").write_text("results")
    assert state(checkout) == (commit, False)
    (checkout / "file").write_text("two")
    assert state(checkout) == (commit, True)


def test_without_git_nothing_is_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state.__wrapped__(tmp_path) == (None, None)
    monkeypatch.setenv("PATH", "")
    assert git_state.__wrapped__(tmp_path) == (None, None)


def test_versions_device_and_time_are_told() -> None:
    found = provenance("cpu")
    assert found["torch"] == str(torch.__version__)
    assert found["device"] == f"cpu: {device_name('cpu')}"
    assert device_name("cpu")
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(str(found["started_at"]))
    assert abs(age) < datetime.timedelta(minutes=1)
