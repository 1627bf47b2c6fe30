"""The exact test for units that come back: who fares worse than in their own past?"""

from __future__ import annotations

import functools
import math

from collections.abc import Mapping
from typing import cast

import attrs

from ...canonical import JSON
from ...stats import (
    RandomisationProcess,
    contaminated,
    geometric_looks,
    randomisation_log_e,
    thinned,
)
from ...stats.grid import log_mean_exp
from ...stats.randomisation import ADDED, EFFECTS
from .units import Seen
from .visitors import Drawn


AFTERWARDS = 0.1
"""Share of the test that is for looks after the stage's time."""

DAY_S = 86_400.0
"""Over which plan time the looks are spread where the stage has no time of its own."""


@attrs.define(eq=False)
class ExactEvidence:
    """
    Whether units of the candidate fare worse than chance would have drawn them.

    `legion.stats.randomisation_log_e`, at looks that are fixed when the stage begins. A
    unit is held against what it did before the stage, with control.

    The test's null is that no unit is worse, and harm begins beyond a margin, m = 1 +
    margin. So of each bad visit of the candidate's units one in m is kept, by
    `legion.stats.thinned`, and the others count as good ones. Let a visit go badly with
    a probability p with control, and of at most m p with the candidate, whatever the
    unit's other visits did. Kept as bad it is with at most p then, independently of the
    others: from the arms alone, what is counted of the candidate is no worse than what
    is counted of control. A unit's weight rises with its bad visits and nothing else
    depends on them, so the mean of E is at most 1 at any ratio up to m, and the chance
    that it ever reaches 1 / alpha at most alpha.

    For a unit that had no bad visits whatever is added is more than any ratio. What
    bets on errors that are added also lets each good visit of control's units count as
    bad with a probability of 1 - 1 / m of the usual rate, by
    `legion.stats.contaminated`: then the same holds for a candidate with at most p and
    margin times the usual rate.

    Where nothing is known from before, the usual rate is that of both arms together,
    the candidate's thinned.

    A stage may last longer: it waits for a proof, has other code since, or is the last
    one. So a share of the test is kept for looks at two, four, eight times that time and
    so on, each of them with half of what is left: all weights together are still 1.

    Args:
        stream: What is counted of each visit.
        margin: By which share the candidate may be worse.
        over_s: Plan time over which the looks are spread: the stage's dwell.

    Attributes:
        later: Looks that were taken after the time of the stage.
        units: Units that the last look was of.
        left_out: Visits in this stage of units that are not followed.
    """

    stream: str
    margin: float = attrs.field(kw_only=True)
    over_s: float = attrs.field(kw_only=True)
    later: int = attrs.field(init=False, default=0)
    units: int = attrs.field(init=False, default=0)
    left_out: int = attrs.field(init=False, default=0)
    _process: RandomisationProcess = attrs.field(init=False)
    _log_later: float | None = attrs.field(init=False, default=None)
    _began_s: float | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self._process = RandomisationProcess.of(geometric_looks(self.over_s))

    @property
    def log_e(self) -> float:
        """Evidence that units fare worse, in nats."""
        log_e = math.log1p(-AFTERWARDS) + self._process.log_e
        return log_e if self._log_later is None else _log_add(log_e, self._log_later)

    @property
    def looks(self) -> str:
        """How many of the planned looks were taken, and how many later ones."""
        taken = f"{self._process.taken} of {len(self._process.looks)}"
        return f"{taken}, and {self.later} later" if self.later else taken

    def update(self, seen: Seen) -> None:
        """Look at all visits of the stage, if a look is due."""
        at_s = seen.observation.at_s
        if self._began_s is None:
            self._began_s = at_s
        self.left_out += seen.left_out.get(self.stream, 0)
        passed_s = at_s - self._began_s
        due, late = self._process.due(passed_s), self._late(passed_s)
        if not due and not late:
            return
        drawn = seen.visitors.drawn(self.stream, seen.at)
        self.units = 0 if drawn is None else len(drawn.units)
        log_e = (
            0.0
            if drawn is None
            else log_e_of_look(drawn, stream=self.stream, margin=self.margin)
        )
        if due:
            self._process = self._process.update(log_e, looks=due)
        if late:
            weight = AFTERWARDS * (0.5**self.later - 0.5 ** (self.later + late))
            new, before = log_e + math.log(weight), self._log_later
            self._log_later = new if before is None else _log_add(new, before)
            self.later += late

    def _late(self, passed_s: float) -> int:
        """Return how many looks after the time of the stage are due and not taken."""
        times = passed_s / self.over_s
        return max(0, int(math.log2(times)) - self.later) if times >= 2 else 0

    def to_json(self) -> JSON:
        """Return the looks that were taken."""
        return {
            "process": self._process.to_json(),
            "later": self.later,
            "log_later": self._log_later,
            "began_s": self._began_s,
            "units": self.units,
            "left_out": self.left_out,
        }

    def restore(self, value: JSON) -> None:
        """Go on from what `to_json` returned."""
        raw = cast("Mapping[str, JSON]", value)
        process = cast("Mapping[str, JSON]", raw["process"])
        self._process = RandomisationProcess.from_json(process)
        # Not there where it was written by a version without later looks.
        self.later = int(cast("int", raw.get("later", 0)))
        log_later = raw.get("log_later")
        self._log_later = None if log_later is None else float(cast("float", log_later))
        began_s = raw["began_s"]
        self._began_s = None if began_s is None else float(cast("float", began_s))
        self.units = int(cast("int", raw["units"]))
        self.left_out = int(cast("int", raw["left_out"]))


def _log_add(a: float, b: float) -> float:
    return log_mean_exp([a, b]) + math.log(2)


def log_e_of_look(drawn: Drawn, *, stream: str, margin: float) -> float:
    """
    Return what one look says alone, in nats; 0 where nothing went badly yet.

    Args:
        drawn: The units of the stage.
        stream: What is counted of each visit.
        margin: By which share the candidate may be worse.
    """
    mine, keep = drawn.candidate, 1 / (1 + margin)
    bad = drawn.bad.copy()
    bad[mine] = thinned(bad[mine], drawn.units[mine], keep=keep, salt=stream)
    bad_past, n_past = int(drawn.bad_before.sum()), int(drawn.n_before.sum())
    if not bad_past:
        bad_past, n_past = int(bad.sum()), int(drawn.n.sum())
    if not bad_past:
        return 0.0
    weigh = functools.partial(
        randomisation_log_e,
        n=drawn.n,
        candidate=mine,
        rho=drawn.rho,
        n_before=drawn.n_before,
    )
    rate = bad_past / n_past
    times = weigh(bad, rate=rate, bad_before=drawn.bad_before, added=())
    more = (1 - keep) * rate
    bad[~mine] += contaminated((drawn.n - bad)[~mine], share=more, salt=stream)
    # The past as it would have been, on average, with as many more.
    before = drawn.bad_before + more * (drawn.n_before - drawn.bad_before)
    added = weigh(bad, rate=rate + more * (1 - rate), bad_before=before, times=())
    # Every alternative weighs the same.
    return log_mean_exp([times] * len(EFFECTS) + [added] * len(ADDED))
