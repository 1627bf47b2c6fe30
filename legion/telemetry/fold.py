"""Events by exposure, arm and metric, added up: what windows are made of."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping

import attrs

from ..metrics import Kind, Metric
from ..model import Arm
from .cohort import Aged, Cohort
from .event import NAMES, TRIAL, Event
from .loose import Loose
from .side import Side
from .slices import Slices
from .tally import Tallies


_SHOWN = 160

_MOST = 16
"""How many exposures are told apart; there are two while one follows the other."""


@attrs.define(eq=False)
class Exposed:
    """
    Both arms under one exposure.

    Attributes:
        sides: What was recorded since the last close, by arm's name.
        cohort: Its units.
    """

    sides: dict[str, Side]
    cohort: Cohort


@attrs.frozen(kw_only=True)
class Closed:
    """
    What was recorded under one exposure up to a close, by arm.

    Attributes:
        tallies: What was recorded.
        aged: Who came of age.
        stale: Events of other exposures.
        unmirrored: Mirrored runs that were dropped.
        cancelled: Units that were cut off, for the first time.
        faults: Why some units are missing.
        left_out: How much of them was not followed, as too much waited.
        unsliced: Why some are in no slice of their own, or "".
    """

    tallies: Mapping[Arm, Tallies]
    aged: Aged
    stale: Mapping[Arm, int]
    unmirrored: Mapping[Arm, int]
    cancelled: Mapping[Arm, int]
    faults: Mapping[Arm, list[str]]
    left_out: Mapping[Arm, int]
    unsliced: str


class Fold(dict[str, Exposed]):
    """
    What was recorded since the last close, by exposure.

    An event without an exposure belongs to whatever is closed next. What belongs to an
    exposure that was in force before is stale; what comes of one that nobody has closed
    under waits, as it may be the next.

    Args:
        known: Metrics by the names and aliases under which they may come.
        matures: Age at which units count, in seconds of machine time, by metric.
        default_s: Age of all other metrics.
        visits: Metrics of which every visit of a unit counts, beside the unit.

    Attributes:
        slices: Which slices are told apart, under all exposures alike.
        refused: What was no event, since `take_refused`.
        example: The last of those.

    Raises:
        ValueError: An age is not a finite number from 0.
    """

    def __init__(
        self,
        known: Mapping[str, Metric],
        *,
        matures: Mapping[str, float] | None = None,
        default_s: float = 0.0,
        visits: Iterable[str] = (),
    ) -> None:
        super().__init__()
        self._known = known
        self._matures = {self._label(name): s for name, s in (matures or {}).items()}
        self._default_s = default_s
        self._visits = frozenset(map(self._label, visits))
        self._limits: dict[str, tuple[str, dict[Arm, float]]] = {}
        self._past: deque[str] = deque(maxlen=_MOST)
        self._lapsed = dict.fromkeys(Arm, 0)
        self._current = ""
        self.slices = Slices()
        self.refused = 0
        self.example = ""
        self[""] = self._exposed("")  # a wrong age is said at once

    def __missing__(self, exposure: object) -> Exposed:
        if not isinstance(exposure, str):
            msg = f"got an exposure of {type(exposure)}; write its digest"
            raise TypeError(msg)
        exposure.encode()
        if len(self) > _MOST:
            self._lapse(next(d for d in self if d and d != self._current))
        found = self[exposure] = self._exposed(exposure)
        return found

    def _exposed(self, exposure: str) -> Exposed:
        cohort = Cohort(
            matures=self._matures,
            default_s=self._default_s,
            visits=self._visits,
            slices=self.slices,
        )
        cancelled: set[int] = set()
        sides = {
            name: Side(
                Tallies(self._known, self._watched(arm)),
                cohort.arm(arm) if exposure else Loose(),
                cancelled=cancelled,
            )
            for arm, name in NAMES.items()
        }
        return Exposed(sides, cohort)

    def _label(self, name: str) -> str:
        """Return the name under which units count: a stream, or that of a quantile."""
        metric = self._known.get(name)
        if metric is None:
            return name
        return metric.name if metric.kind is Kind.TIME else metric.stream

    def _watched(self, arm: Arm) -> dict[str, list[tuple[str, float]]]:
        watched: dict[str, list[tuple[str, float]]] = {}
        for name, (stream, limits) in self._limits.items():
            watched.setdefault(stream, []).append((name, limits[arm]))
        return watched

    def watch(self, name: str, stream: str, limits: Mapping[Arm, float] | None) -> None:
        """Say above which value of *stream* a unit is bad under *name*, or no more."""
        name = self._label(name)
        self._limits.pop(name, None)
        if limits is not None:
            metric = self._known.get(stream)
            key = stream if metric is None else metric.stream
            self._limits[name] = (key, dict(limits))
        for exposed in self.values():
            for arm, side in exposed.sides.items():
                side.tallies.watch(self._watched(Arm(arm)))

    def add(self, events: Iterable[Event], now_s: float) -> None:
        """Add *events*; what is no event is left out and counted in `refused`."""
        rest = iter(events)
        while not self._added(rest, now_s):
            pass
        for exposed in self.values():
            for side in exposed.sides.values():
                for tally in side.tallies.streams.values():
                    tally.settle()

    def _added(self, events: Iterator[Event], now_s: float) -> bool:
        """Add up to the end, or up to and without the first that is no event."""
        # Spelt out and not a call for each event, which would double the time.
        try:
            for metric, arm, unit, exposure, at_s, value in events:
                side = self[exposure].sides[arm]
                tally = side.tallies[metric]
                if type(at_s) is not float or not at_s <= now_s:
                    at_s = _before(at_s, now_s)  # noqa: PLW2901
                if type(value) is float:
                    tally.waiting.append(value)
                    if tally.watched:
                        side.watch(tally, unit, at_s, value)
                elif (value is True or value is False) and type(unit) is int:
                    bad = value is tally.bad
                    side.units.note(unit, tally.stream, at_s, bad)
                    if bad:
                        tally.n_bad += 1
                    else:
                        tally.n_good += 1
                elif metric == TRIAL and type(value) is str:
                    side.mark(unit, at_s, value)
                else:
                    side.unusual(tally, unit, at_s, value)
                side.n += 1
        except Exception as error:  # noqa: BLE001 - a value may raise anything
            self.refused += 1
            self.example = f"{type(error).__name__}: {error}"[:_SHOWN]
            return False
        return True

    def forget_open(self) -> None:
        """Close all trials without an outcome: their ends may have been lost."""
        for exposed in self.values():
            for side in exposed.sides.values():
                side.units.forget_open()

    def close(self, exposure: str, now_s: float) -> Closed:
        """Return what belongs to *exposure*, and begin anew."""
        self._move_on(exposure)
        here, loose = self[exposure], self[""]
        faults: dict[Arm, list[str]] = {arm: [] for arm in Arm}
        missed = dict.fromkeys(Arm, 0)
        tallies: dict[Arm, Tallies] = {}
        unmirrored: dict[Arm, int] = {}
        cancelled: dict[Arm, int] = {}
        for arm, name in NAMES.items():
            side, rest = here.sides[name], loose.sides[name]
            tallies[arm], unmirrored[arm] = side.tallies, side.unmirrored
            cancelled[arm] = side.new_cancelled
            units = here.cohort.arm(arm)
            assert isinstance(rest.units, Loose)
            if left_out := rest.units.hand_on(units):
                faults[arm].append(f"{left_out} remarks without an exposure were lost")
                missed[arm] += left_out
            if rest is not side:
                side.tallies.absorb(rest.tallies)
                unmirrored[arm] += rest.unmirrored
                rest.renew(Tallies(self._known, self._watched(arm)))
            side.renew(Tallies(self._known, self._watched(arm)))
        aged = here.cohort.close(now_s)
        for arm in Arm:
            missed[arm] += here.cohort.left_out(arm)
            faults[arm] += here.cohort.faults(arm)
        stale, self._lapsed = self._lapsed, dict.fromkeys(Arm, 0)
        return Closed(
            tallies=tallies,
            aged=aged,
            stale=stale,
            unmirrored=unmirrored,
            cancelled=cancelled,
            faults=faults,
            left_out=missed,
            unsliced=here.cohort.unsliced(),
        )

    def _move_on(self, exposure: str) -> None:
        """Let go of what was in force before *exposure*."""
        if exposure != self._current and self._current not in self._past:
            self._past.append(self._current)
        self._current = exposure
        if exposure in self._past:
            self._past.remove(exposure)
        digests = [digest for digest in self if digest]
        here = digests.index(exposure) if exposure in digests else 0
        for place, digest in enumerate(digests):
            if digest in self._past or place < here:
                self._lapse(digest)
        if exposure and "" in self._past:
            self[""] = attrs.evolve(self[""], cohort=self._exposed("").cohort)

    def _lapse(self, exposure: str) -> None:
        for arm, side in self.pop(exposure).sides.items():
            self._lapsed[Arm(arm)] += side.n
        if exposure not in self._past:
            self._past.append(exposure)

    def take_refused(self) -> str:
        """Return what was no event since the last call, or ""."""
        if not self.refused:
            return ""
        said = f"{self.refused} were no events: {self.example}"
        self.refused, self.example = 0, ""
        return said


def _before(at_s: object, now_s: float) -> float:
    """Return *at_s* as a time that is not in the future."""
    # In this order it is now for what is no number.
    return min(now_s, float(at_s))  # type: ignore[arg-type]
