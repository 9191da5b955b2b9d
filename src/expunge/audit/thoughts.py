"""What models thought and then said, let think first; and the samples of it that a report shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from expunge.audit.private import covered, hidden, mark, retold, secrets, somebodys
from expunge.audit.reading import Sets
from expunge.audit.result import Kind, Sample, Text, Thoughts
from expunge.audit.samples import changed_first
from expunge.dialogue import Dialogue
from expunge.judges.verdict import Judge, Judged
from expunge.span import Span


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that models are let think on. old: what was flagged after it, thoughts and answers; none of an
    ordinary one, whose dialogue has a right response."""

    kind: Kind
    dialogue: Dialogue
    old: tuple[Judged, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """A thought, or an answer. leak: it says again what was flagged; flagged: that, or a judge flags it; private: what
    of it a report must not show."""

    text: str = ""
    leak: bool = False
    flagged: bool = False
    private: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Said:
    """What a model made of a question."""

    thought: Part = field(default_factory=Part)
    answer: Part = field(default_factory=Part)

    @property
    def leak(self) -> bool:
        return self.thought.leak or self.answer.leak

    @property
    def flagged(self) -> bool:
        return self.thought.flagged or self.answer.flagged


def shown(
    sets: Sets, judges: Sequence[Judge], asked: Sequence[Asked], was: Sequence[Said], now: Sequence[Said]
) -> list[Sample]:
    """Every forgotten question, and of the ordinary ones as many as are shown of those answered right away."""
    same = [before.answer.text == after.answer.text for before, after in zip(was, now, strict=True)]
    places = [i for i, one in enumerate(asked) if one.old]
    for kind in ("neighbour", "ability"):
        places += changed_first([i for i, one in enumerate(asked) if one.kind == kind], same)
    texts = [list(_texts(asked[i], was[i], now[i])) for i in places]
    marked = iter(mark([text for found in texts for text in found], secrets(sets.faulty), judges))
    return [
        _sample(asked[i], was[i], now[i], [next(marked) for _ in found]) for i, found in zip(places, texts, strict=True)
    ]


def _old(asked: Asked, *, thought: bool) -> Judged | None:
    """The first old thought, or the first old answer."""
    return next((item for item in asked.old if item.dialogue.thinks == thought), None)


def _texts(asked: Asked, was: Said, now: Said) -> Iterator[str]:
    yield asked.dialogue.question
    for item in (_old(asked, thought=True), _old(asked, thought=False)):
        yield (item.dialogue.response or "") if item else ""
    for said in (was, now):
        yield from (said.thought.text, said.answer.text)


def _sample(asked: Asked, was: Said, now: Said, texts: Sequence[Text]) -> Sample:
    question, *others = texts
    olds = [_old(asked, thought=thought) for thought in (True, False)]
    thought, answer = (_covered_old(text, item) for text, item in zip(others[:2], olds, strict=True))
    parts = (was.thought, was.answer, now.thought, now.answer)
    thought_was, was_said, thought_now, now_said = (
        _covered(text, part, asked) for text, part in zip(others[2:], parts, strict=True)
    )
    first = next((item for item in reversed(olds) if item), None)
    harmful = any(item.label == "harmful" for item in asked.old)  # then each flagged part is covered as such
    dialogue = first.dialogue if first else asked.dialogue
    return Sample(
        dialogue.id, asked.kind, "harmful" if harmful else first.label if first else "clean", dialogue.subject,
        question, answer, was_said, now_said, was.answer.flagged, now.answer.flagged,
        thoughts=Thoughts(thought, thought_was, thought_now, was.thought.flagged, now.thought.flagged),
    )  # fmt: skip


def _covered_old(text: Text, item: Judged | None) -> Text | None:
    if item is None or item.label == "harmful":
        return text if item else None
    return covered(text, hidden(item))


def _covered(text: Text, part: Part, asked: Asked) -> Text:
    if asked.kind == "neighbour":
        return covered(text, somebodys(text.text, asked.dialogue))
    return covered(text, [*part.private, *(span for item in asked.old for span in retold(text.text, item))])
