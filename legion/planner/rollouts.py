"""Whole rollouts, simulated: how often a plan errs, and how fast it sees."""

from __future__ import annotations

import itertools

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from ..stages.plan import Plan, Stage, Unit
from ..stats import WeightedSum
from .crowd import Crowd
from .fault import Fault
from .passage import Climb, Passage
from .question import Method, Question
from .questions import controlled, harm, proofs
from .rate import Rate, Spread
from .scenario import Scenario, Units
from .simulation import Simulation, StageSimulated
from .staging import Staging
from .workload import Workload, WorkloadError


if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

_CHUNK = {Units.TASKS: 64, Units.STICKY: 16}
_MOST_RUNS = 1_000_000


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
    rates = {"error_rate": bad_rate} if isinstance(bad_rate, float) else bad_rate
    workload = Workload(traffic_per_s=traffic_per_s, rates=rates or {})
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
    return rollouts.summary(_joined(done), runs=runs, seed=seed)


@attrs.frozen(kw_only=True, eq=False)
class Fate:
    """
    What became of some runs.

    Attributes:
        entered: By stage, when each run entered it, in seconds; nan where it did not.
        left: By stage, when it left it.
        back: By stage, whether it was taken back from it.
        cause: Which question took it back, as an index; -1 where none did.
        frozen: Whether it was ever frozen.
        completed: Whether it passed the last stage.
        harmed: Units that the fault made bad.
    """

    entered: Floats
    left: Floats
    back: npt.NDArray[np.bool_]
    cause: npt.NDArray[np.int64]
    frozen: npt.NDArray[np.bool_]
    completed: npt.NDArray[np.bool_]
    harmed: Floats


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

    def __attrs_post_init__(self) -> None:
        self.questions = harm(self.plan)

    def chunk(self, runs: int, rng: np.random.Generator) -> Fate:
        """Roll the plan out in some runs."""
        stages = len(self.plan.stages)
        fate = _unborn(runs, stages)
        crowd = None
        if self.scenario.units is Units.STICKY:
            crowd = Crowd(runs, self.scenario.people, rng)
        alive, at_s = np.arange(runs), np.zeros(runs)
        before: dict[str, Floats] = {q.key: np.zeros(runs) for q in self.questions}
        for index, stage in enumerate(self.plan.stages):
            fate.entered[alive, index] = at_s[alive]
            staging = self._staging(stage, alive, at_s, rng, crowd)
            passage = self._pass(stage, staging, alive, before)
            at_s[alive] += (passage.left + 1) * stage.check_interval_s
            self._note(fate, passage, alive, index, at_s)
            for key, value in passage.last.items():
                before[key][alive] = value
            alive = alive[passage.on]
            if not len(alive):
                break
        fate.completed[alive] = True
        return fate

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
        )

    def _pass(
        self,
        stage: Stage,
        staging: Staging,
        alive: npt.NDArray[np.int64],
        before: Mapping[str, Floats],
    ) -> Passage:
        mine = [q for q in self.questions if q.stage == stage.name]
        must = [q for q in proofs(self.plan, stage) if self._asked(q, stage)]
        staging.remember(q for q in self.questions if q.method is Method.LABEL)
        total = WeightedSum.equal(q.key for q in self.questions or ())
        return Climb(
            staging=staging,
            harm=mine,
            proofs=must,
            total=total,
            before={key: value[alive] for key, value in before.items()},
            alpha=self.plan.false_rollback,
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

    def summary(self, fate: Fate, *, runs: int, seed: int) -> Simulation:
        """Say what came of all runs."""
        back = fate.back.any(axis=1)
        went_s = np.where(fate.back, fate.left, 0.0).sum(axis=1)
        begun_s = self._begun_s(fate)
        seen = back & (went_s >= begun_s)
        causes = Counter(self.questions[i].key for i in fate.cause[back])
        return Simulation(
            plan=self.plan.name,
            digest=self.plan.digest,
            scenario=self.scenario.says,
            faults=tuple(_words(each) for each in self.faults),
            runs=runs,
            seed=seed,
            traffic_per_s=self.workload.traffic_per_s,
            promised=self.plan.false_rollback,
            rolled_back=Rate.of_counts(int(back.sum()), runs),
            by_rows=Rate.of_counts(self._by_rows(fate.cause[back]), runs),
            frozen=Rate.of_counts(int(fate.frozen.sum()), runs),
            completed=Rate.of_counts(int(fate.completed.sum()), runs),
            causes=dict(causes.most_common()),
            detected_s=Spread.of_values((went_s - begun_s)[seen].tolist())
            if self.faults
            else None,
            harmed=Spread.of_values(fate.harmed[seen].tolist())
            if self.faults
            else None,
            stages=tuple(self._stages(fate)),
            not_simulated=tuple(self._not_simulated()),
            went_back_s=tuple(sorted(went_s[back].tolist())),
        )

    def _by_rows(self, causes: npt.NDArray[np.int64]) -> int:
        rows = (self.questions[i].method is Method.ROW for i in causes)
        return sum(rows)

    def _begun_s(self, fate: Fate) -> Floats:
        """Return when the first fault began in each run; inf where it did not."""
        first = min(
            (self.plan.index(f.since) if f.since else 0 for f in self.faults), default=0
        )
        entered = fate.entered[:, first]
        return np.where(np.isnan(entered), np.inf, entered)

    def _stages(self, fate: Fate) -> Iterator[StageSimulated]:
        for index, stage in enumerate(self.plan.stages):
            entered = ~np.isnan(fate.entered[:, index])
            back = fate.back[:, index]
            on = fate.completed
            if index + 1 < len(self.plan.stages):
                on = ~np.isnan(fate.entered[:, index + 1])
            stayed = (fate.left - fate.entered)[:, index]
            yield StageSimulated(
                name=stage.name,
                entered=int(entered.sum()),
                rolled_back=int(back.sum()),
                held=int((entered & ~back & ~on).sum()),
                starts_s=Spread.of_values(fate.entered[entered, index].tolist()),
                detected_s=Spread.of_values(stayed[back].tolist()),
            )

    def _not_simulated(self) -> Iterator[str]:
        """Yield what is taken as met, since nobody told its rate."""
        asked = itertools.chain(
            self.questions, *(proofs(self.plan, stage) for stage in self.plan.stages)
        )
        for question in asked:
            absolute = question.time and question.method is Method.LIMIT
            told = self.workload.bad_rate(question.metric) is not None
            if question.method is not Method.ROW and (absolute or not told):
                yield question.key


def _words(fault: Fault) -> str:
    since = f" from {fault.since} on" if fault.since else ""
    return f"{fault.stream} x{fault.effect:g}{since}"


def _unborn(runs: int, stages: int) -> Fate:
    return Fate(
        entered=np.full((runs, stages), np.nan),
        left=np.full((runs, stages), np.nan),
        back=np.zeros((runs, stages), dtype=bool),
        cause=np.full(runs, -1, dtype=np.int64),
        frozen=np.zeros(runs, dtype=bool),
        completed=np.zeros(runs, dtype=bool),
        harmed=np.zeros(runs),
    )


def _joined(fates: Sequence[Fate]) -> Fate:
    names = [field.name for field in attrs.fields(Fate)]
    return Fate(
        **{
            name: np.concatenate([getattr(fate, name) for fate in fates])
            for name in names
        }
    )
