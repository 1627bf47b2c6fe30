"""What is to be stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple

from .hit import V
from .lifetime import NOTHING_SAID, Terms
from .size import ENTRY_BYTES, deep_size


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray


class Item(NamedTuple, Generic[V]):
    """What is to be stored."""

    key: str
    question: str
    value: V
    vector: NDArray[np.float32]
    terms: Terms = NOTHING_SAID

    @property
    def overhead(self) -> int:
        """Bytes that it takes beside those of its value."""
        texts = deep_size(self.question) + deep_size(self.key)
        sketch = self.vector.nbytes // 32 + 64
        return ENTRY_BYTES + texts + self.vector.nbytes + sketch
