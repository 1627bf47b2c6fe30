"""Questions into unit vectors, or an error that says what the embedder returned."""

from __future__ import annotations

import asyncio
import math
import threading

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeAlias, TypeVar

import attrs

from ..exceptions import EmbeddingError
from .fork import Order, anew_after_fork, over_fork


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import ArrayLike, NDArray


P = ParamSpec("P")
R = TypeVar("R")

Embed: TypeAlias = "Callable[[list[str]], ArrayLike]"
"""Any callable from n texts to an array of shape (n, dim)."""

LEAST_DIM, MOST_DIM = 2, 4096
# What numpy would make numbers of: objects, texts, complex numbers and times.
_NO_NUMBERS = frozenset("OSUcmM")
# By bytes of a number: sums of squares between this and its inverse are precise.
_LEAST_SQUARE = {4: 1e-30, 8: 1e-290}


@attrs.frozen
class Identity:
    """
    Which embedder made a vector: another one's cannot be compared with it.

    Attributes:
        name: What the embedder calls itself.
        dim: Length of its vectors.
    """

    name: str
    dim: int

    def __str__(self) -> str:
        return f"{self.name} ({self.dim} dimensions)"


def given_name(embed: Embed) -> str | None:
    """Return the `name` of an embedder, or None where it says none."""
    name = getattr(embed, "name", None)
    return name if isinstance(name, str) else None


def name_of(embed: Embed) -> str:
    """Return the `name` of an embedder, or where its function was defined."""
    name = given_name(embed)
    if name is not None:
        return name
    named = embed if hasattr(embed, "__qualname__") else type(embed)
    return f"{named.__module__}.{named.__qualname__}"


_threads = partial(ThreadPoolExecutor, thread_name_prefix="legion-embed")


@attrs.define(eq=False)
class UnitVectors:
    """
    An embedder whose answers are checked, copied and brought to unit length.

    The first answer settles the dimension; a later one of another dimension is refused.

    Attributes:
        embed: The embedder.
        dim: Length of its vectors, or None before the first answer.
    """

    embed: Embed
    dim: int | None = attrs.field(init=False, default=None)
    # Not the loop's own, whose threads may all wait for what is to be embedded.
    _threads: ThreadPoolExecutor = attrs.field(init=False, factory=_threads)
    _lock: threading.Lock = attrs.field(
        init=False, factory=partial(over_fork, Order.EMBEDDER, threading.Lock)
    )

    def __attrs_post_init__(self) -> None:
        anew_after_fork(self)

    def begin_anew(self) -> None:
        """Have threads that are in this process."""
        self._threads = _threads()

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """
        Embed *texts*, with one call of the embedder.

        Returns:
            Unit vectors, shape (n, dim), float32, C order; a copy.

        Raises:
            EmbeddingError: It raised, or did not return one finite vector other than
                zero for each text, all of the same dimension as ever.
        """
        raw = self._array(self._answer(texts), len(texts))
        dim = raw.shape[1]
        if dim != self.dim:
            self._check_dim(dim)
        unit = _unit(raw, texts)
        if dim != self.dim:
            self.settle(dim)
        return unit

    @property
    def identity(self) -> Identity | None:
        """Who makes the vectors, or None before the first one."""
        return None if self.dim is None else Identity(name_of(self.embed), self.dim)

    async def aside(
        self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """
        Return what *function* does, which embeds; the loop goes on meanwhile.

        An embedder that says it is `quick` takes less time than going to a thread.
        """
        if getattr(self.embed, "quick", False):
            return function(*args, **kwargs)
        return await self.in_thread(function, *args, **kwargs)

    async def in_thread(
        self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """
        Return what *function* does in a thread of the cache's own.

        The loop's may all be waiting for what it does.
        """
        call = partial(copy_context().run, function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def _answer(self, texts: Sequence[str]) -> ArrayLike:
        try:
            return self.embed(list(texts))
        except EmbeddingError:
            raise
        except Exception as error:
            msg = (
                f"embedder: it raised {type(error).__name__}: {error}; return one "
                f"vector a text, or do not ask the cache while it cannot"
            )
            raise EmbeddingError(msg) from error

    def _array(
        self, answer: ArrayLike, n: int
    ) -> NDArray[np.float32] | NDArray[np.float64]:
        import numpy as np

        cause = None
        try:
            raw = np.asarray(answer)
            numbers = raw.dtype.kind not in _NO_NUMBERS
            if numbers and raw.dtype != np.float32:
                raw = raw.astype(np.float64)
        except (TypeError, ValueError) as error:
            numbers, cause = False, error
        # Only masked arrays have one of these; asking numpy.ma would load it.
        if not numbers or hasattr(answer, "fill_value"):
            msg = (
                f"embedder: got {type(answer).__name__}, which is not an array of "
                f"numbers; return an array of shape ({n}, dim)"
            )
            raise EmbeddingError(msg) from cause
        if raw.ndim != 2 or len(raw) != n:
            msg = (
                f"embedder: got an array of shape {raw.shape} for {n} "
                f"text{'s' if n != 1 else ''}; return one row for each, ({n}, dim)"
            )
            raise EmbeddingError(msg)
        return raw

    def _check_dim(self, dim: int) -> None:
        if not LEAST_DIM <= dim <= MOST_DIM:
            msg = (
                f"embedder: got vectors of dimension {dim}; return between "
                f"{LEAST_DIM} and {MOST_DIM}"
            )
            raise EmbeddingError(msg)
        if self.dim not in {None, dim}:
            msg = (
                f"embedder: got vectors of dimension {dim}; return {self.dim} as "
                f"before, or make a cache of its own for the other embedder"
            )
            raise EmbeddingError(msg)

    def settle(self, dim: int) -> None:
        """
        Have all vectors be of dimension *dim*.

        Raises:
            EmbeddingError: They are of another one.
        """
        if self.dim != dim:
            with self._lock:
                self._check_dim(dim)
                self.dim = dim


def _unit(
    raw: NDArray[np.float32] | NDArray[np.float64], texts: Sequence[str]
) -> NDArray[np.float32]:
    import numpy as np

    least = _LEAST_SQUARE[raw.dtype.itemsize]
    if len(raw) == 1:  # of a look-up or a put, where each microsecond counts
        # Unlike `numpy.dot`, it does not warn of what overflows.
        square = float(np.vdot(raw, raw))
        if least < square < 1 / least:
            return (raw / math.sqrt(square)).astype(np.float32, copy=False)
    squares = np.einsum("ij,ij->i", raw, raw)
    usable = (least < squares) & (squares < 1 / least)
    if usable.all():
        unit = raw / np.sqrt(squares)[:, None]
        copied: NDArray[np.float32] = unit.astype(np.float32, order="C", copy=False)
        return copied
    if raw.dtype == np.float32:
        return _unit(raw.astype(np.float64), texts)
    worst = int(usable.argmin())
    finite = np.isfinite(raw[worst]).all()
    length = f"a vector of length {math.sqrt(squares[worst]):g}"
    msg = (
        f"embedder: got {length if finite else 'a vector with NaN or infinity'} for "
        f"{texts[worst][:60]!r}; return a finite vector other than zero, or do not "
        f"ask the cache for such a text"
    )
    raise EmbeddingError(msg)
