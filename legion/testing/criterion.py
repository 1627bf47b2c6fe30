"""The contract that every criterion keeps, legion's own among them."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from .. import canonical
from ..canonical import JSON
from ..criteria import Criterion
from ..model import Missing, Observation, Verdict, Window
from ..watchdog import Watchdog


def check_criterion(criterion: Criterion) -> None:
    """
    Check that *criterion* keeps the contract.

    It is an immutable plugin that names itself; it has no level without data; it judges
    alike what is alike, and leaves window and memory as they were; what it remembers is
    JSON; and a source's error is not health.

    Args:
        criterion: An instance, not a class.

    Raises:
        AssertionError: It does not; the message says in what.
    """
    assert isinstance(criterion, Criterion), (
        f"{criterion!r} is no criterion; write an instance of legion.Criterion,"
        " or decorate a function with @legion.criterion(...)"
    )
    assert list(criterion.legion_register_criteria()) == [criterion], (
        f"{criterion.name}: legion_register_criteria must return the criterion itself"
    )
    _check_frozen(criterion)
    _check_pure(criterion)
    _check_without_data(criterion)


def _check_frozen(criterion: Criterion) -> None:
    try:
        criterion.name = "other"  # type: ignore[misc]
    except (AttributeError, attrs.exceptions.FrozenInstanceError):
        return
    msg = f"{criterion.name}: it can be changed; one object serves many hosts"
    raise AssertionError(msg)


def _check_pure(criterion: Criterion) -> None:
    window = Window(baseline=Window())
    before = canonical.dumps(window.to_json())
    first, memory = _judge(criterion, window, None)
    second, again = _judge(criterion, window, None)
    assert first == second, f"{criterion.name}: the same window got two verdicts"
    assert memory == again, f"{criterion.name}: the same window left two memories"
    assert canonical.dumps(window.to_json()) == before, (
        f"{criterion.name}: it changed the window"
    )
    kept = canonical.dumps(memory)
    _judge(criterion, window, memory)
    assert canonical.dumps(memory) == kept, f"{criterion.name}: it changed its memory"


def _judge(
    criterion: Criterion, window: Window, memory: Mapping[str, JSON] | None
) -> tuple[Verdict, Mapping[str, JSON] | None]:
    judged = criterion.judge(window, memory)
    assert isinstance(judged, tuple), (
        f"{criterion.name}: judge must return (verdict, memory), got {judged!r}"
    )
    assert len(judged) == 2, f"{criterion.name}: judge must return (verdict, memory)"
    verdict, left = judged
    assert isinstance(verdict, Verdict), f"{criterion.name}: got {verdict!r}"
    assert verdict.criterion == criterion.name, (
        f"{criterion.name}: its verdict speaks of {verdict.criterion!r}"
    )
    assert verdict.reason, f"{criterion.name}: a verdict needs a reason"
    try:
        canonical.dumps(left)
    except (TypeError, ValueError) as error:
        msg = f"{criterion.name}: its memory is no JSON: {error}"
        raise AssertionError(msg) from error
    return verdict, left


def _check_without_data(criterion: Criterion) -> None:
    verdict, _ = _judge(criterion, Window(), None)
    assert verdict.level is None, (
        f"{criterion.name}: an empty window has level {verdict.level}; return None"
    )

    @attrs.frozen
    class Only:
        criteria: Mapping[str, Criterion]

    watchdog = Watchdog(Only({criterion.name: criterion}), interval_s=1.0)
    broken = Window(closed_s=10.0, errors={criterion.stream: "the source failed"})
    report = watchdog.judge(Observation(at_s=10.0, candidate=broken))
    judged = report.verdict(criterion.name)
    assert judged is not None
    assert judged.level is None, f"{criterion.name}: a broken source was judged"
    assert judged.missing is Missing.ERROR, (
        f"{criterion.name}: a broken source must be an error, not {judged.missing}"
    )
