"""Whole rollouts, simulated: how often a plan errs, and how fast it sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from ..stages.budget import KEPT_BACK
from ..stages.plan import Plan, Stage, Unit
from ..stats import WeightedSum
from .calendar import length_s
from .crowd import Crowd
from .fate import Fate
from .fault import Fault
from .passage import Climb, Passage
from .question import Method, Question
from .questions import controlled, exposed, harm, healthy, proofs
from .scenario import Scenario, Units
from .simulation import Simulation
from .slicing import Places, Slicing
from .staging import Staging
from .summary import Summary
from .workload import Workload, WorkloadError


if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

_CHUNK = {Units.TASKS: 64, Units.STICKY: 16}
_MOST_RUNS = 1_000_000
_MOST_LOOKS = 200_000


def simulate(
    plan: Plan,
    *,
    traffic_per_s: float,
    bad_rate: float | Mapping[str, float] | None = None,
    faults: Sequence[Fault] = (),
    scenario: Scenario | None = None,
    runs: int = 400,
    seed: int = 1,
    progress: Callable[[int], object] | None = None,
) -> Simulation:
    """
    Simulate whole rollouts with every path that can roll back by chance.

    The e-values, their weights and their nulls are the engine's; what is simulated is
    what comes: counts per look of mature units, drawn from Poisson distributions, or
    from each user's own where users come back.

    Args:
        plan: The plan.
        traffic_per_s: Units of both arms a second, above 0.
        bad_rate: As for `forecast`.
        faults: What the candidate does worse; nothing measures false rollbacks.
        scenario: The circumstances; by default the plan's unit and nothing else.
        runs: How many rollouts, at least 1.
        seed: The same gives the same.
        progress: Called with how many runs are done.

    Raises:
        WorkloadError: An argument is out of its range.

    .. versionadded:: 0.1
    """
    if not 1 <= runs <= _MOST_RUNS or seed < 0:
        msg = (
            f"simulate: got runs={runs}, seed={seed}; write runs of at least 1, seed 0"
        )
        raise WorkloadError(msg)
    workload = Workload.of(traffic_per_s, bad_rate=bad_rate)
    digest, plan = plan.digest, exposed(plan)
    sticky = Units.TASKS if plan.unit is Unit.TASK else Units.STICKY
    rollouts = Rollouts(
        plan=plan,
        workload=workload,
        scenario=scenario or Scenario(units=sticky),
        faults=tuple(faults),
    )
    done = []
    size = _CHUNK[rollouts.scenario.units]
    for number, first in enumerate(range(0, runs, size)):
        count = min(size, runs - first)
        # One stream of random numbers a chunk: more runs leave the first as they were.
        rng = np.random.default_rng([seed, number])
        done.append(rollouts.chunk(count, rng))
        if progress is not None:
            progress(first + count)
    summary = Summary(
        plan=plan,
        workload=rollouts.workload,
        scenario=rollouts.scenario,
        faults=rollouts.faults,
        questions=rollouts.questions,
    )
    return attrs.evolve(summary.of(Fate.joined(done), seed=seed), digest=digest)


@attrs.define(eq=False, kw_only=True)
class Rollouts:
    """
    Rollouts of one plan under some circumstances.

    Args:
        plan: The plan.
        workload: The traffic.
        scenario: The circumstances.
        faults: What the candidate does worse.
    """

    plan: Plan
    workload: Workload
    scenario: Scenario
    faults: tuple[Fault, ...]
    questions: tuple[Question, ...] = attrs.field(init=False)
    slicing: Slicing = attrs.field(init=False)
    hurt: int | None = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.questions = harm(self.plan)
        self.workload = self.workload.also(healthy(self.questions))
        if not self.faults:
            # How fast a fault is seen depends on what nobody told; that it is not seen
            # where there is none does not, so the limit itself is the worst.
            edges = dict(self._edges())
            self.workload = attrs.evolve(self.workload, edges=edges)
        self.slicing = Slicing(names=self.plan.slices, values=self.scenario.values)
        self.hurt = _hurt(self.faults, self.slicing)
        for stage in self.plan.stages:
            looks = length_s(stage) / stage.check_interval_s * self.scenario.patience
            if looks > _MOST_LOOKS:
                msg = f"{stage.name}: got {looks:,.0f} looks; write a longer interval"
                raise WorkloadError(msg)

    def _edges(self) -> Iterator[tuple[str, float]]:
        """Yield the limits of what nobody told, never to be passed; the lowest last."""
        among = [each for question in self.questions for each in question.among]
        limits = [
            (question.limit / self.scenario.worst, question.metric.name)
            for question in (*self.questions, *among)
            if question.limit is not None and not self.workload.draws(question)
        ]
        yield from ((name, limit) for limit, name in sorted(limits, reverse=True))

    def chunk(self, runs: int, rng: np.random.Generator) -> Fate:
        """Roll the plan out in some runs."""
        stages = len(self.plan.stages)
        fate = Fate.unborn(runs, stages)
        crowd = None
        if self.scenario.units is Units.STICKY:
            crowd = Crowd(runs, self.scenario.people, rng, self.slicing)
            self._introduce(crowd)
        alive, at_s = np.arange(runs), np.zeros(runs)
        before: dict[str, Floats] = {q.key: np.zeros(runs) for q in self.questions}
        known = np.zeros((runs, len(self.slicing.labels)), dtype=bool)
        for index, stage in enumerate(self.plan.stages):
            fate.entered[alive, index] = at_s[alive]
            staging = self._staging(stage, alive, at_s, rng, crowd)
            mine = [q for q in self.questions if q.stage == stage.name]
            sliced = {q.metric.name: q.metric for q in mine if q.sliced}
            places = staging.places(known[alive], sliced.values())
            passage = self._pass(stage, staging, alive, before, places=places)
            known[alive] = places.at(passage.left)
            at_s[alive] += (passage.left + 1) * stage.check_interval_s
            self._note(fate, passage, alive, index, at_s)
            for key, value in passage.last.items():
                before[key][alive] = value
            if crowd is not None:
                self._go_by(crowd, stage, staging, alive, passage)
            alive = alive[passage.on]
            if not len(alive):
                break
        fate.completed[alive] = True
        return fate

    def _introduce(self, crowd: Crowd) -> None:
        """Let the users of every compared metric be drawn, with a shadow's history."""
        shadow_s = sum(s.dwell_s or 0.0 for s in self.plan.stages if s.shadow)
        must = [q for stage in self.plan.stages for q in proofs(self.plan, stage)]
        compared = {
            question.metric.name: question.metric
            for question in (*self.questions, *must)
            if Method.LABEL in {question.method, question.compared}
            and self.workload.draws(question)
        }
        for metric in compared.values():
            before = self.workload.traffic_per_s * shadow_s
            crowd.meet(metric, self.workload.rate(metric), before=before)

    @staticmethod
    def _go_by(
        crowd: Crowd,
        stage: Stage,
        staging: Staging,
        alive: npt.NDArray[np.int64],
        passage: Passage,
    ) -> None:
        """Let what users did in a stage be the past of the next one."""
        if not 0 < stage.traffic < 1:
            return  # A shadow's past is drawn already, and at the end nobody compares.
        spent_s = np.asarray((passage.left + 1) * stage.check_interval_s, np.float64)
        for metric in crowd.metrics:
            crowd.live(
                metric,
                alive,
                rho=stage.traffic,
                times=staging.of_users(metric),
                visits=staging.workload.traffic_per_s * spent_s,
            )

    def _staging(
        self,
        stage: Stage,
        alive: npt.NDArray[np.int64],
        at_s: Floats,
        rng: np.random.Generator,
        crowd: Crowd | None,
    ) -> Staging:
        return Staging(
            plan=self.plan,
            stage=stage,
            workload=self.workload,
            scenario=self.scenario,
            faults=self.faults,
            runs=len(alive),
            # The day's rhythm is that of the run in the middle.
            start_s=float(np.median(at_s[alive])),
            rng=rng,
            crowd=None if crowd is None else crowd.of(alive),
            slicing=self.slicing,
            hurt=self.hurt,
        )

    def _pass(
        self,
        stage: Stage,
        staging: Staging,
        alive: npt.NDArray[np.int64],
        before: Mapping[str, Floats],
        *,
        places: Places,
    ) -> Passage:
        mine = [q for q in self.questions if q.stage == stage.name]
        must = [q for q in proofs(self.plan, stage) if self._asked(q, stage)]
        total = WeightedSum.equal([q.key for q in self.questions])
        return Climb(
            staging=staging,
            harm=mine,
            proofs=must,
            total=total,
            before={key: value[alive] for key, value in before.items()},
            alpha=self.plan.false_rollback,
            places=places,
            kept_back=0.0 if self.plan.unit is Unit.TASK else KEPT_BACK,
        ).passage()

    @staticmethod
    def _asked(question: Question, stage: Stage) -> bool:
        return controlled(stage) or question.method is Method.LIMIT

    def _note(
        self,
        fate: Fate,
        passage: Passage,
        alive: npt.NDArray[np.int64],
        index: int,
        at_s: Floats,
    ) -> None:
        mine = [
            number
            for number, question in enumerate(self.questions)
            if question.stage == self.plan.stages[index].name
        ]
        fate.left[alive, index] = at_s[alive]
        fate.back[alive, index] = passage.back
        fate.frozen[alive] |= passage.frozen
        fate.harmed[alive] += passage.harmed
        if mine:
            cause = np.array(mine)[passage.cause]
            fate.cause[alive] = np.where(passage.back, cause, fate.cause[alive])


def _hurt(faults: Sequence[Fault], slicing: Slicing) -> int | None:
    """Return which slice some of the faults hurt alone."""
    hurt = {fault.slice for fault in faults} - {""}
    if len(hurt) > 1:
        msg = f"faults: got the slices {', '.join(sorted(hurt))}; write one of them"
        raise WorkloadError(msg)
    return slicing.place(hurt.pop()) if hurt else None
