"""What each hook may answer; anything else is an error of that plugin."""

from __future__ import annotations

import math

from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, TypeVar

from ..model import Change, Count, Ruling
from .wording import WrongAnswerError, brief


if TYPE_CHECKING:
    from ..criteria import Criterion


T = TypeVar("T")

_MOST = 2**43
"""A thousand of these still add up to a whole number that the journal can hold."""


def read_nothing(value: object) -> None:
    """Take no notice: the hook has no answer."""


def read_name(value: object) -> str:
    """Read a stage's name."""
    return _only(value, str, "the name of a stage")


def read_digest(value: object) -> str:
    """Read a digest."""
    return _only(value, str, "a digest")


def read_flag(value: object) -> bool:
    """Read True or False, and nothing that is merely true or false."""
    return _only(value, bool, "True or False")


def read_ruling(value: object) -> Ruling:
    """Read a ruling."""
    return _only(value, Ruling, "a legion.Ruling")


def read_changes(value: object) -> tuple[Change, ...]:
    """Read changes; a generator is run here, inside the fence."""
    changes = _items(value, "legion.Change objects")
    return tuple(_only(change, Change, "legion.Change objects") for change in changes)


def read_criteria(value: object) -> tuple[Criterion, ...]:
    """Read criteria."""
    from ..criteria import Criterion

    wanted = "instances of legion.Criterion"
    criteria = tuple(_only(c, Criterion, wanted) for c in _items(value, wanted))
    for criterion in criteria:
        own = type(criterion)
        if own.measure is Criterion.measure and own.judge is Criterion.judge:
            msg = (
                f"criterion {criterion.name!r} measures nothing; override "
                "measure(window) or judge(window, memory)"
            )
            raise WrongAnswerError(msg)
    return criteria


def read_metrics(value: object) -> dict[str, Count | float]:
    """Read measurements by metric."""
    wanted = "a mapping of metrics to legion.Count or finite numbers"
    if not isinstance(value, Mapping):
        raise _wrong(value, wanted)
    return {
        _named(metric): _measured(str(metric), measured)
        for metric, measured in value.items()
    }


def _named(metric: object) -> str:
    name = _only(metric, str, "metrics by name")
    try:
        name.encode()
    except UnicodeError:
        msg = f"returned the metric {name!a:.40}; write text that UTF-8 can hold"
        raise WrongAnswerError(msg) from None
    return name


def _measured(metric: str, value: object) -> Count | float:
    if isinstance(value, Count):
        if _whole(value.n) and (value.of is None or _among(value.n, value.of)):
            return value
    elif type(value) is not bool and isinstance(value, Real):
        number = float(value)
        if math.isfinite(number):
            return number
    msg = (
        f"returned {metric}={brief(value)}; write a finite number, a legion.Count of "
        "whole numbers from 0 to 2**43, n at most of, or leave out what was not measured"
    )
    raise WrongAnswerError(msg)


def _whole(number: object) -> bool:
    if type(number) is bool or not isinstance(number, Integral):
        return False
    return 0 <= int(number) <= _MOST


def _among(n: int, of: object) -> bool:
    return _whole(of) and n <= int(of)  # type: ignore[call-overload]


def _items(value: object, wanted: str) -> Iterable[object]:
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping):
        raise _wrong(value, f"an iterable of {wanted}")
    return value


def _only(value: object, kind: type[T], wanted: str) -> T:
    if not isinstance(value, kind):
        raise _wrong(value, wanted)
    return value


def _wrong(value: object, wanted: str) -> WrongAnswerError:
    return WrongAnswerError(f"returned {brief(value)}; write {wanted}, or None")
