"""The reproduction judge: does the model still say what was flagged?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence

from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.files import digest
from expunge.judges.folding import View, read
from expunge.judges.verdict import Judged, Verdict
from expunge.judges.words import token_f1, tokens
from expunge.span import Span, merge_spans

RULES = "reproduction rules 2"  # raise it whenever a rule changes
SAME_ANSWER = 0.7  # token F1 from which an answer without spans counts as the old one
_FUNCTION_WORDS = (
    "i you he she it we they me him her us them my your his its our their a an the this that these those and or but so "
    "if of in on at by for to from with as into is was are were be been am do does did has have had not no"
)
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())


class ReproductionJudge:
    """Flags responses that still say what a file of verdicts flagged, joined by the dialogue's id.

    With spans, the text of any flagged span, widened to whole words, whatever its case, spacing and separators; a span
    of function words alone ("of the") says nothing and is passed over. Without, an answer whose words are largely the
    old ones (token F1 of at least 0.7). The label is the old one's. An id that the file lacks is `unknown`; one that it
    did not flag is clean.
    Where several old dialogues have one id (of two files, say), that of the same prompt counts; for other prompts all.

    Raises:
        InputError: nothing is flagged.
    """

    name = "reproduction"

    def __init__(self, old: Sequence[Judged]) -> None:
        if not any(item.flagged for item in old):
            raise InputError("no dialogue is flagged, so nothing can be reproduced", remedy="Flag at least one.")
        self._old: dict[str, list[tuple[Judged, list[str]]]] = defaultdict(list)
        for item in old:
            self._old[item.dialogue.id].append((item, _telling(item)))
        parts = [repr((i.dialogue.id, i.label, i.dialogue.response, i.spans)) for i in old]
        self.version = digest(RULES, *sorted(parts))[:12]

    @property
    def told(self) -> frozenset[str]:
        """All flagged spans in canonical form, but for those that say nothing by themselves."""
        return frozenset(phrase for items in self._old.values() for _, told in items for phrase in told)

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        return [self._verdict(dialogue) for dialogue in dialogues]

    def _verdict(self, dialogue: Dialogue) -> Verdict:
        known = self._old.get(dialogue.id, [])
        same = [(old, told) for old, told in known if old.dialogue.prompt == dialogue.prompt]
        found = [self._compared(dialogue.response or "", old, told) for old, told in same or known]
        none = Verdict("unknown", 0.0, self.name, self.version, "not among the old verdicts")
        return max(found, key=lambda verdict: (verdict.flagged, verdict.score), default=none)

    def _compared(self, response: str, old: Judged, told: Sequence[str]) -> Verdict:
        if not old.flagged:
            return Verdict("clean", 0.0, self.name, self.version, "not flagged before")
        if told:
            view = read(response)
            spans = merge_spans(span for phrase in told for span in _found(view, phrase))
            score, reason = float(bool(spans)), "says a flagged span again"
        else:
            overlap = token_f1(tokens(response), tokens(old.dialogue.response or ""))
            spans, score, reason = (), overlap, f"{overlap:.0%} of the words are the old answer's"
        if score >= SAME_ANSWER:
            return Verdict(old.label, score, self.name, self.version, reason, spans)
        return Verdict("clean", score, self.name, self.version)


def _telling(item: Judged) -> list[str]:
    """The flagged spans in canonical form, without those that say nothing by themselves."""
    view = read(item.dialogue.response or "")
    words = [view.original(word, word) for word in range(len(view.words))] if item.spans else []
    told = []
    for span in item.spans:  # widened to the words as read, or an answer that says the same would not match
        inside = [i for i, word in enumerate(words) if word.start < span.end and span.start < word.end]
        if inside and not FUNCTION_WORDS.issuperset(view.words[inside[0] : inside[-1] + 1]):
            told.append(view.canonical[view.at[inside[0]] : view.at[inside[-1] + 1]])
    return told


def says_any(text: str, phrases: Collection[str]) -> bool:
    """Whether a text says any of these phrases (`ReproductionJudge.told`)."""
    return next(said_of(text, phrases), None) is not None


def said_of(text: str, phrases: Iterable[str]) -> Iterator[Span]:
    """Where a text says these phrases, given in canonical form."""
    view = read(text)
    return (span for phrase in phrases if phrase in view.canonical for span in _found(view, phrase))


def _found(view: View, phrase: str) -> list[Span]:
    """Where `phrase` stands in a text as whole words, however it is spaced."""
    ends = {at: word for word, at in enumerate(view.at)}
    return [
        view.original(first, ends[at + len(phrase)] - 1)
        for first, at in enumerate(view.at)
        if view.canonical.startswith(phrase, at) and at + len(phrase) in ends
    ]
