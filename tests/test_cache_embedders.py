"""Embedders whose weights come with their package."""

from __future__ import annotations

import logging
import sys

import numpy as np
import pytest

from legion.cache.embedders import wordllama
from legion.exceptions import MissingExtraError


def test_wordllama_embeds_without_a_network(monkeypatch):
    """256 dimensions; a paraphrase is nearer than another question."""
    pytest.importorskip("wordllama", reason="the extra wordllama is not installed")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    before = logging.root.level, list(logging.root.handlers)
    vectors = wordllama()(
        ["Where is my card?", "Where is my card now?", "Close my account please"]
    )
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    assert vectors.shape == (3, 256)
    assert units[0] @ units[1] > 0.85 > units[0] @ units[2]
    assert before == (logging.root.level, list(logging.root.handlers))


def test_a_missing_package_names_the_extra(monkeypatch):
    """The error says what to install, and is an ImportError too."""
    monkeypatch.setitem(sys.modules, "wordllama", None)

    with pytest.raises(MissingExtraError, match=r"legion-rollout\[wordllama\]"):
        wordllama()
