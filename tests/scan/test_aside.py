"""Rows that are no dialogues: a scan stops at them, or sets them aside and says which."""

from __future__ import annotations

import json
import stat
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from expunge.cli import main
from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.judges import Verdict, read_verdicts
from expunge.pipeline import run
from expunge.recipe import Recipe, read_recipe
from expunge.scan import Asking, Loaded, aside_of, chat_format, scan
from expunge.scan.block import SIZE

SECRET = "secret"
IMAGE = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": SECRET}]}], "id": "i"}


class Clean:
    """Finds no fault; is interrupted at the second block."""

    name, version = "clean", "1"

    def __init__(self, *, blocks: int = 9) -> None:
        self.left = blocks

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return [Verdict("clean", 0.0, self.name, self.version) for _ in dialogues]


def load() -> list[Clean]:
    return [Clean()]


def no_format() -> None:
    """Nothing is known of the model."""


def rows(path: Path, count: int) -> Path:
    """Every fifth row is no dialogue."""
    found: list[dict[str, Any]] = [
        IMAGE if i % 5 == 0 else {"prompt": f"{i}?", "response": "Yes.", "id": f"{i}"} for i in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return path


def test_a_list_of_rows_set_aside_does_not_outlive_its_scan(tmp_path: Path) -> None:
    """Nor does the next scan's file stand beside the list of another's."""
    source, out = rows(tmp_path / "in.jsonl", 5), tmp_path / "v.jsonl"
    scan([source], [Clean()], out, set_aside=no_format)
    assert aside_of(out).exists()
    out.unlink()
    source.write_text('{"prompt": "a?", "response": "Yes."}\n')
    scan([source], [Clean()], out, set_aside=no_format)
    assert not aside_of(out).exists()


def test_the_message_tells_the_way_on(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"in.jsonl:1: .*'image_url'.*\n.*--set-aside") as caught:
        scan([rows(tmp_path / "in.jsonl", 10)], [Clean()], tmp_path / "out.jsonl")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 2])
def test_rows_set_aside_are_counted_and_listed(tmp_path: Path, workers: int) -> None:
    source, out = rows(tmp_path / "in.jsonl", 300), tmp_path / "out.jsonl"
    found = scan([source], [Clean()], out, set_aside=no_format, workers=workers, load=load)
    assert (found.read, found.written, found.aside) == (300, 240, 60)
    assert [j.dialogue.id for j in read_verdicts(out)] == [f"{i}" for i in range(300) if i % 5]
    listed = [json.loads(line) for line in aside_of(out).read_text().splitlines()]
    assert [row["line"] for row in listed] == list(range(1, 300, 5))
    assert {(row["file"], row["why"]) for row in listed} == {
        (str(source), "the content of message 1 has a part of type 'image_url' that is no text")
    }
    assert stat.S_IMODE(aside_of(out).stat().st_mode) == 0o600


def test_a_scan_that_was_stopped_goes_on_past_them(tmp_path: Path) -> None:
    """Also one that a bad row had stopped, once it may set rows aside."""
    source, out = rows(tmp_path / "in.jsonl", 3 * SIZE), tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        scan([source], [Clean(blocks=1)], out, set_aside=no_format)
    found = scan([source], [Clean()], out, set_aside=no_format)
    whole = scan([source], [Clean()], tmp_path / "whole.jsonl", set_aside=no_format)
    assert (found.resumed, found.aside, found.written) == (SIZE, whole.aside, whole.written)
    assert out.read_bytes() == whole.path.read_bytes()
    assert aside_of(out).read_bytes() == aside_of(whole.path).read_bytes()


LONG = {"prompt": "a?", "response": "long " * 999}
CALL = {"role": "assistant", "tool_calls": [{"function": {"name": "look_up"}}]}
CALLED = {"messages": [{"role": "user", "content": "a?"}, CALL, {"role": "tool", "content": "b"}], "response": "B."}


@pytest.mark.parametrize("workers", [0, 2])
def test_what_the_model_cannot_read_is_set_aside_too(tmp_path: Path, workers: int) -> None:
    """Longer than its context, as a dialogue or as a prompt, or what its template does not show."""
    given = [{"prompt": "a?", "response": "Yes."}, LONG, {"prompt": "a?" * 999}, CALLED]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
    out, town = tmp_path / "out.jsonl", partial(chat_format, "town", None)
    unasked = None if workers else Asking(Loaded("town", lambda: pytest.fail("nothing is left to be asked")))
    found = scan(
        [tmp_path / "in.jsonl"], [Clean()], out, asking=unasked, set_aside=town, workers=workers, load=load
    )  # fmt: skip
    assert (found.written, found.aside) == (1, 3)
    why = [json.loads(line)["why"] for line in aside_of(out).read_text().splitlines()]
    assert ["context is" in text for text in why] == [True, not workers, False]
    assert "does not show calls of tools" in why[2]


def test_prompts_that_nobody_answers_are_set_aside(tmp_path: Path) -> None:
    """As with workers."""
    given = [{"prompt": "a?", "response": "Yes."}, {"prompt": "b?"}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
    with pytest.raises(InputError, match=r"(?s)in.jsonl:2: there is no response to judge.*--set-aside"):
        scan([tmp_path / "in.jsonl"], [Clean()], tmp_path / "out.jsonl")
    found = scan([tmp_path / "in.jsonl"], [Clean()], tmp_path / "out.jsonl", set_aside=no_format)
    assert (found.written, found.aside) == (1, 1)


def test_a_file_of_nothing_else_leaves_no_dialogue(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps(IMAGE) + "\n")
    found = scan([tmp_path / "in.jsonl"], [Clean()], tmp_path / "out.jsonl", set_aside=no_format)
    assert (found.written, found.aside) == (0, 1)


def test_the_command_says_how_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = rows(tmp_path / "in.jsonl", 10)
    given = ["scan", "town", str(source), "--judge", "privacy", "--set-aside"]
    monkeypatch.setattr("sys.argv", ["expunge", *given, "--out", str(tmp_path / "a.jsonl"), "--json"])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert json.loads(capsys.readouterr().out)["aside"] == 2
    monkeypatch.setattr("sys.argv", ["expunge", *given, "--out", str(tmp_path / "b.jsonl")])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert f"2 rows were set aside: {tmp_path / 'b.jsonl'}.aside says which, and why" in capsys.readouterr().out


def test_a_recipe_may_set_rows_aside(tmp_path: Path) -> None:
    rows(tmp_path / "in.jsonl", 10)
    (tmp_path / "recipe.toml").write_text(
        'model = "town"\n[scan]\ndialogues = ["in.jsonl"]\njudges = ["privacy"]\nset_aside = true\n'
    )
    recipe = read_recipe(tmp_path / "recipe.toml")
    assert recipe.set_aside and not Recipe(model="town", dialogues=()).set_aside
    with pytest.raises(InputError, match="no dialogue is flagged"):  # past the scan
        run(recipe, tmp_path / "run")
    steps = json.loads((tmp_path / "run" / "manifest.json").read_text())["steps"]
    assert (steps["scan"]["dialogues"], steps["scan"]["aside"]) == (8, 2)
