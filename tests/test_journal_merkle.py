"""Merkle hashes and proofs, held against a slow reading of RFC 6962 and its vectors."""

from __future__ import annotations

import base64
import hashlib
import json

from pathlib import Path

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from legion.journal import merkle


VECTORS = Path(__file__).parents[1] / "../shared/vectors/audit/rfc6962_proofs.json"


def slow_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word by word."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return merkle.node_hash(slow_root(leaves[:k]), slow_root(leaves[k:]))


class Tree:
    """A log in memory, grown leaf by leaf."""

    def __init__(self, size: int) -> None:
        self.leaves = [merkle.leaf_hash(b"%d" % i) for i in range(size)]
        self.nodes, self.peaks = {}, []
        for seq, leaf in enumerate(self.leaves):
            self.nodes[0, seq] = leaf
            for level, place, node in merkle.grow(self.peaks, seq, leaf):
                assert (level, place) not in self.nodes
                self.nodes[level, place] = node

    def node(self, level: int, place: int) -> bytes:
        return self.nodes[level, place]


def case_verifies(family: str, case: dict) -> bool:
    def raw(key: str) -> bytes:
        return base64.b64decode(case[key])

    proof = [base64.b64decode(item) for item in case["proof"] or []]
    if family == "inclusion":
        return merkle.verify_inclusion(
            raw("leafHash"),
            case["leafIdx"],
            size=case["treeSize"],
            proof=proof,
            root=raw("root"),
        )
    if family == "consistency":
        return merkle.verify_consistency(
            case["size1"],
            case["size2"],
            proof=proof,
            old_root=raw("root1"),
            root=raw("root2"),
        )
    if family == "subtreeinclusion":
        return merkle.verify_subtree_inclusion(
            raw("leafHash"),
            case["leafIdx"],
            start=case["start"],
            end=case["end"],
            proof=proof,
            root=raw("root"),
        )
    return merkle.verify_subtree_consistency(
        case["start"],
        case["end"],
        size=case["size"],
        proof=proof,
        subtree_root=raw("root1"),
        root=raw("root2"),
    )


@pytest.mark.skipif(
    not VECTORS.exists(),
    reason="the RFC 6962 vectors are not at ../shared/vectors/audit",
)
def test_all_published_proofs_are_judged_as_published():
    """518 proofs of the transparency-dev project: the good verify, the bad do not."""
    cases = json.loads(VECTORS.read_text())["cases"]
    wrong = [
        name
        for name, case in cases.items()
        if case_verifies(name.split("/")[0], case) is case["wantErr"]
    ]
    assert wrong == []
    assert len(cases) == 518


def test_the_hashes_are_those_of_the_standard():
    """Leaves begin with 0x00 and nodes with 0x01, so one is never taken for another."""
    assert merkle.leaf_hash(b"x") == hashlib.sha256(b"\0x").digest()
    assert merkle.node_hash(b"a", b"b") == hashlib.sha256(b"\1ab").digest()
    assert hashlib.sha256(b"").digest() == merkle.EMPTY == merkle.root_of([])


@pytest.mark.parametrize("size", range(35))
def test_growing_gives_the_standards_root(size):
    """The root kept leaf by leaf is the one that the definition gives."""
    tree = Tree(size)
    assert merkle.root_of(tree.peaks) == slow_root(tree.leaves)
    assert len(tree.nodes) == size + size - size.bit_count()


@settings(max_examples=60, deadline=None)
@given(data=st.data(), size=st.integers(1, 70))
def test_every_proof_verifies_and_no_altered_one_does(data, size):
    """Inclusion and consistency hold for every pair, and for nothing beside it."""
    tree = Tree(size)
    root = merkle.root_of(tree.peaks)
    seq = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(1, size))
    inclusion = merkle.prove(seq, seq + 1, size=size, node=tree.node)
    consistency = merkle.prove(0, old, size=size, node=tree.node)

    def included(proof, leaf=tree.leaves[seq], root=root, seq=seq):
        return merkle.verify_inclusion(leaf, seq, size=size, proof=proof, root=root)

    def consistent(proof, old_root=None, root=root, old=old):
        old_root = old_root or slow_root(tree.leaves[:old])
        return merkle.verify_consistency(
            old, size, proof=proof, old_root=old_root, root=root
        )

    assert included(inclusion)
    assert included([item.hex() for item in inclusion], root=root.hex())
    assert consistent(consistency)
    other = merkle.leaf_hash(b"other")
    assert not included(inclusion, leaf=other)
    assert not included(inclusion, root=other)
    assert not consistent(consistency, old_root=other)
    assert not consistent(consistency, root=other)
    for proof, holds in [(inclusion, included), (consistency, consistent)]:
        assert not holds([*proof, other])
        for i in range(len(proof)):
            assert not holds(proof[:i] + proof[i + 1 :])
            assert not holds([*proof[:i], other, *proof[i + 1 :]])


@settings(max_examples=60, deadline=None)
@given(data=st.data(), size=st.integers(1, 70), level=st.integers(0, 6))
def test_subtrees_inside_the_log_are_proven(data, size, level):
    """A range that begins anywhere it may is part of the log; no other range is."""
    tree = Tree(size)
    start = data.draw(st.integers(0, (size - 1) >> level)) << level
    end = data.draw(st.integers(start + 1, min(size, start + (1 << level))))
    proof = merkle.prove(start, end, size=size, node=tree.node)

    def part(subtree_root):
        return merkle.verify_subtree_consistency(
            start,
            end,
            size=size,
            proof=proof,
            subtree_root=subtree_root,
            root=merkle.root_of(tree.peaks),
        )

    assert part(slow_root(tree.leaves[start:end]))
    assert not part(merkle.leaf_hash(b"other"))


def test_nonsense_is_no_proof_and_no_exception():
    """Negative sizes, words for hashes and absurd sizes are simply not proven."""
    leaf = merkle.leaf_hash(b"0")
    assert not merkle.verify_inclusion("no hash", 0, size=1, proof=[], root=leaf)
    assert not merkle.verify_inclusion(leaf, -1, size=1, proof=[], root=leaf)
    assert not merkle.verify_inclusion(leaf, 0, size=2, proof=["zz"], root=leaf)
    assert not merkle.verify_inclusion(leaf, 0, size=2**9999, proof=[], root=leaf)
    assert not merkle.verify_consistency(-1, 1, proof=[], old_root=leaf, root=leaf)
