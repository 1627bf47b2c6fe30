"""A folder of somebody else's: to be read, and to be left as it is."""

from __future__ import annotations

import contextlib
import os
import tempfile

from pathlib import Path


def everything(folder):
    """Return all that is in *folder*, with the date of each."""
    return {
        path: (path.stat().st_mtime_ns, None if path.is_dir() else path.read_bytes())
        for path in (folder, *folder.rglob("*"))
    }


@contextlib.contextmanager
def entered_by_all():
    """Make a folder that others may enter; pytest's own may be closed to them."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextlib.contextmanager
def nobody(folder):
    """Let this process read in *folder* and not write; root becomes nobody for it."""
    parts = (folder, *folder.rglob("*"))
    for part in parts:
        part.chmod(0o555 if part.is_dir() else 0o444)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        for part in parts:
            part.chmod(0o755)
