"""A function that embeds, with a name, in batches, and with a memory."""

from __future__ import annotations

import threading

from functools import partial
from typing import TYPE_CHECKING

import attrs

from cachetools import LRUCache

from ..embedding import Embed
from ..fork import Order, over_fork


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray


@attrs.define(eq=False)
class Embedder:
    """
    A function that embeds, in batches of a size it can take, asked once a text.

        cache = legion.SemanticCache(Embedder(embed, name="mine-v2", remembers=10_000))

    Threads may share it; it does not embed under its lock. Vectors are those that
    *embed* returns, as float32.

    Args:
        embed: From a list of n texts to an array of shape (n, dim).
        name: What made the vectors; entries are never compared with those of an
            embedder of another name, so give another model another name.
        max_batch: Texts in one call of *embed*; all by default.
        remembers: How many texts' vectors are kept; the least recently used goes.
        quick: Whether it takes less time than going to a thread does (some 100 µs), so
            that asyncio may as well wait for it.

    Raises:
        ValueError: *max_batch* is below 1, or *remembers* below 0.

    .. versionadded:: 0.1
    """

    embed: Embed
    name: str = attrs.field(kw_only=True)
    max_batch: int | None = attrs.field(kw_only=True, default=None)
    remembers: int = attrs.field(kw_only=True, default=0)
    quick: bool = attrs.field(kw_only=True, default=False)
    _known: LRUCache[str, NDArray[np.float32]] = attrs.field(init=False)
    _lock: threading.Lock = attrs.field(
        init=False, factory=partial(over_fork, Order.EMBEDDER, threading.Lock)
    )

    def __attrs_post_init__(self) -> None:
        if self.max_batch is not None and self.max_batch < 1:
            msg = f"{self.name}: got max_batch={self.max_batch}; write 1 or more"
            raise ValueError(msg)
        if self.remembers < 0:
            msg = f"{self.name}: got remembers={self.remembers}; write 0 or more"
            raise ValueError(msg)
        self._known = LRUCache(self.remembers)

    def __call__(self, texts: list[str]) -> NDArray[np.float32]:
        """
        Embed *texts*.

        Returns:
            Shape (n, dim), float32; what *embed* returns in one batch is not checked
            here.
        """
        import numpy as np

        if not self.remembers:
            return self._embedded(texts)
        with self._lock:
            found = {t: self._known[t] for t in set(texts) if t in self._known}
        rest = [text for text in dict.fromkeys(texts) if text not in found]
        if rest:
            rows = map(np.copy, self._embedded(rest))  # no row keeps a batch alive
            new = dict(zip(rest, rows, strict=True))
            with self._lock:
                self._known.update(new)
            found |= new
        return np.stack([found[text] for text in texts])

    def _embedded(self, texts: list[str]) -> NDArray[np.float32]:
        import numpy as np

        size = self.max_batch or len(texts)
        parts = [
            np.asarray(self.embed(texts[i : i + size]), dtype=np.float32)
            for i in range(0, len(texts), size)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
