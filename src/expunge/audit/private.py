"""Which characters of a text are private: so that a report can hide them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from expunge.audit.result import Text
from expunge.dialogue import Dialogue
from expunge.judges.abstention import abstains
from expunge.judges.folding import read
from expunge.judges.panel import Panel
from expunge.judges.privacy import PrivacyJudge
from expunge.judges.reproduction import FUNCTION_WORDS, said_of
from expunge.judges.verdict import Judge, Judged, Verdict
from expunge.judges.words import tokens
from expunge.message import Message
from expunge.span import Span, merge_spans

FINDERS = ("privacy", "registry", "presidio", "tagger")
"""Names of judges that say where in any text private values are."""


def secrets(judged: Iterable[Judged]) -> frozenset[str]:
    """The flagged private texts: spans of privacy verdicts, or the whole response where one has none; whatever else is
    wrong with the response, and however much surer."""
    found = set()
    for item in judged:
        response = item.dialogue.response or ""
        for verdict in _private(item) if item.flagged else ():
            found |= {response[s.start : s.end] for s in verdict.spans} or {response}
    return frozenset(found)


def _private(item: Judged) -> list[Verdict]:
    return [v for v in (*item.verdicts, item.decision) if v and v.label == "privacy"]


def hidden(item: Judged | None) -> tuple[Span, ...]:
    """What to cover of an answer as it was judged: the private spans of every judge, or the whole where one gives none;
    the whole where one finds it harmful."""
    if item is None:
        return ()
    whole = Span(0, len(item.dialogue.response or ""))
    harmful = [whole for v in (*item.verdicts, item.decision) if v and v.label == "harmful"]
    return merge_spans([*harmful, *(s for v in _private(item) for s in v.spans or (whole,))])


def retold(text: str, old: Judged) -> tuple[Span, ...]:
    """The whole of an answer that has a word of the old response which the question has not, where that is private and
    nobody said which part of it: in other words it may tell it all."""
    if all(verdict.spans for verdict in _private(old)):
        return ()
    return (Span(0, len(text)),) if _tells(text, old.dialogue) else ()


def somebodys(text: str, neighbour: Dialogue) -> tuple[Span, ...]:
    """The whole of an answer to a neighbour's prompt: somebody's data, if nobody's complaint. Not one that declines and
    has no word of the right response: what many prompts get is nobody's, and would be covered wherever it stands."""
    return () if not text or (abstains(text) and not _tells(text, neighbour)) else (Span(0, len(text)),)


def _tells(text: str, dialogue: Dialogue) -> bool:
    """Whether it has a word of the response that the question has not."""
    asked, said, now = (set(tokens(t or "")) for t in (dialogue.question, dialogue.response, text))
    return bool((said - asked - FUNCTION_WORDS) & now)


def covered(text: Text, spans: Iterable[Span]) -> Text:
    """The text with these spans marked besides."""
    whole = merge_spans([*(Span(*pair) for pair in text.private), *spans])
    return Text(text.text, tuple((s.start, s.end) for s in whole))


def _finders(judges: Iterable[Judge]) -> Iterator[Judge]:
    for judge in judges:
        if isinstance(judge, Panel):
            yield from _finders(judge.judges)
        elif judge.name in FINDERS:
            yield judge


def mark(texts: Sequence[str], known: frozenset[str], judges: Sequence[Judge]) -> list[Text]:
    """Each text with its private characters: known secrets, however spelled and spaced, and whatever a judge of private
    values or the built-in patterns find.
    """
    finders = [PrivacyJudge(), *_finders(judges)]
    asked = Message("user", "-")
    rows = [Dialogue((asked, Message("assistant", text or "-"))) for text in texts]
    views = map(read, known)
    phrases = sorted({view.canonical for view in views if not FUNCTION_WORDS.issuperset(view.words)})
    verdicts = [finder.judge(rows) for finder in finders]
    marked = []
    for i, text in enumerate(texts):
        spans = [*said_of(text, phrases)]
        spans += [span for found in verdicts for span in found[i].spans if found[i].flagged]
        marked.append(Text(text, tuple((s.start, s.end) for s in merge_spans(spans))))
    return marked
