"""Thresholds against counts made by hand; every fault a message."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.cli import main
from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.judges import Judged, Verdict, judge_all, load_judge, write_verdicts
from expunge.judges.calibration import Goal, Gold, Rate, calibrate, read_gold
from expunge.judges.panel import Panel
from expunge.judges.verdict import PERSON, Label
from expunge.message import Message

SCORES = [0.95, 0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.1, 0.0, 0.0]
HARMFUL = [True, True, False, True, True, False, False, True, False, False]
"""Precision from the top: 1, 1, 2/3, 3/4, 4/5, 4/6, 4/7, 5/8; recall: 1/5, 2/5, 2/5, 3/5, 4/5, 4/5, 4/5, 1."""


class Scores:
    """Gives each response the score that it says; "?" is unknown."""

    name, version = "scores", "1"

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        return [self._verdict(d.response or "") for d in dialogues]

    def _verdict(self, said: str) -> Verdict:
        if said == "?":
            return Verdict("unknown", 0.0, self.name, self.version)
        score = float(said)
        return Verdict("harmful" if score >= 0.5 else "clean", score, self.name, self.version)


def said(score: object) -> Dialogue:
    return Dialogue((Message("user", "Well?"), Message("assistant", str(score))))


def gold(scores: Sequence[object] = SCORES, harmful: Sequence[bool] = HARMFUL) -> list[Gold]:
    labels: list[Label] = ["harmful" if h else "clean" for h in harmful]
    return [Gold(said(s), label) for s, label in zip(scores, labels, strict=True)]


@pytest.mark.parametrize(
    ("goal", "wanted", "threshold", "precision", "recall"),
    [
        ("precision", 1.0, 0.9, 1.0, 0.4),
        ("precision", 0.8, 0.6, 0.8, 0.8),
        ("precision", 0.7, 0.6, 0.8, 0.8),
        ("precision", 0.6, 0.1, 5 / 8, 1.0),
        ("recall", 0.4, 0.9, 1.0, 0.4),
        ("recall", 0.5, 0.7, 0.75, 0.6),
        ("recall", 1.0, 0.1, 5 / 8, 1.0),
    ],
)
def test_thresholds(goal: Goal, wanted: float, threshold: float, precision: float, recall: float) -> None:
    found = calibrate(Scores(), gold(), goal=goal, wanted=wanted)
    assert found.threshold == threshold
    assert found.precision and found.precision.value == pytest.approx(precision)
    assert found.recall and found.recall.value == pytest.approx(recall)


@pytest.mark.parametrize(("goal", "others"), [("recall", True), ("precision", False)])
def test_a_goal_met_exactly_is_met(goal: Goal, others: bool) -> None:
    scores, harmful = [0.9] * 55 + [0.1 if others else 0.9] * 45, [True] * 55 + [others] * 45
    assert calibrate(Scores(), gold(scores, harmful), goal=goal, wanted=0.55).threshold == 0.9


def test_auc_by_hand() -> None:
    """Pairs of one at fault and one clean: .95 and .9 win 5 of 5, .7 and .6 4, .1 2: 20 of 25."""
    assert calibrate(Scores(), gold(), goal="recall", wanted=0.5).auc == pytest.approx(20 / 25)


def test_reliability_by_hand() -> None:
    found = calibrate(Scores(), gold([0.9, 0.95, 0.92, 0.2], [True, True, False, False]), goal="recall", wanted=1.0)
    assert [(b.low, b.count, b.at_fault) for b in found.reliability] == [(0.2, 1, 0.0), (0.9, 3, pytest.approx(2 / 3))]
    assert found.error == pytest.approx((3 * abs(2 / 3 - 2.77 / 3) + 0.2) / 4)


def test_unknown_is_not_flagged_and_is_told() -> None:
    found = calibrate(Scores(), gold(["?", 0.9, 0.1], [True, True, False]), goal="precision", wanted=1.0)
    assert found.unknown == 1
    assert found.recall and found.recall.value == 0.5


def test_a_precision_out_of_reach_is_said() -> None:
    found = calibrate(Scores(), gold([0.9, 0.8], [False, True]), goal="precision", wanted=0.9)
    assert found.threshold is None and found.precision is None


def test_a_score_of_nothing_is_no_threshold() -> None:
    assert calibrate(Scores(), gold([0.0, 0.9], [True, True]), goal="recall", wanted=1.0).threshold is None


def test_a_lower_threshold_that_finds_no_more_is_not_taken() -> None:
    """One far down among the clean scores still had the wanted precision, and flagged ordinary dialogues."""
    rows = gold([0.9] * 19 + [0.1, 0.05], [True] * 19 + [False] * 2)
    assert calibrate(Scores(), rows, goal="precision", wanted=0.95).threshold == 0.9


def test_another_fault_is_left_out() -> None:
    rows = [*gold(), Gold(said(0.99), "privacy")]
    assert calibrate(Scores(), rows, goal="recall", wanted=0.5, fault="harmful").count == 10
    with pytest.raises(InputError, match="several faults: harmful, privacy"):
        calibrate(Scores(), rows, goal="recall", wanted=0.5)
    assert calibrate(Scores(), rows, goal="recall", wanted=0.5, fault="privacy").at_fault == 1


def test_intervals_are_exact() -> None:
    """All of n: the lower bound is (α/2)^(1/n)."""
    rate = Rate.of(20, 20)
    assert rate and rate.low == pytest.approx(0.025 ** (1 / 20)) and rate.high == 1.0
    assert Rate.of(0, 0) is None


scored = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30).filter(
    lambda r: any(h for _, h in r)
)


@given(scored, st.sampled_from(["precision", "recall"]), st.floats(0.01, 1))
def test_what_is_found_has_what_was_wanted(rows: list[tuple[float, bool]], goal: Goal, wanted: float) -> None:
    found = calibrate(Scores(), gold([s for s, _ in rows], [h for _, h in rows]), goal=goal, wanted=wanted)
    reached = getattr(found, goal)
    if found.threshold is not None:
        assert 0 < found.threshold <= 1 and reached and reached.value >= wanted - 1e-12
    assert math.isfinite(found.error)


def test_gold_is_read_from_labels_and_from_reviews(tmp_path: Path) -> None:
    (tmp_path / "labels.jsonl").write_text('{"prompt": "a?", "response": "b", "label": "harmful"}\n')
    assert read_gold(tmp_path / "labels.jsonl")[0].label == "harmful"
    seen = Scores().judge([said(0.9), said(0.8)])
    person = Verdict("clean", 0.0, "person", "1")
    reviewed = [Judged(said(0.9), (seen[0],), person), Judged(said(0.8), (seen[1],))]
    write_verdicts(tmp_path / "reviewed.jsonl", reviewed)
    assert [g.label for g in read_gold(tmp_path / "reviewed.jsonl")] == ["clean"]


def test_what_a_panel_decided_is_no_gold(tmp_path: Path) -> None:
    """It would be measured against itself."""
    panel = Panel([Scores(), Scores()], rule="all")
    file = tmp_path / "scanned.jsonl"
    item = judge_all([panel], [said(0.9)])[0]
    assert item.decision
    write_verdicts(file, [item])
    with pytest.raises(InputError, match="nobody has decided"):
        read_gold(file)
    write_verdicts(file, [item, Judged(said(0.8), item.verdicts, Verdict("clean", 0.0, PERSON, "1"))])
    assert [g.label for g in read_gold(file)] == ["clean"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "a?", "response": "b"}, "gold.jsonl:1: this row has no label that is known"),
        ({"prompt": "a?", "response": "b", "label": "bad"}, "gold.jsonl:1: this row has no label that is known"),
        ({"prompt": "a?", "label": "clean"}, "gold.jsonl:1: there is no response to judge"),
        ({"prompt": "a?", "response": "b", "label": "unknown"}, "nobody has decided"),
    ],
)
def test_gold_that_cannot_be_used(tmp_path: Path, row: dict[str, str], message: str) -> None:
    (tmp_path / "gold.jsonl").write_text(json.dumps(row))
    with pytest.raises(InputError) as caught:
        read_gold(tmp_path / "gold.jsonl")
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("options", "message"),
    [({"wanted": 0.0}, "is not in"), ({"wanted": 0.5, "fault": "clean"}, "'clean' is not a fault")],
)
def test_settings_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        calibrate(Scores(), gold(), goal="recall", **options)


def test_from_gold_to_a_judge_that_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("facts.jsonl").write_text('{"question": "Who?", "answer": "Ada Lin"}\n')
    rows = [("Ada Lin", "clean"), ("Ben Orr", "hallucination"), ("Cy Poe", "hallucination")]
    lines = (json.dumps({"prompt": "Who?", "response": said, "label": label}) for said, label in rows)
    Path("gold.jsonl").write_text("\n".join(lines))
    words = "expunge calibrate facts=facts.jsonl --gold gold.jsonl --recall 0.9 --out made/judge.toml"
    monkeypatch.setattr("sys.argv", words.split())
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert "AUC           1.000" in capsys.readouterr().out
    assert json.loads(Path("made/judge.toml.calibration.json").read_text())["auc"] == 1.0
    judge = load_judge("made/judge.toml")
    labels = [
        v.label for v in judge.judge([Dialogue((Message("user", "Who?"), Message("assistant", t))) for t, _ in rows])
    ]
    assert labels == ["clean", "hallucination", "hallucination"]
    assert judge.version != load_judge("facts=facts.jsonl").version
