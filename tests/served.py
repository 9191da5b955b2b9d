"""A chat-completions server on this machine that behaves as a test says."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """What the server sends: `cut` ends the body after so many bytes, short of its announced length."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None


@dataclass
class Asked:
    """What the server was sent; names of headers in small letters."""

    body: dict[str, Any]
    headers: dict[str, str]
    path: str

    @property
    def text(self) -> str:
        return "\n".join(m["content"] for m in self.body["messages"])


Behaviour = Callable[[Asked, int], Answer]
"""From a request and its number (from 0) to the answer."""


@dataclass
class Server:
    url: str
    asked: list[Asked] = field(default_factory=list)


def completion(content: Any, read: int = 10, written: int = 5) -> Answer:
    message = {"role": "assistant", "content": content}
    usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    choices = [{"index": 0, "finish_reason": "stop", "message": message}]
    return Answer(
        {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": choices, "usage": usage}
    )


def said(label: str, **fields: Any) -> Answer:
    row = {"reason": "", "label": label, "category": "", "quotes": [], "score": 0.9} | fields
    return completion(json.dumps(row))


@contextlib.contextmanager
def serving(behaviour: Behaviour) -> Iterator[Server]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked = Asked(body, {name.lower(): value for name, value in self.headers.items()}, self.path)
            with lock:
                number = len(server.asked)
                server.asked.append(asked)
            answer = behaviour(asked, number)
            data = answer.body.encode() if isinstance(answer.body, str) else json.dumps(answer.body).encode()
            headers = {"Content-Type": "application/json", "Content-Length": str(len(data))} | answer.headers
            with contextlib.suppress(OSError):  # the client may have gone
                self.send_response(answer.status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data[: answer.cut])

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    http.block_on_close = False
    server = Server(f"http://127.0.0.1:{http.server_port}/v1")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
