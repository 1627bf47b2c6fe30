"""An observation into a report: every criterion is judged on its own."""

from __future__ import annotations

import logging
import math
import traceback

from collections.abc import Mapping
from typing import Protocol, TypeAlias, cast

import attrs

from ..canonical import JSON
from ..criteria import Criterion
from ..exceptions import CriterionError
from ..model import Missing, Notice, Observation, Report, Verdict, Window
from .answer import checked
from .incident import follow, forgotten, notice_of
from .opening import add
from .record import CriterionRecord
from .waiting import Patience, not_yet


logger = logging.getLogger("legion")

Limits: TypeAlias = Mapping[str, Mapping[str, float] | None]
"""By criterion, other limits by level name; None switches it off."""

FORGET_AFTER_S = 86_400.0
"""Plan time after which a criterion that is gone is forgotten."""


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
    is open and has no level. Windows never overlap, nor do they span two exposures.

    A criterion that goes and comes back within a day of plan time finds its memory and
    its incident again; after that it is forgotten, and its incident is resolved.

    Args:
        plugins: Whose criteria are asked; those that come later are asked, too.
        interval_s: How long a window lasts at least, in seconds of plan time. It may be
            set again at any time. A hundredth less will do: ticks are never exact.
        stale_after_s: Age of the newest verdict with a level, in plan time, from which
            on its absence is called stale; three intervals by default or, where
            evidence comes slowly, three times as long as the last window was open.
        limits: By criterion, limits by level name in place of its own, or None to
            switch it off.

    Attributes:
        exposure: Digest of what the newest observation was of, or "".

    Raises:
        CriterionError: Limits do not fit a criterion.

    .. versionadded:: 0.1
    """

    def __init__(
        self,
        plugins: Criteria,
        *,
        interval_s: float = 300.0,
        stale_after_s: float | None = None,
        limits: Limits | None = None,
    ) -> None:
        _refuse_times(interval_s, stale_after_s)
        self._plugins = plugins
        self.interval_s = interval_s
        self.stale_after_s = stale_after_s
        self._limits = dict(limits or {})
        self._limited: dict[str, tuple[Criterion, Criterion]] = {}
        self._records: dict[str, CriterionRecord] = {}
        self._notices: list[Notice] = []
        self.exposure = ""
        for criterion in self._in_force().values():
            self._with_limits(criterion)

    @property
    def criteria(self) -> Mapping[str, Criterion]:
        """
        The criteria that are asked, with the limits that hold here.

        Raises:
            CriterionError: Limits do not fit a criterion that came later.
        """
        return {n: self._with_limits(each) for n, each in self._in_force().items()}

    def judge(self, observation: Observation, baseline: Window | None = None) -> Report:
        """
        Judge the candidate's window of *observation*.

        Args:
            observation: What was seen since the last call.
            baseline: What to compare with where the observation brings none.

        Returns:
            One verdict a criterion, in the order of their names. A criterion that
            raises has no level; the others are judged all the same.
        """
        at_s = observation.at_s or observation.candidate.closed_s
        if observation.exposure != self.exposure:
            self.exposure = observation.exposure
            for record in self._records.values():
                record.empty()
        in_force = self._in_force()
        self._let_go(in_force, at_s)
        return Report(
            plan=observation.plan,
            stage=observation.stage,
            at_s=at_s,
            verdicts=tuple(
                self._ask(name, criterion, observation, baseline, at_s)
                for name, criterion in in_force.items()
            ),
            observation=observation.digest,
        )

    def last(self, criterion: str) -> Verdict | None:
        """Return the newest verdict of *criterion* that has a level, or None."""
        record = self._records.get(criterion)
        return None if record is None else record.last

    def notices(self) -> tuple[Notice, ...]:
        """
        Return what has fired, got worse or resolved since last asked.

        What was not fetched is part of `to_json`: a process that dies between judging
        and telling tells it after the restart, perhaps once more than needed, under the
        same id.
        """
        told, self._notices = tuple(self._notices), []
        return told

    def to_json(self) -> dict[str, JSON]:
        """Return what `restore` takes up: open windows, memories, counts, incidents."""
        return {
            "exposure": self.exposure,
            "criteria": {n: each.to_json() for n, each in self._records.items()},
            "notices": [notice.to_json() for notice in self._notices],
        }

    def restore(self, value: JSON) -> None:
        """
        Go on from what `to_json` returned.

        What cannot be read is logged and left out: that criterion starts anew. One that
        is not registered yet finds its memory when it comes.
        """
        raw = value if isinstance(value, Mapping) else {}
        criteria, notices = raw.get("criteria"), raw.get("notices")
        if not isinstance(criteria, Mapping) or not isinstance(notices, list | tuple):
            logger.warning("watchdog: what was remembered cannot be read; starts anew")
            return
        self.exposure = str(raw.get("exposure", ""))
        self._records = {}
        for name, record in criteria.items():
            try:
                self._records[name] = CriterionRecord.from_json(
                    cast("Mapping[str, JSON]", record)
                )
            except (LookupError, TypeError, ValueError, AttributeError):
                logger.warning(
                    "criterion %s: its memory cannot be read; starts anew",
                    name,
                    exc_info=True,
                )
        self._notices = [notice_of(notice) for notice in notices]

    def succeed(self) -> None:
        """Keep nothing of an earlier rollout's but its open incidents."""
        self._records = {
            name: record.succeeded() for name, record in self._records.items()
        }

    def _in_force(self) -> dict[str, Criterion]:
        return {
            name: criterion
            for name, criterion in sorted(self._plugins.criteria.items())
            if self._limits.get(name, {}) is not None
        }

    def _with_limits(self, criterion: Criterion) -> Criterion:
        limits = self._limits.get(criterion.name)
        if not limits:
            return criterion
        known, limited = self._limited.get(criterion.name, (None, criterion))
        if known is not criterion:
            limited = criterion.limited(limits)
            self._limited[criterion.name] = criterion, limited
        return limited

    def _let_go(self, in_force: Mapping[str, Criterion], at_s: float) -> None:
        """Empty the windows of criteria that are gone; forget those long gone."""
        for name in [name for name in self._records if name not in in_force]:
            record = self._records[name]
            record.empty()
            if at_s - record.asked_s > FORGET_AFTER_S:
                del self._records[name]
                self._tell(forgotten(name, record, at_s))

    def _ask(
        self,
        name: str,
        criterion: Criterion,
        observation: Observation,
        stored: Window | None,
        at_s: float,
    ) -> Verdict:
        """Return the verdict of one criterion, whatever it does."""
        record = self._records.get(name) or CriterionRecord()
        try:
            criterion = self._with_limits(criterion)
            record = record.of(criterion)
            return self._judge(name, criterion, record, observation, stored, at_s)
        except CriterionError as error:
            record.empty()
            return _raised(name, error, code="malformed")
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 - this is the fence
            record.empty()
            return _raised(name, error, code="raised")
        finally:
            record.asked_s = at_s
            self._records[name] = record

    def _judge(
        self,
        name: str,
        criterion: Criterion,
        record: CriterionRecord,
        observation: Observation,
        stored: Window | None,
        at_s: float,
    ) -> Verdict:
        window = add(record, observation, criterion)
        if window.baseline is None and stored is not None:
            window = attrs.evolve(window, baseline=stored)
        patience = Patience(self.interval_s, self.stale_after_s)
        wait = not_yet(criterion, record, window, at_s, patience)
        if wait is not None:
            if not wait.keep:
                record.empty()
            return wait.verdict
        verdict, memory = checked(name, criterion, record, window)
        level = verdict.level
        row = record.in_a_row
        if level is not None:
            row = row + 1 if level.unhealthy else 0
        verdict = attrs.evolve(
            verdict,
            in_a_row=row,
            closed_s=at_s,
            evidence={**verdict.evidence, "window_s": record.seen_s},
        )
        record.empty()
        record.memory, record.restored, record.in_a_row = memory, False, row
        if level is not None:
            record.last = verdict
            self._tell(follow(record, verdict))
        return verdict

    def _tell(self, notice: Notice | None) -> None:
        if notice is not None:
            self._notices.append(notice)


def _raised(name: str, error: BaseException, *, code: str) -> Verdict:
    logger.warning("criterion %s raised", name, exc_info=error)
    return Verdict(
        criterion=name,
        missing=Missing.ERROR,
        code=code,
        reason=f"{name}: {traceback.format_exception_only(error)[-1].strip()}",
        evidence={"traceback": "".join(traceback.format_exception(error))},
    )


def _refuse_times(interval_s: float, stale_after_s: float | None) -> None:
    if not math.isfinite(interval_s) or interval_s < 0:
        msg = f"watchdog: got interval_s={interval_s}; write seconds, 0 or up"
        raise ValueError(msg)
    if stale_after_s is not None and not stale_after_s > 0:
        msg = f"watchdog: got stale_after_s={stale_after_s}; write seconds above 0"
        raise ValueError(msg)
