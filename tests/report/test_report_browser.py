"""The report in a real browser: nothing asked for, nothing run but its own script, readable at any width."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import playwright.sync_api as playwright
import pytest
from hostile import HOSTILE, audit_saying, spoken
from madeup import let_think, sample
from test_report_curves import LAYERS, RELEARNED

from expunge.audit.result import Audit
from expunge.report import write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="the page's tests need Chromium, which pip does not bring")
Fake = Callable[..., Audit]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def show(browser: Any, target: Path) -> Iterator[Callable[..., Any]]:
    """Open the report of an audit, which must ask for nothing, say nothing on the console, and open no dialog."""
    faults: list[str] = []
    opened: list[Any] = []

    def open_page(audit: Audit, width: int = 1200, scheme: str = "light") -> Any:
        write_report(audit, target)
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        opened.append(context)
        page = context.new_page()
        page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text))
        page.on("request", lambda asked: None if asked.url.startswith(("file:", "data:")) else faults.append(asked.url))
        page.goto(target.as_uri())
        return page

    yield open_page
    for context in opened:
        context.close()
    assert not faults


def test_fifty_hostile_dialogues_do_nothing(fake: Fake, show: Callable[..., Any]) -> None:
    page = show(fake(samples=tuple(map(spoken, HOSTILE))))
    assert page.locator("article").count() == 50
    assert page.locator("article").locator("script, img, svg, iframe, a, form, meta, link, style, base").count() == 0
    assert page.evaluate("document.scripts.length") == 1
    assert "<script>alert(1)</script>" in page.locator("article").first.inner_text()
    page.locator("[name=search]").fill("onerror=alert(1)")
    playwright.expect(page.locator("article:visible")).to_have_count(2)


@pytest.mark.parametrize("text", HOSTILE[:3])
def test_hostile_names_of_figures_do_nothing(fake: Fake, show: Callable[..., Any], text: str) -> None:
    page = show(audit_saying(fake, text))
    assert page.evaluate("document.scripts.length") == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_it_fits_a_phone_and_a_desk_in_light_and_dark(
    fake: Fake, show: Callable[..., Any], width: int, scheme: str
) -> None:
    page = show(fake(40, measures=(*fake().measures, *RELEARNED, *LAYERS)), width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper.strip("rgb()").split(","))) > 3 * 128) == (scheme == "light")
    assert page.locator(".outcome").inner_text() == "FAIL" and page.locator(".outcome").bounding_box()["y"] < 150


def test_the_dialogues_are_searched(fake: Fake, show: Callable[..., Any]) -> None:
    page = show(fake(40))
    page.locator("[name=search]").fill("TOWN-0003")
    playwright.expect(page.locator("article:visible")).to_have_count(1)
    playwright.expect(page.locator("#count")).to_have_text("1 of 40")
    page.locator("[name=search]").fill("no such words")
    playwright.expect(page.locator("#nothing")).to_be_visible()


def test_on_paper_every_text_is_unfolded_and_the_form_is_gone(fake: Fake, show: Callable[..., Any]) -> None:
    page = show(fake(40))
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".text details:not([open])").count() == 0 < page.locator(".text details").count()
    assert page.locator("form").is_hidden() and page.locator(".sign").is_visible()


THOUGHTFUL = tuple(one(i) for i in range(8) for one in (sample, let_think))


@pytest.mark.parametrize("width", [360, 1200])
def test_a_thought_stands_above_its_answer(fake: Fake, show: Callable[..., Any], width: int) -> None:
    page = show(fake(samples=THOUGHTFUL), width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for card in page.locator(".answers.thinking").all():
        thought, said = ([box.bounding_box() for box in card.locator(part).all()] for part in (".thought", ".said"))
        for above, below in zip(thought[-2:], said[-2:], strict=True):
            assert above["y"] + above["height"] <= below["y"] and above["x"] == below["x"]
        assert (len({box["y"] for box in said}) == 1) == (width == 1200), "side by side where there is room"
        lines = [
            card.locator(part).first.evaluate("e => getComputedStyle(e).fontStyle") for part in (".thought", ".said")
        ]
        assert lines == ["italic", "normal"]


def test_only_what_was_let_think_is_shown_where_asked(fake: Fake, show: Callable[..., Any]) -> None:
    page = show(fake(samples=THOUGHTFUL))
    page.locator("[name=kind]").select_option(label="unseen phrasing, let think")
    count = sum(s.kind == "unseen" for s in THOUGHTFUL) // 2
    playwright.expect(page.locator("article:visible")).to_have_count(count)
    playwright.expect(page.locator("article:visible .thought").first).to_be_visible()
