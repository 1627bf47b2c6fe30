"""A simulation in a few figures."""

from __future__ import annotations

import itertools

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs
import numpy as np

from ..stages.plan import Plan
from .fate import Fate
from .fault import Fault
from .question import Method, Question
from .questions import proofs
from .rate import Rate, Spread
from .scenario import Scenario
from .simulation import Simulation, StageSimulated
from .workload import Workload


if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


@attrs.frozen(kw_only=True)
class Summary:
    """
    Says in a few figures what became of many runs.

    Attributes:
        plan: The plan.
        workload: The traffic.
        scenario: The circumstances.
        faults: What the candidate did worse.
        questions: What could take it back; causes are places in it.
    """

    plan: Plan
    workload: Workload
    scenario: Scenario
    faults: tuple[Fault, ...]
    questions: tuple[Question, ...]

    def of(self, fate: Fate, *, seed: int) -> Simulation:
        """Say what came of all runs."""
        runs = len(fate.frozen)
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
            if question.method is not Method.ROW and not self.workload.draws(question):
                yield question.key


def _words(fault: Fault) -> str:
    since = f" from {fault.since} on" if fault.since else ""
    among = f" in {fault.slice}" if fault.slice else ""
    return f"{fault.stream} x{fault.effect:g}{among}{since}"
