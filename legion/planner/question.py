"""What the statistics are asked of a stage: must it go back, may it go on?"""

from __future__ import annotations

import enum
import functools

import attrs

from ..metrics import Kind, Metric
from ..stages.evidence.rates import STRETCH_S
from ..stages.plan import Stage
from ..stats import LogHistogram, Side
from ..stats.tail import Tail


class Method(enum.StrEnum):
    """Which test answers a question."""

    LABEL = "label"
    """Whose bad event is it, of two arms."""
    PAIRED = "paired"
    """Both arms answered the same unit, in shadow."""
    LIMIT = "limit"
    """One arm against an absolute limit."""
    DETECTOR = "detector"
    """One arm against a limit, or against what control did, at any time."""
    ROW = "row"
    """So many unhealthy windows, one after the other, and what proves them."""


@attrs.frozen(kw_only=True)
class Question:
    """
    One question of one stage.

    Attributes:
        stage: The stage.
        name: The rule in words, or the criterion and its level.
        metric: What it speaks of.
        side: Harm (must it go back?) or proof (may it go on?).
        method: Which test answers it.
        alpha: Its share of the budget: it is answered at an e-value of 1 / alpha.
        ratio: m: the null's ratio of the shares of bad units.
        slower: d: by what share the candidate may be slower, after rounding.
        limit: The null's share of bad units, where there is no comparison.
        floor: Share of bad units below which all is well, as ``or_below`` says.
        worse_by: The effect that the plan names, or None.
        within_s: The deadline that the plan names, in seconds, or None.
        compared: Which test a limit must pass, too, where there is a control.
        among: Of failures in a row, the questions whose average must carry it.
        row: How many failures in a row it asks for.
        horizon_s: How long the budget lasts where everybody has the candidate.
        before: The last stage that had a control, from which a limit is learned.
        sliced: Whether it is asked in each slice apart: the answer is the mean over the
            places that slices can have.
        windows: Whether windows are counted and not units: how often a level is beyond
            its limit.
    """

    stage: str
    name: str
    metric: Metric
    side: Side
    method: Method
    alpha: float = 1.0
    ratio: float = 1.0
    slower: float = 0.0
    limit: float | None = None
    floor: float | None = None
    worse_by: float | None = None
    within_s: float | None = None
    compared: Method | None = None
    among: tuple[Question, ...] = ()
    row: int = 0
    horizon_s: float = 0.0
    before: Stage | None = None
    sliced: bool = False
    windows: bool = False

    @property
    def key(self) -> str:
        """What the part of the budget is called; once in a plan."""
        return f"{self.stage}: {self.name}"

    @property
    def time(self) -> bool:
        """Whether a unit is bad by being slow."""
        return self.metric.kind is Kind.TIME

    @property
    def absolute(self) -> bool:
        """Whether the plan says the limit, whatever control does."""
        return self.limit is not None

    @property
    def learned(self) -> bool:
        """Whether the limit is what control did before everybody had the candidate."""
        return self.method is Method.DETECTOR and not self.absolute

    @property
    def step_s(self) -> float:
        """Plan time that a detector weighs as a whole, in seconds; 0 for each look."""
        return min(STRETCH_S, self.horizon_s / 24) if self.learned else 0.0


@functools.cache
def rounded(slower: float, *, side: Side) -> float:
    """Return by what share the candidate may be slower once the tail has rounded it."""
    tail = Tail.of(LogHistogram.of([1.0] * 100), q=0.95, slower=slower, side=side)
    assert tail is not None
    return tail.slower
