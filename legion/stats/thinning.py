"""Some of a unit's bad events, the same ones whenever one asks."""

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
    seed = hashlib.blake2b(salt.encode(), digest_size=8).digest()
    whose = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(len(whose)) - np.repeat(np.cumsum(counts) - counts, counts)
    drawn = _mixed(hashes ^ np.frombuffer(seed, dtype=">u8").astype(np.uint64))[whose]
    drawn = _mixed(drawn + number.astype(np.uint64))
    kept = drawn < np.uint64(min(int(keep * 2.0**64), 2**64 - 1))
    return np.bincount(whose[kept], minlength=len(counts)).astype(np.int64)


def _mixed(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return each word mixed; additions and products are modulo 2**64."""
    import numpy as np

    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
