"""The calls of marked tools in one run: the tool plan, and the time in tools."""

from __future__ import annotations

from collections import Counter
from threading import Lock

import attrs

from ..model import Clock
from .answer import Answer


MOST = 1_000
"""How many calls of one run are noted; of the others only how many there were."""


@attrs.define(eq=False)
class Call:
    """
    One call of a marked tool.

    Attributes:
        tool: Its name.
        arguments: Digest of the arguments.
        nth: How many calls of this tool with these arguments the run made before.
        group: The same number as that of the calls it overlapped with.
        took_s: Machine time it took, in seconds; None while it runs.
        answer: What it answered, where that is kept.
    """

    tool: str
    arguments: str
    nth: int
    group: int
    took_s: float | None = None
    answer: Answer | None = None
    _began_s: float = attrs.field(kw_only=True)

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same call as another one."""
        return self.tool, self.arguments


@attrs.define(eq=False)
class Calls:
    """
    The calls of one run, in the order in which they began; from any of its threads.

    Args:
        clock: Machine time.
        keeps: Whether answers are kept, for a mirrored run.

    Attributes:
        made: The calls.
        left_out: How many are not among them, as there were too many.
    """

    clock: Clock
    keeps: bool = attrs.field(default=False, kw_only=True)
    made: list[Call] = attrs.field(init=False, factory=list)
    left_out: int = attrs.field(init=False, default=0)
    _seconds: float = attrs.field(init=False, default=0.0)
    _running: int = attrs.field(init=False, default=0)
    _since_s: float = attrs.field(init=False, default=0.0)
    _group: int = attrs.field(init=False, default=0)
    _seen: Counter[tuple[str, str]] = attrs.field(init=False, factory=Counter)
    _lock: Lock = attrs.field(init=False, factory=Lock)

    def begin(self, tool: str, arguments: str) -> Call:
        """Note that *tool* is called with arguments of this digest."""
        now_s = self.clock.machine()
        with self._lock:
            if not self._running:
                self._since_s, self._group = now_s, self._group + 1
            self._running += 1
            key = (tool, arguments)
            call = Call(tool, arguments, self._seen[key], self._group, began_s=now_s)
            if len(self.made) < MOST:
                self._seen[key] += 1
                self.made.append(call)
            else:
                self.left_out += 1
        return call

    def end(self, call: Call) -> None:
        """Note that *call* is over."""
        now_s = self.clock.machine()
        with self._lock:
            call.took_s = now_s - call._began_s
            self._running -= 1
            if not self._running:
                self._seconds += now_s - self._since_s

    def seconds(self, now_s: float) -> float:
        """Return for how long up to *now_s* at least one tool ran, in machine time."""
        with self._lock:
            running_s = now_s - self._since_s if self._running else 0.0
            return self._seconds + running_s

    def answer(self, call: Call) -> Answer | None:
        """Return what was answered here to the same call, the same time it was made."""
        for made in self.made:
            if made.nth == call.nth and made.key == call.key:
                return made.answer
        return None

    def forget(self) -> None:
        """Let go of the answers."""
        self.keeps = False
        for call in self.made:
            call.answer = None

    def agrees(self, other: Calls) -> bool:
        """
        Tell whether *other* made the same calls in the same order.

        Calls that overlapped here have no order: there they may come in any. That they
        do not overlap there says nothing, as a stand-in answers at once.
        """
        if (len(self.made), self.left_out) != (len(other.made), other.left_out):
            return False
        groups: dict[int, Counter[tuple[str, str]]] = {}
        for mine, theirs in zip(self.made, other.made, strict=True):
            odd = groups.setdefault(mine.group, Counter())
            odd[mine.key] += 1
            odd[theirs.key] -= 1
        return not any(any(odd.values()) for odd in groups.values())
