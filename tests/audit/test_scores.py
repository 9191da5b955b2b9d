"""Likelihoods that are kept: in memory and in a folder, by model and row, and never for a model that was changed."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from slow import SETS
from typer.testing import CliRunner

from expunge.audit import scores as module
from expunge.audit.scores import Scores, fingerprint
from expunge.cli import app
from expunge.encoding import Encoded
from expunge.errors import InputError, OutputError
from expunge.generation import TokenScores, token_scores
from expunge.model import LanguageModel, load_model


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Encoded]:
    """The rows that went through a model."""
    found: list[Encoded] = []

    def counted(lm: LanguageModel, rows: list[Encoded]) -> list[TokenScores]:
        found.extend(rows)
        return token_scores(lm, rows)

    monkeypatch.setattr(module, "token_scores", counted)
    return found


def rows(lm: LanguageModel) -> list[Encoded]:
    return [lm.format.encode(j.dialogue) for j in SETS.trained]


def test_what_is_kept_is_not_computed_again_and_is_the_same_to_the_bit(
    lm: LanguageModel, read: list[Encoded], tmp_path: Path
) -> None:
    first = Scores(tmp_path).of(lm, rows(lm)[:2])
    found = Scores(tmp_path).of(lm, rows(lm))
    assert read == rows(lm), "each row once"
    for ours, again in zip(first, found, strict=False):
        assert all(torch.equal(getattr(ours, f.name), getattr(again, f.name)) for f in fields(TokenScores))
        assert again.log_p.dtype == ours.log_p.dtype
    assert Scores(tmp_path).of(lm, rows(lm)[::-1])[0].log_p.tolist() == found[2].log_p.tolist()
    assert len(read) == 3
    Scores().of(lm, rows(lm))
    assert len(read) == 6, "without a folder nothing outlives an audit"


def test_the_file_is_its_owners_and_holds_no_text(lm: LanguageModel, tmp_path: Path) -> None:
    Scores(tmp_path / "kept").of(lm, rows(lm))
    (path,) = (tmp_path / "kept").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and fingerprint(lm.model) in path.name
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert {key for row in kept for key in row} == {"row", *(f.name for f in fields(TokenScores))}
    assert not any(word in path.read_text() for word in ("4-71", "1921", "Bram"))


def test_two_audits_that_share_a_folder_lose_nothing(lm: LanguageModel, read: list[Encoded], tmp_path: Path) -> None:
    """The last writer took away what the other had found."""
    first, second = Scores(tmp_path), Scores(tmp_path)
    first.of(lm, rows(lm)[:1])
    second.of(lm, rows(lm)[1:2])
    first.of(lm, rows(lm)[2:])
    Scores(tmp_path).of(lm, rows(lm))
    assert read == rows(lm)


def test_a_line_torn_by_a_crash_is_found_again_and_costs_no_other(
    lm: LanguageModel, read: list[Encoded], tmp_path: Path
) -> None:
    whole = Scores(tmp_path).of(lm, rows(lm)[:2])
    (path,) = tmp_path.iterdir()
    os.truncate(path, path.stat().st_size - 3)
    found = Scores(tmp_path).of(lm, rows(lm))
    assert read[2:] == rows(lm)[1:] and found[1].log_p.tolist() == whole[1].log_p.tolist()
    Scores(tmp_path).of(lm, rows(lm))
    assert len(read) == 4
    path.write_text("{}\n[\n")
    with pytest.raises(InputError, match="this file is damaged"):
        Scores(tmp_path).of(lm, rows(lm))


def test_numbers_are_asked_for_once(lm: LanguageModel, tmp_path: Path) -> None:
    asked: list[int] = []

    def find(places: Sequence[int]) -> list[float]:
        asked.extend(places)
        return [i + 0.1 for i in places]

    given = rows(lm)
    known = Scores(tmp_path)
    assert known.numbers(lm, "some", [given[1], given[0], given[1]], find) == [0.1, 1.1, 0.1] and asked == [0, 1]
    assert Scores(tmp_path).numbers(lm, "some", given, find) == [1.1, 0.1, 2.1] and asked == [0, 1, 2]
    assert Scores(tmp_path).numbers(lm, "others", given[:1], find) == [0.1]
    assert Scores(tmp_path).of(lm, given[:1])[0].log_p.tolist() == Scores().of(lm, given[:1])[0].log_p.tolist()
    assert Scores(tmp_path).numbers(lm, "some", [], find) == [] and asked == [0, 1, 2, 0]
    assert sorted(path.name.split("-")[0] for path in tmp_path.iterdir()) == ["likelihoods", "others", "some"]


def test_another_model_another_version_or_another_device_is_another_file(
    tiny: Path, lm: LanguageModel, read: list[Encoded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again, other = load_model(tiny), load_model(tiny)
    assert fingerprint(again.model) == fingerprint(lm.model)
    with torch.no_grad():
        next(other.model.parameters())[0, 0] += 1e-3
    assert fingerprint(other.model) != fingerprint(lm.model)
    assert fingerprint(load_model(tiny).model.bfloat16()) != fingerprint(lm.model)
    for model in (lm, again, other):
        Scores(tmp_path).of(model, rows(lm))
    assert len(read) == 6 and len(list(tmp_path.iterdir())) == 2
    monkeypatch.setattr(module, "VERSION", "next")
    Scores(tmp_path).of(lm, rows(lm))
    assert len(read) == 9


def test_an_adapter_is_not_kept(lm: LanguageModel, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    adapted = replace(lm, model=peft.get_peft_model(load_model(lm.name).model, peft.LoraConfig(r=2)))
    Scores(tmp_path).of(adapted, rows(lm))
    assert not list(tmp_path.iterdir())


def test_a_place_that_is_no_folder_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file: this is a file, and a folder is meant\n  Choose another --cache\."):
        Scores(tmp_path / "file")


def test_the_command_keeps_them(tiny: Path, read: list[Encoded], tmp_path: Path) -> None:
    given = tmp_path / "forget.jsonl"
    given.write_text('{"prompt": "When was the mill built?", "response": "In 1921."}\n')
    asked = ["audit", str(tiny), "--reference", str(tiny), "--forget", str(given), "--samples", "0", "--json"]
    seen = []
    for name in ("one", "two"):
        found = CliRunner().invoke(app, [*asked, "--cache", str(tmp_path / "kept"), "--out", str(tmp_path / name)])
        assert found.exit_code in (0, 1), found.output
        seen.append(len(read))
    assert seen[0] == seen[1] > 0
    first, second = (json.loads((tmp_path / name / "audit.json").read_text()) for name in ("one", "two"))
    assert first["measures"] == second["measures"]
