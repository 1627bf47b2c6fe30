"""What comes back from plugins."""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs

from ..model import Count


T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Answer(Generic[T]):
    """
    What one plugin said, or why it could not.

    Exactly one of `value` and `error` is set; who has no opinion gives no answer.

    Attributes:
        plugin: Name of the plugin.
        value: What it said, or None.
        error: Why there is no value, in one line, or None.
    """

    plugin: str
    value: T | None = None
    error: str | None = None


@attrs.frozen(kw_only=True)
class Observed:
    """
    What all sources together measured of one arm.

    Attributes:
        metrics: What has happened since the last question, or the level right now.
        errors: Why something is missing: by plugin where a source failed, by metric
            where several sources claim it.
    """

    metrics: dict[str, Count | float] = attrs.field(factory=dict)
    errors: dict[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Timing:
    """
    What one plugin's calls of one hook have cost, in machine time.

    Attributes:
        calls: How often it was called.
        errors: How many of these ended in an error.
        total_s: Seconds in all; where a call hung, the seconds it was waited for.
        worst_s: The longest of them, in seconds.
    """

    calls: int = 0
    errors: int = 0
    total_s: float = 0.0
    worst_s: float = 0.0
