"""The shape of the code base: imports run downwards, files and functions stay small, versions agree."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "unrolled"
MODULES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))
SOURCES = sorted({*(ROOT / "src").rglob("*.py"), *SCRIPTS})

THEORY = {"solvers", "frames", "neurashed", "geometry"}
"""Rooms of pure mathematics: nothing of the package but each other downwards."""

LEVELS = {
    "solvers": 0, "neurashed": 0, "geometry": 0, "frames": 1,
    "data": 2, "config": 2, "records": 2,
    "networks": 3,
    "training": 4,
    "measures": 5,
    "sweep": 6,
    "tracking": 7, "figures": 7, "claims": 7, "parity": 7, "structure_table": 7,
    "report": 8,
    "app": 9, "launch": 10, "bench": 11,
}  # fmt: skip
"""A room imports from lower levels only. A new room needs a place here."""

NO_FILES_NO_TRAINER = {"hydra", "omegaconf", "wandb", "pandas", "pyarrow", "matplotlib", "jinja2", "hydra_plugins"}
READERS = {"tracking", "figures", "claims", "report"}
"""Rooms that know runs by their records alone."""

MOST_LINES, MOST_FUNCTION_LINES, MOST_SCRIPT_LINES, MOST_CONFIG_LINES = 500, 80, 60, 25


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Absolute names of everything a file imports, inside functions too."""
    package = ("unrolled", *path.relative_to(PACKAGE).parent.parts) if PACKAGE in path.parents else ()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            stem = ".".join([*base, node.module] if node.module else base)
            # "from unrolled import config" names a room only in its alias.
            yield from (f"{stem}.{alias.name}" for alias in node.names)


def rooms_imported(path: Path) -> set[str]:
    parts = (name.split(".") for name in imports(path))
    return {p[1] for p in parts if p[0] == "unrolled" and len(p) > 1} - {room_of(path)}


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def where(path: Path, line: int | None = None) -> str:
    return f"{path.relative_to(ROOT)}" + (f":{line}" if line else "")


def test_the_reader_of_imports_sees_all_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path)
    room = tmp_path / "solvers"
    room.mkdir()
    file = room / "x.py"
    file.write_text(
        "import unrolled.config.check\nfrom unrolled import sweep\nfrom .rates import f\nfrom .. import records\n"
        "def g():\n    from ..app import main\n    import wandb.sdk\n"
    )
    assert rooms_imported(file) == {"config", "sweep", "records", "app"}
    assert {"wandb.sdk", "unrolled.solvers.rates.f"} <= set(imports(file))


def test_every_room_has_a_level() -> None:
    rooms = {room_of(path) for path in MODULES} - {"__init__"}
    assert rooms <= set(LEVELS), f"give {rooms - set(LEVELS)} a place in LEVELS"
    assert len(MODULES) > 50


@pytest.mark.parametrize("room", sorted({room_of(path) for path in MODULES} - {"__init__"}))
def test_imports_run_downwards(room: str) -> None:
    for path in MODULES:
        if room_of(path) == room:
            upwards = {other for other in rooms_imported(path) if LEVELS[other] >= LEVELS[room]}
            assert not upwards, f"{where(path)} imports {upwards}"


def test_theory_rooms_know_nothing_of_the_package_but_each_other() -> None:
    for path in MODULES:
        if room_of(path) in THEORY:
            assert rooms_imported(path) <= THEORY, where(path)


def test_the_import_of_the_package_loads_no_room() -> None:
    assert not rooms_imported(PACKAGE / "__init__.py")


def test_mathematics_and_training_know_no_configs_files_or_trackers() -> None:
    inner = THEORY | {"networks", "training", "measures"}
    outer = set(LEVELS) - inner - {"data"}
    for path in MODULES:
        if room_of(path) in inner:
            libraries = {name.split(".")[0] for name in imports(path)}
            assert not libraries & NO_FILES_NO_TRAINER, where(path)
            assert not rooms_imported(path) & outer, where(path)


def test_what_comes_after_training_reads_records_only() -> None:
    running = {"sweep", "training", "networks", "data", "measures", "config", "app"}
    for path in MODULES:
        if room_of(path) in READERS:
            assert not rooms_imported(path) & running, where(path)


def test_files_and_functions_stay_small() -> None:
    long = [where(path) for path in SOURCES if len(path.read_text().splitlines()) > MOST_LINES]
    long += [where(path) for path in SCRIPTS if len(path.read_text().splitlines()) > MOST_SCRIPT_LINES]
    for path in SOURCES:
        for node in functions(path):
            if (node.end_lineno or 0) - node.lineno + 1 > MOST_FUNCTION_LINES:
                long.append(f"{where(path, node.lineno)} {node.name}")
    assert not long


def test_functions_are_short_as_a_rule() -> None:
    sizes = sorted((node.end_lineno or 0) - node.lineno + 1 for path in MODULES for node in functions(path))
    assert sizes[len(sizes) // 2] < 20


def test_config_files_stay_small() -> None:
    files = sorted((ROOT / "configs").rglob("*.yaml"))
    assert files
    # train.yaml puts all groups together and grows with them.
    long = [where(path) for path in files if len(path.read_text().splitlines()) >= MOST_CONFIG_LINES]
    assert set(long) <= {"configs/train.yaml"}


def test_modules_are_named_by_what_they_do() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "tools", "stuff"}
    assert not [where(path) for path in SOURCES if path.stem in vague or path.parent.name in vague]


def test_every_module_says_what_it_is_for() -> None:
    assert not [where(p) for p in SOURCES if not ast.get_docstring(ast.parse(p.read_text()))]


def test_errors_are_not_swallowed_and_arguments_not_dropped() -> None:
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler) and node.type is None:
                found.append(f"{where(path, node.lineno)} bare except")
        for function in functions(path):
            if function.args.kwarg and not function.name.startswith("_"):
                found.append(f"{where(path, function.lineno)} {function.name} takes **{function.args.kwarg.arg}")
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.search(r"\.cuda\(\)|(?<!d)type=bool\b|torch\.manual_seed\(|np\.random\.seed\(", line):
                found.append(f"{where(path, number)} {line.strip()}")
    assert not found


# Versions: the ranges, the pinned set and the conda environment are three files that must agree.

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK_LINES = [
    line for line in (ROOT / "requirements.lock").read_text().splitlines() if line and not line.startswith("#")
]
LOCK = {_r.name.lower().replace("_", "-"): _r for _r in map(Requirement, LOCK_LINES)}
RANGES = [Requirement(text) for text in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]]


def pinned(name: str) -> str:
    (specifier,) = LOCK[name.lower().replace("_", "-")].specifier
    assert specifier.operator == "=="
    return specifier.version


@pytest.mark.parametrize("requirement", RANGES, ids=lambda requirement: requirement.name)
def test_a_range_admits_the_pinned_version(requirement: Requirement) -> None:
    assert requirement.specifier, f"{requirement.name} has no range"
    assert requirement.specifier.contains(pinned(requirement.name), prereleases=True)


def test_the_lock_pins_everything_exactly_and_names_no_place() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"://|@|--", text)
    for name in LOCK:
        assert re.fullmatch(r"[\w.!+]+", pinned(name)), name


def test_hydra_and_omegaconf_stay_in_the_tested_line() -> None:
    ranges = {requirement.name: requirement.specifier for requirement in RANGES}
    assert ranges["hydra-core"] == SpecifierSet(">=1.3.8,<1.4")
    assert not ranges["omegaconf"].contains("2.4.0", prereleases=True)
    assert ranges["omegaconf"].contains(pinned("omegaconf"))


def test_the_build_backend_is_pinned_too() -> None:
    # Set-up installs the package without isolation, so the lock must hold what builds it.
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert all(Requirement(text).specifier.contains(pinned(Requirement(text).name)) for text in build)


def test_the_conda_environment_installs_the_lock_on_the_same_python() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (python,) = [d for d in environment["dependencies"] if isinstance(d, str) and d.startswith("python=")]
    (pip,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    assert "-r requirements.lock" in pip
    assert "-e ." in pip
    version = python.removeprefix("python=")
    assert f"for Python {version}." in (ROOT / "requirements.lock").read_text().splitlines()[0]
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{version}.0")
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["python_version"] == version


@pytest.mark.parametrize("extra", ["ray", "compiler", "foolbox"])
def test_further_locks_pin_exactly_and_leave_the_first_alone(extra: str) -> None:
    further = {
        requirement.name.lower().replace("_", "-"): requirement
        for line in (ROOT / f"requirements-{extra}.lock").read_text().splitlines()
        if not line.startswith("#")
        for requirement in [Requirement(line)]
    }
    assert not set(further) & set(LOCK)
    assert all(re.fullmatch(r"==[\w.!+]+", str(requirement.specifier)) for requirement in further.values())
    group = {"foolbox": "attacks"}.get(extra, extra)
    for requirement in map(Requirement, PROJECT["optional-dependencies"][group]):
        (pin,) = further[requirement.name].specifier
        assert requirement.specifier.contains(pin.version)
