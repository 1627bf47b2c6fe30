"""What a cache learned and what it spent, as its file has it."""

from __future__ import annotations

import json

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeAlias

import attrs

from .hit import V
from .layout import RECORD_SIZE
from .promise import Lesson, Promise


if TYPE_CHECKING:
    from ..canonical import JSON
    from .stats import Tally


Known: TypeAlias = "dict[str, Any]"
"""
What was learned (``parts``) at some moment, which ``lessons`` came since, and what was
``spent`` in all. What is said in between has no parts.
"""

SHORTEST = 128
"""Bytes that the record of one more answer has at least."""
_WHOLE = b'{"parts"'
_EIGHTH = 8
_UNWRITTEN = 64
"""So many lessons, of misses, wait in memory at most."""
_RELEARNED = 4_096
"""After so many lessons all is written again, so that few are ever to be read."""
_LEDGER = ("served", "found", "charged")
_COUNTED = (
    "exact_hits",
    "semantic_hits",
    "misses",
    "vetoed",
    "over_budget",
    "judged",
    "wrong",
)
_CLOSED: Known = {"parts": None, "lessons": [], "spent": None}


@attrs.define(eq=False)
class Learned(Generic[V]):
    """
    What a promise learned and what it spent, on its way to the file.

    The promise is one process over the whole life of the file. So what an answer costs
    is written before anybody gets it, and what it turns out to cost less is written
    later. A kill takes neither: the system has what was written. A loss of power may
    take the end of the file. So every record also says how much it is *at most* by the
    time of the next one that the disk is waited for; it is waited for before more than
    that is spent, which is seldom, as that is an eighth ahead. After another start of
    the machine, that is what was spent. Requests may be lost: without them, less is
    permitted.

    Guarded by the lock of the `Shelf`.

    Attributes:
        promise: Who learns.
        tally: What happened in the whole cache.
        writes: Whether it goes to the file. Who only reads one learns what another
            process learned, has a promise of its own, and tells nobody.
    """

    promise: Promise[V]
    tally: Tally
    writes: bool
    _lessons: list[Lesson] = attrs.field(init=False, factory=list)
    _since: int = attrs.field(init=False, default=_RELEARNED)
    _last: Known | None = attrs.field(init=False, default=None)
    _boot: str | None = attrs.field(init=False)
    _said: list[int] = attrs.field(init=False, factory=lambda: [0, 0, 0])
    _safe: list[int] = attrs.field(init=False, factory=lambda: [0, 0, 0])

    def __attrs_post_init__(self) -> None:
        self._boot = this_boot()
        if self.writes:
            self.promise.tell = self._lessons.append

    def restore(self, known: Known) -> None:
        """Go on where another process was."""
        if known["parts"] is not None:
            self.promise.load(known["parts"], known["lessons"])
            self._since = len(known["lessons"])
        if not self.writes:
            return
        spent, budget = known["spent"], self.promise.budget
        if spent is None:
            budget.closed = True
            return
        budget.load(spent["budget"])
        if self._boot is None or spent["boot"] != self._boot:
            for name, most in zip(_LEDGER, spent["at_most"], strict=True):
                setattr(budget, name, max(getattr(budget, name), most))
        for name, n in spent["counted"].items():
            setattr(self.tally, name, n)
        self._said = self._safe = self._now()

    def _now(self) -> list[int]:
        return [getattr(self.promise.budget, name) for name in _LEDGER]

    def _spent(self) -> Known:
        now = self._now()
        self._said = [
            said if n <= said else n + n // _EIGHTH
            for n, said in zip(now, self._said, strict=True)
        ]
        return {
            "budget": self.promise.budget.dump(),
            "counted": {name: getattr(self.tally, name) for name in _COUNTED},
            "at_most": self._said,
            "boot": self._boot,
        }

    @property
    def due(self) -> bool:
        """Whether so much was learned since it was written that it should be."""
        return len(self._lessons) >= _UNWRITTEN

    def state(self) -> JSON:
        """Return all of it, for a snapshot."""
        now = self._now()
        self._said = [n + n // _EIGHTH for n in now]
        self._safe = [min(each) for each in zip(self._safe, self._said, strict=True)]
        return self._whole()

    def _whole(self) -> Known:
        return {"parts": self.promise.dump(), "lessons": [], "spent": self._spent()}

    def record(self) -> bytes | None:
        """Return what is to be written of what was learned since, or None."""
        if not self.writes:
            return None
        spent = self._spent()
        if spent == self._last and not self._lessons:
            return None
        self._last = spent
        self._since += len(self._lessons)
        news: Known = {"lessons": list(self._lessons), "spent": spent}
        if self._since >= _RELEARNED:
            self._since, news = 0, self._whole()
        self._lessons.clear()
        return json.dumps(news, separators=(",", ":")).encode()

    def owed(self) -> list[int] | None:
        """Return what is to be on the disk before anybody gets an answer, or None."""
        over = any(n > safe for n, safe in zip(self._now(), self._safe, strict=True))
        return self._said if over and self.writes else None

    def settled(self, said: list[int]) -> None:
        """Take note that the disk has what `owed` returned."""
        # A snapshot that was begun meanwhile may have said less.
        self._safe = [min(each) for each in zip(said, self._said, strict=True)]


def known(
    base: Known | None, said: Sequence[bytes], *, damaged: bool, lost: int
) -> Known | None:
    """
    Return what a file says was learned and spent.

    Args:
        base: What its snapshot says.
        said: What its log says, as `Learned.record` made it.
        damaged: Whether the snapshot is. Then the log may know what was spent, and if
            it does not, nobody does: nothing is to be spent any more.
        lost: Bytes at the end of the log that cannot be read. Each answer that they may
            tell of counts as served, found by the coin, and wrong.
    """
    whole = [i for i, each in enumerate(said) if each.startswith(_WHOLE)]
    news = [json.loads(each) for each in said[whole[-1] if whole else 0 :]]
    if whole:
        base = news.pop(0)
    if base is None and not news:
        return dict(_CLOSED) if damaged or lost else None
    found: Known = {
        "parts": None if base is None else base["parts"],
        "lessons": [] if base is None else list(base["lessons"]),
        "spent": news[-1]["spent"] if news or base is None else base["spent"],
    }
    for one in news:
        found["lessons"] += one["lessons"]
    if lost and found["spent"] is not None:
        found["spent"] = _without(found["spent"], 1 + lost // (RECORD_SIZE + SHORTEST))
    return found


def _without(spent: Mapping[str, Any], records: int) -> Known:
    """Return what is spent if that many records of it are lost."""
    budget = dict(spent["budget"])
    for name in _LEDGER:
        budget[name] += records
    at_most = [most + records for most in spent["at_most"]]
    return {**spent, "budget": budget, "at_most": at_most}


def this_boot() -> str | None:
    """Return what tells this start of the machine from others, where that is known."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return None
