"""The facts judge: answers compared with references."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any

from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.files import digest, read_jsonl
from expunge.judges.abstention import abstains
from expunge.judges.keys import key_places
from expunge.judges.verdict import Verdict
from expunge.judges.words import Word, normal, token_f1, tokens, words
from expunge.span import Span, merge_spans

RULES = "facts rules 3"  # raise it whenever a rule changes
_NEGATIONS = (
    "not never no nor neither cannot isnt wasnt arent werent dont didnt doesnt hasnt havent hadnt cant couldnt wont"
    " wouldnt shouldnt shant mustnt mightnt neednt aint"
)
NEGATIONS = frozenset(_NEGATIONS.split())  # as `words` normalises them
DENYING = NEGATIONS | {"rather", "instead"}
REACH = 3  # words before a key, among which a negation denies it
TURNS = frozenset({"but", "rather", "until", "till", "since", "only", "just", "merely"})  # "not 1911 but 1912"
INSTEAD = frozenset({("rather", "than"), ("instead", "of")})  # "Bob rather than Ann"
STOP = re.compile(r"[.,:;!?()\n\u2014]|\s[-\u2013]\s")  # "No, in 1912."
POSSESSIVE = re.compile(r"['\u2019]s\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reference:
    """What is known about some questions: the right answers, and keys that any right answer says (a year, a name)."""

    questions: tuple[str, ...]
    answers: tuple[str, ...]
    keys: tuple[str, ...] = ()


def read_references(path: str | Path) -> list[Reference]:
    """Read JSON Lines of `{"question": …, "answer": …, "key": … (optional)}`, each a text or a list of texts.

    Raises:
        InputError: no file, an empty one, or a row without question or answer.
    """
    return [
        Reference(*(_texts(row, name, path, line) for name in ("question", "answer", "key")))
        for line, row in read_jsonl(Path(path))
    ]


def _texts(row: Mapping[str, Any], name: str, path: str | Path, line: int) -> tuple[str, ...]:
    value = row.get(name, [])
    texts = [value] if isinstance(value, str) else value
    usable = isinstance(texts, list) and all(isinstance(t, str) and normal(t) for t in texts)
    if not usable or (not texts and name != "key"):
        remedy = (
            'A row reads {"question": "…", "answer": "…"}, and may name a "key"; each is a text or a list of texts.'
        )
        raise InputError(
            f"{name!r} must be a text, or a list of texts, with words in it", file=path, line=line, remedy=remedy
        )
    return tuple(texts)


class FactsJudge:
    """Flags answers that contradict the reference for their question.

    An answer is right if it says one of the reference's keys as whole words, its numbers below 100 in digits or words,
    not denied just before in the same clause ("not 1912", "Bob rather than Ann"); where the reference has no keys, if
    it shares enough words with a right answer: token F1 (SQuAD) of at least `threshold`. Abstentions claim nothing and
    are clean. A question without a reference, or an empty answer, is `unknown`.
    References of the same question are joined: each of their answers is right.

    Raises:
        InputError: no references, or the threshold is not in (0, 1].
    """

    name = "facts"
    reads_thoughts = False

    def __init__(self, references: Sequence[Reference], *, threshold: float = 0.8) -> None:
        if not references:
            raise InputError("the facts judge has no references", remedy="Give it at least one question and answer.")
        if not 0.0 < threshold <= 1.0:
            raise InputError(f"the threshold {threshold} is not in (0, 1]", remedy="0.8 is the default.")
        self.threshold = threshold
        self._references = _by_question(references)
        self.version = digest(RULES, repr(threshold), repr(sorted(self._references.items())))[:12]

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        return [self._verdict(dialogue.question, dialogue.response or "") for dialogue in dialogues]

    def _verdict(self, question: str, response: str) -> Verdict:
        known = self._references.get(normal(question))
        said = tokens(response)
        if known is None or not said:
            return self._answer("unknown", 0.0, "no reference for this question" if said else "an empty response")
        if abstains(response):
            return self._answer("clean", 0.0, "abstains")
        answers, keys = known
        overlap, best = max(((token_f1(said, _read(answer)), answer) for answer in answers), key=itemgetter(0))
        if keys:
            states = _states(response, said, keys)
            if states:
                return self._answer("clean", 0.0, "says what the reference says")
            denied = states is False
            score, reason = (1.0 - overlap, "denies the reference") if denied else (1.0, "no key of the reference")
        elif overlap >= self.threshold:
            return self._answer("clean", 0.0, "agrees with the reference")
        else:
            score, reason = 1.0 - overlap, f"{overlap:.0%} of the words agree with the reference"
        return self._answer("hallucination", score, reason, _differing(words(response), _read(best)), answers)

    def _answer(
        self, label: Any, score: float, reason: str, spans: tuple[Span, ...] = (), expected: tuple[str, ...] = ()
    ) -> Verdict:
        return Verdict(label, score, self.name, self.version, reason, spans, expected)


def _by_question(references: Iterable[Reference]) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    known: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
    for reference in references:
        for question in dict.fromkeys(map(normal, reference.questions)):
            answers, keys = known.get(question, ((), ()))
            known[question] = (
                tuple(dict.fromkeys(answers + reference.answers)),
                tuple(dict.fromkeys(keys + reference.keys)),
            )
    return known


@lru_cache(maxsize=1 << 16)
def _read(reference: str) -> tuple[str, ...]:
    return tuple(tokens(reference))


def says(response: str, keys: Iterable[str]) -> bool:
    """Whether a response says one of the keys, as the judge reads it: not denied just before."""
    return bool(_states(response, tokens(response), keys))


def _states(response: str, said: Sequence[str], keys: Iterable[str]) -> bool | None:
    """Whether a key is said without a negation just before it, in the same clause; None where none is said at all."""
    for text in dict.fromkeys((response, POSSESSIVE.sub("", response))):
        spoken = said if text == response else tokens(text)
        places = [at for key in keys for at in key_places(spoken, key)]
        if places:
            found = words(text) if not DENYING.isdisjoint(spoken) else []
            return not found or any(not _denied(text, found, at) for at in places)
    return None


def _denied(response: str, said: Sequence[Word], at: int) -> bool:
    for i in range(at - 1, max(0, at - REACH) - 1, -1):
        if (said[max(0, i - 1)].text, said[i].text) in INSTEAD:
            return True
        if said[i].text in TURNS or STOP.search(response, said[i].span.end, said[i + 1].span.start):
            return False
        if said[i].text in NEGATIONS:
            return True
    return False


def _differing(said: Sequence[Word], right: Sequence[str]) -> tuple[Span, ...]:
    """The response's words that the right answer lacks; none, meaning the whole, where only words are missing."""
    matcher = SequenceMatcher(None, [word.text for word in said], right, autojunk=False)
    return merge_spans(
        Span(said[first].span.start, said[last - 1].span.end)
        for tag, first, last, _, _ in matcher.get_opcodes()
        if tag in ("replace", "delete")
    )
