"""The faults a candidate of the demo can really have, as settings of its version."""

from __future__ import annotations

from collections.abc import Mapping

from ..canonical import JSON


FAULTS: Mapping[str, Mapping[str, JSON]] = {
    # It compares far more, and each of them again.
    "latency": {"shortlist": 72, "rounds": 2},
    # Its parser trips over apostrophes.
    "errors": {"strict_punctuation": True},
    # It takes questions for the same that are hardly related.
    "wrong-answers": {"threshold": 0.3},
}


def settings_of(good: Mapping[str, JSON], bad: str | None) -> dict[str, JSON]:
    """Return the settings of the candidate, with the fault in it."""
    return {**good, **FAULTS.get(bad or "", {})}
