"""How likely an answer is wrong, learned from those that were judged."""

from __future__ import annotations

import base64
import math

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
import numpy as np

from numpy.typing import NDArray

from ..canonical import JSON
from .signal import Signal


WINDOW = 4_000
"""Requests, and labels, that are remembered."""
_DIM = len(Signal._fields)
_VERSION: list[JSON] = [1, *Signal._fields]
"""What is kept is of no use to another regression, or to one on other figures."""
_COUNTS = ("_n_seen", "_n_labels", "_stale")
_PRIOR = np.array([-1.0, 1.0, 0.5, 0.5, 0.5])
"""
Of a usual question an answer is right in 1 of 4 cases; nearness counts most.

In units of each figure's spread over the requests, so that it suits any embedder. It
weighs as much as one label does and is soon outvoted.
"""
_LEAST_SPREAD = 0.01
"""A figure that was always the same says nothing of what it would be like to differ."""
_HEAVIEST = 10.0
_STEPS = 8


@attrs.frozen(kw_only=True, eq=False)
class Fit:
    """
    What a fit came to.

    Attributes:
        beta: Weights in units of each figure's spread, the constant first.
        weights: The same in the figures' own units.
        chances: How likely the answers to the remembered requests are wrong, ascending.
        costs: How many wrong ones per request there are up to each of them.
    """

    beta: NDArray[np.float64]
    weights: Sequence[float] = ()
    chances: NDArray[np.float64] = attrs.field(factory=partial(np.zeros, 0))
    costs: NDArray[np.float64] = attrs.field(factory=partial(np.zeros, 0))

    @classmethod
    def of(
        cls,
        seen: NDArray[np.float64],
        labels: NDArray[np.float64],
        beta: NDArray[np.float64],
    ) -> Fit:
        """
        Fit to what was seen and labelled, beginning at *beta*.

        Args:
            seen: The figures of requests, shape (n, figures).
            labels: The figures of labels, then whether it was right and what it counts,
                shape (m, figures + 2).
            beta: The weights so far.
        """
        middle, spread = seen.mean(axis=0), np.maximum(seen.std(axis=0), _LEAST_SPREAD)
        rows = _with_one((labels[:, :_DIM] - middle) / spread)
        beta = _fitted(rows, labels[:, _DIM], labels[:, _DIM + 1], beta)
        slopes = beta[1:] / spread
        chances = np.sort(1 - _sigmoid(_with_one((seen - middle) / spread) @ beta))
        return cls(
            beta=beta,
            weights=[float(beta[0] - slopes @ middle), *slopes.tolist()],
            chances=chances,
            costs=np.cumsum(chances) / len(seen),
        )


@attrs.define(eq=False)
class Calibration:
    """
    A logistic regression on the signal, pooled over all entries, refitted as it goes.

    Its weights are at least 0, so that it is monotone in every figure, and are drawn
    towards a prior that was fixed beforehand (ridge; the mode of a Gaussian prior). A
    label counts by the inverse of its chance to be one (Horvitz and Thompson, 1952),
    lest the region that is served be known only by the few that were judged.

    It is no part of the promise: a bad fit serves less, or spends the budget on less.
    """

    _seen: NDArray[np.float64] = attrs.field(init=False)
    _labels: NDArray[np.float64] = attrs.field(init=False)
    _origins: NDArray[np.int64] = attrs.field(init=False)
    _n_seen: int = attrs.field(init=False, default=0)
    _n_labels: int = attrs.field(init=False, default=0)
    _stale: int = attrs.field(init=False, default=0)
    _due: bool = attrs.field(init=False, default=False)
    _fit: Fit = attrs.field(init=False, factory=lambda: Fit(beta=_PRIOR))

    def __attrs_post_init__(self) -> None:
        self._seen = np.zeros((WINDOW, _DIM))
        self._labels = np.zeros((WINDOW, _DIM + 2))
        self._origins = np.zeros(WINDOW, np.int64)

    def wrong(self, signal: Signal) -> float:
        """Return the chance that an answer with this signal is wrong; 1 unlearned."""
        weights = self._fit.weights
        if not weights:
            return 1.0
        logit = weights[0]
        for weight, figure in zip(weights[1:], signal, strict=True):
            logit += weight * figure
        return 1 / (1 + math.exp(min(max(logit, -40.0), 40.0)))

    def see(self, signal: Signal) -> None:
        """Take note of a request, answered or not."""
        self._seen[self._n_seen % WINDOW] = signal
        self._n_seen += 1
        self._stale += 1
        self._due = self._stale >= 32 + min(self._n_seen, WINDOW) / 10

    def learn(self, signal: Signal, *, right: bool, chance: float, origin: int) -> None:
        """
        Take note of a label.

        Args:
            signal: What spoke for the answer.
            right: Whether it was the right one.
            chance: How likely it was that this label would be known, above 0.
            origin: Number of the entry that it is about.
        """
        at = self._n_labels % WINDOW
        self._labels[at] = (*signal, right, min(1 / chance, _HEAVIEST))
        self._origins[at] = origin
        self._n_labels += 1
        self._stale += 1

    def unlearn(self, origin: int) -> None:
        """Take the labels about an entry out."""
        self._labels[self._origins == origin, -1] = 0.0
        self._stale += WINDOW

    def limit(self, wrong: float) -> float:
        """
        Return up to which chance answers may be taken.

        Args:
            wrong: How many wrong ones per request there may be.
        """
        fit = self._fit
        n = int(np.searchsorted(fit.costs, wrong, side="right"))
        return float(fit.chances[n - 1]) if n else 0.0

    def limit_of_share(self, share: float) -> float:
        """Return the chance that this share of the requests is below."""
        chances = self._fit.chances
        return float(chances[int(share * len(chances))]) if len(chances) else 0.0

    def dump(self) -> dict[str, JSON]:
        """Return all that was learned, so that it goes on as if nothing had been."""
        seen, labels = min(self._n_seen, WINDOW), min(self._n_labels, WINDOW)
        fit = self._fit
        return {
            "version": _VERSION,
            **{name: getattr(self, name) for name in _COUNTS},
            "seen": _packed(self._seen[:seen]),
            "labels": _packed(self._labels[:labels]),
            "origins": self._origins[:labels].tolist(),
            "beta": _packed(fit.beta),
            "weights": list(fit.weights),
            "chances": _packed(fit.chances),
            "costs": _packed(fit.costs),
        }

    def load(self, learned: Mapping[str, Any]) -> bool:
        """Know what `dump` returned; False, and nothing, if that was another one's."""
        self.__attrs_post_init__()
        self._n_seen = self._n_labels = self._stale = 0
        self._fit = Fit(beta=_PRIOR)
        if learned.get("version") != _VERSION:
            return False
        seen, labels = _unpacked(learned["seen"]), _unpacked(learned["labels"])
        self._seen[: len(seen) // _DIM] = seen.reshape(-1, _DIM)
        self._labels[: len(labels) // (_DIM + 2)] = labels.reshape(-1, _DIM + 2)
        self._origins[: len(learned["origins"])] = learned["origins"]
        for name in _COUNTS:
            setattr(self, name, learned[name])
        self._fit = Fit(
            beta=_unpacked(learned["beta"]),
            weights=list(learned["weights"]),
            chances=_unpacked(learned["chances"]),
            costs=_unpacked(learned["costs"]),
        )
        return True

    def refit(self) -> Callable[[], None] | None:
        """
        Return how to fit again once there is a tenth more to know than there was.

        What it returns works on copies, for some milliseconds, so nobody need wait for
        it: all others go by the last fit until it is done.
        """
        if not self._due:
            return None
        self._stale, self._due = 0, False
        known = min(self._n_seen, WINDOW)
        seen = self._seen[:known].copy()
        labels = self._labels[: min(self._n_labels, WINDOW)].copy()
        return partial(self._fit_again, seen, labels)

    def _fit_again(
        self, seen: NDArray[np.float64], labels: NDArray[np.float64]
    ) -> None:
        self._fit = Fit.of(seen, labels, self._fit.beta)


def _packed(figures: NDArray[np.float64]) -> str:
    return base64.b64encode(figures.astype("<f8").tobytes()).decode()


def _unpacked(packed: str) -> NDArray[np.float64]:
    return np.frombuffer(base64.b64decode(packed), "<f8").astype(np.float64)


def _with_one(figures: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.hstack([np.ones((len(figures), 1)), figures])


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    chances: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(logits, -40, 40)))
    return chances


def _fitted(
    rows: NDArray[np.float64],
    right: NDArray[np.float64],
    counts: NDArray[np.float64],
    beta: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the weights of the most likely model, by Newton's method from *beta*."""
    for _ in range(_STEPS):
        chances = _sigmoid(rows @ beta)
        slope = rows.T @ (counts * (chances - right)) + beta - _PRIOR
        bend = (rows * (counts * chances * (1 - chances))[:, None]).T @ rows
        step = np.linalg.solve(bend + np.eye(len(beta)), slope)
        beta = beta - np.clip(step, -5, 5)
        beta[1:] = np.maximum(beta[1:], 0)
        if np.abs(step).max() < 1e-3:
            break
    return beta
