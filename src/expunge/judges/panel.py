"""Several judges over the same dialogues, and several judges as one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.files import SURROGATE, digest
from expunge.judges.verdict import LABELS, Judge, Judged, Label, Verdict
from expunge.span import Span, merge_spans

Rule = Literal["any", "all", "majority", "weighted"]
RULES: tuple[Rule, ...] = get_args(Rule)


class Panel:
    """Several judges as one. Those that answer `unknown` have no vote; without any vote the panel's is `unknown`.

    rule: `any`, `all` or `majority` (more than half) of the votes flag; `weighted`: the weighted mean of the scores
    reaches `threshold`, and at least one judge flags. The label is the flaggers' heaviest, by weight times score; the
    score is the share of the votes, or the weighted mean.

    Raises:
        InputError: no judge, an unknown rule, a threshold out of (0, 1], or not one positive weight a judge.
    """

    name = "panel"

    def __init__(
        self, judges: Sequence[Judge], *, rule: Rule = "any", weights: Sequence[float] = (), threshold: float = 0.5
    ) -> None:
        if not judges:
            raise InputError("a panel without judges", remedy="Name at least one.")
        if rule not in RULES:
            raise InputError(f"unknown rule {rule!r}", remedy=f"Known: {', '.join(RULES)}.")
        if not 0.0 < threshold <= 1.0:
            raise InputError(f"the threshold {threshold} is not in (0, 1]", remedy="0.5 is the default.")
        weights = tuple(weights) or (1.0,) * len(judges)
        if len(weights) != len(judges) or any(not 0.0 < w < float("inf") for w in weights):
            raise InputError("a panel needs one positive weight a judge", remedy="Or none, for equal weights.")
        self.judges, self.rule, self.weights, self.threshold = tuple(judges), rule, weights, threshold
        parts = (f"{j.name} {j.version} {w!r}" for j, w in zip(self.judges, weights, strict=True))
        self.version = digest("panel 1", rule, repr(threshold), *parts)[:12]

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        return [self.decide(verdicts) for verdicts in zip(*_columns(self.judges, dialogues), strict=True)]

    def decide(self, verdicts: Sequence[Verdict]) -> Verdict:
        """One verdict out of the judges', given in their order."""
        votes = [(v, w) for v, w in zip(verdicts, self.weights, strict=True) if v.label != "unknown"]
        if not votes:
            return Verdict("unknown", 0.0, self.name, self.version, "no judge can tell")
        for_it = [(v, w) for v, w in votes if v.flagged]
        share = len(for_it) / len(votes)
        mean = sum(v.score * w for v, w in votes) / sum(w for _, w in votes)
        reached = {"any": share > 0, "all": share == 1, "majority": share > 0.5, "weighted": mean >= self.threshold}
        score = mean if self.rule == "weighted" else share
        reason = f"{self.rule}: {len(for_it)} of {len(votes)} flag"
        if not for_it or not reached[self.rule]:
            return Verdict("clean", score, self.name, self.version, reason)
        flagging = [v for v, _ in for_it]
        whole = any(not v.spans for v in flagging)
        return Verdict(
            label=_heaviest(for_it),
            score=score,
            judge=self.name,
            version=self.version,
            reason=f"{reason} ({', '.join(v.judge for v in flagging)})",
            spans=() if whole else merge_spans(s for v in flagging for s in v.spans),
            expected=tuple(dict.fromkeys(text for v in flagging for text in v.expected)),
            categories=tuple(dict.fromkeys(name for v in flagging for name in v.categories)),
        )


def _heaviest(votes: Sequence[tuple[Verdict, float]]) -> Label:
    weight: dict[Label, float] = defaultdict(float)
    for verdict, w in votes:
        weight[verdict.label] += w * verdict.score
    return max(weight, key=lambda label: (weight[label], -LABELS.index(label)))


def judge_all(judges: Sequence[Judge], dialogues: Sequence[Dialogue]) -> list[Judged]:
    """Every dialogue with the verdicts of all judges, in order. Equal dialogues are judged once.

    A single `Panel` gives its members' verdicts, and its own as the decision.

    Raises:
        InputError: no judge, a dialogue without a response, or a judge that breaks its contract.
    """
    if not judges:
        raise InputError("there is no judge", remedy="Name at least one, such as privacy.")
    check_answered(dialogues)
    once = list(dict.fromkeys(dialogues))
    found = dict(zip(once, judge_each(judges, once), strict=True))
    return [found[d] for d in dialogues]


def check_answered(dialogues: Sequence[Dialogue]) -> None:
    """Raise InputError for a dialogue without a response."""
    for number, dialogue in enumerate(dialogues, start=1):
        if dialogue.response is None:
            raise InputError(
                f"{dialogue.source or f'dialogue {number}'}: there is no response to judge",
                remedy="Give the assistant's message, or let the model answer the prompts first.",
            )


def judge_each(judges: Sequence[Judge], dialogues: Sequence[Dialogue]) -> list[Judged]:
    """The same for dialogues that are known to have responses, and to differ."""
    panel = judges[0] if len(judges) == 1 and isinstance(judges[0], Panel) else None
    rows = zip(*_columns(panel.judges if panel else judges, dialogues), strict=True)
    return [Judged(d, v, panel.decide(v) if panel else None) for d, v in zip(dialogues, rows, strict=True)]


def _columns(judges: Sequence[Judge], dialogues: Sequence[Dialogue]) -> list[list[Verdict]]:
    return [_verdicts(judge, dialogues) for judge in judges]


def _verdicts(judge: Judge, dialogues: Sequence[Dialogue]) -> list[Verdict]:
    if getattr(judge, "reads_thoughts", True) or not any(d.thinks for d in dialogues):
        return _given(judge, dialogues)
    found = iter(_given(judge, [d for d in dialogues if not d.thinks]))
    unread = Verdict("unknown", 0.0, judge.name, judge.version, "a thought need not be a right answer")
    return [unread if d.thinks else next(found) for d in dialogues]


def _given(judge: Judge, dialogues: Sequence[Dialogue]) -> list[Verdict]:
    verdicts = judge.judge(dialogues)
    if not isinstance(verdicts, list | tuple):
        raise InputError(f"the judge {judge.name!r} gave no list of verdicts", remedy="`judge` returns a list.")
    if len(verdicts) != len(dialogues):
        raise InputError(
            f"the judge {judge.name!r} gave {len(verdicts)} verdicts for {len(dialogues)} dialogues",
            remedy="`judge` returns one verdict a dialogue, in order.",
        )
    usable = [_usable(v, len(d.response or "")) for d, v in zip(dialogues, verdicts, strict=True)]
    found = [verdict for verdict in usable if verdict is not None]
    if len(found) < len(usable):
        raise InputError(
            f"the judge {judge.name!r} gave a verdict that cannot be used",
            remedy=f"A Verdict: a label ({', '.join(LABELS)}), a score in [0, 1], "
            "Spans inside the response, not empty, and texts in UTF-8.",
        )
    return found


def _usable(verdict: Any, length: int) -> Verdict | None:
    """The verdict, its score as a plain number (it may be NumPy's or torch's); None if it cannot be used."""
    if not isinstance(verdict, Verdict) or isinstance(verdict.score, str):
        return None
    try:
        score = float(verdict.score)
        inside = all(isinstance(s, Span) and 0 <= s.start < s.end <= length for s in verdict.spans)
        texts = (verdict.judge, verdict.version, verdict.reason, *verdict.expected, *verdict.categories)
        whole = not any(map(SURROGATE.search, texts))
    except (TypeError, ValueError, OverflowError, RuntimeError):  # torch raises the last for more than one number
        return None
    if verdict.label not in LABELS or not 0.0 <= score <= 1.0 or not (inside and whole):
        return None
    return verdict if type(verdict.score) is float else replace(verdict, score=score)
