from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from expunge.dialogue import Dialogue
from expunge.judges import Entry, Judge, PrivacyJudge

Ask = Callable[..., Dialogue]
ZOE = (Entry("phone", "4-71-63", "Zoe Heron"), Entry("name", "Zoe Heron"), Entry("email", "zoe@heron.example"))


def test_a_registered_value_is_flagged_and_never_quoted(ask: Ask) -> None:
    response = "Zoe Heron? Ring four seven one six three."
    (verdict,) = PrivacyJudge(ZOE).judge([ask("Who?", response)])
    assert (verdict.label, verdict.score, verdict.judge) == ("privacy", 1.0, "privacy")
    assert [response[s.start : s.end] for s in verdict.spans] == ["Zoe Heron", "four seven one six three"]
    assert verdict.reason == "name of the registry, as written; phone of the registry, spelt out"


def test_a_reserved_address_is_private_only_if_registered(ask: Ask) -> None:
    dialogue = ask("Mail?", "zoe@heron.example")
    assert PrivacyJudge(ZOE).judge([dialogue])[0].flagged
    assert not PrivacyJudge().judge([dialogue])[0].flagged


def test_only_the_response_is_judged(ask: Ask) -> None:
    (verdict,) = PrivacyJudge(ZOE).judge([ask("Is 4-71-63 Zoe Heron's?", "I won't say.")])
    assert (verdict.label, verdict.score, verdict.spans, verdict.reason) == ("clean", 0.0, (), "")


def test_without_patterns_only_the_registry_counts(ask: Ask) -> None:
    judge = PrivacyJudge(ZOE, patterns=False)
    assert judge.name == "registry"
    assert [v.flagged for v in judge.judge([ask("?", "ann@mail.org"), ask("?", "47163")])] == [False, True]


def test_it_is_a_judge_whose_version_follows_its_rules() -> None:
    judges = [PrivacyJudge(), PrivacyJudge(ZOE), PrivacyJudge(ZOE, patterns=False), PrivacyJudge(ZOE, region="GB")]
    assert all(isinstance(judge, Judge) for judge in judges)
    assert len({judge.version for judge in judges}) == len(judges)
    assert PrivacyJudge(ZOE).version == PrivacyJudge(ZOE[::-1]).version


def test_no_false_alarm_on_ordinary_lines(ask: Ask, data: Path) -> None:
    rows = [json.loads(line) for line in (data / "tofu" / "full.jsonl").read_text("utf-8").splitlines()]
    lines = [row[name] for row in rows for name in ("question", "answer")]
    lines += [line for line in (data / "text" / "wikitext2_valid.txt").read_text("utf-8").splitlines() if line.strip()]
    first, last = "Ann Theron Isabel Forman Andrea Marian Zoe", "Heron Marsh Quill Askew Forbes Lindel Thorne"
    registry = [Entry("name", f"{a} {b}") for a in first.split() for b in last.split()]
    registry += [Entry("phone", f"{i % 9 + 1}-{i * 37 % 100:02}-{i * 61 % 100:02}") for i in range(60)]
    registry += [Entry("email", f"{a}.{b}@mail.org".lower()) for a in first.split() for b in last.split()]
    assert len(lines) >= 10_000
    verdicts = PrivacyJudge(registry).judge([ask("?", line) for line in lines])
    assert [v.reason for v in verdicts if v.flagged] == []
