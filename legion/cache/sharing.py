"""What a cache shares with others by a tier, and what it takes from there."""

from __future__ import annotations

import json
import logging
import threading

from collections.abc import Iterable, Sequence
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Generic, NamedTuple

import attrs

from . import records
from .fork import Order, over_fork
from .hit import V
from .serializer import Serializer, name_of
from .shared import SharedRow, SharedTier
from .snapshot import FOREVER_MS, Row


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray


_logger = logging.getLogger("legion")
_FORMAT = b"legion shared 1\n"
_DIGEST = 32
_MOST_OWED = 10_000
"""Of more that was to be removed and could not be, all goes."""


class Received(NamedTuple, Generic[V]):
    """What came from a shared tier; *raw* is what the serializer made of the value."""

    row: Row
    value: V
    raw: bytes
    vector: NDArray[np.float32]


@attrs.define(eq=False)
class Sharing(Generic[V]):
    """
    What a cache shares with others by a tier.

    What the tier raises is logged and counted, never raised. What was to be removed and
    could not be is removed before anything is taken from the tier again.

    Attributes:
        tier: The tier.
        serializer: Of answers.
        embedder: Name of the embedder.
        trouble: What the tier raised when it was last called, or None.
        failures: How often it raised.
    """

    tier: SharedTier
    serializer: Serializer
    embedder: str
    trouble: Exception | None = attrs.field(init=False, default=None)
    failures: int = attrs.field(init=False, default=0)
    # Each with a number of its own, so that what is owed once more is not crossed off.
    _owed: dict[tuple[str, bytes], int] = attrs.field(init=False, factory=dict)
    _n: int = attrs.field(init=False, default=0)
    _lock: threading.Lock = attrs.field(
        init=False, factory=partial(over_fork, Order.LEAF, threading.Lock)
    )

    def get(self, scope: str, keys: Sequence[str]) -> list[bytes | None]:
        """Return what the tier has for each question, by one call."""
        nothing: list[bytes | None] = [None] * len(keys)
        digests = [self._key(scope, key) for key in keys]
        if not self._paid():
            return nothing
        try:
            found = list(self.tier.get(digests))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a miss
            self._failed("get", error)
            return nothing
        if len(found) != len(keys):
            msg = (
                f"returned {len(found)} rows for {len(keys)} keys; return one for each"
            )
            self._failed("get", ValueError(msg))
            return nothing
        self._worked()
        return found

    def opened(self, scope: str, key: str, data: bytes) -> Received[V] | str:
        """Return what *data* says, which was found for a question, or why nothing."""
        head = _FORMAT + self._key(scope, key)
        found, rest = data[: len(head)], data[len(head) :]
        if not data.startswith(_FORMAT):
            return "it is no row of this format"
        if rest[:_DIGEST] != _sum(found, rest[_DIGEST:]):
            return "it is damaged"
        if found != head:
            return "it is another question's, scope's or embedder's"
        body = rest[_DIGEST:]
        put = records.read(memoryview(body), 0)
        assert isinstance(put, records.Put)
        raw = body[put.place.offset :]
        try:
            value: V = self.serializer.loads(raw)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a miss
            return f"the serializer cannot read its answer: {error!r}"
        return Received(put.row, value, raw, put.floats())

    def put(self, rows: Iterable[tuple[Row, NDArray[np.float32]]], now_ms: int) -> None:
        """Let others have *rows*; those that they cannot get, they are not to have."""
        sealed = [self._sealed(row, vector, now_ms) for row, vector in rows]
        if self._paid() and self._put(sealed):
            return
        # What is there may be older, and would be served once this one is evicted.
        self._owe([("key", row.key) for row in sealed])

    def _put(self, rows: Sequence[SharedRow]) -> bool:
        try:
            self.tier.put(rows)
        except Exception as error:  # noqa: BLE001 - the answer is stored all the same
            self._failed("put", error)
            return False
        self._worked()
        return True

    def forget(self, scope: str, keys: Iterable[str]) -> None:
        """Remove the answers of questions."""
        self._owe([("key", self._key(scope, key)) for key in keys])
        self._paid()

    def invalidate(self, scope: str | None, tag: str | None = None) -> None:
        """Remove the answers of one scope, or of all, that have *tag*, or all."""
        self._owe([("tag", self._digest("tag", scope, tag))])
        self._paid()

    def _sealed(self, row: Row, vector: NDArray[np.float32], now_ms: int) -> SharedRow:
        head = _FORMAT + self._key(row.scope, row.key)
        body = records.put(row, vector)
        tags = [
            self._digest("tag", scope, tag)
            for scope in (row.scope, None)
            for tag in (None, *sorted(row.terms.tags))
        ]
        endless = row.expires_ms >= FOREVER_MS
        return SharedRow(
            key=head[len(_FORMAT) :],
            data=head + _sum(head, body) + body,
            tags=tuple(tags),
            ttl_s=None if endless else (row.expires_ms - now_ms) / 1_000,
        )

    def _key(self, scope: str, key: str) -> bytes:
        return self._digest("key", scope, key)

    def _digest(self, *said: str | None) -> bytes:
        names = [self.embedder, name_of(self.serializer), *said]
        return blake2b(json.dumps(names).encode(), digest_size=_DIGEST).digest()

    def _owe(self, what: Iterable[tuple[str, bytes]]) -> None:
        with self._lock:
            for each in what:
                self._n += 1
                self._owed[each] = self._n
            if len(self._owed) > _MOST_OWED:
                self._owed = {("tag", self._digest("tag", None, None)): self._n}

    def _paid(self) -> bool:
        """Remove what was to be removed, and say whether all of it is."""
        with self._lock:
            owed = dict(self._owed)
        if not owed:
            return True
        keys, tags = (
            [each for what, each in owed if what == w] for w in ("key", "tag")
        )
        try:
            self.tier.invalidate(keys=keys, tags=tags)
        except Exception as error:  # noqa: BLE001 - nothing is taken from it until it is
            self._failed("invalidate", error)
            return False
        with self._lock:
            for each, n in owed.items():
                if self._owed.get(each) == n:
                    del self._owed[each]
        return True

    def _failed(self, what: str, error: Exception) -> None:
        with self._lock:
            self.failures += 1
            first, self.trouble = self.trouble is None, error
        if first:
            _logger.warning("cache: the shared tier failed to %s: %r", what, error)

    def _worked(self) -> None:
        self.trouble = None


def _sum(head: bytes, body: bytes) -> bytes:
    return blake2b(head + body, digest_size=_DIGEST).digest()
