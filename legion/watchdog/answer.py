"""What a criterion answers, and what is taken for no answer."""

from __future__ import annotations

import copy
import json
import logging
import math

from collections.abc import Mapping
from typing import cast

from .. import canonical
from ..canonical import JSON
from ..criteria import Criterion
from ..model import Verdict, Window
from .record import CriterionRecord


logger = logging.getLogger("legion")

_PLAIN = 2**53

_Answer = tuple[Verdict, Mapping[str, JSON] | None]


def checked(
    name: str, criterion: Criterion, record: CriterionRecord, window: Window
) -> _Answer:
    """
    Return what *criterion* says of *window*, and what it wants to remember.

    A memory from an earlier process may be of an older version of the criterion's code.
    If it raises with that, it is asked again without, and that is logged.

    Raises:
        TypeError: It answered with something else than a verdict and a memory.
        ValueError: Its figures or its memory are not JSON; or whatever it raises.
    """
    try:
        return _asked(name, criterion, record.memory, window)
    except Exception:
        if not record.restored:
            raise
        logger.warning(
            "criterion %s cannot go on from what it remembered; starts anew",
            name,
            exc_info=True,
        )
        return _asked(name, criterion, None, window)


def _asked(
    name: str,
    criterion: Criterion,
    memory: Mapping[str, JSON] | None,
    window: Window,
) -> _Answer:
    # Its memory is a copy, so that one that raises half-way has changed nothing.
    answer: object = criterion.judge(window, copy.deepcopy(memory))
    if not isinstance(answer, tuple) or len(answer) != 2:
        msg = f"judge returned {answer!r}; return (self.verdict(...), memory)"
        raise TypeError(msg)
    verdict, left = answer
    if not isinstance(verdict, Verdict) or verdict.criterion != name:
        msg = f"judge returned the verdict {verdict!r}; return self.verdict(...)"
        raise TypeError(msg)
    if verdict.value is not None and not math.isfinite(verdict.value):
        msg = f"the verdict's value is {verdict.value}; return None without data"
        raise ValueError(msg)
    for said in (verdict.reason, verdict.code, verdict.unit):
        _refuse_unsayable(said)
    for figures in (verdict.limits, verdict.evidence):
        for key, value in figures.items():
            _refuse_unsayable(key)
            _refuse_unsayable(value)
    return verdict, _as_restored(left)


def _refuse_unsayable(value: JSON) -> None:
    """Raise where the journal would; plain figures need no look."""
    if type(value) is float and math.isfinite(value):
        return
    if type(value) is int and -_PLAIN < value < _PLAIN:
        return
    if type(value) is str and value.isascii():
        return
    canonical.dumps(value)


def _as_restored(memory: object) -> Mapping[str, JSON] | None:
    """Return *memory* as a restart would bring it back."""
    if memory is None:
        return None
    if not isinstance(memory, Mapping):
        msg = f"judge returned the memory {memory!r}; return a mapping, or None"
        raise TypeError(msg)
    text = canonical.dumps(cast("Mapping[str, JSON]", memory))
    return cast("Mapping[str, JSON]", json.loads(text))
