"""A criterion from a function."""

from __future__ import annotations

import inspect

from collections.abc import Callable
from reprlib import repr as brief

import attrs

from ..exceptions import CriterionError
from ..model import Window
from .contract import Criterion


@attrs.frozen(eq=False)
class FunctionCriterion(Criterion):
    """
    What `legion.criterion` makes.

    Attributes:
        function: Reads the figure from a window.
    """

    function: Callable[[Window], float | None] = attrs.field(kw_only=True, repr=False)

    def measure(self, window: Window) -> float | None:
        """Call the function."""
        return self.function(window)


def criterion(
    misplaced: None = None,
    /,
    *,
    unit: str = "",
    warning: float | None = None,
    alert: float | None = None,
    critical: float | None = None,
    min_events: int = 1,
    metric: str | None = None,
    lower_is_worse: bool = False,
    compares: bool = False,
    features: tuple[str, ...] = (),
    group: str = "yours",
) -> Callable[[Callable[[Window], float | None]], Criterion]:
    """
    Make a criterion of a function that reads one figure from a window.

    The function's name becomes the criterion's, its docstring the summary; None means
    that there is no data.

    Args:
        misplaced: Nothing; a function lands here where the brackets are missing.
        unit: Unit of the value and the limits.
        warning: Value at which it is a warning.
        alert: Value at which it is an alert.
        critical: Value at which it is critical.
        min_events: Events a window holds at least before it is judged.
        metric: What is counted against *min_events*. By default the metric of the
            function's name or, where the window has none, whatever the function reads:
            the scarcest of it. A function that reads none by the window's methods has
            enough once it returns a value.
        lower_is_worse: Whether a low value is the bad one.
        compares: Whether the window's baseline must hold *min_events*, too.
        features: Features that bring what it reads.
        group: Where it stands in lists.

    Raises:
        CriterionError: It is malformed; raised where the function is decorated.

    .. versionadded:: 0.1
    """

    if misplaced is not None:
        raise _without_brackets(misplaced)

    def make(function: Callable[[Window], float | None]) -> Criterion:
        name = _name(function)
        return FunctionCriterion(
            name,
            function=function,
            unit=unit,
            warning=warning,
            alert=alert,
            critical=critical,
            min_events=min_events,
            metric=metric or name,
            lower_is_worse=lower_is_worse,
            compares=compares,
            features=features,
            group=group,
            summary=(inspect.getdoc(function) or "").partition("\n")[0],
        )

    return make


def _without_brackets(misplaced: object) -> CriterionError:
    name = getattr(misplaced, "__name__", None)
    msg = (
        f"got {brief(misplaced)} where keywords belong; write the brackets, and a limit"
        " in them: @legion.criterion(unit='share', warning=0.01)"
    )
    return CriterionError(str(name or "criterion"), msg)


def _name(function: object) -> str:
    name = getattr(function, "__name__", None)
    if not callable(function) or not isinstance(name, str):
        msg = "decorate a function of one window: @legion.criterion(warning=...)"
        raise CriterionError(str(name or type(function).__name__), msg)
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        msg = "got an async function or a generator; write a plain def"
        raise CriterionError(name, msg)
    if len(inspect.signature(function).parameters) != 1:
        msg = f"takes {inspect.signature(function)}; write one argument, the window"
        raise CriterionError(name, msg)
    return name
