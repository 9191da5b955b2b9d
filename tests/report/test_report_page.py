from __future__ import annotations

import base64
import hashlib
import html
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hostile import HOSTILE, audit_saying, spoken
from hypothesis import given, settings
from hypothesis import strategies as st
from madeup import let_think, sample

from expunge.audit.result import Audit, Sample, Text
from expunge.errors import OutputError
from expunge.report import write_report
from expunge.report.fitting import CUT, cut, level, size
from expunge.report.html import FOLDED_AFTER, page
from expunge.report.redact import MASK, Piece, showable

Fake = Callable[..., Audit]


class Elements(HTMLParser):
    """Counts start tags and attribute names, and collects the text outside of style and script."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.counts: Counter[str] = Counter()
        self.words: list[str] = []
        self.skipping = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts.update([tag, *(f"{tag}@{name}" for name, _ in attrs)])
        self.skipping = tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self.skipping = False

    def handle_comment(self, data: str) -> None:
        self.counts["comment"] += 1

    def handle_data(self, data: str) -> None:
        if not self.skipping:
            self.words.append(data)


def test_whoever_signs_reads_what_is_not_shown(fake: Fake) -> None:
    """The model card said so, and the page to be signed did not."""
    sign = page(fake()).partition('id="sign"')[2]
    assert "do not show that the weights hold no trace" in sign and "what no judge flags" in sign


def test_there_are_fifty_hostile_texts() -> None:
    assert len(set(HOSTILE)) == 50


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_creates_no_element(fake: Fake, target: Path, text: str) -> None:
    harmless = Elements(page(audit_saying(fake, "x" * len(text))))
    found = Elements(write_report(audit_saying(fake, text), target).read_text(encoding="utf-8"))
    assert found.counts == harmless.counts
    assert showable(text) in "".join(found.words)


def test_hostile_text_is_shown_as_it_is(fake: Fake) -> None:
    text = "<script>alert('{{7*7}}')</script> & \"quotes\""
    assert "".join(Elements(page(audit_saying(fake, text))).words).count(text) > 20


def test_what_hides_or_reorders_text_is_made_visible(fake: Fake) -> None:
    shown = page(audit_saying(fake, "a\x00b\u202ec\ud800d"))
    assert "a\ufffdb\ufffdc\ufffdd" in shown
    assert not re.search("[\x00\u202e\ud800]", shown)


def test_nothing_is_loaded_and_only_its_own_script_may_run(fake: Fake) -> None:
    shown = page(fake(40))
    assert not re.search(r"https?:|//\w|url\(|@import|\bsrc=|style=|\son\w+=|eval\(|innerHTML", shown)
    policy = html.unescape(re.findall(r'Content-Security-Policy" content="([^"]*)"', shown)[0])
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (body,) = re.findall(rf"<{tag}>(.*?)</{tag}>", shown, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


# Letters of another script, quotes and markup: a value that the page's own words cannot hold by chance.
VALUES = st.text("жщъыэю<>&\"'", min_size=4, max_size=30).map(lambda s: f"щ{s}ж")
AROUND = st.text("abc \n", max_size=12)


@settings(max_examples=60, deadline=None)
@given(value=VALUES, around=st.tuples(AROUND, AROUND), reveal=st.booleans(), long=st.booleans())
def test_no_private_value_is_left(fake: Fake, value: str, around: tuple[str, str], reveal: bool, long: bool) -> None:
    """Marked in one text, unmarked (and in capitals) in the others: gone from all, unless revealed."""
    start = around[0] + "word " * (FOLDED_AFTER // 5 if long else 0)
    text = start + value + around[1]
    marked, unmarked = Text(text, ((len(start), len(start) + len(value)),)), Text(text.upper())
    samples = (
        Sample("1", "trained", "privacy", "x", Text(text), marked, unmarked, Text(text), True, True),
        Sample(f"id {value}", "unseen", "privacy", value, unmarked, None, Text(value * 2), unmarked, True, False),
    )
    shown = page(fake(samples=samples), reveal=reveal)
    assert (value in html.unescape(shown).lower()) == reveal
    assert reveal or value not in shown


@settings(max_examples=60, deadline=None)
@given(spans=st.lists(st.tuples(st.integers(-5, 40), st.integers(-5, 40)), max_size=6))
def test_any_spans_cover_their_characters(fake: Fake, spans: list[tuple[int, int]]) -> None:
    text = "".join(chr(0x4E00 + i) for i in range(30))
    sample = replace(spoken("x"), label="privacy", after=Text(text, tuple(spans)))
    shown = page(fake(samples=(sample,)))
    covered = {i for start, end in spans for i in range(max(start, 0), min(end, 30))}
    assert {i for i in range(30) if text[i] not in shown} == covered


def test_the_mask_does_not_tell_the_length_or_the_number_of_parts(fake: Fake) -> None:
    def shown(text: Text) -> str:
        return page(fake(samples=(replace(spoken("x"), label="privacy", after=text),)))

    one = shown(Text("call 5550101 now", ((5, 12),)))
    assert one == shown(Text("call 555010199999 now", ((5, 9), (7, 12), (12, 17))))
    assert f"<mark>{MASK}</mark>" in one


def test_flagged_harmful_responses_are_covered_unless_asked_for(fake: Fake) -> None:
    sample = Sample(
        "1", "trained", "harmful", "", Text("ask"), Text("old harm"), Text("harm before"), Text("kind now"), True, False
    )
    covered, shown = (page(fake(samples=(sample,)), reveal=reveal) for reveal in (False, True))
    assert "old harm" not in covered
    assert "harm before" not in covered
    assert "kind now" in covered
    assert "old harm" in shown
    assert "harm before" in shown


@pytest.mark.parametrize(("reveal", "mode"), [(False, 0o644), (True, 0o600)])
def test_a_revealing_report_is_for_its_owner_alone(fake: Fake, target: Path, reveal: bool, mode: int) -> None:
    assert write_report(fake(), target, reveal=reveal) == target
    assert target.stat().st_mode & 0o777 == mode


def test_a_revealing_report_replaces_a_public_one(fake: Fake, target: Path) -> None:
    write_report(fake(), target)
    write_report(fake(), target, reveal=True)
    assert target.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in target.parent.iterdir()] == [target.name]


def test_a_place_that_cannot_be_written_is_an_output_error(fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_report(fake(), tmp_path / "file" / "report.html")


def test_a_thousand_samples_fit_in_three_megabytes(fake: Fake, target: Path) -> None:
    assert write_report(fake(1000), target).stat().st_size < 3_000_000
    assert Elements(target.read_text(encoding="utf-8")).counts["article"] == 1000


@pytest.mark.parametrize("letter", ["w", "字", "<", "&"])
def test_however_long_they_are(fake: Fake, target: Path, letter: str) -> None:
    before, after = Text(f"{letter * 7} " * 500), Text("short")
    long = tuple(replace(s, label="privacy", before=before, after=after) for s in fake(1000).samples)
    assert write_report(fake(samples=long), target).stat().st_size < 3_000_000
    shown = target.read_text(encoding="utf-8")
    assert shown.count("cut here; the whole is in samples.jsonl") == 1000 and shown.count("short") == 1000


@given(st.lists(st.integers(0, 50), min_size=1), st.integers(0, 500))
def test_what_short_texts_leave_long_ones_take(lengths: list[int], room: int) -> None:
    most = level(lengths, room)
    assert sum(min(n, most) for n in lengths) <= max(room, 0)
    assert most == max(lengths) or sum(min(n, most + 1) for n in lengths) > room


@given(st.lists(st.tuples(st.text("ab<é字", max_size=8), st.booleans()), max_size=6), st.integers(0, 60))
def test_texts_are_cut_between_letters_and_never_in_a_mask(parts: list[tuple[str, bool]], most: int) -> None:
    pieces = [Piece(MASK if private else text, private) for text, private in parts]
    whole, kept = "".join(p.text for p in pieces), cut(pieces, most)
    text = "".join(p.text for p in kept)
    assert text == whole if size(whole) <= most else text.endswith(CUT) and whole.startswith(text.removesuffix(CUT))
    assert size(text.removesuffix(CUT)) <= most and all(p.text == MASK for p in kept if p.private)


def test_what_is_still_flagged_comes_first_and_long_texts_are_folded(fake: Fake) -> None:
    shown = page(fake(40))
    flagged = [bool(still) for still in re.findall(r'<article class="sample( still)?"', shown)]
    assert flagged == sorted(flagged, reverse=True)
    assert any(flagged)
    assert "… more</summary>" in shown


def test_thoughts_stand_apart_from_answers(fake: Fake) -> None:
    plain, text = page(fake(3)), page(fake(3, samples=(sample(0), let_think(0), let_think(2), let_think(3))))
    assert text.count('class="answer thought') + text.count('class="answer flagged thought') == 8, "no old one of two"
    assert text.count(' said"') == 8 and text.count('class="answers thinking"') == 3
    for caption in ("Old response: thought", "Before: thought", "After: thought", "After<"):
        assert f"<h3>{caption}" in text
    assert '<option value="trained thinking">trained phrasing, let think</option>' in text
    assert text.count("still flagged</span>") == 1, "its thought is, and not its answer"
    assert not any(word in plain for word in ("thought", "thinking", "let think")), "nor in the style"


def test_private_values_of_thoughts_are_covered_wherever_they_stand(fake: Fake) -> None:
    told = let_think(0)
    assert told.thoughts and told.thoughts.old
    retold = replace(sample(1), before=Text("It is +49 777 0000, I think."))
    assert "+49 777 0000" not in page(fake(0, samples=(told, retold)))
    assert page(fake(0, samples=(told, retold)), reveal=True).count("+49 777 0000") == 3
    harm = replace(let_think(3), label="harmful")
    assert harm.thoughts and "So I tell" in page(fake(0, samples=(harm,)))
    harm = replace(harm, thoughts=replace(harm.thoughts, flagged_before=True))
    assert "So I tell" not in page(fake(0, samples=(harm,)))


@pytest.mark.parametrize("text", HOSTILE[:10])
def test_hostile_thoughts_create_no_element(fake: Fake, text: str) -> None:
    def with_thought(said: str) -> Elements:
        one = let_think(0)
        assert one.thoughts
        return Elements(page(fake(0, samples=(replace(one, thoughts=replace(one.thoughts, after=Text(said))),))))

    assert with_thought(text).counts == with_thought("harmless").counts


def test_long_thoughts_are_folded(fake: Fake) -> None:
    one = let_think(3)
    assert one.thoughts and len(one.thoughts.after.text) > FOLDED_AFTER
    long, short = (page(fake(0, samples=(each,))).count("<details>") for each in (one, replace(one, thoughts=None)))
    assert long == short + 2


def test_empty_audits_render(fake: Fake) -> None:
    bare = tuple(replace(m, before=None, oracle=None) for m in fake().measures)
    assert "keeps no dialogues" in page(fake(0))
    assert "none of the key figures" in page(fake(0, measures=(), facts={}))
    shown = page(fake(3, measures=bare, oracle=None))
    assert 'class="before"' not in shown.split('id="pictures"')[1].split("</ul>")[1]
    assert 'class="oracle"' not in shown
    assert "nan" not in shown


def test_figures_that_are_no_numbers_still_draw(fake: Fake) -> None:
    odd = tuple(
        replace(m, after=replace(m.after, value=float("nan"), low=float("-inf"), high=float("inf")))
        for m in fake().measures
    )
    assert not re.search(r'(?:width|x|x1|x2)="(?:nan|inf|-)', page(fake(3, measures=odd)))


def test_facts_are_flat(fake: Fake) -> None:
    words = Elements(page(fake())).words
    assert "SHA-256" in "".join(words) and fake().digest in words
    assert {"training.seconds", "8 min 32 s", "hashes.model", "pii 1.2, facts 0.4", "seed"} <= set(words)


def test_the_report_loads_neither_torch_nor_jinja() -> None:
    code = "import sys, expunge.report; print({'torch', 'jinja2', 'rich'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
