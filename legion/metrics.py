"""
The metrics that plans and criteria may name: one table.

A metric says where in a window its value lies, in which unit, and which way is better.
Nothing here measures; a metric in this table that nobody supplies is *not measured*.
"""

from __future__ import annotations

import difflib
import enum
import math

from collections.abc import Iterable, Iterator, Mapping

import attrs

from .exceptions import MetricError
from .model import Count, Window


CONTAINMENT = "containment_violations"
"""Acts that reached outside their fence."""

DISAGREEMENT = "disagreement"
"""Whether a mirrored answer differs from control's."""

TOOL_PLAN = "tool_plan_disagreement"
"""Whether a mirrored run called other tools than control, or others first."""

LATENCY = "latency"
"""The stream of how long requests took."""

WITHOUT_TOOLS = "latency_without_tools"
"""The same, less the time in which a marked tool ran."""


class Kind(enum.StrEnum):
    """How a metric's value is read from a window."""

    SHARE = "share"
    """Events per opportunity, 0..1."""
    COUNT = "count"
    """A number of events."""
    TIME = "time"
    """A quantile of recorded values: seconds, unless the unit says otherwise."""
    GAUGE = "gauge"
    """The newest sample of a level."""


@attrs.frozen(kw_only=True)
class Metric:
    """
    One thing that can be measured of an arm.

    Attributes:
        name: What plans call it.
        kind: How it is read from a window.
        unit: ``share``, ``s``, ``count``, ``number``, ``MB/h``, ``h``.
        higher_is_better: Which way is worse.
        source: Who supplies it: ``run``, ``probe``, ``shadow``, ``cache``,
            ``registry``, ``gate``, ``watchdog``, ``engine`` or ``host``.
        stream: Key in the window; its own name unless several read one stream.
        quantile: Which quantile a time is read at.
        features: Features that bring it: where a stage enables none of them, the stage
            does not require it.
        aliases: Other names that plans may use.
        summary: One line for the documentation.
    """

    name: str
    kind: Kind
    unit: str
    higher_is_better: bool = False
    source: str = "host"
    stream: str = attrs.field()
    quantile: float = 0.95
    features: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    summary: str = ""

    @stream.default
    def _own_name(self) -> str:
        return self.name

    @property
    def by_arm(self) -> bool:
        """Whether units of either arm have it, and legion itself records which."""
        paired = self.source == "shadow" and self.kind is Kind.SHARE
        return self.source in {"run", "shadow"} and not paired

    def read(self, window: Window) -> float | None:
        """Return the value in *window*, or None where it was not measured."""
        match self.kind:
            case Kind.SHARE:
                return window.share(self.stream)
            case Kind.COUNT:
                return window.count(self.stream)
            case Kind.TIME:
                return window.quantile(self.stream, self.quantile)
            case Kind.GAUGE:
                return window.gauge(self.stream)

    def misfit(self, value: Count | float) -> str:
        """
        Say why no source can have measured *value* of this metric, or nothing.

        A share above one is kept where it is the worse: it promotes nothing.
        """
        if isinstance(value, Count):
            shared = self.kind is Kind.SHARE and value.of is not None
            fits = shared or self.kind is Kind.COUNT
        else:
            most = 1.0 if self.higher_is_better else math.inf
            fits = self.kind is Kind.GAUGE
            fits = fits and (self.unit != "share" or 0.0 <= value <= most)
        return "" if fits else f"supplied as {value}; write {self._as_supplied}"

    @property
    def _as_supplied(self) -> str:
        """How a source writes it."""
        match self.kind:
            case Kind.SHARE:
                return "legion.Count(n, of)"
            case Kind.COUNT:
                return "legion.Count(n)"
            case Kind.TIME:
                return "each value with trial.score"
            case Kind.GAUGE:
                share = self.unit == "share"
                return "a share from 0 to 1" if share else "the newest sample"

    def events(self, window: Window) -> int:
        """Return how many opportunities, values or samples *window* has of it."""
        return window.events(self.stream)


def _times(
    stream: str, summary: str, *, source: str = "run", unit: str = "s", **names: float
) -> Iterator[Metric]:
    for name, quantile in names.items():
        yield Metric(
            name=name,
            kind=Kind.TIME,
            unit=unit,
            source=source,
            stream=stream,
            quantile=quantile,
            summary=summary.format(q=f"{quantile:.0%}"),
        )


def _shares(source: str, *, higher: bool = False, **summaries: str) -> Iterator[Metric]:
    for name, summary in summaries.items():
        yield Metric(
            name=name,
            kind=Kind.SHARE,
            unit="share",
            source=source,
            higher_is_better=higher,
            summary=summary,
        )


def _counts(source: str, **summaries: str) -> Iterator[Metric]:
    for name, summary in summaries.items():
        yield Metric(
            name=name, kind=Kind.COUNT, unit="count", source=source, summary=summary
        )


def _gauges(source: str, unit: str, **summaries: str) -> Iterator[Metric]:
    for name, summary in summaries.items():
        yield Metric(
            name=name, kind=Kind.GAUGE, unit=unit, source=source, summary=summary
        )


_BROUGHT_BY = {
    "cache_hit_rate": ("l4_cache",),
    "storage_efficiency": ("l4_cache",),
    "storage_savings": ("l4_cache",),
    "mobile_success": ("mobile_agent_v4_1",),
    "self_improvement_failure_rate": ("self_improver",),
    "patch_rollback_rate": ("self_improver", "adaptive_refactor"),
    "patches_applied": ("self_improver", "adaptive_refactor"),
    "auto_improvement_success": ("self_improver",),
    "learning_loop_stall": ("neuro_learning_loop",),
    "learning_cycles_succeeded": ("neuro_learning_loop",),
    "architecture_proposals": ("neuro_learning_loop",),
    "evaluation_time": ("neuro_learning_loop",),
}

_ALIASES = {
    "mobile_success": ("mobile_success_rate",),
    "registry_integrity": ("registry_checksum_failures",),
    "agent_stability": ("agent_success_rate",),
}


def _table() -> Iterator[Metric]:
    yield from _shares("run", error_rate="Requests that failed.")
    yield from _times(
        LATENCY,
        "Time by which {q} of the requests were answered.",
        latency_p50=0.50,
        latency_p95=0.95,
        latency_p99=0.99,
    )
    yield from _gauges(
        "probe",
        "share",
        memory_usage="Resident memory over the smallest limit of host and cgroup.",
        cpu_usage="CPU time over the CPUs the process may use.",
    )
    yield from _shares(
        "cache", higher=True, cache_hit_rate="Look-ups answered from the cache."
    )
    yield from _shares(
        "shadow",
        disagreement="Mirrored answers that differ from control's.",
        tool_plan_disagreement="Mirrored runs that call other tools than control.",
    )
    yield from _times(
        WITHOUT_TOOLS,
        "The same for {q} without the time in marked tools, where a stage mirrors.",
        source="shadow",
        latency_without_tools_p50=0.50,
        latency_without_tools_p95=0.95,
        latency_without_tools_p99=0.99,
    )
    yield from _times(
        "cost",
        "What {q} of the requests cost at most, in your own unit.",
        source="host",
        unit="number",
        cost_p50=0.50,
        cost_p95=0.95,
    )
    yield from _shares(
        "host",
        higher=True,
        agent_stability="Agent runs that ended well.",
        mobile_success="Tasks the mobile agent completed.",
        self_healing_success="Faults mended without a person.",
        auto_improvement_success="Applied improvements that were kept.",
    )
    yield from _shares(
        "host",
        self_improvement_failure_rate="Proposals that failed.",
        patch_rollback_rate="Applied patches that were taken back.",
    )
    for name, summary in {
        "storage_efficiency": "Stored bytes that are live.",
        "storage_savings": "Bytes saved against plain JSON.",
    }.items():
        yield Metric(
            name=name,
            kind=Kind.GAUGE,
            unit="share",
            higher_is_better=True,
            summary=summary,
        )
    yield from _counts("registry", registry_integrity="Checksums that failed.")
    yield from _counts(
        "gate",
        safety_gate_bypasses="Guarded acts that ran without a permit.",
        unauthorized_actions="Acts that ran against a denial.",
    )
    yield from _counts(
        "host",
        containment_violations="Acts that reached outside their fence; a mirrored run's too.",
        contradictions="Opposite decisions on the same facts.",
        critical_errors="Errors the host marked as critical.",
        crashes="Processes or runs that died.",
        deadlocks="Deadlocks that were found.",
        learning_cycles_succeeded="Learning cycles that ran to their end.",
        patches_applied="Patches that went live.",
        architecture_proposals="Proposals that survived their evaluation.",
    )
    yield from _gauges("host", "s", deadlock="How long a deadlock has lasted.")
    yield from _gauges(
        "host", "count", infinite_loop="Iterations of a loop without progress."
    )
    yield from _gauges("host", "MB/h", memory_leak="Sustained growth of memory.")
    yield from _gauges(
        "host", "h", learning_loop_stall="Time since the last completed cycle."
    )
    yield from _times(
        "evaluation_time", "Time an evaluation takes.", evaluation_time=0.95
    )
    yield from _counts(
        "watchdog",
        watchdog_warnings="Verdicts that became a warning.",
        watchdog_alerts="Verdicts that became an alert or worse.",
        watchdog_critical_alerts="Verdicts that became critical.",
        critical_incidents="Incidents that reached critical.",
        health_check="Unhealthy checks in a row.",
    )
    yield Metric(
        name="health_check_pass",
        kind=Kind.SHARE,
        unit="share",
        higher_is_better=True,
        source="watchdog",
        summary="Checks that were healthy.",
    )
    yield from _counts(
        "engine",
        rollbacks="Times this rollout went back.",
        unplanned_rollbacks="Times it went back by a trigger.",
    )


METRICS: Mapping[str, Metric] = {
    metric.name: attrs.evolve(
        metric,
        features=_BROUGHT_BY.get(metric.name, ()),
        aliases=_ALIASES.get(metric.name, ()),
    )
    for metric in _table()
}
"""Every metric legion knows of, by name."""

HARD_FACTS = frozenset(
    {
        "containment_violations",
        "deadlock",
        "memory_usage",
        "registry_integrity",
        "safety_gate_bypasses",
        "unauthorized_actions",
    }
)
"""Metrics in which chance has no part: one reading beyond the limit is enough."""

_BY_ALIAS = {alias: m.name for m in METRICS.values() for alias in m.aliases}


def find(name: str, own: Iterable[Metric] = ()) -> Metric:
    """
    Return the metric that *name* means.

    Args:
        name: A metric's name or one of its aliases.
        own: Metrics that the host or the plan declares beside the table.

    Raises:
        MetricError: There is none; the message names the nearest.
    """
    known = {**METRICS, **{metric.name: metric for metric in own}}
    metric = known.get(_BY_ALIAS.get(name, name))
    if metric is None:
        near = difflib.get_close_matches(name, [*known, *_BY_ALIAS], n=1)
        write = f"write {near[0]!r}" if near else "declare it under `metrics:`"
        raise MetricError(name, f"unknown; {write}")
    return metric
