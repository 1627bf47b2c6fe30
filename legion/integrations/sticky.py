"""Units whose arm was settled elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

import attrs

from .place import first, last


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray

    from ..stages import Order


def _frozen(units: Iterable[str]) -> frozenset[str]:
    return frozenset(units)


@attrs.frozen
class Sticky:
    """
    An order in which some units come first and some last, whatever their hash.

        Sticky(GrowthBookBuckets("new-answers"), inside=assigned, outside=kept)

    It carries over what was remembered for units in flight: sticky buckets, overrides,
    lists of people. It makes the real share differ from the plan's by as many.

    Attributes:
        order: Of everybody else.
        inside: Units that are in at every share but 0.
        outside: Units that are in only when everybody is.

    .. versionadded:: 0.1
    """

    order: Order
    inside: AbstractSet[str] = attrs.field(
        default=frozenset(), converter=_frozen, kw_only=True
    )
    outside: AbstractSet[str] = attrs.field(
        default=frozenset(), converter=_frozen, kw_only=True
    )

    def __attrs_post_init__(self) -> None:
        both = self.inside & self.outside
        if both:
            msg = f"sticky: {min(both)!r} is both inside and outside; write it once"
            raise ValueError(msg)

    @property
    def name(self) -> str:
        """The order of everybody else; who was remembered may become more."""
        kind = type(self.order)
        inner = getattr(self.order, "name", f"{kind.__module__}.{kind.__qualname__}")
        return f"sticky {inner}"

    def hash(self, unit: str) -> int:
        """Return the unit's place, 0 to 2**64 - 1."""
        if unit in self.inside:
            return first(unit)
        return last(unit) if unit in self.outside else self.order.hash(unit)

    def hash_many(self, units: Iterable[str]) -> NDArray[np.uint64]:
        """Return the places of many units, shape (n,), dtype uint64."""
        import numpy as np

        return np.array([self.hash(unit) for unit in units], dtype=np.uint64)
