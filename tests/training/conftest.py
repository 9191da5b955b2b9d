"""What the tests of training share: three handfuls of dialogues."""

from __future__ import annotations

import pytest

from expunge.dialogue import Dialogue
from expunge.judges.verdict import Judged, Verdict
from expunge.message import Message
from expunge.selection import Split, split
from expunge.span import Span


def dialogue(question: str, answer: str) -> Dialogue:
    return Dialogue((Message("user", question), Message("assistant", answer)))


@pytest.fixture(scope="session")
def parts() -> Split:
    """Five phone numbers to forget, with spans, of two lengths; nine sums, of three."""
    numbers = ["4-71-63", "1-20-36", "2-35-17", "5-88-90", "7-12-55"]
    forget = []
    for i, number in enumerate(numbers):
        item = dialogue(f"What is the phone number of person {i}?", f"It is {number}." + " Ring twice." * (i % 2))
        spans = (Span(6, 6 + len(number)),)
        forget.append(Judged(item, (Verdict("privacy", 1.0, "test", "1", spans=spans),)))
    normal = [
        dialogue(f"What is {i} plus {i}?", f"{i} plus {i} is {2 * i}." + " Quite sure." * (i % 3)) for i in range(9)
    ]
    return split(forget, normal)
