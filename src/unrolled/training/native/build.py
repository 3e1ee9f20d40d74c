"""Compile a C source once for this machine, keep the library in a cache, and load it."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-Wno-psabi", "-shared", "-fPIC", "-std=gnu11")


class NativeUnavailableError(RuntimeError):
    """The native backend cannot be had on this machine; the message says why."""


def compiler() -> str:
    """Return the C compiler: ``$CC``, else cc, gcc or clang.

    Raises:
        NativeUnavailableError: there is none.
    """
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        if name and (found := shutil.which(name)):
            return found
    raise NativeUnavailableError("no C compiler found (looked for $CC, cc, gcc, clang)")


def cache_folder() -> Path:
    """Return the folder of compiled libraries: ``$UNROLLED_CACHE``, else the user's cache folder."""
    if given := os.environ.get("UNROLLED_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unrolled"


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
    command = [compiler(), *FLAGS, *(f"-D{name}={value}" for name, value in sorted(defines.items()))]
    library = cache_folder() / f"{source.stem}-{_key(source, command)}.so"
    if library.exists():
        try:
            return ctypes.CDLL(str(library))
        except OSError:
            library.unlink(missing_ok=True)
    _compile(command, source, library)
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise NativeUnavailableError(f"{library} was built but does not load: {error}") from error


def _key(source: Path, command: list[str]) -> str:
    version = subprocess.run([command[0], "--version"], capture_output=True, text=True, check=False).stdout
    parts = (source.read_text(), " ".join(command), version, platform.machine(), _cpu_flags())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _cpu_flags() -> str:
    """Return what ``-march=native`` depends on, so that machines sharing a home do not share libraries."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


def _compile(command: list[str], source: Path, library: Path) -> None:
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=library.parent, suffix=".so.tmp")
        os.close(handle)
    except OSError as error:
        raise NativeUnavailableError(
            f"cannot write the library cache {library.parent}: {error}; set UNROLLED_CACHE to a folder you may write"
        ) from error
    temporary = Path(name)
    try:
        done = subprocess.run([*command, "-o", name, str(source), "-lm"], capture_output=True, text=True, check=False)
        if done.returncode:
            first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip()[:200])
            raise NativeUnavailableError(f"{command[0]} could not compile {source.name}: {first}")
        temporary.replace(library)
    finally:
        temporary.unlink(missing_ok=True)
