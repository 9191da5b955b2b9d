"""Exit codes: what a pipeline can gate on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from command_line import code_of
from expunge.audit.decision import decide
from expunge.audit.result import Audit, Estimate, Measure

RECIPE = 'model = "town"\n[scan]\ndialogues = "log.jsonl"\n'
SHARES = {"PASS": (0.0, 0.01), "NOT SHOWN": (0.0, 0.2), "FAIL": (0.5, 0.6)}


def made(outcome: str) -> Audit:
    low, high = SHARES[outcome]
    flagged = Measure("flagged_trained", "Flagged", "", "forgetting", "share", "lower", Estimate(low, low, high, 30))
    found = Audit("m", "town", None, (flagged,), decide([flagged]), ())
    assert found.outcome == outcome
    return found


@pytest.mark.parametrize(
    ("outcome", "plain", "strict"), [("PASS", 0, 0), ("NOT SHOWN", 0, 1), ("FAIL", 1, 1)], ids=lambda x: str(x)
)
def test_a_failed_claim_exits_1_but_for_the_demo(
    outcome: str, plain: int, strict: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("run", "audit_run"):
        monkeypatch.setattr(f"expunge.pipeline.{name}", lambda *_, **__: made(outcome))
    (recipe := tmp_path / "r.toml").write_text(RECIPE)
    out = tmp_path / "out"
    for words in (("run", recipe), ("audit", "town", "--reference", "town")):
        assert code_of(*words, "--out", out) == plain
        assert code_of(*words, "--out", out, "--strict") == strict
    assert code_of("demo", "--out", out) == 0


def test_a_failed_claim_is_told_before_the_command_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("expunge.pipeline.audit_run", lambda *_, **__: made("FAIL"))
    code_of("audit", "town", "--reference", "town", "--out", tmp_path)
    told = capsys.readouterr().out
    assert "FAIL" in told and "at least 50%, beyond 5%" in " ".join(told.split())


def test_an_unknown_claim_is_refused_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("audit", "town", "--reference", "town", "--out", tmp_path / "out", "--threshold", "leek=0.1")
    assert code_of(*words) == 2
    assert "Did you mean 'leak'?" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_the_schema_is_printed_without_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("audit", "--schema") == 0
    assert json.loads(capsys.readouterr().out)["$id"] == "urn:expunge:audit:1"
