"""Fewer bad events of a unit, or more of them, the same ones whenever one asks."""

from __future__ import annotations

import hashlib

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def thinned(
    bad: npt.ArrayLike, units: npt.ArrayLike, *, keep: float, salt: str
) -> npt.NDArray[np.int64]:
    """
    Return how many of each unit's bad events are kept, each with probability *keep*.

    Whether one is kept follows from a hash of its unit, the *salt* and its number, so
    a unit that has one more bad event keeps those it had, and every replay keeps the
    same ones. The hash is the finaliser of SplitMix64 (Steele, Lea, Flood, "Fast
    splittable pseudorandom number generators", OOPSLA 2014), twice.

    Args:
        bad: How many bad events each unit has had, shape (units,), from 0.
        units: 64-bit hashes of the units, shape (units,), 0 to 2**64 - 1.
        keep: Above 0, at most 1.
        salt: Draws independently for different names, such as that of the metric.

    Raises:
        ValueError: *keep* is out of its range, a count is negative, or shapes differ.
    """
    import numpy as np

    counts = np.asarray(bad, dtype=np.int64)
    hashes = np.asarray(units, dtype=np.uint64)
    if not 0 < keep <= 1 or counts.shape != hashes.shape or np.any(counts < 0):
        msg = (
            f"thinned: got keep={keep}, shapes {counts.shape} and {hashes.shape}; write"
            " keep above 0 and at most 1, and a count from 0 for every unit"
        )
        raise ValueError(msg)
    if keep == 1:
        return counts
    whose = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(len(whose)) - np.repeat(np.cumsum(counts) - counts, counts)
    drawn = _mixed(hashes ^ _seed(salt))[whose]
    drawn = _mixed(drawn + number.astype(np.uint64))
    kept = drawn < np.uint64(min(int(keep * 2.0**64), 2**64 - 1))
    return np.bincount(whose[kept], minlength=len(counts)).astype(np.int64)


def contaminated(
    good: npt.ArrayLike, *, share: float, salt: str
) -> npt.NDArray[np.int64]:
    """
    Return how many of each unit's good events turn bad, each with probability *share*.

    From one that turns to the next there are as many as a geometric variable says, so
    the work is of those that turn (Devroye, "Non-uniform random variate generation",
    1986, chapter X.2). Draws are by the same hash as `thinned`, of *salt* and number: a
    replay that has the units in the same order gets the same.

    Args:
        good: How many good events each unit has had, shape (units,), from 0.
        share: From 0, below 1.
        salt: Draws independently for different names, such as that of the metric.

    Raises:
        ValueError: *share* is out of its range, or a count is negative.
    """
    import numpy as np

    counts = np.asarray(good, dtype=np.int64)
    if not 0 <= share < 1 or np.any(counts < 0):
        msg = (
            f"contaminated: got share={share}; write one from 0 and below 1, and a"
            " count from 0 for every unit"
        )
        raise ValueError(msg)
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    turned = np.zeros_like(counts)
    if not (total and share):
        return turned
    expected = total * share
    block = int(expected + 6 * np.sqrt(expected)) + 8
    last, number = -1, 0
    while last < total:
        words = np.arange(number, number + block).astype(np.uint64)
        # Inside 0..1 on either side, or a logarithm would not be finite.
        drawn = _mixed(_mixed(words ^ _seed(salt)))
        uniform = ((drawn >> np.uint64(11)) + 0.5) * 2.0**-53
        between = np.minimum(np.log(uniform) / np.log1p(-share), total)
        at = last + np.cumsum(between.astype(np.int64) + 1)
        whose = np.searchsorted(ends, at[at < total], side="right")
        turned += np.bincount(whose, minlength=len(counts))
        last, number = int(at[-1]), number + block
    return turned


def _seed(salt: str) -> np.uint64:
    """Return what stands for *salt*."""
    import numpy as np

    digest = hashlib.blake2b(salt.encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest))


def _mixed(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return each word mixed; additions and products are modulo 2**64."""
    import numpy as np

    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
