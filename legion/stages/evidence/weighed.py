"""What of a criterion is weighed as evidence, and what is a fact."""

from __future__ import annotations

from ...criteria import Criterion
from ...criteria.kinds import Ceiling, Floor, Rise
from ...metrics import HARD_FACTS, Kind, Metric
from ...model import Level
from ..plan import Rule


_RISES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


def is_fact(criterion: Criterion) -> bool:
    """
    Tell whether one critical verdict of *criterion* is enough to go back.

    It is for the hard facts, and for what counts: a criterion whose unit is ``count``
    and which reads no sampled level.
    """
    counts = criterion.unit == "count" and getattr(criterion, "of", "count") == "count"
    return criterion.name in HARD_FACTS or counts


def is_weighed(criterion: Criterion) -> bool:
    """Tell whether a criterion's figure is weighed, unit by unit, beside its verdicts."""
    return _of_times(criterion) or _of_shares(criterion)


def _of_times(criterion: Criterion) -> bool:
    # Not of a subclass: that has a rule of its own, which only its verdicts tell.
    return type(criterion) is Rise and criterion.of in _RISES


def _of_shares(criterion: Criterion) -> bool:
    return type(criterion) in {Ceiling, Floor} and _of(criterion) == "share"


def _of(criterion: Criterion) -> str:
    return str(getattr(criterion, "of", ""))


def weighed(criterion: Criterion, level: Level) -> tuple[Rule, Metric] | None:
    """
    Return what says that a noisy criterion is beyond one of its limits.

    Args:
        criterion: The criterion.
        level: The level that begins at the limit.

    Returns:
        A rule and the metric it speaks of; None where only its verdicts tell.
    """
    limit = dict(criterion.limits).get(level)
    if limit is None or criterion.name in HARD_FACTS:
        return None
    if _of_times(criterion):
        rule = _rule(criterion, worse_by=limit)
        return rule, _metric(criterion, Kind.TIME, "s")
    if not _of_shares(criterion):
        return None
    low = criterion.lower_is_worse
    rule = _rule(criterion, below=limit) if low else _rule(criterion, above=limit)
    return rule, _metric(criterion, Kind.SHARE, "share")


def _metric(criterion: Criterion, kind: Kind, unit: str) -> Metric:
    return Metric(
        name=criterion.name,
        kind=kind,
        unit=unit,
        source="run" if criterion.stream in {"latency", "error_rate"} else "host",
        higher_is_better=criterion.lower_is_worse,
        stream=criterion.stream,
        quantile=_RISES.get(_of(criterion), 0.95),
    )


def _rule(
    criterion: Criterion,
    *,
    below: float | None = None,
    above: float | None = None,
    worse_by: float | None = None,
) -> Rule:
    return Rule(
        metric=criterion.name,
        unit=criterion.unit,
        higher_is_better=criterion.lower_is_worse,
        below=below,
        above=above,
        worse_by=worse_by,
        versus="baseline" if worse_by is not None else "",
    )


def detected_at(criterion: Criterion | None) -> float:
    """Return from which value on a metric is detected: the criterion's first harm."""
    if criterion is None:
        return 1.0
    limits = (criterion.alert, criterion.critical, criterion.warning)
    return next((limit for limit in limits if limit is not None), 1.0)
