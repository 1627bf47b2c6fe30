"""
Tests that draw what they try draw the same each time.

What one process has compiled, the hundreds that the tests start read. And every Python
block of the documentation runs, page by page, in a folder of its own.
"""

from __future__ import annotations

import os
import sys
import tempfile

from pathlib import Path
from typing import Any

from hypothesis import settings
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser


_ROOT = Path(__file__).parent

# Also where Python is told to write no bytecode: compiling is half of an import.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

settings.register_profile("legion", derandomize=True, deadline=None)
settings.load_profile("legion")


def _enter(namespace: dict[str, Any]) -> None:
    namespace["_folder"] = tempfile.TemporaryDirectory()
    namespace["_before"] = Path.cwd()
    os.chdir(namespace["_folder"].name)


def _leave(namespace: dict[str, Any]) -> None:
    os.chdir(namespace["_before"])
    namespace["_folder"].cleanup()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(future_imports=["annotations"])],
    path=str(_ROOT),
    patterns=["README.md", "docs/*.md", "docs/**/*.md"],
    setup=_enter,
    teardown=_leave,
).pytest()
