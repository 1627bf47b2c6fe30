"""Arguments of the wrong type: refused in one sentence that says what to write."""

from __future__ import annotations

from ..exceptions import LegionError


_LONGEST = 60


def refuse_unless(
    fits: bool,  # noqa: FBT001 - reads as a sentence
    who: str,
    name: str,
    given: object,
    *,
    write: str,
) -> None:
    """
    Raise unless *fits*, saying who was given what and what to write.

    Raises:
        LegionError: It does not fit.
    """
    if not fits:
        said = repr(given)
        said = said if len(said) <= _LONGEST else f"{said[:_LONGEST]}..."
        msg = f"{who}: got {name}={said}; write {write}"
        raise LegionError(msg)
