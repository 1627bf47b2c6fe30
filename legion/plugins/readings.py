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
    criteria = _items(value, wanted)
    return tuple(_only(criterion, Criterion, wanted) for criterion in criteria)


def read_metrics(value: object) -> dict[str, Count | float]:
    """Read measurements by metric."""
    wanted = "a mapping of metrics to legion.Count or finite numbers"
    if not isinstance(value, Mapping):
        raise _wrong(value, wanted)
    return {
        _only(metric, str, "metrics by name"): _measured(str(metric), measured)
        for metric, measured in value.items()
    }


def _measured(metric: str, value: object) -> Count | float:
    if isinstance(value, Count):
        of = () if value.of is None else (value.of,)
        if all(_whole(number) for number in (value.n, *of)):
            return value
    elif isinstance(value, Real) and not isinstance(value, bool):
        if math.isfinite(number := float(value)):
            return number
    msg = (
        f"returned {metric}={brief(value)}; write a finite number, a legion.Count of "
        "whole numbers from 0, or leave out what was not measured"
    )
    raise WrongAnswerError(msg)


def _whole(number: object) -> bool:
    return (
        isinstance(number, Integral) and not isinstance(number, bool) and number >= 0
    )


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
