"""The watchdog: an observation into a report, one verdict a criterion."""

from .watchdog import Watchdog


__all__ = ["Watchdog"]
