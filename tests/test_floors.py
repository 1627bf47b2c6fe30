"""The house: who may know whom."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys

from collections.abc import Iterator
from pathlib import Path

import pytest


PACKAGE = Path(__file__).parents[1] / "legion"

FLOORS = [
    {"exceptions", "canonical", "stats", "model", "metrics", "hookspecs", "py"},
    {"telemetry", "store", "tools"},
    {"plugins", "criteria"},
    {"watchdog", "stages", "gate", "journal", "registry", "cache"},
    {"host", "judges", "planner", "testing", "wheel", "workers"},
    {"demo", "integrations"},
    {"cli", "__main__"},
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
GROUND_ORDER = ["exceptions", "canonical", "stats", "model", "metrics", "hookspecs"]


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def files() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


@functools.cache
def imports(path: Path) -> tuple[tuple[str, int], ...]:
    """Return (absolute name, line) of every import, lazy ones and type ones included."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[tuple[str, int]]:
    package = ["legion", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            if not node.level:
                yield node.module or "", node.lineno
                continue
            base = package[: len(package) - node.level + 1]
            if node.module:
                yield ".".join([*base, node.module]), node.lineno
            else:
                for alias in node.names:
                    yield ".".join([*base, alias.name]), node.lineno


def rooms_imported(path: Path) -> Iterator[tuple[str, int]]:
    for name, line in imports(path):
        parts = name.split(".")
        if parts[0] == "legion" and len(parts) > 1 and parts[1] in FLOOR_OF:
            yield parts[1], line


def under_type_checking(path: Path) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for inner in node.body:
                lines.update(range(inner.lineno, (inner.end_lineno or 0) + 1))
    return lines


def test_every_room_has_a_floor():
    """No room stands outside the house."""
    assert {room_of(path) for path in files()} <= set(FLOOR_OF)


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_imports_from_lower_floors_only(path):
    """What is below does not know what is above, and organs do not know each other."""
    room = room_of(path)
    floor = FLOOR_OF[room]
    specs_only = under_type_checking(path) if room == "hookspecs" else set()
    wrong = []
    for other, line in rooms_imported(path):
        if other == room or line in specs_only:
            continue
        if floor == FLOOR_OF[other] == 0:
            allowed = GROUND_ORDER.index(other) < GROUND_ORDER.index(room)
        elif floor == FLOOR_OF[other] == 4:
            allowed = room == "testing" or other in {"judges", "wheel", "workers"}
        elif room == "__main__":
            allowed = other == "cli"
        elif floor == FLOOR_OF[other] == 2:
            allowed = room == "plugins"
        else:
            allowed = FLOOR_OF[other] < floor
        if not allowed:
            wrong.append(f"line {line}: {room} imports {other}")

    assert not wrong


def importers(package: str) -> set[str]:
    return {
        str(path.relative_to(PACKAGE))
        for path in files()
        if any(name.split(".")[0] == package for name, _ in imports(path))
    }


def test_one_room_opens_sqlite():
    """Only the store opens a file; the journal names the type of what it is given."""
    opens = {path for path in importers("sqlite3") if path.split("/")[0] != "store"}

    assert opens == {"journal/tables.py"}
    assert "connect(" not in (PACKAGE / "journal/tables.py").read_text("utf-8")


def test_one_file_touches_faiss():
    """Only the kernels of the cache know faiss."""
    assert importers("faiss") == {"cache/kernels.py"}


def test_two_rooms_know_pluggy():
    """Only the specs and the facade know pluggy."""
    assert {path.split("/")[0] for path in importers("pluggy")} == {
        "hookspecs.py",
        "plugins",
    }


def test_importing_legion_loads_nothing_heavy():
    """``import legion`` loads neither faiss, numpy, yaml nor psutil."""
    code = (
        "import sys, legion; "
        "print(sorted({'faiss', 'numpy', 'yaml', 'psutil', 'sqlite3'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"


def test_touching_the_facade_loads_nothing_heavy():
    """Plugins with all 21 criteria, and a watchdog, still load neither."""
    code = (
        "import sys, legion; legion.Watchdog(legion.Plugins()); "
        "print(sorted({'faiss', 'numpy', 'yaml', 'psutil'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
