"""One question and its answer."""

from __future__ import annotations

import math

from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, cast

import attrs

from .hit import V
from .lifetime import Terms


if TYPE_CHECKING:
    from .groups import Group
    from .partition import Partition
    from .snapshot import Place


class Source(Protocol):
    """Where answers lie that nobody read yet."""

    def raw(self, place: Place, /) -> bytes:
        """Return the bytes of one."""
        ...

    def loads(self, raw: bytes, place: Place, /) -> Any:
        """Return the one with these bytes."""
        ...


@attrs.frozen(eq=False)
class Unread:
    """
    Stands for an answer that lies on disk.

    Attributes:
        source: Who can read it.
    """

    source: Source


class Raw(NamedTuple):
    """The bytes of an answer that lies on disk, and where."""

    source: Source
    data: bytes
    place: Place

    def loads(self) -> Any:
        """Return the answer."""
        return self.source.loads(self.data, self.place)


@attrs.define(eq=False)
class Entry(Generic[V]):
    """
    One question and its answer.

    Attributes:
        id: Number of the entry; a slot is used again, an id never is.
        key: The normalised question.
        question: The question as it was put.
        stored_s: When, in seconds of machine time.
        partition: Where it lies.
        terms: What the put said of it.
        size: Bytes that it takes, or 0 where nobody counts them.
        redundancy: Cosine of the nearest entry when it was stored, or 0 without one as
            near as the floor, or where nobody asks.
        expires_s: When it expires, in machine time.
        place: Where on disk its answer lies, or None where it does not.
        used_s: When it answered last, or was stored.
        slots: Where its vector lies; nowhere any more where the entry is gone.
        group: Entries with the same value, where values are compared.
        origin: Number of the entry that it is an alias of: a question that was judged
            to have the same answer.
    """

    id: int
    key: str
    question: str
    _value: V | Unread
    stored_s: float
    partition: Partition[V] = attrs.field(repr=False)
    terms: Terms = attrs.field(factory=Terms)
    size: int = 0
    redundancy: float = 0.0
    expires_s: float = math.inf
    place: Place | None = None
    used_s: float = attrs.field(
        default=attrs.Factory(lambda self: self.stored_s, takes_self=True)
    )
    slots: list[int] = attrs.field(init=False, factory=list)
    group: Group | None = attrs.field(init=False, default=None)
    origin: int | None = attrs.field(init=False, default=None)

    @property
    def family(self) -> int:
        """Number of the entry that it stands or falls with."""
        return self.id if self.origin is None else self.origin

    @property
    def value(self) -> V:
        """The answer; read from the disk when somebody first asks for it."""
        value = self._value
        if type(value) is Unread:
            value = self._value = self.raw().loads()
        return value  # type: ignore[return-value]

    @property
    def read(self) -> bool:
        """Whether the answer is in memory, and not on disk alone."""
        return type(self._value) is not Unread

    def raw(self) -> Raw:
        """Return the bytes of an answer that nobody read yet."""
        assert self.place is not None
        source = cast("Unread", self._value).source
        return Raw(source, source.raw(self.place), self.place)

    def keep(self, value: V) -> None:
        """Have *value*, which was read, for the answer, unless there is one by now."""
        if not self.read:
            self._value = value

    def alive(self, now_s: float) -> bool:
        """Whether it is stored, and has not expired by *now_s*."""
        return bool(self.slots) and now_s < self.expires_s
