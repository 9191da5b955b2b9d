"""Who may ask the page's server, and what it answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from made_up_verdicts import MakeFile
from starlette.testclient import TestClient

from expunge.review import Review
from expunge.review.server import PAGE, application

HOME = "http://127.0.0.1:8123"
TOKEN = "right"
CHANGE = {"X-Expunge": "review"}


@pytest.fixture
def review(make_file: MakeFile) -> Iterator[Review]:
    review = Review(make_file(20))
    yield review
    review.close()


@pytest.fixture
def stranger(review: Review) -> TestClient:
    app = application(review, port=8123, token=TOKEN)
    return TestClient(app, base_url=HOME, follow_redirects=False)


@pytest.fixture
def client(stranger: TestClient) -> TestClient:
    assert stranger.get(f"/?token={TOKEN}").status_code == 303
    return stranger


def test_without_the_token_nothing_is_served(stranger: TestClient) -> None:
    for path in (
        "/",
        "/?token=",
        "/?token=wrong",
        "/?token=é",
        "/app.js",
        "/api/review",
        "/api/dialogue/0",
        "/nothing",
    ):
        answer = stranger.get(path)
        assert answer.status_code == 403 and "set-cookie" not in answer.headers, path
    assert stranger.post("/api/decide", json={}, headers=CHANGE).status_code == 403
    assert stranger.get("/", headers={"cookie": "expunge_review_8123=None"}).status_code == 403
    assert stranger.head(f"/?token={TOKEN}").status_code == 403  # a look ahead does not use the link up
    assert stranger.get(f"/?token={TOKEN}").status_code == 303


def test_the_link_works_once(client: TestClient) -> None:
    assert client.get("/").status_code == 200
    assert client.get(f"/?token={TOKEN}").status_code == 303  # the same browser is let in by its cookie
    client.cookies.clear()
    answer = client.get(f"/?token={TOKEN}")
    assert answer.status_code == 403 and "set-cookie" not in answer.headers
    assert "expunge review" in answer.text


def test_the_cookie_is_for_this_site_alone(stranger: TestClient) -> None:
    answer = stranger.get(f"/?token={TOKEN}")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and TOKEN not in cookie
    assert answer.headers["location"] == "/"


@pytest.mark.parametrize("other", ['prefs={"theme": "dark"}', "name=Ann Lee", "=", "a b=c", 'x="'])
def test_cookies_of_other_programs_on_this_machine_lock_nobody_out(client: TestClient, other: str) -> None:
    """Browsers send them to every port; the link, used up, would not open again."""
    own = f"expunge_review_8123={client.cookies['expunge_review_8123']}"
    client.cookies.clear()
    for cookies in (f"{other}; {own}", f"{own}; {other}"):
        assert client.get("/", headers={"cookie": cookies}).status_code == 200
    assert client.get("/", headers={"cookie": other}).status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8123", "127.0.0.1", "127.0.0.1:80", "", "[::1]:8123"])
def test_another_host_is_refused(client: TestClient, host: str) -> None:
    for path in ("/", "/api/review", f"/?token={TOKEN}"):
        assert client.get(path, headers={"host": host}).status_code == 421
    assert client.get("/", headers={"host": "localhost:8123"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Expunge": "1"},
        CHANGE | {"Origin": "http://evil.example"},
        CHANGE | {"Origin": "http://127.0.0.1:9999"},
        CHANGE | {"Origin": "null"},
        CHANGE | {"Sec-Fetch-Site": "cross-site"},
        CHANGE | {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_only_the_page_changes_anything(client: TestClient, review: Review, headers: dict[str, str]) -> None:
    row = {"position": 0, "id": "d0", "label": "clean", "version": client.get("/api/dialogue/0").json()["version"]}
    assert client.post("/api/decide", json=row, headers=headers).status_code == 403
    assert client.post("/api/undo", json={}, headers=headers).status_code == 403
    assert review.done == 0
    good = CHANGE | {"Origin": HOME, "Sec-Fetch-Site": "same-origin"}
    saved = client.post("/api/decide", json=row, headers=good).json()
    assert saved == {"position": 0, "person": "clean", "decided": 1, "journal": review.journal.length}
    assert client.get("/api/decide").status_code == 405


def test_other_sites_cannot_read_either(client: TestClient) -> None:
    assert client.get("/api/dialogue/0", headers={"Sec-Fetch-Site": "same-site"}).status_code == 403
    assert client.get("/app.js", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_every_answer_has_the_headers(client: TestClient) -> None:
    for path in ("/", "/app.js", "/api/review", "/api/dialogue/99", "/nothing", "/?token=x"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers


def test_the_page_has_no_inline_script_and_makes_no_html_of_text() -> None:
    page = (PAGE / "index.html").read_text()
    assert "http" not in page and "style=" not in page and " on" + "click" not in page
    assert page.count("<script") == page.count('<script type="module" src="/')
    for script in PAGE.glob("*.js"):
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "http://", "https://"):
            assert word not in script.read_text(), script


def test_it_answers_the_page(client: TestClient) -> None:
    assert client.get("/api/review").json()["total"] == 20
    found = client.get(
        "/api/find", params={"label": "harmful", "low": "0.5", "judge": "guard", "status": "undecided"}
    ).json()
    assert found["positions"] and set(found["decided"]) == {"0"}
    rows = client.get("/api/rows", params={"at": ",".join(map(str, found["positions"]))}).json()
    assert {row["label"] for row in rows} == {"harmful"}
    assert "555-0100" in client.get("/api/dialogue/0").json()["messages"][-1]["content"]
    assert client.get("/style.css").headers["content-type"].startswith("text/css")
    assert client.get("/%2e%2e%2fserver.py").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/api/find?label=x",
        "/api/find?status=x",
        "/api/find?low=x",
        "/api/rows?at=x",
        "/api/rows?at=99",
        "/api/dialogue/99",
    ],
)
def test_bad_questions_get_one_sentence(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 409 and answer.json()["error"]


def test_bad_decisions_get_one_sentence(client: TestClient) -> None:
    for body in (b"", b"[]", b"{", b'{"position": 0}', b'{"position": 0, "id": "d0", "label": "x"}', b" " * (1 << 21)):
        answer = client.post("/api/decide", content=body, headers=CHANGE)
        assert answer.status_code == 409 and answer.json()["error"], body[:40]
    answer = client.post("/api/undo", json={"journal": 0}, headers=CHANGE)
    assert answer.json()["error"] == "there is no decision to undo"


def test_what_was_decided_since_is_not_overruled_unseen(client: TestClient, review: Review) -> None:
    """A second tab, opened before, had the last word; now it is told what stands, and may then overrule that."""

    def decide(label: str, version: str) -> Any:
        row = {"position": 0, "id": "d0", "label": label, "version": version, "spans": [[0, 4]]}
        return client.post("/api/decide", json=row, headers=CHANGE)

    def undo(journal: int) -> Any:
        return client.post("/api/undo", json={"journal": journal}, headers=CHANGE)

    seen, begun = client.get("/api/dialogue/0").json()["version"], client.get("/api/review").json()["journal"]
    first = decide("harmful", seen)
    assert first.status_code == 200
    refused = decide("clean", seen)
    assert refused.status_code == 409 and "meanwhile this was decided harmful" in refused.json()["error"]
    assert refused.json()["now"] == client.get("/api/dialogue/0").json() and review.dialogue(0)["person"] == "harmful"
    assert decide("harmful", seen).status_code == 200  # the same: nothing is overruled
    refused = undo(begun)
    assert refused.status_code == 409 and refused.json()["now"]["position"] == 0 and review.done == 1
    assert undo(refused.json()["now"]["journal"]).json()["person"] is None
    refused = undo(first.json()["journal"])
    assert refused.json()["error"] == "there is no decision to undo"
    shown = decide("privacy", seen)  # what stands is again what was seen
    refused = undo(first.json()["journal"])
    assert refused.status_code == 409 and refused.json()["now"]["person"] == "privacy"
    now = refused.json()["now"]["version"]
    assert decide("clean", now).json()["person"] == "clean" and shown.status_code == 200


@pytest.mark.parametrize("row", [{"position": 0, "id": "d0", "label": "clean"}, {"version": 1}])
def test_a_decision_says_what_was_in_sight(client: TestClient, review: Review, row: dict[str, object]) -> None:
    answer = client.post("/api/decide", json={"position": 0, "id": "d0", "label": "clean"} | row, headers=CHANGE)
    assert answer.status_code == 409 and "version" in answer.json()["error"] and review.done == 0
    assert client.post("/api/undo", json={}, headers=CHANGE).status_code == 409


def test_a_fault_of_ours_quotes_nothing(client: TestClient, review: Review, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ValueError("secret text")

    monkeypatch.setattr(review, "overview", broken)
    quiet = TestClient(client.app, base_url=HOME, cookies=client.cookies, raise_server_exceptions=False)
    answer = quiet.get("/api/review")
    assert answer.status_code == 500 and "secret" not in answer.text and "content-security-policy" in answer.headers
