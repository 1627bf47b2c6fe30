"""An observation into a report: every criterion is judged on its own."""

from __future__ import annotations

import logging
import math
import traceback

from collections.abc import Mapping
from typing import Protocol, TypeAlias, cast

import attrs

from .. import canonical
from ..canonical import JSON
from ..criteria import Criterion
from ..model import (
    Level,
    Missing,
    Notice,
    Observation,
    Report,
    Verdict,
    Window,
)
from .record import CriterionRecord, lean


logger = logging.getLogger("legion")

Limits: TypeAlias = Mapping[str, Mapping[str, float] | None]
"""By criterion, other limits by level name; None switches it off."""


class Criteria(Protocol):
    """What the watchdog needs of `legion.Plugins`."""

    @property
    def criteria(self) -> Mapping[str, Criterion]:
        """The criteria in force, by name."""
        ...


class Watchdog:
    """
    Judges observations by criteria, and keeps each criterion's memory.

    A criterion's window closes when it has lasted an interval *and* holds the
    criterion's minimum of events, in the baseline too where it compares. Until then it
    is open and has no level. Windows never overlap.

    Args:
        plugins: Whose criteria are asked; those that come later are asked, too.
        interval_s: How long a window lasts at least, in seconds of plan time.
        limits: Other limits for some criteria, or None to switch one off.
    """

    def __init__(
        self,
        plugins: Criteria,
        *,
        interval_s: float = 300.0,
        limits: Limits | None = None,
    ) -> None:
        self._plugins = plugins
        self.interval_s = interval_s
        self._limits = dict(limits or {})
        self._records: dict[str, CriterionRecord] = {}
        self._notices: list[Notice] = []
        self._exposure = ""

    @property
    def criteria(self) -> Mapping[str, Criterion]:
        """The criteria that are asked, with the limits that hold here."""
        return {
            name: self._limited(criterion)
            for name, criterion in sorted(self._plugins.criteria.items())
            if self._limits.get(name, {}) is not None
        }

    def _limited(self, criterion: Criterion) -> Criterion:
        limits = self._limits.get(criterion.name)
        return attrs.evolve(criterion, **limits) if limits else criterion

    def judge(self, observation: Observation, baseline: Window | None = None) -> Report:
        """
        Judge the candidate's window of *observation*.

        Args:
            observation: What was seen since the last call.
            baseline: What to compare with where the observation has no control.

        Returns:
            One verdict a criterion, in the order of their names. A criterion that
            raises has no level; the others are judged all the same.
        """
        if observation.exposure != self._exposure:
            # A window must not mix what two stages exposed.
            self._exposure = observation.exposure
            self._records = {
                name: attrs.evolve(record, open=None)
                for name, record in self._records.items()
            }
        verdicts = tuple(
            self._judge(criterion, observation, baseline)
            for criterion in self.criteria.values()
        )
        return Report(
            plan=observation.plan,
            stage=observation.stage,
            at_s=observation.at_s,
            verdicts=verdicts,
            observation=observation.digest,
        )

    def _judge(
        self, criterion: Criterion, observation: Observation, stored: Window | None
    ) -> Verdict:
        record = self._records.get(criterion.name, CriterionRecord())
        window = observation.candidate
        if window.baseline is None and observation.control is not None:
            window = attrs.evolve(window, baseline=observation.control)
        record = record.with_seen(lean(window, criterion))
        assert record.open is not None
        judged = record.open
        if judged.baseline is None:
            judged = attrs.evolve(judged, baseline=stored)
        absent = self._not_yet(criterion, record, judged, observation.at_s)
        if absent is not None:
            self._records[criterion.name] = record
            return absent
        return self._close(criterion, record, judged, observation.at_s)

    def _not_yet(
        self,
        criterion: Criterion,
        record: CriterionRecord,
        window: Window,
        at_s: float,
    ) -> Verdict | None:
        """Return why the window cannot be judged yet, or None if it can."""
        events, least = criterion.events(window), criterion.min_events
        error = window.errors.get(criterion.stream) or window.errors.get(criterion.name)
        if error is not None and not events:
            return criterion.no_level(Missing.ERROR, error, code="source_failed")
        if window.seconds < self.interval_s or events < least:
            return self._waiting(criterion, record, window, at_s)
        if not criterion.compares:
            return None
        compared = 0 if window.baseline is None else criterion.events(window.baseline)
        if compared >= least:
            return None
        missing, code = (
            (Missing.NO_DATA, "no_baseline")
            if window.baseline is None
            else (Missing.INCONCLUSIVE, "window_open")
        )
        reason = f"{compared} of {least} events in the baseline"
        return criterion.no_level(missing, reason, code=code)

    def _waiting(
        self,
        criterion: Criterion,
        record: CriterionRecord,
        window: Window,
        at_s: float,
    ) -> Verdict:
        late = record.closed_s is not None and at_s - record.closed_s > 3 * max(
            self.interval_s, record.length_s
        )
        events = criterion.events(window)
        if not events and not window.measures(criterion.stream):
            missing = Missing.STALE if late else Missing.NO_DATA
            return criterion.no_level(missing, "nothing was recorded")
        reason = (
            f"{events} of {criterion.min_events} events after"
            f" {window.seconds:.0f} s of {self.interval_s:.0f} s"
        )
        missing = Missing.STALE if late else Missing.INCONCLUSIVE
        return criterion.no_level(missing, reason, code="window_open")

    def _close(
        self,
        criterion: Criterion,
        record: CriterionRecord,
        window: Window,
        at_s: float,
    ) -> Verdict:
        try:
            verdict, memory = criterion.judge(window, record.memory)
            _refuse_garbage(criterion, verdict, memory)
        except Exception as error:
            logger.warning("criterion %s raised", criterion.name, exc_info=True)
            self._records[criterion.name] = attrs.evolve(record, open=None)
            return criterion.no_level(
                Missing.ERROR,
                f"{type(error).__name__}: {error}",
                code="raised",
                evidence={"traceback": traceback.format_exc()},
            )
        level = verdict.level
        row = record.in_a_row
        if level is not None:
            row = row + 1 if level.unhealthy else 0
        verdict = attrs.evolve(
            verdict,
            in_a_row=row,
            closed_s=at_s,
            evidence={"window_s": window.seconds, **verdict.evidence},
        )
        closed = attrs.evolve(record, open=None, memory=memory, in_a_row=row)
        if level is not None:
            closed = attrs.evolve(
                closed, closed_s=at_s, length_s=window.seconds, level=level
            )
            closed = self._incident(closed, record.level, verdict)
        self._records[criterion.name] = closed
        return verdict

    def _incident(
        self, record: CriterionRecord, before: Level | None, verdict: Verdict
    ) -> CriterionRecord:
        """Open, raise or resolve the criterion's incident: one resolve a fire."""
        level = verdict.level
        assert level is not None
        incident = record.incident
        if level.unhealthy and (not incident or level > (before or Level.OK)):
            incident = incident or f"{verdict.criterion}@{verdict.closed_s:.0f}"
            self._tell("incident", incident, verdict, level)
        elif incident and not level.unhealthy:
            self._tell("resolved", incident, verdict, level)
            incident = ""
        return attrs.evolve(record, incident=incident)

    def _tell(self, kind: str, incident: str, verdict: Verdict, level: Level) -> None:
        self._notices.append(
            Notice(
                kind=kind,
                id=incident,
                title=f"{verdict.criterion}: {level.name.lower()}",
                reason=verdict.reason,
                level=level,
                at_s=verdict.closed_s,
            )
        )

    def notices(self) -> tuple[Notice, ...]:
        """Return what has fired or resolved since last asked."""
        told, self._notices = tuple(self._notices), []
        return told

    def to_json(self) -> dict[str, JSON]:
        """Return what `restore` takes up: open windows, memories, incidents."""
        return {name: record.to_json() for name, record in self._records.items()}

    def restore(self, value: JSON) -> None:
        """
        Go on from what `to_json` returned.

        What belongs to a criterion that is gone is dropped.
        """
        known = self._plugins.criteria
        remembered = cast("Mapping[str, Mapping[str, JSON]]", value)
        self._records = {
            name: CriterionRecord.from_json(record)
            for name, record in remembered.items()
            if name in known
        }


def _refuse_garbage(
    criterion: Criterion, verdict: object, memory: Mapping[str, JSON] | None
) -> None:
    if not isinstance(verdict, Verdict) or verdict.criterion != criterion.name:
        msg = f"judge returned {verdict!r}; return (self.verdict(...), memory)"
        raise TypeError(msg)
    if verdict.value is not None and not math.isfinite(verdict.value):
        msg = f"the verdict's value is {verdict.value}; write a finite number"
        raise ValueError(msg)
    canonical.dumps(memory)
    canonical.dumps(verdict.to_json())
