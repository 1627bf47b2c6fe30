"""Embeddings over HTTP, against a real server on loopback."""

from __future__ import annotations

import json
import threading

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from legion import SemanticCache
from legion.cache.embedders import openai_compatible
from legion.exceptions import EmbeddingError


class Server:
    """
    Embeds a text as its length and 1.

    Attributes:
        faults: What it does instead, first to last: a status, (status, Retry-After),
            "close", "hang" or the body of an answer.
    """

    def __init__(self):
        self.requests, self.headers, self.faults, self.connections = [], [], [], set()
        self.done = threading.Event()

    def answer(self, body):
        data = [
            {"index": i, "embedding": [len(text), 1.0]}
            for i, text in enumerate(body["input"])
        ]
        return {"data": data[::-1]}


@pytest.fixture
def server():
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            pass

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.requests.append((self.path, body))
            server.headers.append(self.headers)
            server.connections.add(self.client_address)
            fault = server.faults.pop(0) if server.faults else None
            if fault == "close":
                self.close_connection = True
            elif fault == "hang":
                server.done.wait(20)
                self.close_connection = True
            elif isinstance(fault, str):
                self.send(200, fault.encode())
            elif fault is not None:
                status, after = fault if isinstance(fault, tuple) else (fault, None)
                self.send(status, b'{"error": "not now"}', after)
            else:
                self.send(200, json.dumps(server.answer(body)).encode())

        def send(self, status, data, after=None):
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            if after is not None:
                self.send_header("Retry-After", after)
            self.end_headers()
            self.wfile.write(data)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        server.url = f"http://127.0.0.1:{http.server_port}/v1"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.done.set()
        http.shutdown()
        thread.join()


def test_a_server_embeds_for_a_cache(server):
    """In order, whatever order the server answers in; with model and key."""
    embed = openai_compatible(server.url, "m", api_key="sekret", dimensions=2)
    cache = SemanticCache(embed)
    cache.put_many([("a", 1), ("bb", 2)])

    assert embed(["ccc", "a"]).tolist() == [[3, 1], [1, 1]]
    path, body = server.requests[0]
    assert path == "/v1/embeddings"
    assert body == {
        "model": "m",
        "encoding_format": "float",
        "dimensions": 2,
        "input": ["a", "bb"],
    }
    assert server.requests[1][1]["input"] == ["ccc"], "a is remembered"
    assert server.headers[0]["Authorization"] == "Bearer sekret"
    assert cache.embedder.name == "m-2"
    assert len(server.connections) == 1, "the connection is kept"


def test_texts_go_in_batches(server):
    """No request holds more than the server takes."""
    embed = openai_compatible(server.url, "m", max_batch=2, headers={"X-Team": "t"})
    assert embed(["a", "bb", "ccc"])[:, 0].tolist() == [1, 2, 3]
    assert [body["input"] for _, body in server.requests] == [["a", "bb"], ["ccc"]]
    assert server.headers[0]["X-Team"] == "t"


def test_what_may_go_better_is_tried_again(server):
    """After what the server says, or twice as long each time."""
    pauses = []
    server.faults = [(429, "7"), 503, "close"]
    embed = openai_compatible(server.url, "m", pause=pauses.append)

    assert embed(["a"]).tolist() == [[1, 1]]
    assert pauses == [7, 1, 2]


@pytest.mark.parametrize("after", ["Wed, 21 Oct 2026 07:28:00 GMT", "-1", "nan", "999"])
def test_a_pause_is_neither_strange_nor_endless(server, after):
    """What the server says is taken where it is a number, up to half a minute."""
    pauses = []
    server.faults = [(503, after)]
    openai_compatible(server.url, "m", pause=pauses.append)(["a"])

    assert pauses == [30 if after == "999" else 0.5]


def test_it_gives_up_after_the_last_try(server):
    """And says what the server said."""
    pauses = []
    server.faults = [500] * 3
    embed = openai_compatible(server.url, "m", retries=2, pause=pauses.append)

    with pytest.raises(EmbeddingError, match=r"answered 500 .*not now.*tried 3 times"):
        embed(["a"])
    assert pauses == [0.5, 1]


def test_a_refusal_for_good_is_not_tried_again(server):
    """The key is in no error."""
    server.faults = [401]
    embed = openai_compatible(server.url, "m", api_key="sekret", pause=pytest.fail)

    with pytest.raises(EmbeddingError, match="answered 401") as error:
        embed(["a"])
    assert "sekret" not in str(error.value)
    assert len(server.requests) == 1


def test_a_server_that_hangs_is_left(server):
    """Each try has its deadline."""
    server.faults = ["hang"]
    embed = openai_compatible(server.url, "m", timeout_s=0.2, retries=0)

    with pytest.raises(EmbeddingError, match=r"could not be asked .*tried once"):
        embed(["a"])


def test_nobody_there_is_an_error_that_says_so():
    """No server listens on that port."""
    embed = openai_compatible("http://127.0.0.1:9", "m", retries=0)
    with pytest.raises(EmbeddingError, match=r"127\.0\.0\.1/embeddings could not be"):
        embed(["a"])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("<html>", "returned no embeddings: <html>"),
        ('{"data": [{"index": 0}]}', "returned no embeddings"),
        ('{"data": [{"index": 0, "embedding": [1, 2]}]}', "1 embeddings for 2 texts"),
        ('{"data": []}', "0 embeddings for 2 texts"),
    ],
    ids=["no JSON", "no vector", "too few", "none"],
)
def test_an_answer_that_is_none_is_an_error(server, answer, said):
    """Nothing is made up, and nothing stored."""
    server.faults = [answer]
    cache = SemanticCache(openai_compatible(server.url, "m"))
    with pytest.raises(EmbeddingError, match=said):
        cache.put_many([("a", 1), ("b", 2)])
    assert len(cache) == 0


@pytest.mark.parametrize("url", ["127.0.0.1:9/v1", "ftp://host/v1", "http://"])
def test_a_url_that_is_none_is_refused(url):
    """When the embedder is made."""
    with pytest.raises(ValueError, match="write http://"):
        openai_compatible(url, "m")
