"""What a training reads: all that it cannot read is named before anything is done."""

from __future__ import annotations

import pytest

from expunge.dialogue import Dialogue, parse
from expunge.errors import InputError
from expunge.judges import Verdict
from expunge.judges.verdict import Judged
from expunge.model import LanguageModel
from expunge.selection import Split
from expunge.training.material import NAMED, Material


def dialogue(line: int, *, words: int) -> Dialogue:
    return parse({"prompt": f"{line}?", "response": "word " * words}, file="rows.jsonl", line=line)


@pytest.mark.parametrize("count", [1, 3, NAMED + 3])
def test_all_dialogues_that_are_too_long_are_named_at_once(lm: LanguageModel, count: int) -> None:
    flagged = Judged(dialogue(1, words=999), (Verdict("privacy", 1.0, "request", "1"),))
    normal = [dialogue(2, words=1), *(dialogue(line, words=999) for line in range(3, count + 2))]
    with pytest.raises(InputError, match="rows.jsonl:1: .* tokens, but the model's context is") as caught:
        Material.of(lm.format, Split((flagged,), tuple(normal)))
    said = str(caught.value)
    assert "rows.jsonl:2," not in said and ("--set-aside" in said) == (count > 1)
    assert [f"rows.jsonl:{line}" in said for line in range(3, count + 2)] == [i < NAMED - 1 for i in range(count - 1)]
    assert (f"cannot read {count - 1} more" in said) == (count > 1) and (", …" in said) == (count > NAMED)
