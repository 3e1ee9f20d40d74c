import contextlib
import os
import shlex
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from unrolled.training.fit import BackendWarning, choose_backend
from unrolled.training.native import build
from unrolled.training.native.build import NativeUnavailableError, cache_folder, compiler, load_library
from unrolled.training.native.reasoning import kernel

from .factory import Job, needs_native, varied

USUAL, USUAL_PATH = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), ""), os.environ.get("PATH", "")
SOURCE = "#include <stdint.h>\nint32_t answer(void) { return NUMBER; }\n"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("UNROLLED_CACHE", str(folder))
    return folder


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "answer.c"
    path.write_text(SOURCE)
    return path


@pytest.fixture
def compilations(monkeypatch):
    """The commands that compile, as they are called."""
    calls, real = [], subprocess.run

    def counted(command, **options):
        if "-o" in command:
            calls.append(command)
        return real(command, **options)

    monkeypatch.setattr(build.subprocess, "run", counted)
    return calls


@pytest.fixture
def no_kernel_loaded():
    """The kernel is kept once loaded; a test that takes the compiler away must not find it, nor leave its own."""
    kernel.cache_clear()
    yield
    kernel.cache_clear()


@pytest.fixture
def no_compiler(monkeypatch, tmp_path):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(build, "find_spec", lambda name: None)


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@needs_native
def test_a_library_is_compiled_once(source, cache, compilations):
    assert load_library(source, {"NUMBER": 42}).answer() == 42
    assert load_library(source, {"NUMBER": 42}).answer() == 42
    assert len(compilations) == 1
    assert len(list(cache.iterdir())) == 1  # no temporary file is left


@needs_native
def test_defines_and_source_are_part_of_a_librarys_identity(source, cache, compilations):
    assert load_library(source, {"NUMBER": 1}).answer() == 1
    assert load_library(source, {"NUMBER": 2}).answer() == 2
    source.write_text(SOURCE.replace("NUMBER", "NUMBER + 10"))
    assert load_library(source, {"NUMBER": 2}).answer() == 12
    assert len(compilations) == len(list(cache.iterdir())) == 3


@needs_native
def test_another_compiler_or_machine_is_another_library(source, cache, compilations, tmp_path, monkeypatch):
    load_library(source, {"NUMBER": 1})
    monkeypatch.setenv("CC", str(script(tmp_path / "mycc", f'exec {shlex.join(compiler())} "$@"')))
    load_library(source, {"NUMBER": 1})
    monkeypatch.setattr(build, "_cpu_flags", lambda: "flags: other")
    load_library(source, {"NUMBER": 1})
    assert len(compilations) == 3


def without_its_end(content):
    return content[: len(content) // 2]


@needs_native
@pytest.mark.parametrize("damage", [without_its_end, lambda content: b"", lambda content: bytes(len(content))])
def test_a_half_written_library_is_built_anew(damage, source, cache, compilations):
    # To load a truncated library kills the process, so this one is compiled and damaged without being loaded.
    program = compiler()
    command = [*program, *build.FLAGS, "-DNUMBER=42"]
    library = build._compile(command, source, cache, f"answer-{build._key(source, program, command)}")
    library.write_bytes(damage(library.read_bytes()))
    assert load_library(source, {"NUMBER": 42}).answer() == 42
    assert len(compilations) == 2
    assert load_library(source, {"NUMBER": 42}).answer() == 42
    assert len(compilations) == 2
    assert len(list(cache.iterdir())) == 1


def test_a_library_that_does_not_load_is_said_to(source, cache, tmp_path, monkeypatch):
    # A compiler that writes something, but no library.
    writes = 'for last; do if [ "$flag" = -o ]; then echo nonsense > "$last"; fi; flag="$last"; done'
    monkeypatch.setenv("CC", str(script(tmp_path / "cc", writes)))
    with pytest.raises(NativeUnavailableError, match="was built but does not load"):
        load_library(source, {})


def test_the_compilers_own_words_are_in_the_error(source, cache, tmp_path, monkeypatch):
    complains = "echo 'answer.c:1:1: error: not today' >&2; exit 1"
    monkeypatch.setenv("CC", str(script(tmp_path / "cc", complains)))
    with pytest.raises(NativeUnavailableError, match=r"cc could not compile answer\.c: .*error: not today"):
        load_library(source, {})
    assert list(cache.iterdir()) == []


def test_a_compiler_that_does_not_run(source, cache, tmp_path, monkeypatch):
    broken = script(tmp_path / "cc", "")
    broken.write_bytes(b"\x7fELF nonsense")
    monkeypatch.setenv("CC", str(broken))
    with pytest.raises(NativeUnavailableError, match=r"the compiler .*cc does not run"):
        load_library(source, {})


def test_compilers_are_looked_for_in_order(tmp_path, monkeypatch):
    installed = {"ziglang": True}
    monkeypatch.setattr(build, "find_spec", installed.get)
    for name in ("clang", "gcc", "cc", "mine"):
        script(tmp_path / name, "")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CC", "mine")
    for name in ("mine", "cc", "gcc", "clang"):
        assert compiler() == [str(tmp_path / name)]
        (tmp_path / name).unlink()
    assert compiler() == [sys.executable, "-m", "ziglang", "cc"]
    installed.clear()
    with pytest.raises(NativeUnavailableError, match="no C compiler found"):
        compiler()


@needs_native
def test_the_compiler_of_the_package_ziglang(source, cache, no_compiler, tmp_path, monkeypatch):
    # The package is one module, called as ``python -m ziglang cc``; this one stands for it.
    (tmp_path / "ziglang.py").write_text(
        "import os, sys\nassert sys.argv[1] == 'cc' and os.environ['ZIG_GLOBAL_CACHE_DIR'] != 'mine'\n"
        f"os.environ['PATH'] = {USUAL_PATH!r}\nos.execv({USUAL!r}, [{USUAL!r}, *sys.argv[2:]])\n"
    )
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", "mine")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(build, "find_spec", lambda name: name == "ziglang")
    assert load_library(source, {"NUMBER": 42}).answer() == 42


def test_no_compiler_means_no_native_backend(cache, no_compiler, no_kernel_loaded):
    ensemble = Job().ensemble(varied(2))
    with pytest.raises(NativeUnavailableError, match=r"no C compiler found \(looked for .*: pip install ziglang\)"):
        choose_backend("native", ensemble)
    with pytest.warns(BackendWarning, match="no C compiler found"):
        assert choose_backend("auto", ensemble).name == "fused"


@needs_native
def test_a_cache_that_cannot_be_written_says_what_to_do(source, tmp_path, monkeypatch):
    # A file in the folder's place: permissions would not stop the root user.
    blocked = tmp_path / "file"
    blocked.write_text("")
    for folder in (blocked, blocked / "below"):
        monkeypatch.setenv("UNROLLED_CACHE", str(folder))
        with pytest.raises(NativeUnavailableError, match=r"cannot write the library cache .*set UNROLLED_CACHE"):
            load_library(source, {"NUMBER": 1})


@needs_native
@pytest.mark.skipif(os.getuid() == 0, reason="the root user may write everywhere")
def test_a_damaged_library_in_a_folder_without_write_permission(source, cache):
    load_library(source, {"NUMBER": 1})
    library = next(cache.iterdir())
    library.write_bytes(b"")
    cache.chmod(0o500)
    with contextlib.ExitStack() as stack:
        stack.callback(cache.chmod, 0o700)
        with pytest.raises(NativeUnavailableError, match="cannot write the library cache"):
            load_library(source, {"NUMBER": 1})


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("UNROLLED_CACHE", "/given")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder() == Path("/given")
    monkeypatch.delenv("UNROLLED_CACHE")
    assert cache_folder() == Path("/xdg/unrolled")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "unrolled"


@needs_native
def test_compiling_at_once_does_no_harm(source, cache, compilations, tmp_path, monkeypatch):
    # The slow compiler makes both find an empty cache, as two processes might.
    monkeypatch.setenv(
        "CC", str(script(tmp_path / "slow", f'case "$*" in *-o*) sleep 0.3;; esac; exec {shlex.join(compiler())} "$@"'))
    )
    with ThreadPoolExecutor(2) as pool:
        libraries = list(pool.map(lambda _: load_library(source, {"NUMBER": 7}), range(2)))
    assert [library.answer() for library in libraries] == [7, 7]
    assert len(compilations) == 2
    assert not list(cache.glob("*.tmp"))
