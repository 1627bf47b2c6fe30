"""One stage of a simulated plan: who comes, and what is counted."""

from __future__ import annotations

import math

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from ..metrics import Metric
from ..stages.plan import Plan, Stage
from ..stats import Side
from .crowd import Crowd
from .detection import Detection, learned_limits
from .fault import Fault
from .question import Method, Question
from .scenario import Scenario
from .slicing import Places, Slicing
from .sticky import Sticky
from .tasks import Flow, Parts, Source, Tasks
from .workload import OCCASIONAL, Workload


if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


@attrs.define(eq=False)
class Staging:
    """
    Sets the scene of a stage for some runs.

    Args:
        plan: The plan.
        stage: The stage.
        workload: The traffic.
        scenario: The circumstances.
        faults: What the candidate does worse.
        runs: How many runs enter the stage.
        start_s: When it starts, in seconds from day 0.
        rng: Draws everything.
        crowd: The users, where they come back.
        slicing: How units are spread over slices.
        hurt: The slice that some of the faults hurt alone, or None.
    """

    plan: Plan
    stage: Stage
    workload: Workload
    scenario: Scenario
    faults: Sequence[Fault]
    runs: int
    start_s: float
    rng: np.random.Generator
    crowd: Crowd | None = None
    slicing: Slicing = attrs.field(kw_only=True)
    hurt: int | None = attrs.field(default=None, kw_only=True)
    _load: Floats = attrs.field(init=False)
    _badness: Floats = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        looks = np.arange(self.looks, dtype=np.float64)
        at_s = self.start_s + self.stage.check_interval_s * looks
        self._load = self.scenario.load(at_s)
        self._badness = self.scenario.badness(at_s, self.runs, self.rng)

    @property
    def dwell_looks(self) -> int:
        """How many looks the dwell has."""
        dwell_s = self.stage.dwell_s or self.stage.unbroken_for_s or 0.0
        return max(math.ceil(dwell_s / self.stage.check_interval_s), 1)

    @property
    def looks(self) -> int:
        """How many looks there are until the stage is given up."""
        return math.ceil(self.dwell_looks * self.scenario.patience)

    @property
    def rho(self) -> float:
        """The candidate's share of what is compared: a half of the pairs in shadow."""
        return 0.5 if self.stage.shadow else self.stage.traffic

    def known(self, question: Question) -> bool:
        """Return whether the rate of a question is known, so that it can be drawn."""
        return self.workload.draws(question)

    def sources(self, questions: Iterable[Question]) -> dict[str, Source]:
        """Return what counts for these questions, by metric."""
        asked: dict[str, list[Question]] = {}
        for question in questions:
            asked.setdefault(question.metric.name, []).append(question)
        return {name: self._source(of) for name, of in asked.items()}

    def _source(self, questions: Sequence[Question]) -> Source:
        metric = questions[0].metric
        if questions[0].windows:
            return Tasks(self._windows(metric), self.runs, self.rng)
        cuts = {each.slower for each in questions}
        goods = any(
            each.limit or each.floor or each.method is Method.DETECTOR
            for each in questions
        )
        flow = attrs.evolve(
            self._flow(metric),
            times={cut: self.times(metric, slower=cut) for cut in sorted(cuts)},
            goods=goods,
            parts=self._sliced([each for each in questions if each.sliced]),
        )
        compared = any(
            Method.LABEL in {each.method, each.compared} for each in questions
        )
        if self.crowd is None or not compared or self.stage.shadow:
            return Tasks(flow, self.runs, self.rng)
        return Sticky(
            flow=flow,
            metric=metric,
            rate=self.workload.rate(metric),
            crowd=self.crowd,
            worse={cut: self.of_users(metric, slower=cut) for cut in cuts},
            dwell_looks=self.dwell_looks,
            ratios=frozenset(self._against_the_past(questions)),
        )

    def _sliced(self, questions: Sequence[Question]) -> Parts | None:
        """Return how what these are asked about is divided."""
        if not questions:
            return None
        slicing, metric = self.slicing, questions[0].metric
        return Parts(
            shares=slicing.shares,
            groups=slicing.groups,
            times={
                cut: self._of_slices(metric, slower=cut)
                for cut in {each.slower for each in questions}
            },
        )

    def places(self, known: npt.NDArray[np.bool_], metrics: Iterable[Metric]) -> Places:
        """
        Return from when on which slices are judged.

        Args:
            known: Which were before, shape (runs, slices).
            metrics: By which they are.
        """
        ages = [self.plan.matures(metric.name) for metric in metrics]
        if not ages:
            return Places.given(known, np.zeros((1, known.shape[1], self.looks)))
        stage = self.stage
        a_look = self.workload.traffic_per_s * stage.check_interval_s * self._load
        if self.crowd is None:
            control = np.cumsum(self._later(a_look * (1 - stage.traffic), min(ages)))
            units = control * self.slicing.shares[:, None]
            return Places.given(known, units[None])
        visits = np.cumsum(self._later(a_look, min(ages)))
        return Places.given(known, self.crowd.come(visits, rho=stage.traffic))

    def detection(self, question: Question) -> Detection:
        """Return what detects a rise, with a limit drawn where it is learned."""
        limits = (
            learned_limits(
                question, self.workload, self.scenario, runs=self.runs, rng=self.rng
            )
            if question.limit is None
            else np.full(self.runs, question.limit)
        )
        return Detection(question, limits, self.stage.check_interval_s)

    def _against_the_past(self, questions: Sequence[Question]) -> Iterator[float]:
        """Yield the ratios at which harm is held against what users did before."""
        for each in questions:
            compared = Method.LABEL in {each.method, each.compared}
            past = compared and not each.time and not each.sliced
            if each.side is Side.HARM and past:
                yield each.ratio

    def times(self, metric: Metric, *, slower: float = 0.0) -> float:
        """Return how many times as many of all the candidate's units are bad."""
        within, beside = self._hurts(metric, slower)
        share = 0.0 if self.hurt is None else float(self.slicing.shares[self.hurt])
        return share * within + (1 - share) * beside

    def _hurts(self, metric: Metric, slower: float) -> tuple[float, float]:
        """Return the same in the slice that is hurt, and in the others."""
        everywhere = [fault for fault in self.faults if not fault.slice]
        within, beside = (
            self.workload.times(self._effect(metric, of), metric, slower=slower)
            for of in (self.faults, everywhere)
        )
        return within, beside

    def _of_slices(self, metric: Metric, *, slower: float) -> Floats:
        """Return the same of each slice; the names are independent."""
        within, beside = self._hurts(metric, slower)
        found = np.full(len(self.slicing.shares), self.times(metric, slower=slower))
        if self.hurt is not None:
            for group in self.slicing.groups:
                if group.start <= self.hurt < group.stop:
                    found[group] = beside
            found[self.hurt] = within
        return found

    def of_users(self, metric: Metric, *, slower: float = 0.0) -> Floats:
        """Return the same of each user, shape (runs, people) or (1, 1)."""
        within, beside = self._hurts(metric, slower)
        if self.hurt is None or self.crowd is None:
            return np.array([[within]])
        return np.where(self.crowd.within(self.hurt), within, beside)

    def unripe(self, metric: Metric, *, slower: float) -> float:
        """Return how many of the candidate's bad units are seen but not mature."""
        times = self.times(metric, slower=slower)
        worse = min(self.workload.rate(metric) * times, 1.0)
        return (
            worse
            * self.workload.seen_per_s(metric, self.stage)
            * self.plan.matures(metric.name)
        )

    def _effect(self, metric: Metric, faults: Sequence[Fault]) -> float:
        """Return how many times as bad, or as slow, the candidate is."""
        return math.prod(
            fault.of(metric, plan=self.plan, stage=self.stage.name) for fault in faults
        )

    def _flow(self, metric: Metric) -> Flow:
        """Return the units of both arms at the look at which they are mature."""
        stage, interval_s = self.stage, self.stage.check_interval_s
        seen = self.workload.seen_per_s(metric, stage) * interval_s * self._load
        all_units = self.workload.traffic_per_s * interval_s * self._load
        control = np.zeros_like(all_units)
        if metric.name not in OCCASIONAL and metric.source != "watchdog":
            control = all_units * (1 - stage.traffic)
        matures_s = self.plan.matures(metric.name)
        # Without an age to compare at, what is late is missed in one arm alone.
        late_s = 0.0 if matures_s else self.scenario.late_s
        return Flow(
            candidate=self._later(seen, matures_s),
            control=self._later(control, matures_s + late_s),
            bad=np.minimum(self.workload.rate(metric) * self._badness, 0.95),
            times={},
            rho=self.rho,
            paired=stage.shadow,
            retries=self.scenario.retries,
            count_retries=self.scenario.count_retries,
        )

    def _windows(self, metric: Metric) -> Flow:
        """Return one window a look, each for itself beyond its limit or not."""
        each = np.ones(self.looks)
        return Flow(
            candidate=each,
            control=np.zeros_like(each),
            bad=(self.workload.rate(metric) * each)[None],
            times={0.0: 1.0},
            rho=self.rho,
            goods=True,
        )

    def _later(self, units: Floats, seconds: float) -> Floats:
        shift = math.ceil(seconds / self.stage.check_interval_s)
        return np.concatenate([np.zeros(min(shift, len(units))), units])[: len(units)]
