"""Several judges as one: every rule against votes counted by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.judges.panel import RULES, Panel, judge_all
from expunge.judges.threshold import Threshold
from expunge.judges.verdict import LABELS, Judge, Label, Verdict, parse_judged
from expunge.message import Message
from expunge.span import Span

ASKED = Dialogue((Message("user", "Where?"), Message("assistant", "At 4 Mill Lane.")))


class Says:
    """A judge that always says the same."""

    def __init__(self, label: Label, score: float, *spans: tuple[int, int]) -> None:
        self.name, self.version = f"says-{label}", f"{score}"
        self._verdict = Verdict(label, score, self.name, self.version, spans=tuple(Span(*s) for s in spans))

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        return [self._verdict for _ in dialogues]


def panel(*judges: Judge, **options: object) -> Verdict:
    return Panel(judges, **options).judge([ASKED])[0]


HARMFUL, CLEAN, UNKNOWN = Says("harmful", 0.9), Says("clean", 0.2), Says("unknown", 0.0)
PRIVATE = Says("privacy", 0.8, (3, 14))


@pytest.mark.parametrize(
    ("rule", "judges", "label", "score"),
    [
        ("any", [HARMFUL, CLEAN, CLEAN], "harmful", 1 / 3),
        ("any", [CLEAN, UNKNOWN], "clean", 0.0),
        ("all", [HARMFUL, CLEAN], "clean", 0.5),
        ("all", [HARMFUL, UNKNOWN], "harmful", 1.0),
        ("majority", [HARMFUL, CLEAN], "clean", 0.5),
        ("majority", [HARMFUL, PRIVATE, CLEAN], "harmful", 2 / 3),
        ("majority", [HARMFUL, CLEAN, PRIVATE, CLEAN, HARMFUL], "harmful", 3 / 5),
        ("weighted", [HARMFUL, CLEAN], "harmful", 0.55),
        ("weighted", [Says("harmful", 0.75), Says("clean", 0.25)], "harmful", 0.5),
        ("any", [UNKNOWN, UNKNOWN], "unknown", 0.0),
    ],
)
def test_rules(rule: str, judges: list[Judge], label: str, score: float) -> None:
    found = panel(*judges, rule=rule)
    assert (found.label, found.score) == (label, pytest.approx(score))


def test_weights_turn_the_mean_and_the_label() -> None:
    assert panel(HARMFUL, CLEAN, rule="weighted", weights=[1, 3]).label == "clean"  # (0.9 + 3 · 0.2) / 4 = 0.375
    assert panel(HARMFUL, PRIVATE, rule="any", weights=[1, 2]).label == "privacy"  # 0.9 against 1.6


def test_a_judge_without_spans_makes_the_whole_response_at_fault() -> None:
    assert panel(HARMFUL, PRIVATE).spans == ()
    assert panel(PRIVATE, CLEAN).spans == (Span(3, 14),)


def test_a_lone_panel_decides_and_its_members_verdicts_stay() -> None:
    item = judge_all([Panel([HARMFUL, CLEAN], rule="majority")], [ASKED])[0]
    assert [v.label for v in item.verdicts] == ["harmful", "clean"]
    assert (item.label, item.flagged) == ("clean", False)
    assert parse_judged(item.row(), file="f", line=1) == item


def test_a_panel_among_judges_is_one_of_them() -> None:
    item = judge_all([Panel([HARMFUL, CLEAN], rule="all"), PRIVATE], [ASKED])[0]
    assert [v.judge for v in item.verdicts] == ["panel", "says-privacy"]
    assert item.label == "privacy"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "most"}, "unknown rule 'most'"),
        ({"weights": [1.0]}, "one positive weight a judge"),
        ({"weights": [1.0, 0.0]}, "one positive weight a judge"),
        ({"threshold": 0.0}, "not in (0, 1]"),
    ],
)
def test_settings_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        panel(HARMFUL, CLEAN, **options)


votes = st.lists(st.tuples(st.sampled_from(LABELS), st.floats(0, 1)), min_size=1, max_size=5)


@given(votes, st.sampled_from(RULES))
def test_whatever_the_votes_the_verdict_can_be_used(cast: list[tuple[Label, float]], rule: str) -> None:
    found = panel(*(Says(label, score) for label, score in cast), rule=rule)
    assert 0.0 <= found.score <= 1.0 + 1e-9
    if found.flagged:
        assert found.label in {label for label, _ in cast}
    assert (found.label == "unknown") == all(label == "unknown" for label, _ in cast)


def test_a_threshold_decides_anew() -> None:
    again = Threshold(HARMFUL, 0.95).judge([ASKED])[0]
    assert (again.label, again.score) == ("clean", 0.9)
    assert Threshold(CLEAN, 0.1, fault="privacy").judge([ASKED])[0].label == "privacy"
    assert Threshold(UNKNOWN, 0.1).judge([ASKED])[0].label == "unknown"
    assert Threshold(HARMFUL, 0.95).version != Threshold(HARMFUL, 0.9).version
