"""The contract that every criterion keeps, legion's own among them."""

from __future__ import annotations

import json

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import cast

import attrs

from .. import canonical
from ..canonical import JSON
from ..criteria import Criterion
from ..criteria.kinds import Measured
from ..model import Level, Observation, Verdict, Window
from ..watchdog import Watchdog
from .windows import Traffic, traffic_for


_INTERVAL_S = 60.0


def check_criterion(criterion: Criterion) -> None:
    """
    Check that *criterion* keeps the contract.

    It is an immutable plugin that supplies itself. Without data it has no level; a
    source's error is not health. It answers alike to what is alike, leaves window and
    memory as they were, remembers only JSON and goes on from it after a restart. It is
    not judged on fewer than `min_events`. What is read from a window by its methods is
    found out and made up for the check: healthy traffic, bad traffic, none.

    Args:
        criterion: An instance, not a class.

    Raises:
        AssertionError: It does not; the message says in what, and what to write.

    .. versionadded:: 0.1
    """
    assert isinstance(criterion, Criterion), (
        f"{criterion!r} is no criterion; write an instance of legion.Criterion,"
        " or decorate a function with @legion.criterion(...)"
    )
    assert list(criterion.legion_register_criteria() or ()) == [criterion], (
        f"{criterion.name}: legion_register_criteria must return the criterion itself"
    )
    traffic = traffic_for(criterion)
    _check_frozen(criterion)
    _check_without_data(criterion, traffic)
    for window in traffic.windows():
        _check_pure(criterion, window)
    _check_order(criterion, traffic)
    _check_least(criterion, traffic)


def _check_frozen(criterion: Criterion) -> None:
    fault = f"{criterion.name}: it can be changed, and one object serves many hosts"
    try:
        criterion.name = criterion.name  # type: ignore[misc]
    except AttributeError:
        return
    msg = f"{fault}; subclass legion.Criterion without a __setattr__ of your own"
    raise AssertionError(msg)


def _check_without_data(criterion: Criterion, traffic: Traffic) -> None:
    for window in (Window(), Window(baseline=Window()), traffic.empty()):
        verdict, _ = _judge(criterion, window, None)
        assert verdict.level is None, (
            f"{criterion.name}: a window without events has the level"
            f" {verdict.level!r}; return None, or self.no_level(...)"
        )
    broken = Window(
        closed_s=_INTERVAL_S,
        errors={criterion.stream: "the source failed", criterion.name: "so did this"},
    )
    _judge(criterion, broken, None)
    judged = _watched(criterion, broken)
    assert judged.level is None, (
        f"{criterion.name}: a window in which its source only failed has the level"
        f" {judged.level!r}; return None, or self.no_level(...)"
    )


def _check_pure(criterion: Criterion, window: Window) -> None:
    before = canonical.dumps(window.to_json())
    first, memory = _judge(criterion, window, None)
    second, again = _judge(criterion, window, None)
    assert first == second, f"{criterion.name}: the same window got two verdicts"
    assert memory == again, f"{criterion.name}: the same window left two memories"
    kept = canonical.dumps(memory)
    third, _ = _judge(criterion, window, memory)
    assert canonical.dumps(memory) == kept, (
        f"{criterion.name}: it changed the memory it was given; return a new one"
    )
    restored = _restored(memory)
    fourth, _ = _judge(criterion, window, restored)
    assert third == fourth, (
        f"{criterion.name}: after a restart the same memory gives another verdict;"
        " JSON has lists, not tuples, and only strings as keys"
    )
    assert canonical.dumps(window.to_json()) == before, (
        f"{criterion.name}: it changed the window it was given"
    )


def _check_order(criterion: Criterion, traffic: Traffic) -> None:
    """Check that a worse value never has a milder level, where one can tell."""
    own = type(criterion).judge is not Criterion.judge
    if own and not isinstance(criterion, Measured):
        return
    judged: list[tuple[float, Level]] = []
    for window in traffic.windows():
        verdict, _ = _judge(criterion, window, None)
        if verdict.value is not None and verdict.level is not None:
            judged.append((verdict.value, verdict.level))
    judged.sort(reverse=criterion.lower_is_worse)
    for (mild, mild_level), (bad, bad_level) in pairwise(judged):
        assert mild_level <= bad_level, (
            f"{criterion.name}: {bad:g} is {bad_level.name} and {mild:g} is"
            f" {mild_level.name}; a worse value must not have a milder level"
        )


def _check_least(criterion: Criterion, traffic: Traffic) -> None:
    least = criterion.min_events
    if least < 2 or not traffic.counted:
        return
    few = _watched(criterion, traffic.bad(events=least - 1))
    assert few.level is None, (
        f"{criterion.name}: it was judged on {least - 1} of {least} events; say in"
        " metric= which metric of the window is counted against min_events"
    )


def _watched(criterion: Criterion, window: Window) -> Verdict:
    """Return what a watchdog that has only this criterion says of *window*."""

    @attrs.frozen
    class Only:
        criteria: Mapping[str, Criterion]

    watchdog = Watchdog(Only({criterion.name: criterion}), interval_s=_INTERVAL_S)
    report = watchdog.judge(Observation(at_s=_INTERVAL_S, candidate=window))
    (verdict,) = report.verdicts
    return verdict


def _judge(
    criterion: Criterion, window: Window, memory: Mapping[str, JSON] | None
) -> tuple[Verdict, Mapping[str, JSON] | None]:
    try:
        judged: object = criterion.judge(window, memory)
    except Exception as error:
        msg = (
            f"{criterion.name}: judge raised {type(error).__name__}: {error}; return"
            " None, or self.no_level(...), for what cannot be told"
        )
        raise AssertionError(msg) from error
    assert isinstance(judged, tuple), (
        f"{criterion.name}: judge returned {judged!r}; return (verdict, memory)"
    )
    assert len(judged) == 2, (
        f"{criterion.name}: judge returned {len(judged)} values; return two,"
        " (verdict, memory)"
    )
    verdict, left = judged
    assert isinstance(verdict, Verdict), (
        f"{criterion.name}: judge returned {verdict!r}; return self.verdict(...)"
    )
    assert verdict.criterion == criterion.name, (
        f"{criterion.name}: its verdict speaks of {verdict.criterion!r}"
    )
    assert verdict.reason, f"{criterion.name}: a verdict needs a reason"
    assert verdict.code, f"{criterion.name}: a verdict needs a code"
    assert left is None or isinstance(left, Mapping), (
        f"{criterion.name}: its memory is {left!r}; return a mapping, or None"
    )
    _check_json(criterion, "its verdict", verdict.to_json)
    _check_json(criterion, "its memory", lambda: left)
    return verdict, left


def _check_json(criterion: Criterion, what: str, value: Callable[[], JSON]) -> None:
    try:
        canonical.dumps(value())
    except (TypeError, ValueError) as error:
        msg = f"{criterion.name}: {what} is no JSON: {error}"
        raise AssertionError(msg) from error


def _restored(memory: Mapping[str, JSON] | None) -> Mapping[str, JSON] | None:
    if memory is None:
        return None
    return cast("Mapping[str, JSON]", json.loads(canonical.dumps(memory)))
