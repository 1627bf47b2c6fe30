"""What was seen, and what the criteria say of it."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, cast

import attrs

from ..canonical import JSON
from .noun import Noun
from .pairs import Pairs
from .scales import Arm, Level, Missing
from .window import Window


@attrs.frozen(kw_only=True)
class Observation(Noun):
    """
    What was seen since the last look, of both arms.

    Attributes:
        plan: Name of the plan, or "" outside a rollout.
        stage: Name of the stage the rollout was in, or "".
        at_s: When it was closed, in seconds of plan time.
        candidate: The window of the arm that is judged.
        control: The window of the other arm, or None.
        exposure: Digest of the exposure in force, or "".
        pairs: By metric, units that both arms answered and that came of age in both
            arms, the later of the two in these windows.
        streams: Where units come back: numbers of the workers that told units of age, a
            restarted one by another number, and likewise one whose telemetry has let go
            of the oldest that had counted. Within one a unit counts once.
    """

    plan: str = ""
    stage: str = ""
    at_s: float = 0.0
    candidate: Window = attrs.field(factory=Window)
    control: Window | None = None
    exposure: str = ""
    pairs: Mapping[str, Pairs] = attrs.field(factory=dict)
    streams: tuple[int, ...] = ()

    def window(self, arm: Arm) -> Window | None:
        """Return the window of *arm*."""
        return self.candidate if arm is Arm.CANDIDATE else self.control

    @property
    def lost(self) -> str:
        """
        Why arms cannot be compared by what is left here, or "" where all of it is.

        What was lost or not followed may be of one arm more than of the other.
        """
        windows = (self.candidate, self.control or Window())
        dropped = sum(window.dropped for window in windows)
        left_out = sum(window.left_out for window in windows)
        said = [
            f"{dropped:,} events were lost" if dropped else "",
            f"{left_out:,} units or visits were not followed" if left_out else "",
        ]
        return " and ".join(part for part in said if part)

    def moved(self, by_s: float) -> Observation:
        """Return the same, seen *by_s* seconds of plan time later."""
        return attrs.evolve(
            self,
            at_s=self.at_s + by_s,
            candidate=self.candidate.moved(by_s),
            control=None if self.control is None else self.control.moved(by_s),
        )

    def merge(self, later: Observation) -> Observation:
        """Return what was seen in one place in this stretch of time and a later one."""
        return self._with(
            later,
            at_s=later.at_s,
            candidate=attrs.evolve(self.candidate, baseline=None).merge(
                attrs.evolve(later.candidate, baseline=None)
            ),
            control=(
                later.control or self.control
                if self.control is None or later.control is None
                else self.control.merge(later.control)
            ),
        )

    def beside(self, other: Observation, *, falls: Container[str] = ()) -> Observation:
        """
        Return this observation with what was seen at the same time in another place.

        Args:
            other: What was seen there, under the same exposure.
            falls: Gauges of which the lower one is the worse.
        """
        return self._with(
            other,
            at_s=self.at_s,
            candidate=self.candidate.beside(other.candidate, falls=falls),
            control=(
                self.control or other.control
                if self.control is None or other.control is None
                else self.control.beside(other.control, falls=falls)
            ),
        )

    def _with(
        self,
        other: Observation,
        *,
        at_s: float,
        candidate: Window,
        control: Window | None,
    ) -> Observation:
        compares = self.candidate.baseline or other.candidate.baseline
        return attrs.evolve(
            self,
            at_s=at_s,
            candidate=attrs.evolve(
                candidate, baseline=None if compares is None else control
            ),
            control=control,
            pairs={
                metric: self.pairs.get(metric, Pairs()).merge(
                    other.pairs.get(metric, Pairs())
                )
                for metric in {**self.pairs, **other.pairs}
            },
            streams=tuple(sorted({*self.streams, *other.streams})),
        )

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> Observation:
        """Read what `to_json` wrote."""
        control = value["control"]
        pairs = cast("Mapping[str, Mapping[str, JSON]]", value.get("pairs", {}))
        return cls(
            plan=str(value["plan"]),
            stage=str(value["stage"]),
            at_s=float(cast("float", value["at_s"])),
            candidate=Window.from_json(cast("Mapping[str, JSON]", value["candidate"])),
            control=(
                None
                if control is None
                else Window.from_json(cast("Mapping[str, JSON]", control))
            ),
            exposure=str(value["exposure"]),
            pairs={metric: Pairs.from_json(found) for metric, found in pairs.items()},
            streams=tuple(cast("Sequence[int]", value.get("streams", ()))),
        )


@attrs.frozen(kw_only=True)
class Verdict(Noun):
    """
    What one criterion says of one closed window.

    Exactly one of `level` and `missing` is set.

    Attributes:
        criterion: Its name.
        level: How bad it is, or None.
        missing: Why there is no level, or None.
        code: Stable word for programs, such as ``above_critical`` or ``window_open``.
        reason: One sentence for people.
        value: The measured value, or None.
        unit: Unit of the value and the limits.
        limits: Limits by level name, as they were applied.
        evidence: Counts, bounds, tracebacks: whatever the sentence rests on.
        in_a_row: Unhealthy closed windows up to this one, with no healthy one between.
        closed_s: End of the window, in seconds of plan time.
    """

    criterion: str
    level: Level | None = None
    missing: Missing | None = None
    code: str
    reason: str
    value: float | None = None
    unit: str = ""
    limits: Mapping[str, float] = attrs.field(factory=dict)
    evidence: Mapping[str, JSON] = attrs.field(factory=dict)
    in_a_row: int = 0
    closed_s: float = 0.0

    def __attrs_post_init__(self) -> None:
        if (self.level is None) == (self.missing is None):
            msg = (
                f"verdict of {self.criterion!r}: got level={self.level!r} and "
                f"missing={self.missing!r}; write exactly one of the two"
            )
            raise ValueError(msg)

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> Verdict:
        """Read what `to_json` wrote."""
        raw = cast("Mapping[str, Any]", value)
        level, missing = raw["level"], raw["missing"]
        return cls(
            **{
                **raw,
                "level": None if level is None else Level[level.upper()],
                "missing": None if missing is None else Missing(missing),
            }
        )


@attrs.frozen(kw_only=True)
class Report(Noun):
    """
    All verdicts on one observation.

    Attributes:
        plan: Name of the plan, or "".
        stage: Name of the stage, or "".
        at_s: When, in seconds of plan time.
        verdicts: One for each criterion, in the order of their names.
        observation: Digest of the observation.
    """

    plan: str = ""
    stage: str = ""
    at_s: float = 0.0
    verdicts: tuple[Verdict, ...] = ()
    observation: str = ""

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> Report:
        """Read what `to_json` wrote."""
        verdicts = cast("Sequence[Mapping[str, JSON]]", value["verdicts"])
        return cls(
            plan=str(value["plan"]),
            stage=str(value["stage"]),
            at_s=float(cast("float", value["at_s"])),
            verdicts=tuple(Verdict.from_json(verdict) for verdict in verdicts),
            observation=str(value["observation"]),
        )

    @property
    def level(self) -> Level | None:
        """The worst level, or None where no criterion has one."""
        return max(
            (v.level for v in self.verdicts if v.level is not None), default=None
        )

    @property
    def healthy(self) -> bool:
        """Whether something was judged and nothing is an alert or worse."""
        return self.level is not None and not self.level.unhealthy

    def verdict(self, criterion: str) -> Verdict | None:
        """Return the verdict of *criterion*, or None if it was not asked."""
        return next((v for v in self.verdicts if v.criterion == criterion), None)

    def missing(self, *required: str) -> tuple[str, ...]:
        """
        Return those of *required* that have no level, or all such without arguments.

        A criterion that was not asked at all is missing too.
        """
        judged = {v.criterion for v in self.verdicts if v.level is not None}
        names = required or tuple(v.criterion for v in self.verdicts)
        return tuple(name for name in names if name not in judged)

    @property
    def reason(self) -> str:
        """One sentence: the worst verdicts, or that nothing was judged."""
        if self.level is None:
            return "nothing could be judged"
        worst = [v for v in self.verdicts if v.level is self.level]
        if self.level is Level.OK:
            return f"{len(worst)} criteria within their limits"
        return "; ".join(v.reason for v in worst)
