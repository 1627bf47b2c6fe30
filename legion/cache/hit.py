"""What the cache answers: a hit, or why there would be one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

import attrs


if TYPE_CHECKING:
    from typing_extensions import TypeVar

    V = TypeVar("V", default=object)
else:  # a default for type checkers costs no dependency at run time
    from typing import TypeVar

    V = TypeVar("V")


# A dictionary is quicker to fill than slots that are frozen: of what an exact hit costs,
# making the hit is the larger half.
@attrs.frozen(kw_only=True, slots=False)
class Hit(Generic[V]):
    """
    An answer found.

    Attributes:
        value: The answer.
        question: The question it was stored for.
        similarity: Cosine of both questions' embeddings; 1 where they are the same.
        exact: Whether both questions are the same but for white space.
        age_s: Machine time since it was stored, in seconds.
        scope: Key of the scope it was found in; "" is the default scope.
        id: Number of the entry, never given twice by one cache.
    """

    value: V
    question: str
    similarity: float
    exact: bool
    age_s: float
    scope: str
    id: int

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
        nearest: The nearest stored question, or None in an empty scope.
        similarity: Its cosine, or None.
        threshold: The cosine from which an answer is reused.
        scope: Key of the scope that was looked in.
    """

    outcome: str
    reason: str
    nearest: str | None = None
    similarity: float | None = None
    threshold: float
    scope: str = ""
