"""A chat completions API on loopback: JSON, server-sent events, embeddings."""

from __future__ import annotations

import json
import threading

from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ChatServer:
    """
    Answers "re: " and what it was asked; a test may say what it does instead.

    Attributes:
        requests: Bodies of what came, in order.
        reply: From a request to the message, or a status code of an error.
        finish_reason: Why its answers end.
        cut: After how many chunks a stream breaks off, or None.
    """

    def __init__(self):
        self.requests, self.cut, self.finish_reason = [], None, "stop"
        self.gate = threading.Event()
        self.gate.set()
        self.url = ""

    def reply(self, request):
        return {"role": "assistant", "content": f"re: {text_of(request)}"}

    @property
    def asked(self):
        return [text_of(request) for request in self.requests]


def text_of(request):
    content = request["messages"][-1]["content"]
    return content if isinstance(content, str) else content[0]["text"]


@contextmanager
def chat_server():
    """Serve until the end of the block."""
    server = ChatServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            pass

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.requests.append(body)
            n = len(server.requests)
            assert server.gate.wait(20)
            message = server.reply(body)
            if isinstance(message, int):
                self.answer(message, {"error": {"message": "refused", "type": "t"}})
            elif body.get("stream"):
                self.stream(body, message, n)
            else:
                self.answer(200, completion(body, message, server.finish_reason, n))

        def answer(self, status, body):
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def stream(self, body, message, n):
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for i, chunk in enumerate(chunks(body, message, server.finish_reason, n)):
                if i == server.cut:
                    self.close_connection = True
                    return
                self.event(json.dumps(chunk))
            self.event("[DONE]")
            self.wfile.write(b"0\r\n\r\n")

        def event(self, data):
            line = f"data: {data}\n\n".encode()
            self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
            self.wfile.flush()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        server.url = f"http://127.0.0.1:{http.server_port}/v1"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.gate.set()
            http.shutdown()
            thread.join()


def completion(body, message, finish_reason, n):
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return {
        "id": f"chatcmpl-{n}",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": body["model"],
        "choices": [choice],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


def chunks(body, message, finish_reason, n):
    deltas = [{"role": "assistant", "content": ""}]
    if message.get("content"):
        deltas += [{"content": f"{word} "} for word in message["content"].split()]
    if message.get("tool_calls"):
        deltas += [
            {"tool_calls": [{"index": i, **call}]}
            for i, call in enumerate(message["tool_calls"])
        ]
    for i, delta in enumerate([*deltas, {}]):
        end = finish_reason if i == len(deltas) else None
        yield {
            "id": f"chatcmpl-{n}",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": body["model"],
            "choices": [{"index": 0, "delta": delta, "finish_reason": end}],
        }
