"""What judges a change, by digest: the gate names it in every ruling."""

from __future__ import annotations

import functools
import hashlib

from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from . import canonical
from .plugins import Plugins
from .stages import Plan


_ROOMS = (
    "criteria",
    "gate",
    "journal",
    "stages",
    "stats",
    "telemetry",
    "tools",
    "watchdog",
)


@attrs.frozen(eq=False)
class Judges(Mapping[str, str]):
    """
    Digests of the plan, the criteria in force and legion's own judging code.

    They are read anew each time they are asked for, since criteria come and go.

    Args:
        plan: The plan.
        plugins: Whose criteria are in force.
    """

    plan: Plan
    plugins: Plugins

    def __getitem__(self, name: str) -> str:
        if name == "plan":
            return self.plan.digest
        if name == "criteria":
            return self._criteria()
        if name == "code":
            return _code()
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        yield from ("plan", "criteria", "code")

    def __len__(self) -> int:
        return 3

    def _criteria(self) -> str:
        return canonical.digest(
            {
                name: {
                    "kind": f"{type(one).__module__}.{type(one).__qualname__}",
                    "limits": one.limits.as_dict(),
                    "min_events": one.min_events,
                }
                for name, one in self.plugins.criteria.items()
            }
        )


@functools.cache
def _code() -> str:
    """Hash the rooms that judge, as they lie on the disk."""
    here = Path(__file__).parent
    found = hashlib.sha256()
    for room in _ROOMS:
        for path in sorted((here / room).rglob("*.py")):
            found.update(str(path.relative_to(here)).encode() + b"\0")
            found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()
