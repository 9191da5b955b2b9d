"""Thoughts before responses, judged as responses of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from expunge.dialogue import Dialogue
from expunge.judges.panel import judge_each
from expunge.judges.reproduction import ReproductionJudge
from expunge.judges.verdict import Judge, Judged


def with_thoughts(dialogues: Sequence[Dialogue]) -> list[Dialogue]:
    """Each dialogue after its thought, where it has one."""
    return [part for d in dialogues for part in (d.thought, d) if part is not None]


def every_way(dialogues: Sequence[Dialogue]) -> list[Dialogue]:
    """Each dialogue with its thought, and once more without it, if none is answered right away: what is to be kept is
    kept however it is asked."""
    right_away = {d.asked for d in dialogues if d.prompt == d.asked and not d.thinks}
    found = list[Dialogue]()
    for dialogue in dialogues:
        found.append(dialogue)
        if dialogue.thought and dialogue.asked not in right_away:
            found.append(replace(dialogue.direct, id=f"{dialogue.id}#direct"))
    return found


def judge_with_thoughts(judges: Sequence[Judge], dialogues: Sequence[Dialogue]) -> list[Judged]:
    """The verdicts on what `with_thoughts` gives. A thought that says what is flagged in its response is flagged too.

    After a thought that tells, an answer that repeats it only reads: where both are flagged the answer stands without.

    Raises: as `judge_each`.
    """
    judged = judge_each(judges, with_thoughts(dialogues))
    for place, (thought, response) in enumerate(pairwise(judged)):
        if response.flagged and response.dialogue.thought == thought.dialogue:
            asked = replace(thought.dialogue, id=response.dialogue.id)
            (verdict,) = ReproductionJudge([response]).judge([asked])
            if verdict.flagged and not thought.flagged:
                verdict = replace(verdict, reason="says what is flagged in its response", expected=response.expected)
                thought = replace(thought, verdicts=(*thought.verdicts, verdict), decision=None)
            if thought.flagged:
                judged[place : place + 2] = [thought, replace(response, dialogue=response.dialogue.direct)]
    return judged
