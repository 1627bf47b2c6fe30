"""How the runs pass through one stage: on, back, or not at all."""

from __future__ import annotations

import math

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from ..stats import FREEZE_AT, Side, WeightedSum
from .detection import Detection
from .question import Method, Question
from .slicing import Places
from .staging import Staging
from .tasks import Source
from .weigh import Weighing, over_places


if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

_BLOCK = 256


@attrs.frozen(kw_only=True, eq=False)
class Passage:
    """
    What became of each run in a stage, arrays of shape (runs,).

    Attributes:
        left: At which look it was left, counted from 0.
        back: Whether it was taken back then.
        on: Whether the next stage began then.
        frozen: Whether it was frozen at any look.
        cause: Which question took it back, as an index; -1 where none did.
        last: Last log e-value of each question of the stage, by key.
        harmed: Units that the fault made bad, while users were exposed.
    """

    left: npt.NDArray[np.int64]
    back: npt.NDArray[np.bool_]
    on: npt.NDArray[np.bool_]
    frozen: npt.NDArray[np.bool_]
    cause: npt.NDArray[np.int64]
    last: Mapping[str, Floats]
    harmed: Floats


@attrs.define(eq=False)
class Climb:
    """
    Takes some runs through a stage, look by look, and decides as the engine does.

    Args:
        staging: The stage.
        harm: What may take it back.
        proofs: What it must prove; what cannot be drawn is taken as met.
        total: The budget.
        before: Log e-values of the parts that are finished, by key, shape (runs,).
        alpha: What the budget holds.
        places: From when on which slices are judged.
        kept_back: What of each part is for later stays in the stage.
    """

    staging: Staging
    harm: Sequence[Question]
    proofs: Sequence[Question]
    total: WeightedSum
    before: Mapping[str, Floats]
    alpha: float
    places: Places
    kept_back: float
    _open: npt.NDArray[np.bool_] = attrs.field(init=False)
    _found: Passage = attrs.field(init=False)
    _runs: npt.NDArray[np.int64] = attrs.field(init=False)
    _rest: Floats = attrs.field(init=False)
    _detections: dict[str, Detection] = attrs.field(init=False)
    _detected: dict[str, Floats] = attrs.field(init=False, factory=dict)
    _weighings: dict[tuple[Side, str], Weighing] = attrs.field(init=False)
    _used: npt.NDArray[np.bool_] = attrs.field(init=False)

    def passage(self) -> Passage:
        """Return what became of each run."""
        staging = self.staging
        runs = staging.runs
        self._found = _nothing(runs, staging.looks, [q.key for q in self.harm])
        self._runs = np.arange(runs)
        self._rest = self._others()
        among = [each for question in self.harm for each in question.among]
        drawn = [q for q in (*self.harm, *self.proofs, *among) if staging.known(q)]
        sources = staging.sources(drawn)
        self._detections = {
            q.key: staging.detection(q) for q in drawn if q.method is Method.DETECTOR
        }
        self._weighings = {
            (q.side, q.key): Weighing(q, rho=staging.rho, looks=staging.dwell_looks)
            for q in drawn
            if q.method is not Method.DETECTOR
        }
        placed = self.places.at(np.full(runs, staging.looks))
        self._used = np.asarray(placed.any(axis=0))
        for first in range(0, staging.looks, _BLOCK):
            last = min(first + _BLOCK, staging.looks)
            self._open = self.places.open(first, last)
            for source in sources.values():
                source.advance(first, last, self._open)
            stay = self._block(first, last, sources)
            if not stay.any():
                break
            self._runs = self._runs[stay]
            self.places = self.places.of(stay)
            for source in sources.values():
                source.keep(stay)
            for detection in self._detections.values():
                detection.keep(stay)
            for weighing in self._weighings.values():
                weighing.keep(stay)
        return self._found

    def _others(self) -> Floats:
        """Return the sum of what the parts of other stages bring, as a logarithm."""
        mine = {question.key for question in self.harm}
        found = np.full(self.staging.runs, -np.inf)
        for name, weight in self.total.weights.items():
            if name not in mine:
                found = np.logaddexp(
                    found, math.log(weight) + self.before.get(name, 0.0)
                )
        return found

    def _block(
        self, first: int, last: int, sources: Mapping[str, Source]
    ) -> npt.NDArray[np.bool_]:
        """Decide at each look of the block; return which runs stay in the stage."""
        self._detected = {
            key: each.log_e(sources[each.question.metric.name].tally(each.question))
            for key, each in self._detections.items()
        }
        parts = self._parts(first, last, sources)
        terms = [math.log(self.total.weights[key]) + e for key, e in parts.items()]
        total = self._rest[self._runs, None] + np.zeros((1, last - first))
        for term in terms:
            total = np.logaddexp(total, term)
        back = total >= -math.log(self.alpha)
        frozen = total >= math.log(FREEZE_AT)
        on = self._proven(first, last, sources) & ~frozen & ~back
        leave = back | on
        left = leave.any(axis=1)
        at = np.where(left, leave.argmax(axis=1), last - first - 1)
        self._note(first, parts, back, on, frozen, at, sources)
        return np.asarray(~left)

    def _parts(
        self, first: int, last: int, sources: Mapping[str, Source]
    ) -> dict[str, Floats]:
        shape = (len(self._runs), last - first)
        found = {}
        for question in self.harm:
            if question.method is Method.ROW:
                found[question.key] = self._row(question, shape, sources)
            elif question.metric.name in sources and self.staging.known(question):
                found[question.key] = self._log_e(question, sources)
            else:
                found[question.key] = np.zeros(shape)
        return {key: self._staked(log_e) for key, log_e in found.items()}

    def _staked(self, log_e: Floats) -> Floats:
        """Return what a part has where some of it is for later stays."""
        if not self.kept_back:
            return log_e
        stake = math.log1p(-self.kept_back)
        return np.logaddexp(stake + log_e, math.log(self.kept_back))

    def _row(
        self, question: Question, shape: tuple[int, int], sources: Mapping[str, Source]
    ) -> Floats:
        """Return the average of what it is among; what cannot be drawn says nothing."""
        total = np.full(shape, -np.inf)
        for each in question.among:
            known = self.staging.known(each) and each.metric.name in sources
            logs = self._log_e(each, sources) if known else np.zeros(shape)
            total = np.logaddexp(total, logs)
        if not question.among:
            return np.zeros(shape)
        mean = total - math.log(len(question.among))
        if not question.horizon_s:
            return np.asarray(mean)
        found = [self._detections.get(each.key) for each in question.among]
        rows = [each.row(shape) >= question.row for each in found if each is not None]
        opened = np.logical_or.reduce([np.zeros(shape, dtype=bool), *rows])
        return np.where(opened, mean, np.minimum(mean, 0.0))

    def _log_e(self, question: Question, sources: Mapping[str, Source]) -> Floats:
        if question.method is Method.DETECTOR:
            return self._detected[question.key]
        tally = sources[question.metric.name].tally(question)
        weighing = self._weighings[question.side, question.key]
        if not question.sliced:
            return weighing.log_e(tally)
        places = self._open[:, self._used]
        return over_places(weighing.log_e(tally.of(self._used), places=places), places)

    def _proven(
        self, first: int, last: int, sources: Mapping[str, Source]
    ) -> npt.NDArray[np.bool_]:
        shape = (len(self._runs), last - first)
        over = np.arange(first, last) + 1 >= self.staging.dwell_looks
        found = np.broadcast_to(over, shape)
        if not over.any():
            return found
        for question in self.proofs:
            if self.staging.known(question):
                proof = self._log_e(question, sources)
                found = found & (proof >= -math.log(question.alpha))
        return found

    def _note(
        self,
        first: int,
        parts: Mapping[str, Floats],
        back: npt.NDArray[np.bool_],
        on: npt.NDArray[np.bool_],
        frozen: npt.NDArray[np.bool_],
        at: npt.NDArray[np.int64],
        sources: Mapping[str, Source],
    ) -> None:
        found, runs, each = self._found, self._runs, np.arange(len(self._runs))
        found.left[runs] = first + at
        found.back[runs], found.on[runs] = back[each, at], on[each, at]
        until = np.arange(frozen.shape[1])[None, :] <= at[:, None]
        found.frozen[runs] |= (frozen & until).any(axis=1)
        ends = {key: log[each, at] for key, log in parts.items()}
        for key, value in ends.items():
            found.last[key][runs] = value
        if ends:
            stacked = np.array(list(ends.values()))
            found.cause[runs] = np.where(back[each, at], stacked.argmax(axis=0), -1)
        found.harmed[runs] = self._harmed(at, sources)

    def _harmed(
        self, at: npt.NDArray[np.int64], sources: Mapping[str, Source]
    ) -> Floats:
        """Return how many units were bad up to then that control would have served."""
        staging = self.staging
        total = np.zeros(len(at))
        if staging.stage.shadow:
            return total
        whole = [q for q in self.harm if not q.sliced and not q.windows]
        for question in {q.metric.stream: q for q in whole}.values():
            if question.metric.name not in sources or not staging.known(question):
                continue
            slower = question.slower
            now = staging.times(question.metric, slower=slower)
            well = staging.workload.times(1.0, question.metric, slower=slower)
            tally = sources[question.metric.name].tally(question)
            bad = tally.candidate[np.arange(len(at)), at]
            unripe = staging.unripe(question.metric, slower=slower)
            total += (bad + unripe) * max(1 - well / now, 0.0)
        return total


def _nothing(runs: int, looks: int, keys: Sequence[str]) -> Passage:
    return Passage(
        left=np.full(runs, looks - 1, dtype=np.int64),
        back=np.zeros(runs, dtype=bool),
        on=np.zeros(runs, dtype=bool),
        frozen=np.zeros(runs, dtype=bool),
        cause=np.full(runs, -1, dtype=np.int64),
        last={key: np.zeros(runs) for key in keys},
        harmed=np.zeros(runs),
    )
