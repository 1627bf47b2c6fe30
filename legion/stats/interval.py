"""An estimate and how far it may be off."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Interval:
    """
    One member of a confidence sequence.

    Attributes:
        estimate: The point estimate.
        low: The lower bound, in the unit of the estimate.
        high: The upper bound.
    """

    estimate: float
    low: float
    high: float
