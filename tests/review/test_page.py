"""The page in a real browser: reviewed by keyboard, the server killed in the middle, no decision lost."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import playwright.sync_api as playwright
import pytest
from made_up_verdicts import MakeFile

from expunge.dialogue import parse
from expunge.judges.thoughts import with_thoughts
from expunge.judges.verdict import Judged, Verdict, read_verdicts, write_verdicts
from expunge.review import Index, read_decisions
from expunge.review.journal import journal_path
from expunge.span import Span

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="the page's tests need Chromium, which pip does not bring")


class Server:
    """`expunge review` as a process of its own."""

    def __init__(self, verdicts: Path) -> None:
        command = [sys.executable, "-c", "from expunge.cli import main; main()", "review", str(verdicts)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.said = self.process.stdout.readline()
        self.link = self.process.stdout.readline().strip()

    def stop(self, by: signal.Signals) -> tuple[str, str]:
        self.process.send_signal(by)
        return self.process.communicate(timeout=20)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that must not have said anything on its console, but for answers that did not come, or refused."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(10_000)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    expected = re.compile(r"net::ERR_|409 \(Conflict\)")
    page.on("console", lambda message: None if expected.search(message.text) else faults.append(message.text))
    yield page
    context.close()
    assert not faults


def shown(page: Any, number: int) -> None:
    """Wait until the dialogue with this number (from 1) is open."""
    playwright.expect(page.locator("#place")).to_contain_text(re.compile(rf"Dialogue {number} of"))


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def label_for(number: int) -> tuple[str, str]:
    """(key, label) with which the test decides a dialogue."""
    return (("x", "clean"), ("1", "harmful"), ("2", "hallucination"), ("3", "privacy"))[number * 7 % 4]


def test_a_hundred_by_keyboard_with_the_server_killed_in_the_middle(make_file: MakeFile, page: Any) -> None:
    path = make_file(100)
    server = Server(path)
    page.goto(server.link)
    for number in range(100):
        shown(page, number + 1)
        if number in (30, 61):
            server.stop(signal.SIGKILL)
            press(page, label_for(number)[0])
            playwright.expect(page.locator("#fault")).to_contain_text("does not answer")
            server = Server(path)
            assert server.said.startswith(f"{number} of 100 decided")
            page.goto(server.link)
            shown(page, number + 1)
        press(page, label_for(number)[0])
        playwright.expect(page.locator("#done")).to_have_text(f"{number + 1} of 100 decided")
    playwright.expect(page.locator("#said")).to_contain_text("All dialogues in this list are decided")
    kept = read_decisions(journal_path(path), Index(path).digest)
    assert {n: (i, v.label) for n, (i, v) in kept.items()} == {n: (f"d{n}", label_for(n)[1]) for n in range(100)}
    out, _ = server.stop(signal.SIGINT)
    assert server.process.returncode == 0 and "100 of 100 decided, all of them saved" in out


def test_marks_answers_notes_and_undo(make_file: MakeFile, page: Any) -> None:
    path = make_file(12)
    response = read_verdicts(path)[0].dialogue.response or ""
    server = Server(path)
    page.goto(server.link)
    shown(page, 1)
    playwright.expect(page.locator("#response mark.judge")).to_have_count(0)  # the guard flags the whole of it
    box = page.evaluate(
        """() => { const text = document.querySelector("#response").firstChild, range = document.createRange();
        const at = text.data.indexOf("Ostbridge"); range.setStart(text, at); range.setEnd(text, at + 9);
        const box = range.getBoundingClientRect(); return [box.left, box.right, (box.top + box.bottom) / 2]; }"""
    )
    page.mouse.move(box[0] + 1, box[2])
    page.mouse.down()
    page.mouse.move(box[1] - 1, box[2], steps=4)
    page.mouse.up()
    playwright.expect(page.locator("#response mark.own")).to_have_text("Ostbridge")
    press(page, "j")
    playwright.expect(page.locator("#said")).to_contain_text("Not saved")
    press(
        page, "m", "ArrowRight", "ArrowRight", "Shift+ArrowRight", "Enter"
    )  # from the mark on: Ostbridge, and [she will]
    press(page, "e", "Space", "Tab")
    page.keyboard.type("I would rather not say: <b>no</b>.")
    press(page, "Escape", "t")
    page.keyboard.type("jkx? a note")
    press(page, "Control+Enter")
    shown(page, 2)
    press(page, "c")
    shown(page, 3)
    press(page, "u")
    shown(page, 2)
    playwright.expect(page.locator("#done")).to_have_text("1 of 12 decided")
    press(page, "k")
    shown(page, 1)
    playwright.expect(page.locator("#known .answer span")).to_have_text(
        ["I cannot give numbers.", "I would rather not say: <b>no</b>."]
    )
    server.stop(signal.SIGTERM)
    kept = read_decisions(journal_path(path), Index(path).digest)
    assert list(kept) == [0]
    verdict = kept[0][1]
    assert [response[s.start : s.end] for s in verdict.spans] == ["Ostbridge", "she will"]
    assert (verdict.label, verdict.expected) == ("privacy", ("I would rather not say: <b>no</b>.",))
    assert verdict.reason == "jkx? a note"


def test_words_are_found_in_one_pass(make_file: MakeFile, page: Any) -> None:
    """In a response of 100,000 characters `m` took seconds, a time that grew with the square of the length."""
    server = Server(make_file(1))
    page.goto(server.link)
    shown(page, 1)
    found, read, length = page.evaluate(
        """async () => { const { words } = await import("/text.js"), from = Array.from;
        const text = "\\n🙂🙂 " + "a\u0301b é ".repeat(500) + " ";
        let read = 0;
        Array.from = (given) => { read += given.length; return from(given); };
        const found = words(text);
        Array.from = from;
        return [found, read, text.length]; }"""
    )
    assert found[:3] == [[1, 3], [4, 7], [8, 9]] and found[-1] == [4 + 499 * 6 + 4, 4 + 499 * 6 + 5]
    assert read <= length
    server.stop(signal.SIGTERM)


def test_filters_help_and_what_the_judges_cannot_tell(make_file: MakeFile, page: Any) -> None:
    server = Server(make_file(600))
    page.goto(server.link)
    shown(page, 1)
    assert page.locator(".row").count() < 40  # of 600
    press(page, "?")
    playwright.expect(page.locator("#help")).to_be_visible()
    press(page, "j", "Escape")
    playwright.expect(page.locator("#help")).to_be_hidden()
    shown(page, 1)
    page.select_option("[name=label]", "unknown")
    shown(page, 10)
    playwright.expect(page.locator("#count")).to_have_text("60 of 600 dialogues")
    page.locator("#card").focus()
    press(page, "c")
    playwright.expect(page.locator("#said")).to_contain_text("The judges cannot tell")
    press(page, "ArrowDown")
    shown(page, 20)
    page.select_option("[name=status]", "decided")
    playwright.expect(page.locator("#empty")).to_be_visible()
    press(page, "Escape", "x")  # nothing is open: nothing is decided
    page.click("text=Clear")
    playwright.expect(page.locator("#done")).to_have_text("0 of 600 decided")
    page.goto(page.url.partition("#")[0] + "#600")
    page.reload()
    shown(page, 600)
    playwright.expect(page.locator("#row-599[aria-selected=true]")).to_be_visible()
    server.stop(signal.SIGTERM)


def test_a_tab_that_was_opened_before_shows_what_was_decided_since(make_file: MakeFile, page: Any) -> None:
    path = make_file(3)
    server = Server(path)
    page.goto(server.link)
    shown(page, 1)
    other = page.context.new_page()
    other.goto(page.url.partition("#")[0])
    shown(other, 1)
    press(other, "x")
    shown(other, 2)
    press(page, "t")
    page.keyboard.type("mine")
    press(page, "Control+Enter")
    playwright.expect(page.locator("#fault")).to_contain_text("Not saved: meanwhile this was decided clean elsewhere")
    playwright.expect(page.locator("#now")).to_have_text("clean decided · changed, not saved")
    playwright.expect(page.locator("#note")).to_have_value("mine")
    playwright.expect(page.locator("#done")).to_have_text("1 of 3 decided")
    press(page, "Escape", "3")
    shown(page, 2)
    press(page, "k")
    shown(page, 1)
    playwright.expect(page.locator("#now")).to_have_text("privacy decided")
    playwright.expect(page.locator("#note")).to_have_value("mine")
    press(other, "u")  # its own decision is no longer the last
    playwright.expect(other.locator("#fault")).to_contain_text("Not undone: meanwhile this was decided elsewhere")
    shown(other, 1)
    press(other, "u")
    playwright.expect(other.locator("#said")).to_have_text("Undone: dialogue 1 is clean again.")
    server.stop(signal.SIGTERM)
    kept = read_decisions(journal_path(path), Index(path).digest)
    assert [v.label for _, v in kept.values()] == ["clean"]


def test_a_second_browser_is_not_let_in(make_file: MakeFile, page: Any, browser: Any) -> None:
    server = Server(make_file(2))
    page.goto(server.link)
    shown(page, 1)
    assert "token" not in page.url
    assert page.evaluate("document.cookie") == ""
    other = browser.new_context().new_page()
    assert other.goto(server.link).status == 403
    assert other.goto(server.link.partition("?")[0]).status == 403
    other.context.close()
    server.stop(signal.SIGTERM)


def test_calls_of_tools_are_shown(page: Any, tmp_path: Path) -> None:
    call = {"role": "assistant", "tool_calls": [{"function": {"name": "look_up", "arguments": {"of": "Ann"}}}]}
    messages = [{"role": "user", "content": "Who?"}, call, {"role": "tool", "content": "Nobody."}]
    verdict = Verdict("privacy", 1.0, "registry", "1")
    write_verdicts(tmp_path / "v.jsonl", [Judged(parse({"messages": messages, "response": "Ann."}), (verdict,))])
    server = Server(tmp_path / "v.jsonl")
    page.goto(server.link)
    shown(page, 1)
    assert page.locator("#prompt h2").all_text_contents() == ["User", "Assistant", "Tool"]
    assert page.locator("#prompt p").all_text_contents() == ["Who?", 'look_up({"of": "Ann"})', "Nobody."]
    server.stop(signal.SIGINT)


def test_a_thought_is_shown_before_its_answer_and_reviewed_as_itself(page: Any, tmp_path: Path) -> None:
    row = {"prompt": "Who?", "response": "<think>It is Ann, they say.</think>Nobody."}
    spans = (Span(6, 9),)
    judged = [Judged(d, (Verdict("privacy", 1.0, "registry", "1"),)) for d in with_thoughts([parse(row)])]
    judged[0] = Judged(judged[0].dialogue, (Verdict("privacy", 1.0, "registry", "1", spans=spans),))
    write_verdicts(tmp_path / "v.jsonl", judged)
    server = Server(tmp_path / "v.jsonl")
    page.goto(server.link)
    shown(page, 1)
    assert page.locator("#response-name").text_content() == "Thought"
    assert page.locator("#response mark").all_text_contents() == ["Ann"]
    page.keyboard.press("j")
    shown(page, 2)
    assert page.locator("#prompt h2").all_text_contents() == ["User", "Thought"]
    assert page.locator("#prompt p").all_text_contents() == ["Who?", "It is Ann, they say."]
    assert page.locator("#response-name").text_content() == "Response"
    assert page.locator("#response").text_content() == "Nobody."
    server.stop(signal.SIGINT)
