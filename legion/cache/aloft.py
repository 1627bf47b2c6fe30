"""Which questions are being computed, and whose answer may do for another."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

import attrs

from .waiting import Flight


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray


T = TypeVar("T")


@attrs.frozen
class Near:
    """
    A question that an answer under way might serve.

    Attributes:
        scope: Key of its scope.
        question: What is asked, normalised.
        vector: Its unit vector, shape (dim,).
        least: Cosine from which an answer might be served.
        vetoed: Whether that of a question is not, however near it is.
        served: Whether it would be served from what is stored, without waiting.
    """

    scope: str
    question: str
    vector: NDArray[np.float32]
    least: float
    vetoed: Callable[[str], bool]
    served: Callable[[], bool]


@attrs.define(eq=False)
class Aloft(Generic[T]):
    """
    The computations under way and their questions, scope by scope.

    It has no lock: who owns it has one.
    """

    _scope_of: dict[Flight[T], str] = attrs.field(init=False, factory=dict)
    _known: dict[str, dict[Flight[T], Near]] = attrs.field(init=False, factory=dict)

    def add(self, flight: Flight[T], near: Near) -> None:
        """Take note that *flight* computes the answer to this question."""
        self._scope_of[flight] = near.scope
        self._known.setdefault(near.scope, {})[flight] = near

    def discard(self, flight: Flight[T]) -> None:
        """Forget *flight*, if it is known."""
        scope = self._scope_of.pop(flight, None)
        if scope is None:
            return
        known = self._known[scope]
        del known[flight]
        if not known:
            del self._known[scope]

    def nearest(self, near: Near) -> Flight[T] | None:
        """Return the one whose answer the rule would most likely serve, or None."""
        known = list(self._known.get(near.scope, {}).items())
        if not known:
            return None
        import numpy as np

        cosines = np.stack([other.vector for _, other in known]) @ near.vector
        for i in map(int, np.argsort(-cosines, kind="stable")):
            if cosines[i] < near.least:
                break
            flight, other = known[i]
            if not near.vetoed(other.question):
                return flight
        return None
