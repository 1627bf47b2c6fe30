"""Units in the order of GrowthBook's buckets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import attrs

from ..place import WHOLE, beyond, last, up_to
from .ranges import BUCKETS, Filter, bucket_of


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray


@attrs.frozen
class GrowthBookBuckets:
    """
    Units in the order in which GrowthBook lets them in.

        StageEngine(plan, splitter=GrowthBookBuckets("new-answers"))

    At any share, legion lets in exactly whom GrowthBook does at that coverage.

    Attributes:
        seed: The rule's seed; by default GrowthBook takes the feature's key, or the
            experiment's.
        hash_version: 1, which has 1,000 buckets, or 2, which has 10,000.
        start: Where the candidate's range begins, 0 to below 1; None for a rollout
            rule. A range ends before its upper edge, a rollout rule's coverage is in.
        filters: Who may take part; whoever may not is in only when everybody is.

    Raises:
        ValueError: The version is not known, or *start* is not on the line.

    .. versionadded:: 0.1
    """

    seed: str
    hash_version: int = attrs.field(default=1, kw_only=True)
    start: float | None = attrs.field(default=None, kw_only=True)
    filters: tuple[Filter, ...] = attrs.field(default=(), kw_only=True)
    _origin: int = attrs.field(init=False)

    @_origin.default
    def _where_it_starts(self) -> int:
        if self.hash_version not in BUCKETS:
            msg = f"growthbook: got hash_version={self.hash_version}; write 1 or 2"
            raise ValueError(msg)
        start = self.start or 0.0
        if not 0 <= start < 1:
            msg = f"growthbook: got start={start}; write where a range begins, 0 to 1"
            raise ValueError(msg)
        return int(start * WHOLE)

    @property
    def name(self) -> str:
        """The hash, the seed and where it starts, for the rollout to remember."""
        start = f" from {self.start:g}" if self.start else ""
        return f"growthbook-v{self.hash_version} {self.seed}{start}"

    def hash(self, unit: str) -> int:
        """Return the unit's place, 0 to 2**64 - 1."""
        if not all(each.admits(unit) for each in self.filters):
            return last(unit)
        bucket = bucket_of(self.seed, unit, self.hash_version)
        assert bucket is not None
        of = BUCKETS[self.hash_version]
        if self.start is None:
            return up_to(bucket, of, unit)
        return beyond(bucket * WHOLE // of - self._origin, unit)

    def hash_many(self, units: Iterable[str]) -> NDArray[np.uint64]:
        """Return the places of many units, shape (n,), dtype uint64."""
        import numpy as np

        return np.array([self.hash(unit) for unit in units], dtype=np.uint64)
