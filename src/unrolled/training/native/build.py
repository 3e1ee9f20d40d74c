"""Compile a C source once for this machine, keep the library in a cache, and load it."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from unrolled.data.folders import cache_folder

FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-Wno-psabi", "-shared", "-fPIC", "-std=gnu11")


class NativeUnavailableError(RuntimeError):
    """The native backend cannot be had on this machine; the message says why."""


def compiler() -> list[str]:
    """Return the command of the C compiler: ``$CC``, else cc, gcc or clang, else the clang in the package ziglang.

    Raises:
        NativeUnavailableError: there is none.
    """
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        if name and (found := shutil.which(name)):
            return [found]
    if find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    raise NativeUnavailableError(
        "no C compiler found (looked for $CC, cc, gcc, clang and the Python package ziglang: pip install ziglang)"
    )


def load_library(source: Path, defines: dict[str, int]) -> ctypes.CDLL:
    """Return the library of a source, compiled if this machine has not compiled it before.

    A library that does not load (half written, or from another machine with the same home) is built anew.

    Args:
        source: C file.
        defines: macros that are part of the library's identity.

    Returns:
        The loaded library.

    Raises:
        NativeUnavailableError: no compiler, the compiler failed, or its result does not load.
    """
    program = compiler()
    command = [*program, *FLAGS, *(f"-D{name}={value}" for name, value in sorted(defines.items()))]
    name = f"{source.stem}-{_key(source, program, command)}"
    for library in sorted(cache_folder().glob(f"{name}-*.so")):
        # Loading a truncated library kills the process, so its bytes are held against the digest in its name first.
        with contextlib.suppress(OSError):
            if _digest(library) == library.stem.rpartition("-")[2]:
                return ctypes.CDLL(str(library))
        with contextlib.suppress(OSError):
            library.unlink()
    library = _compile(command, source, cache_folder(), name)
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise NativeUnavailableError(f"{library} was built but does not load: {error}") from error


def _key(source: Path, program: list[str], command: list[str]) -> str:
    version = _call([*program, "--version"]).stdout
    parts = (source.read_text(), " ".join(command), version, platform.machine(), _cpu_flags())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _cpu_flags() -> str:
    """Return what ``-march=native`` depends on, so that machines sharing a home do not share libraries."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def _call(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        # Zig keeps what it builds of the C library: 50 MB in the user's home, of use only to another compilation.
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            environment = os.environ | {"ZIG_GLOBAL_CACHE_DIR": scratch, "ZIG_LOCAL_CACHE_DIR": scratch}
            return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    except OSError as error:
        raise NativeUnavailableError(f"the compiler {command[0]} does not run: {error}") from error


def _compile(command: list[str], source: Path, folder: Path, name: str) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, file = tempfile.mkstemp(dir=folder, suffix=".so.tmp")
        os.close(handle)
    except OSError as error:
        raise NativeUnavailableError(
            f"cannot write the library cache {folder}: {error}; set UNROLLED_CACHE to a folder you may write"
        ) from error
    temporary = Path(file)
    try:
        done = _call([*command, "-o", file, str(source), "-lm"])
        if done.returncode:
            first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip()[:200])
            raise NativeUnavailableError(f"{command[0]} could not compile {source.name}: {first}")
        library = folder / f"{name}-{_digest(temporary)}.so"
        temporary.replace(library)
        return library
    finally:
        temporary.unlink(missing_ok=True)
