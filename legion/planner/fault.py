"""A fault that the candidate really has."""

from __future__ import annotations

import re

import attrs

from ..metrics import Kind, Metric
from ..stages.plan import Plan
from .workload import WorkloadError


_TIMES = re.compile(r"x\s*(\d+(?:\.\d+)?)|(\d+(?:\.\d+)?)\s*x")
_MORE = re.compile(r"\+\s*(\d+(?:\.\d+)?)\s*%")
_STREAMS = {"errors": "error_rate"}


@attrs.frozen(kw_only=True)
class Fault:
    """
    What the candidate does worse.

    Attributes:
        stream: The stream of the metrics that get worse, as ``error_rate``.
        effect: 3 is three times as many bad units, or three times as slow.
        since: The stage it begins in, or "" for the first.
        slice: Whom alone it hurts, as ``tenant=3``, the third largest tenant; "" for
            everybody.
    """

    stream: str
    effect: float
    since: str = ""
    slice: str = ""

    @classmethod
    def read(
        cls,
        text: str,
        plan: Plan,
        *,
        since: str = "",
        slice: str = "",  # noqa: A002 - what it is
    ) -> Fault:
        """
        Read ``errors=x3``, ``latency=+50%`` or ``tool_failures=x2``.

        Raises:
            WorkloadError: It is none, or the plan knows no such metric or stage.
        """
        name, _, size = text.partition("=")
        times, more = _TIMES.fullmatch(size.strip()), _MORE.fullmatch(size.strip())
        effect = float(times[1] or times[2]) if times else 0.0
        effect = 1 + float(more[1]) / 100 if more else effect
        if not 0 < effect <= 1000:
            msg = f"fault: got {text!r}; write errors=x3 or latency=+50%"
            raise WorkloadError(msg)
        if since and since not in {stage.name for stage in plan.stages}:
            names = ", ".join(stage.name for stage in plan.stages)
            msg = f"since: got {since!r}; write one of the stages {names}"
            raise WorkloadError(msg)
        stream = _stream(name.strip(), plan)
        return cls(stream=stream, effect=effect, since=since, slice=slice)

    def of(self, metric: Metric, *, plan: Plan, stage: str) -> float:
        """Return how many times as bad *metric* is in a stage: 1 where it is well."""
        begun = not self.since or plan.index(stage) >= plan.index(self.since)
        return self.effect if begun and metric.stream == self.stream else 1.0


def _stream(name: str, plan: Plan) -> str:
    wanted = _STREAMS.get(name, name)
    named = {
        *(trigger.rule.metric for trigger in plan.triggers),
        *(rule.metric for stage in plan.stages for rule in stage.validate),
    }
    known = [plan.metric(each) for each in sorted(named - {""})]
    judged = [each for each in known if each.kind in {Kind.SHARE, Kind.TIME}]
    for metric in judged:
        if wanted in {metric.name, metric.stream, *metric.aliases}:
            return metric.stream
    there = ", ".join(dict.fromkeys(metric.stream for metric in judged))
    msg = f"fault: got {name!r}, which no rule compares; write one of {there}"
    raise WorkloadError(msg)
