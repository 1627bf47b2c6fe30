"""How long look-ups take, how near their answers are, and what these save."""

from __future__ import annotations

import logging
import threading

from collections.abc import Callable
from functools import partial
from typing import Generic

import attrs

from ..stats import LogHistogram
from .fork import Order, over_fork
from .hit import Hit, V


logger = logging.getLogger("legion")

# As many values wait to be counted: the logarithm of each costs more than keeping it.
_MOST_RECENT = 1_024


@attrs.frozen(kw_only=True)
class Cost:
    """
    What an answer cost to make.

    Attributes:
        tokens: Of a language model, the prompt's and the answer's.
        money: In whatever currency you count.
    """

    tokens: int = 0
    money: float = 0.0


@attrs.define(eq=False)
class Recorder:
    """A histogram that grows, from any thread."""

    _recent: list[float] = attrs.field(init=False, factory=list)
    _counted: LogHistogram = attrs.field(init=False, factory=LogHistogram)
    _lock: threading.Lock = attrs.field(
        init=False, factory=partial(over_fork, Order.EMBEDDER, threading.Lock)
    )

    def record(self, value: float) -> None:
        """Count *value*."""
        self._recent.append(value)
        if len(self._recent) >= _MOST_RECENT:
            self.histogram()

    def histogram(self) -> LogHistogram:
        """Return all values so far."""
        with self._lock:
            # Another thread may append meanwhile: what it adds stays.
            recent = self._recent[:]
            del self._recent[: len(recent)]
            self._counted = self._counted.merge(LogHistogram.of(recent))
            return self._counted


@attrs.define(eq=False)
class Meter(Generic[V]):
    """
    What a cache measures of its look-ups, where it is given one.

        cache = legion.SemanticCache(embed, meter=Meter(cost_of=price))

    Args:
        cost_of: From an answer to what it cost to make, so that each hit saved that;
            a question that is answered by it twice saved it twice. What it raises is
            logged, and then nothing is counted as saved.

    .. versionadded:: 0.1
    """

    cost_of: Callable[[V], Cost] | None = attrs.field(kw_only=True, default=None)
    _exact_s: Recorder = attrs.field(init=False, factory=Recorder)
    _semantic_s: Recorder = attrs.field(init=False, factory=Recorder)
    _miss_s: Recorder = attrs.field(init=False, factory=Recorder)
    _similarity: Recorder = attrs.field(init=False, factory=Recorder)

    def latency_s(self) -> dict[str, LogHistogram]:
        """
        Return how long look-ups took, embedding included, in seconds.

        Those of `get`, by outcome, and those of `get_or_compute` that were hits: how
        long others took says how long the answers took.
        """
        return {
            "exact_hit": self._exact_s.histogram(),
            "semantic_hit": self._semantic_s.histogram(),
            "miss": self._miss_s.histogram(),
        }

    def similarity(self) -> LogHistogram:
        """Return the cosines of the semantic hits."""
        return self._similarity.histogram()

    def looked_up(self, hit: Hit[V] | None, *, took_s: float | None) -> Cost | None:
        """
        Take note of a look-up.

        Args:
            hit: What it found.
            took_s: Seconds, or None where they are not this question's alone.

        Returns:
            What was saved, or None.
        """
        if hit is None:
            if took_s is not None:
                self._miss_s.record(took_s)
            return None
        if not hit.exact:
            self._similarity.record(hit.similarity)
        if took_s is not None:
            (self._exact_s if hit.exact else self._semantic_s).record(took_s)
        return self._saved(hit.value)

    def _saved(self, value: V) -> Cost | None:
        if self.cost_of is None:
            return None
        try:
            return self.cost_of(value)
        except Exception:
            logger.warning("cache: cost_of raised; nothing is counted", exc_info=True)
            return None
