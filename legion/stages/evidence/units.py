"""What an observation brings of one metric, counted by unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import attrs

from ...canonical import JSON
from ...metrics import Metric
from ...model import Arm, Observation, Visits, Window
from .heard import Heard
from .visitors import MOST, Came, Stay, Visitors


def by_visit(stream: str) -> str:
    """Return under which name a unit's first bad visit of the rollout is counted."""
    return f"{stream} by visit"


@attrs.frozen(kw_only=True)
class Seen:
    """
    An observation, and which of its units count: each once.

    Attributes:
        observation: The observation.
        first: By arm and metric, how many units went bad that had not in this stay;
            where units come back, by `by_visit` also those whose first bad visit came
            after they had counted.
        anew: The same of units that had not since the arms have this code.
        at: In which stay the observation was made.
        sticky: Whether units come back, so that one may be heard of and not count.
        came: Units whose first visits these are; of the metrics in `visits` only.
        visits: Metrics of which each unit's visits are known, whoever saw them.
        streams: Among how many processes, restarted ones as others, a unit may have
            counted in each.
        visitors: What is known of every unit that came.
        left_out: By metric, visits of units that `visitors` has no place for.
    """

    observation: Observation
    first: Mapping[Arm, Mapping[str, int]]
    anew: Mapping[Arm, Mapping[str, int]] = attrs.field(factory=dict)
    at: Stay
    sticky: bool = False
    came: Came = attrs.field(factory=Came)
    visits: frozenset[str] = frozenset()
    streams: int = 1
    visitors: Visitors = attrs.field(factory=Visitors)
    left_out: Mapping[str, int] = attrs.field(factory=dict)

    def units(
        self, arm: Arm, name: str, *, anew: bool = False
    ) -> tuple[int, int, bool]:
        """
        Return the units of *arm* that count by *name*.

        Args:
            arm: Of which arm.
            name: Under which name they are counted.
            anew: Whether a unit counts again for other code in the same stay.

        Returns:
            Bad ones, all of them, and whether each surely counts once, however many
            processes saw it. What the candidate mirrors is no visit, and has no
            identity that outlasts a process; times and slices have none at all.
        """
        window = self.observation.window(arm) or Window()
        shown = arm is Arm.CONTROL or self.at.share > 0
        if name in self.visits and shown:
            counts = self.came.epoch if anew else self.came.stay
            return (*counts.get((arm, name), (0, 0)), True)
        bad, n = len(window.bad_units.get(name, ())), window.units.get(name, 0)
        if self.sticky:
            return bad, n, False
        first = (self.anew if anew else self.first)[arm].get(name, 0)
        return first, n - (bad - first), True


@attrs.define(eq=False)
class Known:
    """
    Units that came and went bad in this stay of the rollout, by metric.

    A unit counts once a stay: further failures of one unit share its arm, and a test
    that took each for a draw of its own would be fooled. Telemetry tells each once, but
    knows neither what another process told nor what it told before a restart. In the
    next stage everybody counts again: who was left out there would be missing most in
    the arm that was the worse one before.

    Attributes:
        units: By metric, the 64-bit hashes of those that went bad, with the epoch of
            the code under which they last did.
        visitors: All that came, where their visits are counted.
        sticky: Whether units come back. Those that do not are remembered for their
            retries; from `MOST` of a metric on that begins anew.
        visits: Metrics of which a unit's first bad visit counts, whenever it comes.
        stay: The version that entered the stage of which they are.
        new: Those that are not written down yet.
        forgotten: Metrics that began anew, and did not where they are written down.
    """

    units: dict[str, dict[int, int]] = attrs.field(factory=dict)
    visitors: Visitors = attrs.field(factory=Visitors)
    sticky: bool = attrs.field(default=True, kw_only=True)
    visits: frozenset[str] = attrs.field(default=frozenset(), kw_only=True)
    stay: int = attrs.field(default=0, kw_only=True)
    new: list[tuple[str, int]] = attrs.field(factory=list)
    forgotten: set[str] = attrs.field(factory=set)

    def see(self, observation: Observation, at: Stay, *, streams: int = 1) -> Seen:
        """
        Take the units of *observation* for known from now on.

        Where units come back nothing is taken of a look that lacks some of them, as
        nothing is compared.

        Args:
            observation: What was seen.
            at: In which stay.
            streams: Processes whose telemetry has told units in it so far.
        """
        if at.entry != self.stay:
            self.units, self.new, self.stay = {}, [], at.entry
            self.forgotten.clear()
        whole = not (self.sticky and observation.lost)
        came = self.visitors.see(observation, at) if self.sticky and whole else Came()
        bad = {
            arm: self._bad(arm, observation.window(arm) or Window(), at)
            if whole
            else {}
            for arm in Arm
        }
        first = {arm: self._first(units, None) for arm, units in bad.items()}
        anew = {arm: self._first(units, at.epoch) for arm, units in bad.items()}
        for units in bad.values():
            for name, them in units.items():
                self._remember(name, them, at.epoch)
        return Seen(
            observation=observation,
            first=first,
            anew=anew,
            at=at,
            sticky=self.sticky,
            came=came,
            visits=self._told(observation),
            streams=streams,
            visitors=self.visitors,
            left_out=came.left_out,
        )

    def forget_new(self) -> None:
        """Take all of them for written down."""
        self.new.clear()
        self.forgotten.clear()
        self.visitors.new.clear()

    def _told(self, observation: Observation) -> frozenset[str]:
        """Return the metrics whose visits are told, where units of them are."""
        windows = [w for arm in Arm if (w := observation.window(arm)) is not None]
        return frozenset(
            name
            for name in self.visits
            if any(name in window.visits for window in windows)
            or not any(window.units.get(name) for window in windows)
        )

    def _bad(self, arm: Arm, window: Window, at: Stay) -> Mapping[str, frozenset[int]]:
        """Return the units of *arm* that were bad, by metric."""
        bad = dict(window.bad_units)
        for name in self.visits:
            visits = window.visits.get(name, Visits())
            found = visits.bad | window.bad_units.get(name, frozenset())
            if arm is Arm.CANDIDATE:
                found = frozenset(u for u in found if self._is_shown(name, u, at))
            if found:
                bad[by_visit(name)] = found
        return bad

    def _first(
        self, bad: Mapping[str, frozenset[int]], epoch: int | None
    ) -> dict[str, int]:
        """Return how many are bad for the first time: of *epoch*, or of the stay."""
        found = {}
        for name, units in bad.items():
            known = self.units.get(name, {})
            found[name] = sum(
                unit not in known or (epoch is not None and known[unit] != epoch)
                for unit in units
            )
        return found

    def _remember(self, name: str, units: frozenset[int], epoch: int) -> None:
        known = self.units.setdefault(name, {})
        if not self.sticky and len(known) + len(units) > MOST:
            known.clear()
            self.forgotten.add(name)
            self.new = [one for one in self.new if one[0] != name]
        self.new += [(name, unit) for unit in units if known.get(unit) != epoch]
        known.update(dict.fromkeys(units, epoch))

    def _is_shown(self, name: str, unit: int, at: Stay) -> bool:
        """Tell whether users see what the candidate does with *unit*."""
        return at.share > 0 and not self.visitors.is_controls(name, unit, at)


CLUSTERED = (
    "counted by event, and events of one user or session are not independent; record it"
    " in a trial, trial.event(...), or roll out by `unit: task`"
)
"""Why nothing is tested of events whose units come back."""


@attrs.frozen(kw_only=True)
class Tally:
    """
    Units of both arms that came of age, and those that went bad.

    Attributes:
        candidate_bad: Of the candidate, bad.
        candidate: Of the candidate, all.
        control_bad: Of control, bad.
        control: Of control, all.
        streams: In how many processes a unit of them may have counted, in each once.
        candidate_heard: When one of the candidate came of age last.
        control_heard: When one of control did.
    """

    candidate_bad: int = 0
    candidate: int = 0
    control_bad: int = 0
    control: int = 0
    streams: int = 1
    candidate_heard: Heard = attrs.field(factory=Heard)
    control_heard: Heard = attrs.field(factory=Heard)

    @classmethod
    def of(cls, seen: Seen, name: str, *, anew: bool = False) -> Tally:
        """
        Return what was seen of the metric *name*.

        Args:
            seen: What was seen.
            name: Under which name the units are counted.
            anew: Whether a unit counts again for other code in the same stay.
        """
        bad, n, once = seen.units(Arm.CANDIDATE, name, anew=anew)
        control_bad, control, once_too = seen.units(Arm.CONTROL, name, anew=anew)
        return cls(
            candidate_bad=bad,
            candidate=n,
            control_bad=control_bad,
            control=control,
            streams=1 if once and once_too else seen.streams,
            candidate_heard=Heard(seen.observation.at_s if n else None),
            control_heard=Heard(seen.observation.at_s if control else None),
        )

    @classmethod
    def once(
        cls, seen: Seen, name: str, *, bad: str | None = None, anew: bool = False
    ) -> Tally:
        """
        Return the same, with each unit's first bad event alone.

        Args:
            seen: What was seen.
            name: Under which name the units are counted.
            bad: Under which name their first bad events are, if under another.
            anew: Whether a unit counts again for other code in the same stay.
        """
        bad = name if bad is None else bad
        first = seen.anew if anew else seen.first
        return attrs.evolve(
            cls.of(seen, name, anew=anew),
            candidate_bad=first[Arm.CANDIDATE].get(bad, 0),
            control_bad=first[Arm.CONTROL].get(bad, 0),
        )

    @classmethod
    def alone(
        cls, seen: Seen, name: str, metric: Metric, *, anew: bool = False
    ) -> tuple[Tally, bool]:
        """
        Return the candidate's units of *name*, or its events where none are told.

        A share that is supplied by event is judged by its events, which must then be
        independent of one another.

        Args:
            seen: What was seen.
            name: Under which name the units are counted.
            metric: What is counted.
            anew: Whether a unit counts again for other code in the same stay.

        Returns:
            The tally, and whether it is of events.
        """
        window = seen.observation.candidate
        count = window.counts.get(metric.stream)
        # A stream that is recorded by unit is in `units`, with 0 while none is of age.
        if name in window.units or count is None or not count.of:
            return cls.of(seen, name, anew=anew), False
        bad = count.of - count.n if metric.higher_is_better else count.n
        heard = Heard(seen.observation.at_s)
        return cls(candidate_bad=bad, candidate=count.of, candidate_heard=heard), True

    @property
    def shared(self) -> str:
        """Say that a unit may have counted in several processes, if one may have."""
        if self.streams == 1:
            return ""
        return f", the mean over {self.streams} processes that may have the same units"

    def plus(self, later: Tally) -> Tally:
        """Return both together."""
        return Tally(
            candidate_bad=self.candidate_bad + later.candidate_bad,
            candidate=self.candidate + later.candidate,
            control_bad=self.control_bad + later.control_bad,
            control=self.control + later.control,
            streams=max(self.streams, later.streams),
            candidate_heard=self.candidate_heard.plus(later.candidate_heard),
            control_heard=self.control_heard.plus(later.control_heard),
        )

    def heard(self, seen: Seen, stream: str) -> Tally:
        """Return the same, up to date where units that have counted were heard of."""
        if not seen.sticky:
            return self
        at_s = seen.observation.at_s
        came: dict[str, Any] = {
            f"{arm.value}_heard": one.again(at_s)
            for arm, one in self._arms.items()
            if one.at_s not in {None, at_s} and _measured(seen, arm, stream)
        }
        return attrs.evolve(self, **came)

    @property
    def _arms(self) -> Mapping[Arm, Heard]:
        return {Arm.CANDIDATE: self.candidate_heard, Arm.CONTROL: self.control_heard}

    @property
    def empty(self) -> bool:
        """Whether no unit of either arm came of age yet."""
        return all(one.at_s is None for one in self._arms.values())

    def silent(self, at_s: float, stale_s: float) -> Arm | None:
        """Return an arm of which nothing was heard for too long, or None."""
        arms = self._arms.items()
        return next((arm for arm, one in arms if one.is_old(at_s, stale_s)), None)

    @property
    def share(self) -> float | None:
        """Bad units of the candidate, as a share; None without any unit."""
        return self.candidate_bad / self.candidate if self.candidate else None

    @property
    def control_share(self) -> float | None:
        """Bad units of control, as a share; None without any unit."""
        return self.control_bad / self.control if self.control else None

    def to_json(self) -> dict[str, JSON]:
        """Return what `from_json` reads back to an equal tally."""
        return {
            "candidate_bad": self.candidate_bad,
            "candidate": self.candidate,
            "control_bad": self.control_bad,
            "control": self.control,
            "streams": self.streams,
            "candidate_heard": attrs.asdict(self.candidate_heard),
            "control_heard": attrs.asdict(self.control_heard),
        }

    @classmethod
    def from_json(cls, value: JSON) -> Tally:
        """Read what `to_json` wrote."""
        raw = cast("Mapping[str, Any]", value)
        return cls(
            candidate_bad=raw["candidate_bad"],
            candidate=raw["candidate"],
            control_bad=raw["control_bad"],
            control=raw["control"],
            streams=raw["streams"],
            # One time of both where it was written by a version without two.
            candidate_heard=Heard(
                **raw.get("candidate_heard", {"at_s": raw.get("at_s")})
            ),
            control_heard=Heard(**raw.get("control_heard", {"at_s": raw.get("at_s")})),
        )


def _measured(seen: Seen, arm: Arm, stream: str) -> bool:
    window = seen.observation.window(arm)
    return window is not None and window.measures(stream)
