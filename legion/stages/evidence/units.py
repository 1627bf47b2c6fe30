"""What an observation brings of one metric, counted by unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import attrs

from ...canonical import JSON
from ...metrics import Metric
from ...model import Arm, Observation, Visits, Window
from .visitors import Stay, Visitors


def by_visit(stream: str) -> str:
    """Return under which name a unit's first bad visit of the rollout is counted."""
    return f"{stream} by visit"


@attrs.frozen(kw_only=True)
class Seen:
    """
    An observation, and which of its bad units are bad for the first time.

    Attributes:
        observation: The observation.
        first: By arm and metric, how many units went bad that never had; where units
            come back, by `by_visit` also those whose first bad visit came after they
            had counted.
        at: In which stay the observation was made.
        sticky: Whether units come back, so that one may be heard of and not count.
        visitors: What is known of every unit that came.
        left_out: By metric, visits of units that `visitors` has no place for.
    """

    observation: Observation
    first: Mapping[Arm, Mapping[str, int]]
    at: Stay
    sticky: bool = False
    visitors: Visitors = attrs.field(factory=Visitors)
    left_out: Mapping[str, int] = attrs.field(factory=dict)


@attrs.define(eq=False)
class Known:
    """
    Units that came and went bad in this rollout, by metric.

    A unit counts once: further failures of one unit share its arm, and a test that took
    each for a draw of its own would be fooled. A task is told once by telemetry, its
    retries with it; users and sessions come back for days, and are remembered here.

    Attributes:
        units: By metric, the 64-bit hashes of those that went bad.
        visitors: All that came, where their visits are counted.
        sticky: Whether units come back.
        visits: Metrics of which a unit's first bad visit counts, whenever it comes.
        new: Those that are not written down yet.
    """

    units: dict[str, set[int]] = attrs.field(factory=dict)
    visitors: Visitors = attrs.field(factory=Visitors)
    sticky: bool = attrs.field(default=True, kw_only=True)
    visits: frozenset[str] = attrs.field(default=frozenset(), kw_only=True)
    new: list[tuple[str, int]] = attrs.field(factory=list)

    def see(self, observation: Observation, at: Stay) -> Seen:
        """
        Take the units of *observation* for known from now on.

        Of a look that lacks some of them nothing is taken, as nothing is compared.
        """
        windows = {
            Arm.CANDIDATE: observation.candidate,
            Arm.CONTROL: observation.control or Window(),
        }
        if not self.sticky:
            counted = {
                arm: {name: len(bad) for name, bad in window.bad_units.items()}
                for arm, window in windows.items()
            }
            return Seen(observation=observation, first=counted, at=at)
        if observation.lost:
            return Seen(
                observation=observation,
                first={arm: {} for arm in Arm},
                at=at,
                sticky=True,
                visitors=self.visitors,
            )
        left_out = self.visitors.see(observation, at)
        came = {arm: self._came(arm, window, at) for arm, window in windows.items()}
        for units in came.values():
            for name, fresh in units.items():
                self.units.setdefault(name, set()).update(fresh)
                self.new += [(name, unit) for unit in fresh]
        return Seen(
            observation=observation,
            first={
                arm: {name: len(fresh) for name, fresh in units.items()}
                for arm, units in came.items()
            },
            at=at,
            sticky=True,
            visitors=self.visitors,
            left_out=left_out,
        )

    def forget_new(self) -> None:
        """Take all of them for written down."""
        self.new.clear()
        self.visitors.new.clear()

    def _came(self, arm: Arm, window: Window, at: Stay) -> dict[str, set[int]]:
        """Return the units of *arm* that are bad for the first time, by metric."""
        bad = dict(window.bad_units)
        for name in self.visits:
            visits = window.visits.get(name, Visits())
            found = visits.bad | window.bad_units.get(name, frozenset())
            if arm is Arm.CANDIDATE:
                found = frozenset(u for u in found if self._is_shown(name, u, at))
            if found:
                bad[by_visit(name)] = found
        return {
            name: set(units - self.units.get(name, set()))
            for name, units in bad.items()
        }

    def _is_shown(self, name: str, unit: int, at: Stay) -> bool:
        """Tell whether users see what the candidate does with *unit*."""
        return at.share > 0 and not self.visitors.is_controls(name, unit, at)


@attrs.frozen(kw_only=True)
class Tally:
    """
    Units of both arms that came of age, and those that went bad.

    Attributes:
        candidate_bad: Of the candidate, bad.
        candidate: Of the candidate, all.
        control_bad: Of control, bad.
        control: Of control, all.
        at_s: When one came of age last, in seconds of plan time; None for never. Where
            units come back, when one was heard of last after that.
    """

    candidate_bad: int = 0
    candidate: int = 0
    control_bad: int = 0
    control: int = 0
    at_s: float | None = None

    @classmethod
    def of(cls, seen: Seen, name: str) -> Tally:
        """Return what was seen of the metric *name*, a unit each time it is of age."""
        observation = seen.observation
        candidate, control = observation.candidate, observation.control or Window()
        came = candidate.units.get(name) or control.units.get(name)
        return cls(
            candidate_bad=len(candidate.bad_units.get(name, ())),
            candidate=candidate.units.get(name, 0),
            control_bad=len(control.bad_units.get(name, ())),
            control=control.units.get(name, 0),
            at_s=observation.at_s if came else None,
        )

    @classmethod
    def once(cls, seen: Seen, name: str, *, bad: str | None = None) -> Tally:
        """
        Return the same, with each unit's first bad event of the rollout alone.

        Args:
            seen: What was seen.
            name: Under which name the units are counted.
            bad: Under which name their first bad events are, if under another.
        """
        bad = name if bad is None else bad
        return attrs.evolve(
            cls.of(seen, name),
            candidate_bad=seen.first[Arm.CANDIDATE].get(bad, 0),
            control_bad=seen.first[Arm.CONTROL].get(bad, 0),
        )

    @classmethod
    def alone(cls, seen: Seen, name: str, metric: Metric) -> tuple[Tally, bool]:
        """
        Return the candidate's units of *name*, or its events where none are told.

        A share that is supplied by event is judged by its events, which must then be
        independent of one another.

        Returns:
            The tally, and whether it is of events.
        """
        window = seen.observation.candidate
        count = window.counts.get(metric.stream)
        # A stream that is recorded by unit is in `units`, with 0 while none is of age.
        if name in window.units or count is None or not count.of:
            return cls.of(seen, name), False
        bad = count.of - count.n if metric.higher_is_better else count.n
        at_s = seen.observation.at_s
        return cls(candidate_bad=bad, candidate=count.of, at_s=at_s), True

    def plus(self, later: Tally) -> Tally:
        """Return both together."""
        return Tally(
            candidate_bad=self.candidate_bad + later.candidate_bad,
            candidate=self.candidate + later.candidate,
            control_bad=self.control_bad + later.control_bad,
            control=self.control + later.control,
            at_s=self.at_s if later.at_s is None else later.at_s,
        )

    def heard(self, seen: Seen, stream: str) -> Tally:
        """Return the same, up to date where units that have counted were heard of."""
        heard = seen.sticky and seen.observation.candidate.measures(stream)
        if self.at_s is None or not heard:
            return self
        return attrs.evolve(self, at_s=seen.observation.at_s)

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
            "at_s": self.at_s,
        }

    @classmethod
    def from_json(cls, value: JSON) -> Tally:
        """Read what `to_json` wrote."""
        raw = cast("Mapping[str, int]", value)
        return cls(
            candidate_bad=raw["candidate_bad"],
            candidate=raw["candidate"],
            control_bad=raw["control_bad"],
            control=raw["control"],
            at_s=raw["at_s"],
        )
