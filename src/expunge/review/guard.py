"""Who may ask: one browser, on this machine, that opened the printed link."""

from __future__ import annotations

import hmac
import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_CLOSED = "This page opens with the link that `expunge review` prints. A link works once: stop and start for another.\n"


class Guard:
    """Around the whole application: nothing behind it is reached without the cookie.

    The link's token becomes the cookie of the first browser that opens it, and is void from then on. The Host header
    must be this machine's, so that no outside name can be pointed here. What changes anything must come from the page
    itself: a header that other sites cannot send, and the browser's own word on the origin where it gives one.
    """

    def __init__(self, app: ASGIApp, *, port: int, token: str) -> None:
        self._app = app
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self._token: str | None = token
        self._session: str | None = None
        self._cookie = f"expunge_review_{port}"  # ports share cookies: a second review has another name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] != "http":
            return
        answer = self._answer(Request(scope))

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await (answer or self._app)(scope, receive, with_headers)

    def _answer(self, request: Request) -> Response | None:
        headers = request.headers
        host = headers.get("host", "")
        if host not in self._hosts or len(headers.getlist("host")) != 1:
            return PlainTextResponse("This name is not served here.\n", 421)
        known = self._known(headers)
        if request.method == "GET" and request.url.path == "/" and "token" in request.query_params:
            given = request.query_params["token"]
            return RedirectResponse("/", 303) if known else self._exchange(given)
        if not known:
            return PlainTextResponse(_CLOSED, 403)
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and request.url.path != "/":
            return PlainTextResponse("Only the page itself may ask this.\n", 403)
        if request.method not in ("GET", "HEAD") and not _from_page(headers, host):
            return PlainTextResponse("Only the page itself may change anything.\n", 403)
        return None

    def _known(self, headers: Headers) -> bool:
        given = cookie_parser(headers.get("cookie", "")).get(self._cookie)  # beside those of other programs here
        return self._session is not None and given is not None and _same(given, self._session)

    def _exchange(self, given: str) -> Response:
        if self._token is None or not _same(given, self._token):
            return PlainTextResponse(_CLOSED, 403)
        self._token, self._session = None, secrets.token_urlsafe(32)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(self._cookie, self._session, httponly=True, samesite="strict", path="/")
        return answer


def _from_page(headers: Headers, host: str) -> bool:
    origin = headers.get("origin", f"http://{host}")
    return headers.get("x-expunge") == "review" and origin == f"http://{host}"


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode(), right.encode())
