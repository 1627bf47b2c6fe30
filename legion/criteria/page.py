"""The page of the documentation that lists the built-in criteria."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from ..metrics import METRICS
from . import BUILTINS, Criterion
from .contract import spoken


_INTRODUCTION = """\
# The {n} criteria

Every `legion.Plugins` has these. Each is made from one of four kinds and a plugin like
yours: `plugins.block("cpu_usage")` drops one, and a plan sets other limits or switches
one off under `criteria:`.

A limit is reached by the value itself: at or above it, or at or below it where less is
worse. An alert or worse is unhealthy.

A window closes once it has lasted the check interval *and* holds the events given here,
in the baseline too where the kind is a rise. Until then there is no level. A metric
that nobody supplies has no level at all, and that is never healthy: what supplies it is
the last column.
"""

_CLOSING = """
How the numbers of events were chosen is said in the docstrings of
`legion.criteria.performance`, `.health` and `.evolution`: a healthy candidate must not
reach the alert three times in a row by chance.

Generated: `python -m legion.criteria > docs/criteria.md`.
See [how to write your own](how-to/write-a-criterion.md).
"""

_HEAD = (
    "| criterion | kind | warning | alert | critical | events | what it is | source |\n"
    "|---|---|---|---|---|---|---|---|\n"
)


def page(criteria: Iterable[Criterion] = BUILTINS) -> str:
    """Return the page in Markdown."""
    listed = tuple(criteria)
    text = _INTRODUCTION.format(n=len(listed))
    for group, members in groupby(listed, key=lambda criterion: criterion.group):
        rows = "".join(f"| {' | '.join(_row(each))} |\n" for each in members)
        text += f"\n## {group.capitalize()}\n\n{_HEAD}{rows}"
    return text + _CLOSING


def _row(criterion: Criterion) -> Iterator[str]:
    limits = criterion.limits.as_dict()
    yield f"`{criterion.name}`"
    yield type(criterion).__name__
    for level in ("warning", "alert", "critical"):
        yield spoken(limits[level], criterion.unit) if level in limits else "-"
    yield f"{criterion.min_events:,}"
    yield criterion.summary
    yield _source(criterion)


def _source(criterion: Criterion) -> str:
    metric = METRICS.get(criterion.metric)
    source = "host" if metric is None else metric.source
    if not criterion.features:
        return source
    return f"{source}, with {' or '.join(f'`{each}`' for each in criterion.features)}"
