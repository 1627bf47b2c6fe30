"""The units of one arm: what each had, until it is old enough to be counted."""

from __future__ import annotations

import heapq
import math

import attrs

from .ages import Ages
from .event import ERROR_RATE
from .slices import Slices


MOST = 1_000_000
"""How many units may wait to come of age, of both arms together."""

KEPT = 2**18
"""How many units that have counted are remembered, of each arm."""


@attrs.define(eq=False)
class Member:
    """
    A unit that was exposed.

    Attributes:
        exposed_s: When its age began, in machine time.
        open: How many of its trials have not ended.
        had: Metrics of which it had an opportunity in time.
        bad: Those of them that went bad.
        told: Those that have been counted.
        slices: In which slices it is, as a set of `Slices`.
    """

    exposed_s: float
    open: int = 0
    had: int = 0
    bad: int = 0
    told: int = 0
    slices: int = 0


class Memory:
    """
    Units that have counted: the newest, from half of `KEPT` up to all of it.

    Good and bad ones are let go alike. Were the bad ones kept for longer, those that come
    back and count once more would be the good ones alone, and look like health.

    Attributes:
        forgot: How often the older half was let go.
    """

    def __init__(self) -> None:
        self.forgot = 0
        self._new: dict[int, tuple[int, int]] = {}
        self._old: dict[int, tuple[int, int]] = {}
        self._same: dict[tuple[int, int], tuple[int, int]] = {}

    def put(self, unit: int, told: int, bad: int) -> None:
        """Remember in what *unit* has counted, and in what as bad."""
        if len(self._new) >= KEPT // 2:
            self.forgot += bool(self._old)
            self._old, self._new = self._new, {}
        # Few pairs are different, and a million units may have them.
        self._new[unit] = self._same.setdefault((told, bad), (told, bad))

    def get(self, unit: int) -> tuple[int, int] | None:
        """Return (told, bad) of *unit*, or None if it is not remembered."""
        return self._new.get(unit) or self._old.get(unit)


@attrs.define(eq=False)
class Room:
    """
    The places there are for units that wait, which both arms of a cohort share.

    Were there so many for each arm, the larger one alone would ever be full, and what
    failed late be missing there. Here nobody new is followed in either arm then: whether
    a unit is followed hangs on when it begins, and its arm is drawn by then. A unit that
    began in vain is not followed for a later remark, of which one arm may have more.

    Attributes:
        young: The units that wait, by arm.
        tried: Whether units are heard of by their trials.
        overflowed: Whether there was ever one too many.
    """

    young: list[dict[int, Member]] = attrs.field(factory=list)
    tried: bool = False
    overflowed: bool = False

    def is_full(self) -> bool:
        """Tell whether there is no place, and remember that."""
        full = sum(map(len, self.young)) >= MOST
        self.overflowed |= full
        return full

    @property
    def takes_remarks(self) -> bool:
        """Whether a unit may be heard of first by something other than a trial."""
        return not (self.tried and self.overflowed)


@attrs.define(eq=False)
class Units:
    """
    The units of one arm under one exposure.

    Attributes:
        ages: How old they must be, by metric.
        slices: Which slices there are, the same for both arms.
        room: Where they wait, the same for both arms.
        young: Those that have not counted in everything yet.
        newly: (unit, metrics it came of age in, those of them that were bad, slices).
        exposed: How many were heard of for the first time.
        left_out: How many were not followed, as too many waited.
    """

    ages: Ages
    slices: Slices = attrs.field(factory=Slices)
    room: Room = attrs.field(factory=Room)
    young: dict[int, Member] = attrs.field(init=False, factory=dict)
    newly: list[tuple[int, int, int, int]] = attrs.field(init=False, factory=list)
    exposed: int = attrs.field(init=False, default=0)
    left_out: int = attrs.field(init=False, default=0)
    _due: dict[float, list[tuple[float, int]]] = attrs.field(init=False)
    _fresh: dict[int, None] = attrs.field(init=False, factory=dict)
    _memory: Memory = attrs.field(init=False, factory=Memory)

    def __attrs_post_init__(self) -> None:
        self.room.young.append(self.young)

    @_due.default
    def _one_for_each_age(self) -> dict[float, list[tuple[float, int]]]:
        return {span_s: [] for span_s in self.ages.spans}

    @property
    def generation(self) -> int:
        """
        How many generations of units came before this one; in one a unit counts once.

        Two halves are one: who counted in the first is known until the second is over.
        """
        return (self._memory.forgot + 1) // 2

    def told(self, unit: int) -> tuple[int, int]:
        """Return which metrics *unit* has counted in, and in which of them as bad."""
        member = self.young.get(unit)
        if member is not None:
            return member.told, member.bad & member.told
        return self._memory.get(unit) or (0, 0)

    def began(self, unit: int, at_s: float) -> None:
        """Note that a trial of *unit* began; a first one is when its age begins."""
        self.room.tried = True
        member = self.young.get(unit)
        if member is None:
            before = self._memory.get(unit)
            if before is None:
                member = self._first(unit, at_s)
            elif before[0] & self.ages.error:
                member = self._again(unit, *before)
            else:
                member = self.enter(unit, Member(at_s, 0, 0, before[1], before[0]))
        elif not member.open and not (member.had | member.told) & self.ages.error:
            # What it was before was interrupted, or was nothing but a remark.
            member.exposed_s = at_s
            self._wait(unit, at_s)
        if member is not None:
            member.open += 1

    def ended(self, unit: int, at_s: float, *, failed: bool | None) -> None:
        """Note that a trial of *unit* ended; None is an interruption, no outcome."""
        member = self.young.get(unit)
        if member is not None:
            if at_s - member.exposed_s >= self.ages.error_s > 0:
                self._unfinished(member)
            member.open = max(0, member.open - 1)
        if failed is not None:
            self.note(unit, ERROR_RATE, at_s, failed)
        if member is not None and not member.open:
            self._rest(unit, member)

    def note(self, unit: int, metric: str, at_s: float, bad: bool) -> None:  # noqa: FBT001 - a keyword costs a tenth
        """Note an opportunity of *metric*, unless it came too late."""
        bit, age_s = self.ages[metric]
        member = self.young.get(unit)
        if member is None:
            before = self._memory.get(unit)
            if before is None and self.room.takes_remarks:
                member = self._first(unit, at_s)
            elif before is not None and not age_s and not before[0] & bit:
                member = self._again(unit, *before)
            if member is None:
                return
        if member.told & bit or (age_s and at_s - member.exposed_s >= age_s):
            return
        member.had |= bit
        if bad:
            member.bad |= bit
        if not age_s:
            self._fresh[unit] = None

    def within(self, unit: int, slice: str) -> None:  # noqa: A002 - what it is
        """Note that *unit* is in a slice; it counts there in what it has yet to tell."""
        member = self.young.get(unit)
        if member is not None:
            member.slices |= self.slices[slice]

    def _first(self, unit: int, at_s: float) -> Member | None:
        """Follow a unit that nothing is known of."""
        member = self.enter(unit, Member(at_s))
        self.exposed += member is not None
        return member

    def _again(self, unit: int, told: int, bad: int) -> Member:
        """Follow a unit again that has counted, and is of age in all that has an age."""
        member = self.young[unit] = Member(-math.inf, told=told, bad=bad)
        self._fresh[unit] = None
        return member

    def enter(self, unit: int, member: Member) -> Member | None:
        """Follow *unit* from now on; None if too many are followed."""
        if self.room.is_full():
            self.left_out += 1
            return None
        self.young[unit] = member
        if self._due:
            self._wait(unit, member.exposed_s)
        return member

    def _wait(self, unit: int, exposed_s: float) -> None:
        for age_s, due in self._due.items():
            heapq.heappush(due, (exposed_s + age_s, unit))

    def _rest(self, unit: int, member: Member) -> None:
        """Look at a unit again whose last open trial has ended, or forget it."""
        if not member.had and not member.told:
            self.young.pop(unit, None)
        elif self.ages.waits:
            self._fresh[unit] = None

    def resume(self, unit: int, member: Member) -> None:
        """Follow a unit of a process that is no more; its open trials never end."""
        if unit in self.young or self.enter(unit, member) is None:
            return
        if self.ages.waits:
            self._unfinished(member)
            member.open = 0
        self._fresh[unit] = None

    def forget_open(self) -> None:
        """Close all trials without an outcome: their ends may have been lost."""
        for unit, member in list(self.young.items()):
            if member.open:
                member.open = 0
                self._rest(unit, member)

    def come_of_age(self, now_s: float) -> None:
        """Count whoever is old enough at *now_s*, in machine time."""
        for age_s, due in self._due.items():
            mask = self.ages.masks[age_s]
            while due and due[0][0] <= now_s:
                due_s, unit = heapq.heappop(due)
                member = self.young.get(unit)
                if member is not None and member.exposed_s + age_s == due_s:
                    if mask & self.ages.error:
                        self._unfinished(member)
                    self._tell(unit, member, mask)
                    if age_s == self.ages.longest_s and self._over(member, now_s):
                        self._leave(unit, member)
        mask = self.ages.masks.get(0.0, 0)
        fresh, self._fresh = self._fresh, {}
        for unit in fresh:
            member = self.young.get(unit)
            if member is None:
                continue
            over = self._over(member, now_s)
            if member.open and not over:
                self._fresh[unit] = None
                continue
            self._tell(unit, member, mask)
            if over:
                self._leave(unit, member)

    def _over(self, member: Member, now_s: float) -> bool:
        """Tell whether nothing can follow any more."""
        if member.open and self.ages.waits:
            return False
        return member.exposed_s + self.ages.longest_s <= now_s

    def _unfinished(self, member: Member) -> None:
        error = self.ages.error
        if member.open and not (member.had | member.told) & error:
            member.had |= error
            member.bad |= error

    def _tell(self, unit: int, member: Member, mask: int) -> None:
        new = member.had & mask & ~member.told
        if new:
            member.told |= new
            self.newly.append((unit, new, new & member.bad, member.slices))

    def _leave(self, unit: int, member: Member) -> None:
        """Remember no more of a unit than how it counted."""
        if member.had & ~member.told:
            self._tell(unit, member, member.had)
        del self.young[unit]
        if member.told:
            self._memory.put(unit, member.told, member.bad & member.told)
