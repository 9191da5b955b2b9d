"""The page's server: a few answers in JSON, on 127.0.0.1 alone."""

from __future__ import annotations

import errno
import json
import logging
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from expunge.errors import InputError, OutputError
from expunge.judges.verdict import LABELS
from expunge.review.guard import Guard
from expunge.review.index import Query, Status
from expunge.review.review import ChangedError, Review

HOST = "127.0.0.1"
PAGE = Path(__file__).parent / "page"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
MOST_ROWS = 200
LARGEST = 1 << 20


def application(review: Review, *, port: int, token: str) -> Guard:
    """The page and its answers, behind the guard."""
    files = {path.name: (path.read_bytes(), TYPES[path.suffix]) for path in PAGE.iterdir() if path.suffix in TYPES}

    async def page(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in files:
            return Response(status_code=404)
        content, kind = files[name]
        return Response(content, media_type=kind)

    async def overview(request: Request) -> Response:
        return JSONResponse(review.overview())

    async def find(request: Request) -> Response:
        return JSONResponse(review.find(_query(request)))

    async def rows(request: Request) -> Response:
        return JSONResponse(review.rows(_positions(request)))

    async def dialogue(request: Request) -> Response:
        return JSONResponse(review.dialogue(request.path_params["position"]))

    async def decide(request: Request) -> Response:
        row = await _body(request)
        position, identity, version = row.get("position"), row.get("id"), row.get("version")
        if type(position) is not int or not isinstance(identity, str) or not isinstance(version, str):
            raise InputError("a decision needs position, id and version")
        return JSONResponse(
            review.decide(position, identity, row, version=version) | {"journal": review.journal.length}
        )

    async def undo(request: Request) -> Response:
        journal = (await _body(request)).get("journal")
        if type(journal) is not int:
            raise InputError("an undo needs the journal's length")
        return JSONResponse(review.undo(journal=journal) | {"journal": review.journal.length})

    app = Starlette(
        routes=[
            Route("/", page),
            Route("/api/review", overview),
            Route("/api/find", find),
            Route("/api/rows", rows),
            Route("/api/dialogue/{position:int}", dialogue),
            Route("/api/decide", decide, methods=["POST"]),
            Route("/api/undo", undo, methods=["POST"]),
            Route("/{name}", page),
        ],
        exception_handlers={InputError: _refused, Exception: _internal},
    )
    return Guard(app, port=port, token=token)


def serve(review: Review, *, port: int = 0, ready: Callable[[str], None]) -> None:
    """Serve until stopped by Ctrl-C or SIGTERM. `ready` gets the link; port 0 is any free one.

    Raises:
        InputError: the port is in use, or may not be used.
    """
    bound = _bound(port)
    port = bound.getsockname()[1]
    token = secrets.token_urlsafe(32)
    app = application(review, port=port, token=token)
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level=logging.CRITICAL + 1,  # a log would hold the token, a traceback may hold dialogues
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    ready(f"http://{HOST}:{port}/?token={token}")
    uvicorn.Server(config).run(sockets=[bound])


def _bound(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
        bound.listen(64)  # the link works as soon as it is printed
    except OSError as error:
        bound.close()
        fault = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        remedy = "Choose another --port; without it, any free one is taken."
        raise InputError(f"the port {port} {fault}", remedy=remedy) from None
    return bound


def _query(request: Request) -> Query:
    given = request.query_params
    label, status = given.get("label", ""), given.get("status", "")
    if label not in ("", *LABELS) or status not in get_args(Status):
        raise InputError("a filter that is none")
    try:
        low, high = float(given.get("low") or 0.0), float(given.get("high") or 1.0)
    except ValueError:
        raise InputError("the scores of a filter are numbers in [0, 1]") from None
    return Query(
        label=label,  # type: ignore[arg-type]  # one of LABELS
        low=low,
        high=high,
        judge=given.get("judge", ""),
        disagreement=given.get("disagreement") == "1",
        status=status,  # type: ignore[arg-type]  # one of its texts
    )


def _positions(request: Request) -> list[int]:
    words = request.query_params.get("at", "").split(",")
    if len(words) > MOST_ROWS or not all(word.isascii() and word.isdigit() and len(word) < 16 for word in words):
        raise InputError(f"rows are asked for by at most {MOST_ROWS} positions")
    return [int(word) for word in words]


async def _body(request: Request) -> dict[str, Any]:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > LARGEST:
            raise InputError("this decision is longer than a megabyte")
    try:
        row = json.loads(data)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise InputError("a decision is a JSON object")
    return row


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, InputError)
    status = 507 if isinstance(error, OutputError) else 409
    now = {"now": error.now} if isinstance(error, ChangedError) else {}
    return JSONResponse({"error": error.message, "remedy": error.remedy} | now, status)


async def _internal(request: Request, error: Exception) -> Response:
    """A fault of ours, without its message, which may quote a dialogue."""
    return JSONResponse({"error": f"internal error: {type(error).__name__}", "remedy": "Nothing was saved."}, 500)
