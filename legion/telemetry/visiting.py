"""One metric of units that come back, visit by visit."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

import attrs

from ..model import Arm
from .event import ERROR_RATE
from .units import MOST, Units


@attrs.define(eq=False)
class Visit:
    """
    One visit of a unit: a trial, and what was remarked on until it is of age.

    Attributes:
        unit: Its 64-bit hash.
        began_s: When, in machine time.
        open: Whether its trial has not ended.
        bad: What went badly.
        n: What there was to go badly.
    """

    unit: int
    began_s: float
    open: bool = True
    bad: int = 0
    n: int = 0


@attrs.define(eq=False)
class Visiting:
    """
    How often the units of one arm come under one exposure, and fare badly in a metric.

    Arms are compared at equal age here too: a visit counts when it is that old, by what
    it had until then. Where the metric is the error rate, the trial itself is what may
    go badly, and one that is unfinished at that age does; an end belongs to the unit's
    oldest open trial, and an interrupted trial is no visit. At age 0 a visit counts as
    it ends. Any other metric counts each remark, with the unit's newest visit; one that
    comes later than its age is left out, and one of a unit without trials is a visit of
    its own.

    Args:
        age_s: Age in seconds of machine time.
        ends: Whether the end of a trial is its outcome: the error rate.
        arms: The same of both arms: they share the places there are, as `Units` do.

    Attributes:
        counted: By unit, [bad, n] of the visits that came of age since `take`.
        left_out: How many visits were not followed, as too many waited.
    """

    age_s: float
    ends: bool
    arms: list[Visiting] = attrs.field(factory=list)
    counted: dict[int, list[int]] = attrs.field(init=False, factory=dict)
    left_out: int = attrs.field(init=False, default=0)
    _young: deque[Visit] = attrs.field(init=False, factory=deque)
    _newest: dict[int, Visit] = attrs.field(init=False, factory=dict)
    _open: dict[int, deque[Visit]] = attrs.field(init=False, factory=dict)
    _tried: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self.arms.append(self)

    def began(self, unit: int, at_s: float) -> None:
        """Note that a trial of *unit* began."""
        self._tried = True
        if self.ends or self.age_s:
            self._enter(Visit(unit, at_s, open=self.ends))

    def _enter(self, visit: Visit) -> None:
        young = sum(len(arm._young) for arm in self.arms)
        if young >= MOST or sum(len(arm._open) for arm in self.arms) >= MOST:
            self.left_out += 1
            return
        if self.age_s:
            self._young.append(visit)
            self._newest[visit.unit] = visit
        if visit.open:
            self._open.setdefault(visit.unit, deque()).append(visit)

    def ended(self, unit: int, at_s: float, *, failed: bool | None) -> None:
        """Note that a trial of *unit* ended; None is an interruption, no outcome."""
        if not self.ends:
            return
        visit = self._close_oldest(unit)
        if visit is None:
            # Its begin was lost; with an age it has counted as unfinished, or is late.
            if failed is not None and not self.age_s:
                self._count(unit, int(failed), 1)
            return
        visit.open = False
        if failed is not None:
            late = at_s - visit.began_s >= self.age_s > 0
            visit.bad += failed or late
            visit.n += 1
        if not self.age_s:
            self._tell(visit)

    def _close_oldest(self, unit: int) -> Visit | None:
        waiting = self._open.get(unit)
        if waiting is None:
            return None
        visit = waiting.popleft()
        if not waiting:
            del self._open[unit]
        return visit

    def note(self, unit: int, at_s: float, *, bad: bool) -> None:
        """Note a remark on *unit*, unless it came too late."""
        if not self.age_s:
            self._count(unit, int(bad), 1)
            return
        visit = self._newest.get(unit)
        if visit is None or at_s - visit.began_s >= self.age_s:
            if self._tried:
                return
            visit = Visit(unit, at_s, open=False)
            self._enter(visit)
        visit.bad += bad
        visit.n += 1

    def forget_open(self) -> None:
        """Take open trials for interrupted: their ends may have been lost."""
        for waiting in self._open.values():
            for visit in waiting:
                visit.open = False
        self._open.clear()

    def take(self, now_s: float) -> dict[int, tuple[int, int]]:
        """Return (bad, n) of the visits that came of age up to *now_s*, by unit."""
        young = self._young
        while young and young[0].began_s + self.age_s <= now_s:
            visit = young.popleft()
            if self._newest.get(visit.unit) is visit:
                del self._newest[visit.unit]
            if visit.open:
                self._unfinished(visit)
            self._tell(visit)
        counted, self.counted = self.counted, {}
        return {unit: (bad, n) for unit, (bad, n) in counted.items()}

    def _unfinished(self, visit: Visit) -> None:
        """Take a trial for failed, and an end that comes now for another's."""
        waiting = self._open[visit.unit]
        waiting.remove(visit)
        if not waiting:
            del self._open[visit.unit]
        visit.bad += 1
        visit.n += 1

    def _tell(self, visit: Visit) -> None:
        if visit.n:
            self._count(visit.unit, visit.bad, visit.n)

    def _count(self, unit: int, bad: int, n: int) -> None:
        found = self.counted.get(unit)
        if found is not None:
            found[0] += bad
            found[1] += n
        elif sum(len(arm.counted) for arm in self.arms) < MOST:
            self.counted[unit] = [bad, n]
        else:
            self.left_out += 1

    def waiting(self) -> Iterator[Visit]:
        """Yield the visits to be saved: unfinished, or not of age."""
        if self.age_s:
            yield from (visit for visit in self._young if visit.open or visit.n)
        else:
            for waiting in self._open.values():
                yield from waiting

    def resume(self, visit: Visit) -> None:
        """
        Follow a visit of a process that is no more; its trial never ends.

        At age 0 it is bad now. What comes back meanwhile is another visit, so the end
        of that is none of this one.
        """
        self._tried |= visit.open
        if visit.open:
            visit.open, visit.bad, visit.n = False, visit.bad + 1, visit.n + 1
        if self.age_s:
            self._enter(visit)
        else:
            self._tell(visit)


@attrs.define(eq=False)
class Followed:
    """
    The units of one arm and their visits: what happens is told to both.

    Attributes:
        units: Each counts once.
        visits: By metric, each visit counts.
    """

    units: Units
    visits: Mapping[str, Visiting]

    def began(self, unit: int, at_s: float) -> None:
        """Note that a trial of *unit* began."""
        self.units.began(unit, at_s)
        for one in self.visits.values():
            one.began(unit, at_s)

    def ended(self, unit: int, at_s: float, *, failed: bool | None) -> None:
        """Note that a trial of *unit* ended; None is an interruption, no outcome."""
        self.units.ended(unit, at_s, failed=failed)
        for one in self.visits.values():
            one.ended(unit, at_s, failed=failed)

    def note(self, unit: int, metric: str, at_s: float, bad: bool) -> None:  # noqa: FBT001
        """Note an opportunity of *metric*."""
        self.units.note(unit, metric, at_s, bad)
        one = self.visits.get(metric)
        if one is not None:
            one.note(unit, at_s, bad=bad)

    def within(self, unit: int, slice: str) -> None:  # noqa: A002 - what it is
        """Note that *unit* is in a slice."""
        self.units.within(unit, slice)

    def forget_open(self) -> None:
        """Close all trials without an outcome: their ends may have been lost."""
        self.units.forget_open()
        for one in self.visits.values():
            one.forget_open()


def visiting(
    metrics: frozenset[str], ages: Mapping[str, tuple[int, float]]
) -> dict[Arm, dict[str, Visiting]]:
    """Return what counts the visits of *metrics*, at their ages, by arm."""
    found: dict[Arm, dict[str, Visiting]] = {arm: {} for arm in Arm}
    for name in sorted(metrics):
        arms: list[Visiting] = []
        for visits in found.values():
            visits[name] = Visiting(ages[name][1], name == ERROR_RATE, arms)
    return found
