"""The latency beyond which an event is bad: a tail that moves with control."""

from __future__ import annotations

import math

from collections.abc import Mapping
from typing import cast

import attrs

from ..canonical import JSON
from .grid import Side
from .histogram import RELATIVE_ERROR, LogHistogram


_GROWTH = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GROWTH = math.log(_GROWTH)


@attrs.frozen(kw_only=True)
class Tail:
    """
    Two edges of histogram buckets: above its own, an event of an arm is bad.

    The null is "the candidate exceeds (1 + d) q no more often than control exceeds q",
    for any q that was chosen before the events came: then the label e-process with
    ratio 1 applies, whatever the latencies are distributed as, and also while they
    move. Because both edges are edges of buckets, the counts are exact. (1 + d) is
    rounded to a whole number of buckets, up for harm and down for proof, so that
    rounding (2 % at most) makes either verdict harder and never easier.

    Attributes:
        control: The last bucket that is still good for control.
        candidate: The last bucket that is still good for the candidate.
    """

    control: int
    candidate: int

    @classmethod
    def of(
        cls,
        past: LogHistogram,
        *,
        q: float,
        slower: float,
        side: Side,
        min_events: int = 100,
    ) -> Tail | None:
        """
        Choose the edges from control's past.

        Args:
            past: Latencies of control from before the events that will be counted,
                from a window that rolls: a frozen one drifts away with the daily load.
            q: The quantile, as .95, inside 0..1.
            slower: d: by what share the candidate may be slower, at least 0.
            side: Harm or proof.
            min_events: How many latencies the past must hold.

        Returns:
            None where the past holds too few, or its quantile is not above 0.

        Raises:
            ValueError: *q* is not inside 0..1, or *slower* is negative.
        """
        if not (0 < q < 1 and 0 <= slower < math.inf):
            msg = f"tail: got q={q}, slower={slower}; write q in 0..1, slower from 0 on"
            raise ValueError(msg)
        if past.count < max(min_events, 1):
            return None
        edge = _bucket(past, rank=math.ceil(q * past.count))
        if edge is None:
            return None
        # The slack keeps 1.0202, one bucket exactly, from becoming two.
        width = math.log1p(slower) / _LOG_GROWTH
        buckets = (
            math.ceil(width - 1e-9) if side is Side.HARM else math.floor(width + 1e-9)
        )
        return cls(control=edge, candidate=edge + buckets)

    @property
    def limit(self) -> float:
        """Control's edge, in the unit of the latencies."""
        return math.exp(self.control * _LOG_GROWTH)

    @property
    def candidate_limit(self) -> float:
        """The candidate's edge, in the unit of the latencies."""
        return math.exp(self.candidate * _LOG_GROWTH)

    @property
    def slower(self) -> float:
        """By what share the candidate may be slower, after rounding."""
        return math.expm1((self.candidate - self.control) * _LOG_GROWTH)

    def bad(self, *, candidate: LogHistogram, control: LogHistogram) -> tuple[int, int]:
        """
        Count the bad events of new latencies.

        Args:
            candidate: New latencies of the candidate, one a unit.
            control: New latencies of control, one a unit.

        Returns:
            The candidate's and control's, for `LabelProcess.update`.
        """
        return (
            count_above(candidate, self.candidate),
            count_above(control, self.control),
        )

    def to_json(self) -> dict[str, JSON]:
        """Return what `from_json` reads back to equal edges."""
        return {"control": self.control, "candidate": self.candidate}

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> Tail:
        """Read what `to_json` wrote."""
        return cls(
            control=int(cast("int", value["control"])),
            candidate=int(cast("int", value["candidate"])),
        )


def count_above(histogram: LogHistogram, bucket: int) -> int:
    """Count the values above the upper edge of a *bucket* of positive values; exact."""
    return sum(n for each, n in histogram.positive.items() if each > bucket)


def _bucket(histogram: LogHistogram, *, rank: int) -> int | None:
    """Return the bucket of the value with that rank, from 1, if it is above 0."""
    rank -= histogram.zeros + sum(histogram.negative.values())
    if rank <= 0:
        return None
    bucket = None
    for bucket in sorted(histogram.positive):
        rank -= histogram.positive[bucket]
        if rank <= 0:
            break
    return bucket
