"""The watchdog: an observation into a report, one verdict a criterion."""

from .watchdog import Criteria, Watchdog


__all__ = ["Criteria", "Watchdog"]
