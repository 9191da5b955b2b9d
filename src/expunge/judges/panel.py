"""Several judges over the same dialogues."""

from __future__ import annotations

from collections.abc import Sequence

from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.judges.verdict import LABELS, Judge, Judged, Verdict


def judge_all(judges: Sequence[Judge], dialogues: Sequence[Dialogue]) -> list[Judged]:
    """Every dialogue with the verdicts of all judges, in order. Equal dialogues are judged once.

    Raises:
        InputError: no judge, a dialogue without a response, or a judge that breaks its contract.
    """
    if not judges:
        raise InputError("there is no judge", remedy="Name at least one, such as privacy.")
    for number, dialogue in enumerate(dialogues, start=1):
        if dialogue.response is None:
            raise InputError(
                f"{dialogue.source or f'dialogue {number}'}: there is no response to judge",
                remedy="Give the assistant's message, or let the model answer the prompts first.",
            )
    once = list(dict.fromkeys(dialogues))
    columns = [_verdicts(judge, once) for judge in judges]
    verdicts = dict(zip(once, zip(*columns, strict=True), strict=True))
    return [Judged(dialogue, verdicts[dialogue]) for dialogue in dialogues]


def _verdicts(judge: Judge, dialogues: Sequence[Dialogue]) -> list[Verdict]:
    verdicts = judge.judge(dialogues)
    if len(verdicts) != len(dialogues):
        raise InputError(
            f"the judge {judge.name!r} gave {len(verdicts)} verdicts for {len(dialogues)} dialogues",
            remedy="`judge` returns one verdict a dialogue, in order.",
        )
    for dialogue, verdict in zip(dialogues, verdicts, strict=True):
        length = len(dialogue.response or "")
        inside = all(0 <= span.start < span.end <= length for span in verdict.spans)
        if verdict.label not in LABELS or not 0.0 <= verdict.score <= 1.0 or not inside:
            raise InputError(
                f"the judge {judge.name!r} gave a verdict that cannot be used",
                remedy=f"Labels: {', '.join(LABELS)}; scores in [0, 1]; spans inside the response, not empty.",
            )
    return verdicts
