"""``legion doctor``: whether this installation works."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import tempfile

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from ... import __version__
from ...cache import SemanticCache
from ...journal import Journal
from ...plugins import Plugins
from ..main import command
from ..output import Output


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

_EXTRAS = {"demo": ("wordllama", "rich")}


def add(commands: Commands) -> None:
    """Add ``legion doctor``."""
    command(commands, "doctor", doctor, says="try what legion needs on this machine")


def doctor(arguments: argparse.Namespace, output: Output) -> int:
    """Try each part once and print what was found."""
    output.line(f"legion {__version__} on Python {platform.python_version()}")
    found = [(name, *_tried(act)) for name, act in _trials()]
    for name, ok, detail in found:
        output.mark(f"{name}: {detail}", ok=ok)
    for extra, packages in _EXTRAS.items():
        versions = [_version(package) for package in packages]
        text = ", ".join(f"{p} {v}" for p, v in zip(packages, versions, strict=True))
        output.mark(f"extra {extra}: {text}", ok=None if None in versions else True)
    output.document({name: {"ok": ok, "found": detail} for name, ok, detail in found})
    return 0 if all(ok for _, ok, _ in found) else 1


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _tried(act: Callable[[], str]) -> tuple[bool, str]:
    try:
        return True, act()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        return False, f"{type(error).__name__}: {error}"


def _trials() -> Iterator[tuple[str, Callable[[], str]]]:
    yield "criteria", lambda: f"{len(Plugins().criteria)} built in"
    yield "state", _journal
    yield "vectors", _vectors


def _journal() -> str:
    with (
        tempfile.TemporaryDirectory() as folder,
        Journal(Path(folder) / "doctor.db") as journal,
    ):
        journal.append({"tried": True}, kind="doctor")
        return f"a journal of {journal.verify().size} entry verifies"


def _vectors() -> str:
    cache = SemanticCache[str](lambda texts: [[1.0, float(len(t))] for t in texts])
    cache.put("three", "3")
    hit = cache.get("seven")
    return f"the cache finds {hit.value if hit else 'nothing'} for a near question"
