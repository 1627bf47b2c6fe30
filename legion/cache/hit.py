"""What the cache answers: a hit, or why there would be one."""

from __future__ import annotations

from reprlib import repr as brief
from typing import TYPE_CHECKING, Generic, Protocol

import attrs


if TYPE_CHECKING:
    from typing_extensions import TypeVar

    V = TypeVar("V", default=object)
else:  # a default for type checkers costs no dependency at run time
    from typing import TypeVar

    V = TypeVar("V")


class Feedback(Protocol):
    """Where a hit says what became of it."""

    def tell(self, *, right: bool) -> None:
        """Say whether the answer was right."""
        ...


# Making it is a large part of what an exact hit costs: frozen, or by keywords alone, it
# would take four times as long.
@attrs.define(unsafe_hash=True)
class Hit(Generic[V]):
    """
    An answer found.

    A copy, as by `copy` or `pickle`, has all that is said here, and no cache that could
    be told `right` or `wrong`, or could forget it.

    Attributes:
        value: The answer.
        question: The question it was stored for.
        similarity: Cosine of both questions' embeddings; 1 where they are the same.
        exact: Whether both questions are the same but for white space.
        age_s: Machine time since it was stored, in seconds.
        scope: Key of the scope it was found in; "" is the default scope.
        id: Number of the entry, never given twice by one cache.
        audit: Whether the coin chose it to be judged. Where the cache has no judge, it
            waits for `right` or `wrong`, and counts as wrong until then.
    """

    value: V
    question: str
    similarity: float
    exact: bool
    age_s: float
    scope: str
    id: int
    audit: bool = False
    _ticket: Feedback | None = attrs.field(default=None, repr=False, eq=False)

    def right(self) -> None:
        """
        Say that the answer was right; it counts where `audit` is true, and no judge is.

        Others' praise is welcome and changes nothing: only what the coin chose says
        how many wrong answers nobody noticed, and only who is asked can clear it.

        Raises:
            ValueError: It is a copy.
        """
        self._original().tell(right=True)

    def wrong(self) -> None:
        """
        Say that the answer was wrong; it always counts, and cannot be taken back.

        If the question was judged to have that answer before, it has it no more.

        Raises:
            ValueError: It is a copy.
        """
        self._original().tell(right=False)

    def _original(self) -> Feedback:
        if self._ticket is None:
            msg = (
                f"hit: got a copy of the hit for {brief(self.question)}, which no cache "
                f"knows; tell the hit that the cache returned, where it was returned"
            )
            raise ValueError(msg)
        return self._ticket

    def __reduce__(self) -> tuple[object, ...]:
        """Leave the cache behind: a copy, in this process or another, is facts alone."""
        facts = (self.value, self.question, self.similarity, self.exact, self.age_s)
        return Hit, (*facts, self.scope, self.id, self.audit)

    @property
    def negative(self) -> bool:
        """Whether the answer is that there is none: None was stored."""
        return self.value is None


@attrs.frozen(kw_only=True)
class Explanation:
    """
    What a look-up would find, and why.

    Attributes:
        outcome: ``exact_hit``, ``semantic_hit`` or ``miss``.
        reason: One sentence for people.
        nearest: The nearest stored question, or None in an empty scope. Where it is
            vetoed and a further one is not, that one.
        similarity: Its cosine, or None.
        threshold: The cosine from which an answer is reused; None with `max_error`.
        scope: Key of the scope that was looked in.
        veto: What differs between the question and the nearest, as in "opposites: on,
            off", however similar they are; or None.
        wrong: How likely the answer is wrong, 0..1, with `max_error`; else None.
        tier: Where the answer lies: ``memory``, ``disk`` or ``shared``; None of a miss.
    """

    outcome: str
    reason: str
    nearest: str | None = None
    similarity: float | None = None
    threshold: float | None = None
    scope: str = ""
    veto: str | None = None
    wrong: float | None = None
    tier: str | None = None
