"""Which units were exposed, when, and how each fared by the time it was of age."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import attrs

from ..canonical import JSON
from ..model import Arm, Pairs, Visits
from .ages import Ages
from .event import NAMES
from .slices import Slices
from .units import MOST, Member, Room, Units
from .visiting import Followed, Visit, visiting


SAVED = 10_000
"""About how many units `Cohort.to_json` writes down at most, and how many visits."""


@attrs.frozen(kw_only=True)
class Aged:
    """
    The units that came of age since the last look.

    Attributes:
        units: By arm and metric, how many had an opportunity.
        bad_units: By arm and metric, those of them that were bad.
        pairs: By metric, units that now have come of age in both arms.
        exposed: By arm, how many units were heard of for the first time.
        visits: By arm and metric, how often each unit came and fared badly.
        generation: How many generations of units came before; in one a unit counts
            once, as far as its visits are not told.
    """

    units: Mapping[Arm, Mapping[str, int]]
    bad_units: Mapping[Arm, Mapping[str, frozenset[int]]]
    pairs: Mapping[str, Pairs]
    exposed: Mapping[Arm, int]
    visits: Mapping[Arm, Mapping[str, Visits]]
    generation: int


class Cohort:
    """
    The units of both arms under one exposure.

    Arms are compared at equal age: a unit counts in a metric once, when it is that
    metric's age old, by what it had until then. A trial that is still unfinished at the
    age of the error rate is a failed one. At age 0 there is nothing to wait for but
    the end of the trial, or the longest age of all where a trial that does not end is a
    failed one. A retry is the same unit; what comes after a unit has counted
    changes nothing. An interrupted trial has no outcome: the unit counts if it comes
    back, and its age begins anew when it does.

    A unit that is first heard of by an event is exposed at that event. Those that have
    counted are remembered, the newest 131,072 of each arm at least, good and bad alike;
    one that comes back after that is a new unit, of a later generation.

    What is counted of a metric is counted in each slice of a unit as well, under the
    metric's name with the slice in braces: ``error_rate{tenant=acme}``.

    Args:
        matures: Age in seconds of machine time, by metric.
        default_s: Age of all other metrics.
        visits: Metrics of which every visit of a unit counts, beside the unit.
        slices: Which slices there are; they outlast an exposure.

    Raises:
        ValueError: An age is not a finite number from 0.
    """

    def __init__(
        self,
        *,
        matures: Mapping[str, float] | None = None,
        default_s: float = 0.0,
        visits: Iterable[str] = (),
        slices: Slices | None = None,
    ) -> None:
        self._ages = Ages(matures or {}, default_s)
        self._slices = Slices() if slices is None else slices
        room = Room()
        self._arms = {arm: Units(self._ages, self._slices, room) for arm in Arm}
        self._visits = visiting(frozenset(visits), self._ages)
        self._unsaved = dict.fromkeys(Arm, 0)
        self._unsaved_visits = dict.fromkeys(Arm, 0)

    def arm(self, arm: Arm) -> Units | Followed:
        """Return the units of *arm*, to note in what happens to them."""
        units, visits = self._arms[arm], self._visits[arm]
        return Followed(units, visits) if visits else units

    def close(self, now_s: float) -> Aged:
        """Return who came of age up to *now_s*, in machine time, and count them out."""
        for units in self._arms.values():
            units.come_of_age(now_s)
        found = Aged(
            units={arm: self._numbers(units) for arm, units in self._arms.items()},
            bad_units={arm: self._bad(units) for arm, units in self._arms.items()},
            pairs=self._pairs(),
            exposed={arm: units.exposed for arm, units in self._arms.items()},
            visits={arm: dict(self._came(arm, now_s)) for arm in Arm},
            generation=sum(units.generation for units in self._arms.values()),
        )
        for units in self._arms.values():
            units.newly, units.exposed = [], 0
        return found

    def _names(self, mask: int, slices: int) -> Iterator[tuple[str, int]]:
        """Yield (name, bit) of the metrics in *mask*, of all units and of each slice."""
        for name, bit in self._ages.names(mask):
            yield name, bit
            for label in self._slices.names(slices):
                yield f"{name}{label}", bit

    def _numbers(self, units: Units) -> dict[str, int]:
        found: Counter[str] = Counter()
        alike = Counter((new, slices) for _, new, _, slices in units.newly)
        for (mask, slices), n in alike.items():
            for name, _ in self._names(mask, slices):
                found[name] += n
        return dict(found)

    def _bad(self, units: Units) -> dict[str, frozenset[int]]:
        found: dict[str, set[int]] = {}
        for unit, _, bad, slices in units.newly:
            if bad:
                for name, _ in self._names(bad, slices):
                    found.setdefault(name, set()).add(unit)
        return {name: frozenset(bad) for name, bad in found.items()}

    def _came(self, arm: Arm, now_s: float) -> Iterator[tuple[str, Visits]]:
        for name, one in self._visits[arm].items():
            if came := one.take(now_s):
                yield name, Visits(came)

    def _pairs(self) -> dict[str, Pairs]:
        """Return the pairs of which the later half came of age just now."""
        candidate, control = self._arms[Arm.CANDIDATE], self._arms[Arm.CONTROL]
        found: dict[str, Counter[tuple[bool, bool]]] = {}
        seen: dict[int, int] = {}
        for unit, new, bad, slices in candidate.newly:
            seen[unit] = seen.get(unit, 0) | new
            told, bad_control = control.told(unit)
            for name, bit in self._names(new & told, slices):
                fared = bool(bad & bit), bool(bad_control & bit)
                found.setdefault(name, Counter())[fared] += 1
        for unit, new, bad, slices in control.newly:
            told, bad_candidate = candidate.told(unit)
            # What the candidate told just now is paired already.
            for name, bit in self._names(new & told & ~seen.get(unit, 0), slices):
                fared = bool(bad_candidate & bit), bool(bad & bit)
                found.setdefault(name, Counter())[fared] += 1
        return {name: _pairs_of(fared) for name, fared in found.items()}

    def left_out(self, arm: Arm) -> int:
        """Return how many units and visits of *arm* were not followed since `faults`."""
        visits = self._visits[arm].values()
        return self._arms[arm].left_out + sum(one.left_out for one in visits)

    def faults(self, arm: Arm) -> list[str]:
        """Return which units of *arm* are missing since last asked, and why."""
        units, said = self._arms[arm], []
        if units.left_out:
            said.append(
                f"{units.left_out} were not followed: {MOST:,} of both arms wait"
            )
            units.left_out = 0
        if self._unsaved[arm]:
            said.append(
                f"{self._unsaved[arm]} were not saved, good or bad: more than {SAVED:,}"
                " wait"
            )
            self._unsaved[arm] = 0
        for name, one in self._visits[arm].items():
            if one.left_out:
                said.append(f"{one.left_out} visits were not followed in {name}")
                one.left_out = 0
        if self._unsaved_visits[arm]:
            said.append(f"{self._unsaved_visits[arm]} visits were not saved")
            self._unsaved_visits[arm] = 0
        return said

    def unsliced(self) -> str:
        """Return how often a unit was in no slice of its own since last asked, or ""."""
        return self._slices.said()

    def to_json(self, now_s: float, wall_s: float) -> JSON:
        """
        Return what `restore` takes up again: units that have not counted, and visits.

        Good ones too: those that are bad alone would come of age as a share of one.
        Where there are more than `SAVED`, each so many-th is saved, as its hash says:
        neither its arm nor how it fared has a part in that.

        Args:
            now_s: Machine time.
            wall_s: The date, which another process shares.
        """
        waiting = [
            (arm, unit, member)
            for arm, units in self._arms.items()
            for unit, member in units.young.items()
            if member.open or member.had & ~member.told
        ]
        nth = -(-len(waiting) // SAVED)
        saved = [one for one in waiting if one[1] % nth == 0]
        for arm in Arm:
            self._unsaved[arm] += sum(
                one[0] is arm and one[1] % nth != 0 for one in waiting
            )
        units: list[JSON] = [
            {
                "arm": NAMES[arm],
                "unit": f"{unit:016x}",
                # One that has no age any more is as old as can be.
                "exposed_s": max(0.0, wall_s - (now_s - member.exposed_s)),
                "open": member.open,
                "had": [name for name, _ in self._ages.names(member.had)],
                "bad": [name for name, _ in self._ages.names(member.bad)],
                "told": [name for name, _ in self._ages.names(member.told)],
                "slices": self._slices.plain(member.slices),
            }
            for arm, unit, member in saved
        ]
        return [*units, *self._waiting_visits(now_s, wall_s)]

    def _waiting_visits(self, now_s: float, wall_s: float) -> list[JSON]:
        waiting = [
            (arm, name, visit)
            for arm, visits in self._visits.items()
            for name, one in visits.items()
            for visit in one.waiting()
        ]
        nth = -(-len(waiting) // SAVED)
        for arm in Arm:
            self._unsaved_visits[arm] += sum(
                one[0] is arm and one[2].unit % nth != 0 for one in waiting
            )
        return [
            {
                "arm": NAMES[arm],
                "visit": name,
                "unit": f"{visit.unit:016x}",
                "began_s": max(0.0, wall_s - (now_s - visit.began_s)),
                "open": visit.open,
                "bad": visit.bad,
                "n": visit.n,
            }
            for arm, name, visit in waiting
            if visit.unit % nth == 0
        ]

    def restore(self, value: JSON, now_s: float, wall_s: float) -> None:
        """
        Go on from what the `to_json` of a process that is no more returned.

        Trials that were open then will not end. Their units are bad at the age of the
        error rate unless they come back before; at age 0 they are bad now.
        """
        for raw in cast("list[Any]", value):
            if "visit" in raw:
                self._resume_visit(raw, now_s, wall_s)
                continue
            exposed_s = now_s - max(0.0, wall_s - float(raw["exposed_s"]))
            member = Member(
                exposed_s,
                open=int(raw["open"]),
                had=self._ages.mask(raw["had"]),
                bad=self._ages.mask(raw["bad"]),
                told=self._ages.mask(raw["told"]),
                slices=self._slices.mask(raw.get("slices", ())),
            )
            self._arms[Arm(raw["arm"])].resume(int(raw["unit"], 16), member)

    def _resume_visit(self, raw: Any, now_s: float, wall_s: float) -> None:
        one = self._visits[Arm(raw["arm"])].get(raw["visit"])
        if one is None:
            return  # Nobody asks any more.
        began_s = now_s - max(0.0, wall_s - float(raw["began_s"]))
        one.resume(
            Visit(
                int(raw["unit"], 16),
                began_s,
                open=bool(raw["open"]),
                bad=int(raw["bad"]),
                n=int(raw["n"]),
            )
        )


def _pairs_of(fared: Counter[tuple[bool, bool]]) -> Pairs:
    return Pairs(
        n=fared.total(),
        both=fared[True, True],
        candidate=fared[True, False],
        control=fared[False, True],
    )
