"""Which questions are being computed, by their vectors."""

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
        vector: Its unit vector, shape (dim,).
        least: Cosine from which an answer might be served.
        served: Whether it would be served from what is stored, without waiting.
    """

    scope: str
    vector: NDArray[np.float32]
    least: float
    served: Callable[[], bool]


@attrs.define(eq=False)
class Aloft(Generic[T]):
    """
    The computations under way and the vectors of their questions, scope by scope.

    It has no lock: who owns it has one.
    """

    _scope_of: dict[Flight[T], str] = attrs.field(init=False, factory=dict)
    _vectors: dict[str, dict[Flight[T], NDArray[np.float32]]] = attrs.field(
        init=False, factory=dict
    )

    def add(self, flight: Flight[T], near: Near) -> None:
        """Take note that *flight* computes the answer to this question."""
        self._scope_of[flight] = near.scope
        self._vectors.setdefault(near.scope, {})[flight] = near.vector

    def discard(self, flight: Flight[T]) -> None:
        """Forget *flight*, if it is known."""
        scope = self._scope_of.pop(flight, None)
        if scope is None:
            return
        vectors = self._vectors[scope]
        del vectors[flight]
        if not vectors:
            del self._vectors[scope]

    def nearest(self, near: Near) -> Flight[T] | None:
        """Return the one whose answer the rule would most likely serve, or None."""
        vectors = self._vectors.get(near.scope)
        if not vectors:
            return None
        import numpy as np

        cosines = np.stack(list(vectors.values())) @ near.vector
        best = int(cosines.argmax())
        return list(vectors)[best] if cosines[best] >= near.least else None
