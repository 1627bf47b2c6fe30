"""When a stage sees which effect, and when it has proven a margin."""

from __future__ import annotations

import math

import attrs

from ..stages.plan import Stage
from ..stages.slices import MOST
from ..stats import (
    LATER,
    BernoulliProcess,
    Onset,
    Side,
    bad_events_to_decide,
    events_to_decide,
    seconds_to_detect,
    seconds_to_prove,
    seconds_to_prove_below,
    traffic_to_detect,
)
from .detection import expected_limit
from .question import Method, Question
from .said import spell_share
from .workload import Workload


SHARES = (1.5, 2.0, 5.0, 10.0)
"""Effects told of a share: so many times as many bad units."""

TIMES = (1.2, 1.5, 2.0, 5.0)
"""Effects told of a time: so many times as slow."""

BEYOND = (1.5, 2.0, 3.0)
"""Effects told of a limit: so many times the limit."""


_DAY_S = 86_400.0


@attrs.frozen(kw_only=True)
class Sight:
    """
    When an effect is seen.

    Attributes:
        effect: 5 is five times as many bad units, or five times as slow.
        median_s: By when in half of the rollouts, in seconds from the first unit;
            None where it is not seen.
        p90_s: By when in nine of ten.
    """

    effect: float
    median_s: float | None
    p90_s: float | None


@attrs.frozen(kw_only=True)
class Lens:
    """
    A question in a stage under some traffic: the planner's formulas, put to use.

    Attributes:
        question: The question.
        stage: Its stage.
        workload: The traffic.
        matures_s: The age at which outcomes count, in seconds.
    """

    question: Question
    stage: Stage
    workload: Workload
    matures_s: float = 0.0

    def within(self, share: float) -> Lens:
        """Return the same of one slice, which has so large a share of the units."""
        question, workload = self.question, self.workload
        return attrs.evolve(
            self,
            question=attrs.evolve(
                question,
                name=f"{question.name} of {spell_share(share)} of the units",
                alpha=question.alpha / MOST,
                worse_by=None,
            ),
            workload=attrs.evolve(
                workload, traffic_per_s=workload.traffic_per_s * share
            ),
        )

    def sight(self, effect: float) -> Sight:
        """Return when the effect is seen, at a look, from the first unit on."""
        return Sight(
            effect=effect,
            median_s=self._at_a_look(self.evidence_s(effect, quantile=0.5)),
            p90_s=self._at_a_look(self.evidence_s(effect, quantile=0.9)),
        )

    def always_s(self) -> float:
        """Return by when a level is seen that is beyond its limit in each window."""
        question, interval_s = self.question, self.stage.check_interval_s
        alpha = question.alpha
        if question.method is Method.DETECTOR:
            alpha *= interval_s / question.horizon_s
        looks = math.ceil((self.stage.dwell_s or _DAY_S) / interval_s)
        first, windows = BernoulliProcess.harm(question.limit or 0.5), 0
        process = Onset.of(first, looks=looks)
        while process.log_e < -math.log(alpha):
            process, windows = process.update(process.first.update(1, 1)), windows + 1
        return windows * interval_s

    def _at_a_look(self, seconds: float | None) -> float | None:
        if seconds is None:
            return None
        interval_s = self.stage.check_interval_s
        return math.ceil((seconds + self.matures_s) / interval_s) * interval_s

    def evidence_s(self, effect: float, *, quantile: float | None) -> float | None:
        """Return how many seconds of mature units it takes to see the effect."""
        rate = self.workload.bad_rate(self.question.metric)
        if rate is None:
            return None
        ratio = self.workload.times(
            effect, self.question.metric, slower=self.question.slower
        )
        found = [self._detect(ratio, rate, quantile)]
        if self.question.floor is not None and not self.question.learned:
            found.append(self._beyond(rate * ratio, self.question.floor, quantile))
        return None if None in found else max(s for s in found if s is not None)

    def _detect(
        self, ratio: float, rate: float, quantile: float | None
    ) -> float | None:
        question = self.question
        if question.method is not Method.DETECTOR:
            # The rest of the stake is for harm that begins later.
            question = attrs.evolve(question, alpha=question.alpha * (1 - LATER))
        if question.method is Method.LIMIT:
            first = attrs.evolve(self, question=question)
            return first._beyond(rate * ratio, question.limit or 0.5, quantile)
        if question.method is Method.DETECTOR:
            return self._risen(rate * ratio, quantile)
        if question.method is Method.PAIRED:
            first = attrs.evolve(self, question=question)
            return first._pairs(ratio, question.ratio, rate, quantile, side=Side.HARM)
        return seconds_to_detect(
            ratio,
            traffic_per_s=self.workload.traffic_per_s,
            bad_rate=rate,
            rho=self.stage.traffic,
            alpha=question.alpha,
            null=question.ratio,
            quantile=quantile,
        )

    def _risen(self, p: float, quantile: float | None) -> float | None:
        """Return how long a rise takes to be seen, whenever it comes."""
        question, interval_s = self.question, self.stage.check_interval_s
        limit = question.limit or expected_limit(question, self.workload)
        if limit is None:
            return None
        step_s = max(question.step_s, interval_s)
        # A detector begins each step with its share of the horizon.
        alpha = question.alpha * step_s / question.horizon_s
        risen = attrs.evolve(
            self,
            question=attrs.evolve(
                question, alpha=alpha / 2 if question.learned else alpha
            ),
        )
        seconds = risen._beyond(p, limit, quantile)
        return None if seconds is None else math.ceil(seconds / step_s) * step_s

    def _beyond(self, p: float, limit: float, quantile: float | None) -> float | None:
        events = events_to_decide(
            min(p, 1.0),
            limit,
            side=Side.HARM,
            alpha=self.question.alpha,
            quantile=quantile,
        )
        return None if events is None else events / self._seen_per_s

    @property
    def _seen_per_s(self) -> float:
        return self.workload.seen_per_s(self.question.metric, self.stage)

    def _pairs(
        self,
        ratio: float,
        null: float,
        rate: float,
        quantile: float | None,
        *,
        side: Side,
    ) -> float | None:
        """
        Return seconds of a shadow whose arms go wrong independently of each other.

        Pairs in which one arm alone is bad are bad events of two equal arms.
        """
        worse = min(rate * ratio, 1.0)
        alone = worse * (1 - rate), rate * (1 - worse)
        if not all(alone):
            return None
        events = bad_events_to_decide(
            alone[0] / alone[1],
            null=null,
            side=side,
            rho=0.5,
            alpha=self.question.alpha,
            quantile=quantile,
        )
        return None if events is None else events / (self._seen_per_s * sum(alone))

    def traffic_per_s(self, *, quantile: float | None = None) -> float | None:
        """Return from which traffic the plan's own effect is seen by its deadline."""
        question = self.question
        rate = self.workload.bad_rate(question.metric)
        compares = question.method is Method.LABEL and question.worse_by is not None
        if rate is None or not compares or question.within_s is None:
            return None
        ratio = self.workload.times(
            1 + (question.worse_by or 0.0), question.metric, slower=question.slower
        )
        return traffic_to_detect(
            ratio,
            within_s=question.within_s,
            bad_rate=rate,
            rho=self.stage.traffic,
            alpha=question.alpha,
            null=question.ratio,
            quantile=quantile,
        )

    def proven_s(self, *, quantile: float | None) -> float | None:
        """Return when the margin or the limit is proven if nothing changed."""
        question = self.question
        rate = self.workload.bad_rate(question.metric)
        if rate is None:
            return None
        if question.method is Method.LIMIT:
            found = self._proven_below(question.limit or 0.5, rate, quantile)
        elif question.floor is not None:
            half = attrs.evolve(
                self, question=attrs.evolve(question, alpha=question.alpha / 2)
            )
            ways = (
                half._compared(rate, quantile),
                half._proven_below(question.floor, rate, quantile),
            )
            found = min((way for way in ways if way is not None), default=None)
        else:
            found = self._compared(rate, quantile)
        return self._at_a_look(found)

    def _compared(self, rate: float, quantile: float | None) -> float | None:
        question = self.question
        ratio = self.workload.times(1.0, question.metric, slower=question.slower)
        if question.method is Method.PAIRED:
            return self._pairs(ratio, question.ratio, rate, quantile, side=Side.PROOF)
        return seconds_to_prove(
            question.ratio,
            traffic_per_s=self.workload.traffic_per_s,
            bad_rate=rate,
            rho=self.stage.traffic,
            alpha=question.alpha,
            ratio=ratio,
            quantile=quantile,
        )

    def _proven_below(
        self, limit: float, rate: float, quantile: float | None
    ) -> float | None:
        return seconds_to_prove_below(
            limit,
            bad_rate=rate,
            traffic_per_s=self._seen_per_s,
            rho=1.0,
            alpha=self.question.alpha,
            quantile=quantile,
        )
