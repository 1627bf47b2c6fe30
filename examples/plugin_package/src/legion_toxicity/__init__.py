"""A 22nd criterion and a recorder."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import legion


toxicity = legion.criteria.Ceiling(
    "toxicity", of="share", warning=0.01, critical=0.05, min_events=100
)


class Plugin:
    """Brings the criterion and remembers the newest decisions."""

    def __init__(self) -> None:
        self.decisions: deque[str] = deque(maxlen=10)

    @legion.hookimpl
    def legion_register_criteria(self) -> Iterable[legion.Criterion]:
        """Supply the criterion."""
        return [toxicity]

    @legion.hookimpl
    def legion_record(self, record: legion.Record) -> None:
        """Keep the reason of every decision."""
        if record.kind == "decision":
            self.decisions.append(str(record.body["reason"]))


plugin = Plugin()
