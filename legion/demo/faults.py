"""Candidates with a fault really in them: what each changes in the settings."""

from __future__ import annotations

import shlex

from collections.abc import Mapping
from types import MappingProxyType

from ..canonical import JSON
from .retrieval import words


FAULTS: Mapping[str, Mapping[str, JSON]] = MappingProxyType(
    {
        # Compares with four times as many, in both directions.
        "latency": MappingProxyType(
            {"shortlist": 192, "shortlist_share": 1, "both_ways": True}
        ),
        # Takes questions apart as a shell would.
        "errors": MappingProxyType({"parser": "shell"}),
        # Takes questions for the same that share little but being questions.
        "wrong-answers": MappingProxyType({"threshold": 0.3}),
        # Its settings are sound; it is their bytes in the registry that break.
        "checksum": MappingProxyType({}),
    }
)
"""Changed settings by the name of the fault."""


def settings_of(good: Mapping[str, JSON], fault: str | None) -> dict[str, JSON]:
    """
    Return the settings of a candidate.

    Args:
        good: Settings of the sound candidate.
        fault: The fault it is to have, or None.

    Raises:
        ValueError: There is no such fault.
    """
    if fault is not None and fault not in FAULTS:
        msg = f"fault: got {fault!r}; write one of {', '.join(FAULTS)}"
        raise ValueError(msg)
    return {**good, **(FAULTS[fault] if fault is not None else {})}


def shell_words(text: str) -> list[str]:
    """
    Return the words of *text*, taken apart as a shell would.

    The bug: an apostrophe counts as an opening quote, so "I can't pay" never ends.

    Raises:
        ValueError: A quote is not closed.
    """
    return [stem for part in shlex.split(text) for stem in words(part)]
