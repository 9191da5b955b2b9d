"""One self-contained page: what was forgotten, what it cost, and every dialogue behind the figures.

The page makes no request and runs only its own style and script (their hashes are its content security policy).
Dialogue text is dangerous: it reaches the page as escaped text and in no other way.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expunge.audit.result import Audit, Sample, Text
from expunge.files import PRIVATE, PUBLIC, write_text
from expunge.report.bars import charts
from expunge.report.curves import layers, relearning
from expunge.report.fitting import cut, level, sizes
from expunge.report.headline import sentence, title
from expunge.report.redact import Piece, Redactor, fold, showable
from expunge.report.wording import (
    GROUPS,
    KINDS,
    LET_THINK,
    LIMITS,
    change,
    claimed,
    figure,
    flat,
    grouped,
    interval,
    is_cost,
    kind_of,
    told,
)

if TYPE_CHECKING:
    from jinja2 import Template

FOLDED_AFTER = 320
"""Characters of a text that are shown at once; the rest unfolds."""
ROOM = 1_900_000
"""Bytes of all texts together; where they have more, the longest are cut."""

CURVES = {
    "Relearning": "How much does a little fine-tuning bring back?",
    "Layers": "Can what was forgotten still be read inside the model?",
}
"""Questions of the curves."""

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Passage:
    """A text as the page shows it: a head, and a tail that is folded away.

    part: "thought", or "said" after one; nothing of what was said right away.
    """

    caption: str
    head: list[Piece]
    tail: list[Piece]
    flagged: bool = False
    part: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """One sample, ready to be shown."""

    sample: Sample
    id: str
    subject: str
    question: Passage
    answers: tuple[Passage, ...]


def write_report(audit: Audit, path: Path, *, reveal: bool = False) -> Path:
    """Write the report of an audit as one HTML page, and return its path.

    Private characters and flagged harmful responses are covered and not in the file at all. With `reveal` they are
    shown, and the file is readable by its owner alone.

    Raises:
        OutputError: the path cannot be written.
    """
    write_text(path, page(audit, reveal=reveal), mode=PRIVATE if reveal else PUBLIC)
    return path


def page(audit: Audit, *, reveal: bool = False) -> str:
    """The report as HTML."""
    style, script = ((_HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    if any(sample.thoughts for sample in audit.samples):
        style += (_HERE / "thoughts.css").read_text(encoding="utf-8")
    kinds = {kind_of(sample) for sample in audit.samples}
    facts = list(flat(audit.facts))
    return _template().render(
        audit=audit,
        reveal=reveal,
        style=style,
        script=script,
        policy=_policy(style, script),
        title=title(audit),
        sentence=sentence(audit),
        groups=GROUPS,
        limits=LIMITS,
        grouped=list(grouped(audit)),
        charts=list(charts(audit)),
        curve_questions=CURVES,
        passed=sum(claim.outcome == "PASS" for claim in audit.claims),
        curves={"Relearning": relearning(audit), "Layers": layers(audit)},
        cards=list(_cards(audit, Redactor.of(audit.samples, reveal=reveal))),
        kinds={kind: title for kind, title in (KINDS | LET_THINK).items() if kind in kinds},
        labels=[(label, label) for label in sorted({s.label for s in audit.samples if s.label})],
        cost=[pair for pair in facts if is_cost(pair[0])],
        lineage=[pair for pair in facts if not is_cost(pair[0])],
    )


def _policy(style: str, script: str) -> str:
    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; style-src {source(style)}; script-src {source(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


@lru_cache(maxsize=1)
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        figure=figure, interval=interval, change=change, claimed=claimed, told=told, kind_of=kind_of
    )
    return environment.get_template("page.html.j2")


def _shown(value: Any) -> Any:
    """Clean every plain text on its way into the page; markup (a `str` of another type) is the template's own."""
    return showable(value) if type(value) is str else value


def _cards(audit: Audit, redactor: Redactor) -> Iterator[Card]:
    """Cards with what is still flagged first: that is what a reader came to see."""
    samples = sorted(audit.samples, key=lambda s: not s.is_faulty)
    covered = [list(_covered(sample, redactor)) for sample in samples]  # before any is measured: a mask tells no length
    most = level([sizes(pieces) for texts in covered for _, pieces, *_ in texts], ROOM)
    for sample, texts in zip(samples, covered, strict=True):
        question, *answers = (
            Passage(caption, *fold(cut(pieces, most), FOLDED_AFTER), flagged, part)
            for caption, pieces, flagged, part in texts
        )
        yield Card(sample, redactor.plain(sample.id), redactor.plain(sample.subject), question, tuple(answers))


def _covered(sample: Sample, redactor: Redactor) -> Iterator[tuple[str, tuple[Piece, ...], bool, str]]:
    """Caption, runs, whether it is flagged, and which part of a response, of the question and of each text there is."""
    yield "Question", redactor.pieces(sample.question), False, ""
    said: list[tuple[str, Text | None, bool, str]] = [
        ("Old response", sample.old, True, ""),
        ("Before", sample.before, sample.flagged_before, ""),
        ("After", sample.after, sample.flagged_after, ""),
    ]
    if of := sample.thoughts:
        thoughts = ((of.old, True), (of.before, of.flagged_before), (of.after, of.flagged_after))
        pairs = zip(said, thoughts, strict=True)
        said = [
            part
            for (caption, text, flagged, _), thought in pairs
            for part in ((f"{caption}: thought", *thought, "thought"), (caption, text, flagged, "said"))
        ]
    for caption, text, flagged, part in said:
        if text is not None:
            yield caption, redactor.answer(sample, text, flagged=flagged), flagged, part
