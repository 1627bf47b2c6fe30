"""Units in the order of Unleash's buckets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import attrs

from ..place import up_to
from .strategy import BUCKETS, normalized


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray


@attrs.frozen
class UnleashBuckets:
    """
    Units in the order in which Unleash lets them in.

        StageEngine(plan, splitter=UnleashBuckets("new-answers"))

    At any percentage, legion lets in exactly whom a gradual rollout of Unleash does.

    Attributes:
        group: The strategy's groupId, by default in Unleash the feature's name.

    .. versionadded:: 0.1
    """

    group: str

    @property
    def name(self) -> str:
        """The hash and the group, for the rollout to remember."""
        return f"unleash {self.group}"

    def hash(self, unit: str) -> int:
        """Return the unit's place, 0 to 2**64 - 1."""
        return up_to(normalized(unit, self.group), BUCKETS, unit)

    def hash_many(self, units: Iterable[str]) -> NDArray[np.uint64]:
        """Return the places of many units, shape (n,), dtype uint64."""
        import numpy as np

        return np.array([self.hash(unit) for unit in units], dtype=np.uint64)
