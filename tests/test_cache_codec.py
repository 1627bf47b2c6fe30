"""Answers are packed by whichever codec is there, and unpacked by the one that did."""

from __future__ import annotations

import ast
import sys

from pathlib import Path

import numpy as np
import pytest

from legion import SemanticCache
from legion.cache import codec
from legion.exceptions import MissingExtraError


KINDS = ["zlib", "zstd"]
SHORT = [b"The parcel %d is on its way to you." % i for i in range(2_000)]


def kind(name):
    if name == "zstd":
        pytest.importorskip("zstandard", reason="packs with Zstandard")
        return codec.Zstd
    return codec.Zlib


def embed(texts):
    return np.array([[1.0, len(text)] for text in texts])


@pytest.mark.parametrize("name", KINDS)
def test_what_was_packed_is_unpacked(name):
    """Nothing, little and much, with a dictionary and without."""
    made = kind(name)
    for dictionary in (b"", made.trained(SHORT)):
        one = made(dictionary)
        for data in (b"", b"x", SHORT[7], bytes(300_000), b"".join(SHORT)):
            assert (
                codec.named(name, dictionary).unpack(one.pack(data), len(data)) == data
            )


@pytest.mark.parametrize("name", KINDS)
def test_a_dictionary_makes_short_answers_shorter(name):
    """What two thousand short answers share is not packed again in each."""
    made = kind(name)
    alone, trained = made(), made(made.trained(SHORT))
    assert len(trained.pack(SHORT[7])) < 0.6 * len(alone.pack(SHORT[7]))


@pytest.mark.parametrize("name", KINDS)
def test_what_has_nothing_in_common_needs_no_dictionary(name):
    """Few samples, and samples of noise, are packed all the same."""
    made = kind(name)
    random = np.random.default_rng(1)
    assert made.trained(SHORT[:10]) == b""
    noise = [random.bytes(40) for _ in range(1_000)]
    one = made(made.trained(noise))
    assert one.unpack(one.pack(noise[0]), 40) == noise[0]


def test_a_file_says_which_package_it_needs(tmp_path, monkeypatch):
    """Without Zstandard its files are refused by name, and new ones are zlib's."""
    kind("zstd")
    with SemanticCache(embed, path=tmp_path / "a") as cache:
        cache.put("q", 1)
        cache.save()
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingExtraError, match=r"legion-rollout\[zstd\]"):
        SemanticCache(embed, path=tmp_path / "a")
    with SemanticCache(embed, path=tmp_path / "b") as cache:
        cache.put("q", 1)
        cache.save()
    monkeypatch.undo()
    with SemanticCache(embed, path=tmp_path / "b") as cache:
        assert cache.get("q").value == 1


def test_one_file_of_the_room_touches_the_disk():
    """Opening, syncing, renaming and locking are in one place."""
    touching = set()
    harmless = {"os.PathLike", "os.register_at_fork"}
    for path in Path(codec.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            code = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
            if code.startswith("os.") and code not in harmless:
                touching.add(path.name)
            if isinstance(node, ast.Import) and node.names[0].name == "fcntl":
                touching.add(path.name)
    assert touching == {"file.py"}
