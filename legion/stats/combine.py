"""Many e-values, one budget."""

from __future__ import annotations

import math

from collections.abc import Iterable, Mapping
from typing import cast

import attrs

from ..canonical import JSON


FREEZE_AT = 10.0
"""A ramp stops rising at this combined e-value: falsely in a tenth at most."""

_MOST = math.log(1e300)


@attrs.frozen(kw_only=True)
class WeightedSum:
    """
    The weighted sum of what every metric and stage says, on the log scale.

    ``E = sum of w_j E_j`` with weights fixed beforehand that add up to 1; a part that
    has not started counts as 1, one that is finished keeps its last value. E is an
    e-value under any dependence of the parts, and it reaches 1 / alpha whenever one
    part reaches 1 / (w_j alpha), so it is never worse than splitting alpha (Vovk and
    Wang, "E-values: calibration, combination and applications", Annals of Statistics
    2021, section 3).

    That E *ever* reaches 1 / alpha with probability at most alpha is exact when the
    parts are supermartingales of one and the same history. Where one part's history
    reveals arms that another still treats as random, it is exact for each part against
    its own 1 / (w_j alpha), hence for the split; for the sum it is checked by
    simulation (Choe and Ramdas, "Combining evidence across filtrations", 2024).

    Attributes:
        weights: By name of the part.
        finished: Last log e-value of the parts that are over, in nats.
    """

    weights: Mapping[str, float]
    finished: Mapping[str, float] = attrs.field(factory=dict)

    @classmethod
    def of(cls, weights: Mapping[str, float]) -> WeightedSum:
        """
        Start a sum whose parts have these *weights*, scaled to add up to 1.

        Raises:
            ValueError: There is none, or one is not above 0.
        """
        total = math.fsum(weights.values())
        if not weights or not all(0 < w < math.inf for w in weights.values()):
            msg = f"weights: got {dict(weights)}; write one or more numbers above 0"
            raise ValueError(msg)
        return cls(weights={name: w / total for name, w in weights.items()})

    @classmethod
    def equal(cls, names: Iterable[str]) -> WeightedSum:
        """
        Start a sum whose parts weigh the same.

        Raises:
            ValueError: There is none.
        """
        return cls.of(dict.fromkeys(names, 1.0))

    def finish(self, name: str, log_e: float) -> WeightedSum:
        """
        Return the sum after a part is over: its value stays as it is.

        Raises:
            ValueError: The part is unknown or already over, or *log_e* is not finite.
        """
        if name not in self.weights or name in self.finished:
            msg = f"weighted sum: {name!r} is unknown or already finished"
            raise ValueError(msg)
        self._check(name, log_e)
        return attrs.evolve(self, finished={**self.finished, name: log_e})

    def terms(self, running: Mapping[str, float]) -> dict[str, float]:
        """
        Return log(w_j E_j) of every part, in nats: who brought how much.

        Args:
            running: The log e-values of the parts that have started and are not over.

        Raises:
            ValueError: A part is unknown or over, or its value is not a number.
        """
        for name, log_e in running.items():
            if name not in self.weights or name in self.finished:
                msg = f"weighted sum: {name!r} is unknown or already finished"
                raise ValueError(msg)
            self._check(name, log_e)
        values = {**self.finished, **running}
        return {
            name: math.log(weight) + values.get(name, 0.0)
            for name, weight in self.weights.items()
        }

    def log_e(self, running: Mapping[str, float]) -> float:
        """
        Return the log of the combined e-value, in nats; 0 says nothing.

        Raises:
            ValueError: As for `terms`.
        """
        terms = self.terms(running).values()
        top = max(terms)
        return top + math.log(math.fsum(math.exp(term - top) for term in terms))

    @staticmethod
    def _check(name: str, log_e: float) -> None:
        if not math.isfinite(log_e):
            msg = (
                f"weighted sum: {name!r} has log_e={log_e}; leave out what says nothing"
            )
            raise ValueError(msg)

    def to_json(self) -> dict[str, JSON]:
        """Return what `from_json` reads back to an equal sum."""
        return {"weights": dict(self.weights), "finished": dict(self.finished)}

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> WeightedSum:
        """Read what `to_json` wrote."""
        return cls(
            weights=dict(cast("Mapping[str, float]", value["weights"])),
            finished=dict(cast("Mapping[str, float]", value["finished"])),
        )


def log_either(first: float, second: float) -> float:
    """
    Return the log of the mean of two e-values, for "at least one null is false".

    It is an e-value where *both* nulls hold. ``or_below`` is proven by it: at most m
    times control's rate, *or* below the floor.
    """
    top = max(first, second)
    return top + math.log1p(math.exp(min(first, second) - top)) - math.log(2)


def log_both(first: float, second: float) -> float:
    """
    Return the log of the lesser of two e-values, for "both nulls are false".

    It is an e-value where *either* null holds. With ``or_below`` harm is only what is
    worse than control *and* above the floor.
    """
    return min(first, second)


def freezes(log_e: float) -> bool:
    """Return whether a combined log e-value stops the ramp."""
    return log_e >= math.log(FREEZE_AT)


def decides(log_e: float, *, alpha: float) -> bool:
    """
    Return whether a log e-value is proof at level *alpha*: it reaches 1 / alpha.

    Raises:
        ValueError: *alpha* is not above 0 and below 1.
    """
    if not 0 < alpha < 1:
        msg = f"alpha: got {alpha}; write a probability above 0 and below 1"
        raise ValueError(msg)
    return log_e >= -math.log(alpha)


def e_value(log_e: float) -> float:
    """Return the e-value of its log, at most 1e300, which JSON can still say."""
    return math.exp(min(log_e, _MOST))
