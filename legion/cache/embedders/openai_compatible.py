"""Embeddings over HTTP, as OpenAI's API and those of many others have them."""

from __future__ import annotations

import json
import time
import weakref

from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

from ...exceptions import EmbeddingError
from ..fork import anew_after_fork
from .embedder import Embedder


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray


LONGEST_PAUSE_S = 30.0


def openai_compatible(
    url: str,
    model: str,
    *,
    api_key: str | None = None,
    dimensions: int | None = None,
    headers: Mapping[str, str] | None = None,
    max_batch: int = 128,
    remembers: int = 10_000,
    timeout_s: float = 10.0,
    retries: int = 3,
    pause: Callable[[float], object] = time.sleep,
) -> Embedder:
    """
    Return the embedder of a server: OpenAI's, vLLM's, Ollama's, llama.cpp's.

        openai_compatible("https://api.openai.com/v1", "text-embedding-3-small",
                          api_key=os.environ["OPENAI_API_KEY"])

    Connections are kept. Refusals for now (429), errors of the server (5xx) and lost
    connections are tried again, after what the server says in ``Retry-After`` or else
    0.5 s, 1 s, 2 s.

    Args:
        url: Up to ``/embeddings``, such as ``http://127.0.0.1:8000/v1``.
        model: Its name there, and with *dimensions* that of the embedder.
        api_key: Sent as a bearer token; it appears in no error.
        dimensions: Length of the vectors, for models that let one choose.
        headers: To send as well.
        max_batch: Texts in one request.
        remembers: How many texts' vectors are kept.
        timeout_s: Seconds to wait for the server, each time.
        retries: How often a request is tried again.
        pause: Called with the seconds to wait in between.

    Raises:
        ValueError: *url* is neither http nor https.

    .. versionadded:: 0.1
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        msg = f"openai_compatible: got url={url!r}; write http://... or https://..."
        raise ValueError(msg)
    body: dict[str, object] = {"model": model, "encoding_format": "float"}
    name = model
    if dimensions is not None:
        body["dimensions"] = dimensions
        name = f"{model}-{dimensions}"
    sent = {"Content-Type": "application/json", **(headers or {})}
    if api_key is not None:
        sent["Authorization"] = f"Bearer {api_key}"
    server = _Server(
        kind=HTTPSConnection if parts.scheme == "https" else HTTPConnection,
        host=parts.hostname,
        port=parts.port,
        path=f"{parts.path.rstrip('/')}/embeddings",
        headers=sent,
        body=body,
        timeout_s=timeout_s,
        retries=retries,
        pause=pause,
    )
    return Embedder(
        anew_after_fork(server), name=name, max_batch=max_batch, remembers=remembers
    )


class _AgainError(Exception):
    """What went wrong may go better: after how many seconds, if the server says."""

    def __init__(self, what: str, *, after_s: float | None = None) -> None:
        super().__init__(what)
        self.after_s = after_s


@attrs.define(eq=False, kw_only=True)
class _Server:
    """One server, and the connections to it that nobody uses just now."""

    kind: Callable[..., HTTPConnection]
    host: str
    port: int | None
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, object]
    timeout_s: float
    retries: int
    pause: Callable[[float], object]
    _idle: list[HTTPConnection] = attrs.field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        weakref.finalize(self, _close, self._idle)

    def begin_anew(self) -> None:
        """Leave the connections to the parent process."""
        _close(self._idle)

    def __call__(self, texts: list[str]) -> NDArray[np.float32]:
        payload = json.dumps({**self.body, "input": texts}).encode()
        for attempt in range(self.retries + 1):
            try:
                return self._vectors(self._post(payload), len(texts))
            except _AgainError as error:
                if attempt == self.retries:
                    tried = f"tried {attempt + 1} times" if attempt else "tried once"
                    msg = f"embedder: {self._place} {error}, {tried}"
                    raise EmbeddingError(msg) from error
                wait_s = 0.5 * 2**attempt if error.after_s is None else error.after_s
                self.pause(min(wait_s, LONGEST_PAUSE_S))
        raise AssertionError  # pragma: no cover - the last attempt returns or raises

    @property
    def _place(self) -> str:
        return f"{self.host}{self.path}"

    def _post(self, payload: bytes) -> bytes:
        """
        Send a request and return its answer.

        Raises:
            EmbeddingError: The server refuses it for good.
            _AgainError: It may go better.
        """
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self.kind(self.host, self.port, timeout=self.timeout_s)
        try:
            connection.request("POST", self.path, payload, dict(self.headers))
            response = connection.getresponse()
            answer = response.read()
        except (HTTPException, OSError) as error:
            connection.close()
            what = f"could not be asked ({type(error).__name__}: {error})"
            raise _AgainError(what) from error
        self._idle.append(connection)
        if response.status != 200:
            self._refuse(response, answer)
        return answer

    def _refuse(self, response: HTTPResponse, answer: bytes) -> None:
        said = answer[:200].decode(errors="replace").strip()
        what = f"answered {response.status} {response.reason}: {said}"
        if response.status == 429 or response.status >= 500:
            raise _AgainError(what, after_s=_seconds(response.getheader("Retry-After")))
        msg = f"embedder: {self._place} {what}"
        raise EmbeddingError(msg)

    def _vectors(self, answer: bytes, n: int) -> NDArray[np.float32]:
        import numpy as np

        try:
            data: list[Any] = sorted(
                json.loads(answer)["data"], key=lambda d: d["index"]
            )
            vectors = np.asarray([d["embedding"] for d in data], dtype=np.float32)
        except (KeyError, TypeError, ValueError) as error:
            said = answer[:200].decode(errors="replace")
            msg = f"embedder: {self._place} returned no embeddings: {said}"
            raise EmbeddingError(msg) from error
        if [d["index"] for d in data] != list(range(n)):
            msg = (
                f"embedder: {self._place} returned {len(data)} embeddings for {n} texts"
            )
            raise EmbeddingError(msg)
        return vectors


def _close(idle: list[HTTPConnection]) -> None:
    while idle:
        idle.pop().close()


def _seconds(retry_after: str | None) -> float | None:
    """Read a count of seconds; a date is not worth a clock."""
    try:
        seconds = float(retry_after or "")
    except ValueError:
        return None
    return seconds if seconds >= 0 else None
