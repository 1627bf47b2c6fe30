"""A measurement rule in the manner of Argo Rollouts, as a criterion."""

from __future__ import annotations

import math

from collections.abc import Mapping

import attrs

from ...canonical import JSON
from ...criteria import Ceiling
from ...exceptions import CriterionError
from ...model import Level, Missing, Verdict, Window
from .run import Bounds, Phase, Tally


@attrs.frozen(eq=False)
class ArgoRule(Ceiling):
    """
    A series of measurements, of which some may fail.

        ArgoRule("errors", metric="error_rate", critical=.05, failure_limit=2)

    Each closed window is one measurement. It fails where the figure reaches `alert` or
    `critical`, whichever is written, and is successful elsewhere; with `warning`
    written too, it is inconclusive in between. What a failed run is worth is the level
    whose limit is written: an alert stops the ramp, critical takes it back.

    A run that is over stays so. `run` names it: another name starts another run.

    Attributes:
        failure_limit: Failed measurements that are borne; None bears any number.
        inconclusive_limit: Inconclusive measurements that are borne.
        consecutive_error_limit: Errors in a row that are borne.
        consecutive_success_limit: Successes in a row that end the run well, or None.
        count: Measurements after which the run ends, or None for no end.
        run: Name of the run, such as the candidate's version.

    .. versionadded:: 0.1
    """

    failure_limit: int | None = attrs.field(default=0, kw_only=True)
    inconclusive_limit: int = attrs.field(default=0, kw_only=True)
    consecutive_error_limit: int = attrs.field(default=4, kw_only=True)
    consecutive_success_limit: int | None = attrs.field(default=None, kw_only=True)
    count: int | None = attrs.field(default=None, kw_only=True)
    run: str = attrs.field(default="", kw_only=True)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        fault = self._wrong()
        if fault is not None:
            raise CriterionError(self.name, fault)

    def _wrong(self) -> str | None:
        if (self.alert is None) == (self.critical is None):
            return (
                f"got alert={self.alert} and critical={self.critical}; write one of"
                " them, where a measurement begins to fail"
            )
        if self.failure_limit is None and self.consecutive_success_limit is None:
            return (
                "got failure_limit=None, so nothing fails it; write"
                " consecutive_success_limit= or a failure_limit"
            )
        for name, least in _LEAST.items():
            limit = getattr(self, name)
            if limit is not None and (not isinstance(limit, int) or limit < least):
                return f"got {name}={limit!r}; write a whole number, {least} or up"
        return None

    @property
    def bounds(self) -> Bounds:
        """When a run ends, and how."""
        return Bounds(**{name: getattr(self, name) for name in _LEAST})

    def measurement(self, value: float | None) -> Phase:
        """Return how a measurement of *value* went; None could not be taken."""
        if value is None or not math.isfinite(value):
            return Phase.ERROR
        level = self.limits.level(value, lower_is_worse=self.lower_is_worse)
        if level.unhealthy:
            return Phase.FAILED
        return Phase.INCONCLUSIVE if level is Level.WARNING else Phase.SUCCESSFUL

    def judge(
        self, window: Window, memory: Mapping[str, JSON] | None
    ) -> tuple[Verdict, Mapping[str, JSON] | None]:
        """Take one measurement, unless the run is over, and say how the run stands."""
        tally, phase = self._remembered(memory)
        value = self.measure(window)
        if not phase.over:
            tally = tally.add(self.measurement(value))
            phase = self.bounds.phase(tally)
        left: dict[str, JSON] = {
            "run": self.run,
            "phase": phase.value,
            "tally": tally.to_json(),
        }
        return self._said(phase, tally, value, window), left

    def _remembered(self, memory: Mapping[str, JSON] | None) -> tuple[Tally, Phase]:
        if memory is None or memory["run"] != self.run:
            return Tally(), Phase.PENDING
        tally = memory["tally"]
        if not isinstance(tally, Mapping):
            msg = f"criterion {self.name!r}: remembered {tally!r} as a tally"
            raise TypeError(msg)
        return Tally.from_json(tally), Phase(str(memory["phase"]))

    def _said(
        self, phase: Phase, tally: Tally, value: float | None, window: Window
    ) -> Verdict:
        said = f"{phase.value} after {tally.count} measurements, {tally.failed} failed"
        figures: dict[str, JSON] = {"phase": phase.value, **tally.to_json()}
        known = value is not None and math.isfinite(value)
        # What has failed stays failed where nothing can be measured any more.
        level = self._level(phase, tally) if known or phase is Phase.FAILED else None
        if level is None:
            missing = self._missing(phase, window, known=known)
            return self.no_level(missing, said, code=phase.value, evidence=figures)
        return Verdict(
            criterion=self.name,
            level=level,
            code=phase.value,
            reason=f"{self.name}: {said}",
            value=value if known else None,
            unit=self.unit,
            limits=self.limits.as_dict(),
            evidence={"events": self.events(window), **figures},
        )

    def _level(self, phase: Phase, tally: Tally) -> Level | None:
        if phase is Phase.SUCCESSFUL:
            return Level.OK
        if phase is Phase.FAILED:
            return Level.ALERT if self.critical is None else Level.CRITICAL
        if phase is not Phase.RUNNING or self.bounds.ends:
            return None
        borne = {Phase.SUCCESSFUL: Level.OK, Phase.FAILED: Level.WARNING}
        return None if tally.newest is None else borne.get(tally.newest)

    def _missing(self, phase: Phase, window: Window, *, known: bool) -> Missing:
        failed = {self.stream, self.metric, self.name} & set(window.errors)
        if phase is Phase.ERROR or (failed and not known):
            return Missing.ERROR
        return Missing.INCONCLUSIVE if known else Missing.NO_DATA


_LEAST = {
    "failure_limit": 0,
    "inconclusive_limit": 0,
    "consecutive_error_limit": 0,
    "consecutive_success_limit": 1,
    "count": 1,
}
"""The smallest number that each bound may be."""
