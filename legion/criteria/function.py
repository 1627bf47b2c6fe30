"""A criterion from a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import attrs

from ..model import Window
from .criterion import Criterion


@attrs.frozen(eq=False)
class _Function(Criterion):
    function: Callable[[Window], float | None] = attrs.field(kw_only=True)

    def measure(self, window: Window) -> float | None:
        """Call the function."""
        return self.function(window)


def criterion(
    *,
    unit: str = "",
    warning: float | None = None,
    alert: float | None = None,
    critical: float | None = None,
    min_events: int = 1,
    metric: str | None = None,
    lower_is_worse: bool = False,
) -> Callable[[Callable[[Window], float | None]], Criterion]:
    """
    Make a criterion of a function that reads one figure from a window.

    The function's name becomes the criterion's, its docstring the summary; None means
    that there is no data.

    Args:
        unit: Unit of the value and the limits.
        warning: Value at which it is a warning.
        alert: Value at which it is an alert.
        critical: Value at which it is critical.
        min_events: Events a window holds at least before it is judged.
        metric: What is counted against *min_events*; the function's name by default.
        lower_is_worse: Whether a low value is the bad one.
    """

    def make(function: Callable[[Window], float | None]) -> Criterion:
        name = cast("str", getattr(function, "__name__", ""))
        return _Function(
            name,
            function=function,
            unit=unit,
            warning=warning,
            alert=alert,
            critical=critical,
            min_events=min_events,
            metric=metric or name,
            lower_is_worse=lower_is_worse,
            summary=(function.__doc__ or "").strip().partition("\n")[0],
        )

    return make
