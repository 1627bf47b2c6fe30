"""What a plan can see, and when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date

import attrs

from ..canonical import JSON
from ..model import as_json
from ..stages.evidence.sampled import HEALTHY
from ..stages.plan import Plan, Stage, Unit
from .advice import advise
from .calendar import Milestone, calendar, length_s
from .question import Method, Question
from .questions import controlled, exposed, harm, healthy, proofs
from .said import spell_share
from .sight import Lens
from .told import Told, tell_harm, tell_proof
from .workload import Workload


SLICE = 0.1
"""The share of the units that is in the slice which is told of."""

_WITHOUT = {
    True: "comparisons are with what control did before, on an ordinary day",
    False: "comparisons rest",
}


@attrs.frozen(kw_only=True)
class StageForecast:
    """
    What one stage can see and prove.

    Attributes:
        name: The stage.
        share: The candidate's share of the units, or of the mirrored ones in shadow.
        dwell_s: How long it takes at least, in seconds; 0 where it never ends.
        harm: What would take it back.
        proofs: What it must prove before the next stage.
        suggestions: What to write in the plan instead.
    """

    name: str
    share: float
    dwell_s: float
    harm: tuple[Told, ...]
    proofs: tuple[Told, ...]
    suggestions: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Forecast:
    """
    What a plan can see under some traffic.

    Attributes:
        plan: Its name.
        digest: Its digest.
        traffic_per_s: Units of both arms a second.
        parts: Among how many paths `Plan.false_rollback` is divided.
        alpha: The share of each.
        stages: One a stage.
        calendar: The days; a proof that takes longer than its dwell moves them.
        assumptions: What was taken for granted.
    """

    plan: str
    digest: str
    traffic_per_s: float
    parts: int
    alpha: float
    stages: tuple[StageForecast, ...]
    calendar: tuple[Milestone, ...]
    assumptions: tuple[str, ...]

    @property
    def possible(self) -> bool:
        """Whether this traffic can give all that the plan asks for."""
        return all(
            told.possible is not False for stage in self.stages for told in stage.proofs
        )

    def to_json(self) -> dict[str, JSON]:
        """Return the fields as JSON values."""
        return {**as_json(self), "possible": self.possible}


def forecast(
    plan: Plan,
    *,
    traffic_per_s: float,
    bad_rate: float | Mapping[str, float] | None = None,
    repeats: float | None = None,
    start: date | None = None,
) -> Forecast:
    """
    Say what each stage of a plan sees and proves, and when.

    Args:
        plan: The plan.
        traffic_per_s: Units of both arms a second, above 0.
        bad_rate: Share of bad units while nothing is wrong, inside 0..1: of
            ``error_rate``, or by metric; 1 % where nothing is said.
        repeats: Share of the requests that repeat an earlier one exactly.
        start: Day 0, for a calendar with dates.

    Raises:
        WorkloadError: A figure is out of its range.

    .. versionadded:: 0.1
    """
    workload = Workload.of(traffic_per_s, bad_rate=bad_rate, repeats=repeats)
    digest, plan = plan.digest, exposed(plan)
    questions = harm(plan)
    workload = workload.also(healthy(questions))
    stages = tuple(
        _stage(plan, stage, [q for q in questions if q.stage == stage.name], workload)
        for stage in plan.stages
    )
    return Forecast(
        plan=plan.name,
        digest=digest,
        traffic_per_s=traffic_per_s,
        parts=len(questions),
        alpha=plan.false_rollback / max(len(questions), 1),
        stages=stages,
        calendar=calendar(plan, start=start, needs_s=dict(_needs(stages))),
        assumptions=tuple(_assumptions(plan, workload, questions)),
    )


def _stage(
    plan: Plan, stage: Stage, harmful: list[Question], workload: Workload
) -> StageForecast:
    must = [q for q in proofs(plan, stage) if _answerable(q, stage)]

    def lens(question: Question) -> Lens:
        one = Lens(
            question=question,
            stage=stage,
            workload=workload,
            matures_s=0.0 if question.windows else plan.matures(question.metric.name),
        )
        return one.within(SLICE) if question.sliced else one

    told = [tell_proof(lens(question)) for question in must]
    return StageForecast(
        name=stage.name,
        share=stage.traffic or stage.mirror,
        dwell_s=length_s(stage),
        harm=tuple(tell_harm(lens(question)) for question in harmful),
        proofs=tuple(told),
        suggestions=tuple(advise(plan, stage, must, told, workload)),
    )


def _answerable(question: Question, stage: Stage) -> bool:
    # A stage without traffic and mirror compares, too, and waits for it for ever.
    return question.method is Method.LIMIT or stage.traffic < 1


def _needs(stages: tuple[StageForecast, ...]) -> Iterator[tuple[str, float]]:
    for stage in stages:
        found = [t.proven_p90_s for t in stage.proofs if t.proven_p90_s is not None]
        if found:
            yield stage.name, max(found)


def _assumptions(
    plan: Plan, workload: Workload, questions: tuple[Question, ...]
) -> Iterator[str]:
    rates = {
        q.metric.name: workload.bad_rate(q.metric)
        for q in questions
        if not q.time and q.method is not Method.ROW and not q.windows
    }
    for name, rate in rates.items():
        if rate is not None:
            yield f"{name} is {spell_share(rate)} while nothing is wrong"
    if any(q.windows for q in questions):
        yield (
            "a level that is sampled is beyond its limit in at most"
            f" {spell_share(HEALTHY)} of the windows while nothing is wrong"
        )
    if any(q.time for q in questions):
        yield f"latencies are lognormal with a spread of {workload.spread:g}"
    if plan.unit is not Unit.TASK:
        yield (
            "units come back, so bad ones run out: these times hold for many units;"
            " `legion simulate --units sticky` tells those of few"
        )
    for stage in plan.stages:
        if not controlled(stage):
            yield f"{stage.name}: there is no control; {_WITHOUT[stage.traffic == 1]}"
