"""
The Merkle tree of RFC 6962: hashes, proofs, and how to check them.

Whoever keeps one root can check with a few hashes that an entry was in the log then,
and that a later log still begins with the same entries. Nothing here needs the journal
itself.

All proofs are one recursion. The tree over ``[low, high)`` splits at the largest power
of two below its size (RFC 6962, section 2.1); a proof for ``[start, end)`` walks down
to that range and takes the other half along at each split. An inclusion proof is the
one for a range of one leaf (section 2.1.1), a consistency proof the one for a range
that begins at 0 (section 2.1.2); other ranges are the subtrees of
draft-ietf-plants-merkle-tree-certs.
"""

from __future__ import annotations

import hashlib

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias


Hash: TypeAlias = bytes | str
"""32 bytes, or the same as 64 hexadecimal digits."""

EMPTY = hashlib.sha256(b"").digest()
"""Root of the log without entries."""

_LARGEST = 2**64


def leaf_hash(data: bytes) -> bytes:
    """Hash one entry: SHA-256 over 0x00 and *data*."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two neighbours: SHA-256 over 0x01 and both."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def grow(
    peaks: list[bytes], size: int, leaf: bytes
) -> Iterator[tuple[int, int, bytes]]:
    """
    Add a leaf to the perfect trees that make up a log, largest first.

    Args:
        peaks: Their roots; changed in place, once the iterator is used up.
        size: How many leaves there are so far.
        leaf: Hash of the new one.

    Yields:
        Each inner node that is complete now: level above the leaves, place in that
        level, hash.
    """
    level = 0
    while size >> level & 1:
        leaf = node_hash(peaks.pop(), leaf)
        level += 1
        yield level, size >> level, leaf
    peaks.append(leaf)


def root_of(peaks: Sequence[bytes]) -> bytes:
    """Return the root over perfect trees, largest first."""
    if not peaks:
        return EMPTY
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root


def subtree(low: int, high: int, node: Callable[[int, int], bytes]) -> bytes:
    """
    Return the root over the leaves ``[low, high)``.

    Args:
        low: First leaf; a multiple of the smallest power of two that spans the range.
        high: One after the last leaf.
        node: Returns a stored hash by level and place.
    """
    size = high - low
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return node(level, low >> level)
    middle = low + _split(size)
    return node_hash(subtree(low, middle, node), subtree(middle, high, node))


def prove(
    start: int, end: int, *, size: int, node: Callable[[int, int], bytes]
) -> list[bytes]:
    """
    Return the proof that ``[start, end)`` is part of the log of *size* entries.

    Args:
        start: First leaf of the range.
        end: One after its last leaf.
        size: Size of the log.
        node: Returns a stored hash by level and place.
    """

    def walk(start: int, low: int, high: int, *, known: bool) -> list[bytes]:
        if start == low and end == high:
            return [] if known else [subtree(low, high, node)]
        middle = low + _split(high - low)
        if end <= middle:
            rest = walk(start, low, middle, known=known)
            return [*rest, subtree(middle, high, node)]
        if start < middle:
            known, start = False, middle
        return [*walk(start, middle, high, known=known), subtree(low, middle, node)]

    return walk(start, 0, size, known=True)


def verify_inclusion(
    leaf: Hash, seq: int, *, size: int, proof: Sequence[Hash], root: Hash
) -> bool:
    """
    Tell whether *proof* shows that *leaf* is entry *seq* of the log.

    Args:
        leaf: The entry's `leaf_hash`.
        seq: Its position, from 0.
        size: Size of the log.
        proof: What `Journal.inclusion` returned.
        root: Root of the log at that size.
    """
    return verify_subtree_inclusion(
        leaf, seq, start=0, end=size, proof=proof, root=root
    )


def verify_consistency(
    old_size: int, new_size: int, *, proof: Sequence[Hash], old_root: Hash, root: Hash
) -> bool:
    """
    Tell whether *proof* shows that the log has only grown.

    Args:
        old_size: Size at the earlier look, at least 1.
        new_size: Size now.
        proof: What `Journal.consistency` returned.
        old_root: Root at the earlier look.
        root: Root now.
    """
    return old_size > 0 and verify_subtree_consistency(
        0, old_size, size=new_size, proof=proof, subtree_root=old_root, root=root
    )


def verify_subtree_inclusion(
    leaf: Hash, seq: int, *, start: int, end: int, proof: Sequence[Hash], root: Hash
) -> bool:
    """
    Tell whether *proof* shows that *leaf* is entry *seq* of the subtree *root*.

    Args:
        leaf: The entry's `leaf_hash`.
        seq: Its position in the whole log.
        start: First leaf of the subtree.
        end: One after its last leaf.
        proof: The hashes, from the leaf upwards.
        root: Root of the subtree.
    """
    raw = _raw(leaf)
    if not (start <= seq < end and _is_subtree(start, end) and len(raw) == 32):
        return False
    place = seq - start
    return _follows(place, place + 1, end - start, proof, (raw, _raw(root)))


def verify_subtree_consistency(
    start: int,
    end: int,
    *,
    size: int,
    proof: Sequence[Hash],
    subtree_root: Hash,
    root: Hash,
) -> bool:
    """
    Tell whether *proof* shows that a subtree is part of the log.

    Args:
        start: First leaf of the subtree.
        end: One after its last leaf.
        size: Size of the log.
        proof: The hashes, from the subtree upwards.
        subtree_root: Root of the subtree; an empty one is part of every log.
        root: Root of the log.
    """
    if not (0 <= start <= end <= size):
        return False
    if start == end:
        return not proof and _raw(subtree_root) == EMPTY
    return _is_subtree(start, end) and _follows(
        start, end, size, proof, (_raw(subtree_root), _raw(root))
    )


def _follows(
    start: int,
    end: int,
    size: int,
    proof: Sequence[Hash],
    roots: tuple[bytes, bytes],
) -> bool:
    """Rebuild both roots of *roots*, the range's and the log's, from *proof*."""
    hashes = [_raw(item) for item in proof]
    if size > _LARGEST or any(len(item) != 32 for item in hashes):
        return False
    left = iter(hashes)

    def walk(start: int, end: int, size: int, *, known: bool) -> tuple[bytes, bytes]:
        if start == 0 and end == size:
            both = roots[0] if known else next(left)
            return both, both
        middle = _split(size)
        if end <= middle:
            part, whole = walk(start, end, middle, known=known)
            return part, node_hash(whole, next(left))
        known = known and start >= middle
        part, whole = walk(
            max(start - middle, 0), end - middle, size - middle, known=known
        )
        other = next(left)
        # The range began in the other half: that half is part of it, too.
        part = part if start >= middle else node_hash(other, part)
        return part, node_hash(other, whole)

    try:
        rebuilt = walk(start, end, size, known=True)
    except StopIteration:
        return False
    return next(left, None) is None and rebuilt == roots


def _is_subtree(start: int, end: int) -> bool:
    """Tell whether a log can hold a subtree that spans just ``[start, end)``."""
    return 0 <= start < end and start % (1 << (end - start - 1).bit_length()) == 0


def _split(size: int) -> int:
    """Return the largest power of two below *size*."""
    return 1 << ((size - 1).bit_length() - 1)


def _raw(value: Hash) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        return bytes.fromhex(value)
    except ValueError:
        return b""
