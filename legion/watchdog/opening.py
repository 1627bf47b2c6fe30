"""The open window of a criterion: what is added to it, and what is not kept in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import attrs

from ..criteria import Criterion
from ..criteria.kinds import Measured
from ..model import Arm, Observation, Window
from .record import CriterionRecord


MOST_UNITS = 1_000
"""Bad units that the open window of a criterion keeps, all metrics together."""

_Kept = TypeVar("_Kept")


def add(
    record: CriterionRecord, observation: Observation, criterion: Criterion
) -> Window:
    """
    Add the observation to the open window of *record*, and return that.

    A window may stay open for days where events are rare, so it must not grow with
    them. Counts, histograms and samples do not; sets of units do. The built-in kinds
    read one stream, and only that is kept for them, without units. A criterion written
    by hand may read anything: it has all metrics, and units up to `MOST_UNITS`; beyond,
    they are left out and the window's errors say so. A baseline never has units.
    """
    old = record.open
    baseline = _baseline(old, observation, criterion)
    window = _lean(observation.candidate, criterion, baseline=baseline)
    if old is not None:
        window = attrs.evolve(old, baseline=None).merge(window)
    record.open = _capped(window)
    record.seen_s += max(0.0, observation.candidate.seconds)
    return record.open


def _baseline(
    old: Window | None, observation: Observation, criterion: Criterion
) -> Window | None:
    """
    Return the baseline of the open window: control's, or what the candidate brought.

    Control's windows are added up as the candidate's are. A baseline that comes without
    a control may be a stored one, offered again and again: it is added only where it
    begins after the one before has ended, and else takes its place.
    """
    before = None if old is None else old.baseline
    given = observation.candidate.baseline or observation.control
    if given is None:
        return before
    baseline = _lean(given, criterion, arm=Arm.CONTROL)
    if before is None:
        return baseline
    if observation.control is None and baseline.opened_s < before.closed_s:
        return baseline
    return before.merge(baseline)


def _lean(
    window: Window,
    criterion: Criterion,
    *,
    baseline: Window | None = None,
    arm: Arm = Arm.CANDIDATE,
) -> Window:
    judged = arm is Arm.CANDIDATE
    errors = window.errors if judged else {}
    if not isinstance(criterion, Measured):
        units = window.bad_units if judged else {}
        return attrs.evolve(
            window, bad_units=units, visits={}, errors=errors, baseline=baseline
        )
    stream = criterion.stream
    return Window(
        opened_s=window.opened_s,
        closed_s=window.closed_s,
        counts=_only(window.counts, stream),
        histograms=_only(window.histograms, stream),
        gauges=_only(window.gauges, stream),
        errors=errors,
        dropped=window.dropped,
        baseline=baseline,
    )


def _only(values: Mapping[str, _Kept], stream: str) -> dict[str, _Kept]:
    return {stream: values[stream]} if stream in values else {}


def _capped(window: Window) -> Window:
    units = sum(len(units) for units in window.bad_units.values())
    told = "bad_units" in window.errors
    if not units or (units <= MOST_UNITS and not told):
        return window
    why = f"more than {MOST_UNITS:,} units while the window was open; left out"
    errors = {**window.errors, "bad_units": why}
    return attrs.evolve(window, bad_units={}, errors=errors)
