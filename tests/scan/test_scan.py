"""The evaluative model at work on files: in order, once each, and whatever happens in between."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.cli import main
from expunge.dialogue import Dialogue, check_ids
from expunge.errors import InputError, OutputError
from expunge.files import digest
from expunge.judges import Verdict, load_judge, read_verdicts
from expunge.judges.panel import Panel
from expunge.scan import Asking, Loaded, Shard, merge, scan
from expunge.scan.block import SIZE
from expunge.scan.run import finished

if TYPE_CHECKING:
    from expunge.model import LanguageModel


class Length:
    """Flags long responses, and counts what it is asked."""

    name, version = "length", "1"

    def __init__(self) -> None:
        self.asked = 0

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        self.asked += len(dialogues)
        labels = ["harmful" if len(d.response or "") > 5 else "clean" for d in dialogues]
        return [Verdict(label, 1.0, self.name, self.version) for label in labels]


class Failing(Length):
    """Fails at the dialogue of this number."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        if self.asked + len(dialogues) > self._at:
            raise InputError("the judge is tired")
        return super().judge(dialogues)


def load() -> list[Length]:
    return [Length()]


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def numbered(path: Path, count: int) -> Path:
    return write(path, [{"prompt": f"{i}?", "response": "x" * (i % 10 + 1)} for i in range(count)])


PROMPT = {"prompt": "a?", "id": "p"}
LOGGED = {"prompt": "a?", "response": "Yes.", "id": "l"}


def unloadable() -> LanguageModel:
    raise AssertionError("the model was loaded for nothing")


def test_verdicts_come_in_order_and_private(tmp_path: Path) -> None:
    source, out = numbered(tmp_path / "in.jsonl", 700), tmp_path / "new" / "out.jsonl"
    found = scan([source], [Length()], out)
    assert [j.dialogue.question for j in read_verdicts(out)] == [f"{i}?" for i in range(700)]
    assert (found.read, found.written, found.resumed, found.silent) == (700, 700, 0, 0)
    assert found.labels == Counter(clean=350, harmful=350) == found.votes
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert sorted(p.name for p in out.parent.iterdir()) == ["out.jsonl"]


def test_verdicts_are_private_whatever_lay_there(tmp_path: Path) -> None:
    for name in ("v.jsonl.part", "v.jsonl.part.state"):
        (tmp_path / name).touch(0o644)
        (tmp_path / name).chmod(0o644)
    scan([numbered(tmp_path / "in.jsonl", 3)], [Length()], tmp_path / "v.jsonl")
    assert stat.S_IMODE((tmp_path / "v.jsonl").stat().st_mode) == 0o600


def test_logged_dialogues_need_no_model(tmp_path: Path) -> None:
    scan(
        [write(tmp_path / "in.jsonl", [LOGGED])],
        [Length()],
        tmp_path / "out.jsonl",
        asking=Asking(Loaded("m", unloadable)),
    )


def test_prompts_without_a_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no response"):
        scan([write(tmp_path / "in.jsonl", [PROMPT])], [Length()], tmp_path / "out.jsonl")
    assert [p.name for p in tmp_path.iterdir()] == ["in.jsonl"]


def test_no_judge_is_said_before_the_model_is_asked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no judge"):
        scan(
            [write(tmp_path / "in.jsonl", [PROMPT])], [], tmp_path / "out.jsonl", asking=Asking(Loaded("m", unloadable))
        )


def test_prompts_are_answered_in_their_places(tmp_path: Path, lm: LanguageModel) -> None:
    source, out = write(tmp_path / "in.jsonl", [PROMPT, LOGGED]), tmp_path / "out.jsonl"
    scan([source], [Length()], out, asking=Asking(Loaded("m", lambda: lm), max_new_tokens=6))
    found = read_verdicts(out)
    assert [j.dialogue.id for j in found] == ["p", "l"]
    assert found[0].dialogue.response


def test_samples_are_told_apart(tmp_path: Path, lm: LanguageModel) -> None:
    source, out = write(tmp_path / "in.jsonl", [PROMPT]), tmp_path / "out.jsonl"
    scan([source], [Length()], out, asking=Asking(Loaded("m", lambda: lm), samples=3, max_new_tokens=6))
    found = read_verdicts(out)
    assert [j.dialogue.id for j in found] == [f"p#{digest(j.dialogue.response or '')[:8]}" for j in found]
    assert len(found) == 3
    assert len({j.dialogue.response for j in found}) == 3


def test_what_is_drawn_anew_for_the_same_prompt_has_an_id_of_its_own(tmp_path: Path, lm: LanguageModel) -> None:
    """Blocks draw from other seeds; rows without ids that ask the same share one."""
    source, out = write(tmp_path / "in.jsonl", [{"prompt": "a?"}] * 257), tmp_path / "out.jsonl"
    scan([source], [Length()], out, asking=Asking(Loaded("m", lambda: lm), samples=2, max_new_tokens=6))
    found = read_verdicts(out)
    check_ids(j.dialogue for j in found)
    assert len({j.dialogue.response for j in found}) > 2


def test_what_is_said_otherwise_to_the_same_prompt_has_an_id_of_its_own(
    tmp_path: Path, lm: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers differ a little from batch to batch, and a server's more."""
    monkeypatch.setattr("expunge.generation.generate", lambda *_, **__: [["Yes."], ["No."]])
    source, out = write(tmp_path / "in.jsonl", [{"prompt": "a?"}] * 2), tmp_path / "out.jsonl"
    scan([source], [Length()], out, asking=Asking(Loaded("m", lambda: lm)))
    check_ids(j.dialogue for j in read_verdicts(out))


def test_prompts_answered_with_nothing_are_counted(
    tmp_path: Path, lm: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("expunge.generation.generate", lambda *_, **__: [[""], ["Yes."]])
    source = write(tmp_path / "in.jsonl", [PROMPT, {"prompt": "b?"}])
    found = scan([source], [Length()], tmp_path / "out.jsonl", asking=Asking(Loaded("m", lambda: lm)))
    assert (found.read, found.written, found.silent) == (2, 1, 1)


def test_equal_dialogues_are_judged_once(tmp_path: Path) -> None:
    rows = [{"prompt": "a?", "response": "Yes.", "id": f"{i}"} for i in range(3 * SIZE)]
    judge = Length()
    found = scan([write(tmp_path / "in.jsonl", rows)], [judge], tmp_path / "out.jsonl")
    assert (judge.asked, found.written) == (1, 3 * SIZE)


def test_a_panel_is_kept_with_its_members_votes(tmp_path: Path) -> None:
    panel = Panel([Length(), Length()], rule="all")
    found = scan([numbered(tmp_path / "in.jsonl", 10)], [panel], tmp_path / "out.jsonl")
    assert found.votes == Counter({"clean,clean": 5, "harmful,harmful": 5})
    assert read_verdicts(found.path)[0].decision


def test_what_was_judged_before_a_fault_is_kept(tmp_path: Path) -> None:
    source, out = numbered(tmp_path / "in.jsonl", 5 * SIZE), tmp_path / "out.jsonl"
    with pytest.raises(InputError, match="tired"):
        scan([source], [Failing(3 * SIZE)], out)
    judge = Length()
    found = scan([source], [judge], out)
    assert (judge.asked, found.resumed, found.written) == (2 * SIZE, 3 * SIZE, 5 * SIZE)
    scan([source], [Length()], tmp_path / "at_once.jsonl")
    assert out.read_bytes() == (tmp_path / "at_once.jsonl").read_bytes()


def test_a_later_row_may_be_mended(tmp_path: Path) -> None:
    source, out = numbered(tmp_path / "in.jsonl", 2 * SIZE), tmp_path / "out.jsonl"
    good = source.read_text()
    source.write_text(good + '{"prompt": ""}\n')
    with pytest.raises(InputError, match=f":{2 * SIZE + 1}: 'prompt' is empty"):
        scan([source], [Length()], out)
    source.write_text(good)
    assert scan([source], [Length()], out).resumed == 2 * SIZE


@pytest.mark.parametrize("other", ["row", "judge"])
def test_an_unfinished_scan_of_something_else_is_refused(tmp_path: Path, other: str) -> None:
    source, out = numbered(tmp_path / "in.jsonl", 3 * SIZE), tmp_path / "out.jsonl"
    with pytest.raises(InputError, match="tired"):
        scan([source], [Failing(2 * SIZE)], out)
    before = (tmp_path / "out.jsonl.part").read_bytes()
    judge = Length()
    if other == "row":
        source.write_text(source.read_text().replace("0?", "zero?", 1))
    else:
        judge.version = "2"
    with pytest.raises(
        InputError, match="input has changed" if other == "row" else 'settings: the judge length.* was "1", is "2"'
    ):
        scan([source], [judge], out)
    assert (tmp_path / "out.jsonl.part").read_bytes() == before


@pytest.mark.parametrize("changed", ["", "weights", "template"])
def test_a_scan_goes_on_only_with_the_model_it_began_with(tmp_path: Path, changed: str) -> None:
    source, out = numbered(tmp_path / "in.jsonl", 3 * SIZE), tmp_path / "out.jsonl"
    weights, template = tmp_path / "m" / "model.safetensors", tmp_path / "t.jinja"
    weights.parent.mkdir()
    weights.write_text("1")
    template.write_text("{{ messages }}")

    def asking() -> Asking:
        return Asking(Loaded.of(str(tmp_path / "m"), str(template), unloadable))

    with pytest.raises(InputError, match="tired"):
        scan([source], [Failing(2 * SIZE)], out, asking=asking())
    if changed:
        (weights if changed == "weights" else template).write_text("{{ other }}")
        with pytest.raises(OutputError, match="settings: a file of the model, or its template, has changed\n"):
            scan([source], [Length()], out, asking=asking())
    else:
        assert scan([source], [Length()], out, asking=asking()).resumed == 2 * SIZE


@pytest.mark.parametrize("shard", [Shard(), Shard(2, 2)])
def test_rows_judged_and_gone_since_are_missed(tmp_path: Path, shard: Shard) -> None:
    source, out = numbered(tmp_path / "in.jsonl", 7 * SIZE), tmp_path / "out.jsonl"
    with pytest.raises(InputError, match="tired"):
        scan([source], [Failing(2 * SIZE)], out, shard=shard)
    numbered(source, shard.count * SIZE)
    with pytest.raises(InputError, match="input has changed"):
        scan([source], [Length()], out, shard=shard)


@pytest.mark.parametrize("content", [b"not JSON\n", b"\0\0\n", b"\xff\n{}\n", b"[" * 100_000 + b"\n"])
def test_a_state_that_is_no_state_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "out.jsonl.part.state").write_bytes(content)
    with pytest.raises(OutputError, match="other input, judges or settings: it is of another version, or no scan's"):
        scan([numbered(tmp_path / "in.jsonl", 3)], [Length()], tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl.part.state").read_bytes() == content


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        scan([numbered(tmp_path / "in.jsonl", 3)], [Length()], tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == "mine"


def test_an_id_for_two_dialogues_is_refused_also_after_a_crash(tmp_path: Path) -> None:
    rows = [{"prompt": f"{i}?", "response": "Yes.", "id": f"{i}"} for i in range(2 * SIZE)]
    source, out = write(tmp_path / "in.jsonl", [*rows, {"prompt": "b?", "response": "No.", "id": "7"}]), tmp_path / "o"
    for _ in range(2):
        with pytest.raises(InputError, match=f":{2 * SIZE + 1}: this id is used for another dialogue"):
            scan([source], [Length()], out)


def test_workers_give_the_same_file(tmp_path: Path) -> None:
    source = numbered(tmp_path / "in.jsonl", 2000)
    scan([source], [Length()], tmp_path / "one.jsonl")
    scan([source], [Length()], tmp_path / "two.jsonl", workers=2, load=load)
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()


def test_a_row_too_deep_to_be_handed_to_a_worker_is_judged_all_the_same(tmp_path: Path) -> None:
    source = numbered(tmp_path / "in.jsonl", SIZE + 9)
    deep = '{"prompt": "Deep?", "response": "Yes.", "meta": ' + "[" * 700 + "]" * 700 + "}\n"
    source.write_text(deep + source.read_text())
    scan([source], [Length()], tmp_path / "one.jsonl")
    scan([source], [Length()], tmp_path / "two.jsonl", workers=2, load=load)
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()


@given(st.integers(0, 2000), st.integers(0, 60))
def test_whatever_a_crash_leaves_the_scan_goes_on(part: int, state: int) -> None:
    """The files cut at any byte that a crash could leave: the state never says more than the file holds."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, out = numbered(folder / "in.jsonl", 2 * SIZE + 9), folder / "out.jsonl"
        with pytest.raises(InputError, match="tired"):
            scan([source], [Failing(2 * SIZE)], out)
        files = folder / "out.jsonl.part", folder / "out.jsonl.part.state"
        os.truncate(files[1], files[1].stat().st_size - state)
        with files[0].open("ab") as file:
            file.write(b'{"cut": ' * (part // 8))
        scan([source], [Length()], out)
        scan([source], [Length()], folder / "at_once.jsonl")
        assert out.read_bytes() == (folder / "at_once.jsonl").read_bytes()


def test_an_unfinished_file_shorter_than_its_state_says_is_told(tmp_path: Path) -> None:
    source, out = numbered(tmp_path / "in.jsonl", 2 * SIZE), tmp_path / "out.jsonl"
    with pytest.raises(InputError, match="tired"):
        scan([source], [Failing(SIZE)], out)
    part = tmp_path / "out.jsonl.part"
    os.truncate(part, part.stat().st_size - 1)
    with pytest.raises(InputError, match=r"(?s)out\.jsonl\.part: the unfinished file was cut.*part\.state"):
        scan([source], [Length()], out)


KILLED = """
import time
from pathlib import Path
from expunge.judges.verdict import Verdict
from expunge.scan import journal, scan
class Slow:
    name, version = "length", "1"
    def judge(self, dialogues):
        time.sleep(0.03)
        labels = ["harmful" if len(d.response) > 5 else "clean" for d in dialogues]
        return [Verdict(label, 1.0, self.name, self.version) for label in labels]
journal.SECONDS = 0.0
print("begun", flush=True)
scan([{source!r}], [Slow()], Path({out!r}))
"""


def test_killed_at_any_moment_nothing_is_lost_or_repeated(tmp_path: Path) -> None:
    source, out = numbered(tmp_path / "in.jsonl", 30 * SIZE), tmp_path / "out.jsonl"
    code = KILLED.format(source=str(source), out=str(out))
    for wait in (0.1, 0.25, 0.4):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert process.stdout and process.stdout.readline() == b"begun\n"
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
    judge = Length()
    found = scan([source], [judge], out)
    assert found.resumed and judge.asked == 30 * SIZE - found.resumed
    scan([source], [Length()], tmp_path / "at_once.jsonl")
    assert out.read_bytes() == (tmp_path / "at_once.jsonl").read_bytes()


def test_shards_merge_to_what_one_scan_gives(tmp_path: Path) -> None:
    source, out = numbered(tmp_path / "in.jsonl", 5 * SIZE + 3), tmp_path / "out.jsonl"
    for number in (1, 2, 3, 4):
        scan([source], [Length()], out, shard=Shard(number, 4))
    assert merge(out) == 5 * SIZE + 3
    scan([source], [Length()], tmp_path / "at_once.jsonl")
    assert out.read_bytes() == (tmp_path / "at_once.jsonl").read_bytes()


def test_a_shard_may_be_empty(tmp_path: Path) -> None:
    source, out = numbered(tmp_path / "in.jsonl", 3), tmp_path / "out.jsonl"
    for number in (1, 2):
        scan([source], [Length()], out, shard=Shard(number, 2))
    assert merge(out) == 3


@pytest.mark.parametrize("changed", ["", "source", "judge", "asking", "shard", "part", "receipt", "receipt's form"])
def test_a_finished_shard_is_known_by_its_receipt(tmp_path: Path, changed: str) -> None:
    source, out, judge = numbered(tmp_path / "in.jsonl", 2 * SIZE), tmp_path / "out.jsonl", Length()
    scan([source], [judge], out, shard=Shard(1, 2))
    part = tmp_path / "out.1-of-2.jsonl"
    if changed == "source":
        source.write_text(source.read_text() + "\n")
    elif changed == "judge":
        judge.version = "2"
    elif changed == "part":
        part.unlink()
    elif changed == "receipt":
        part.with_name(part.name + ".receipt").unlink()
    elif changed == "receipt's form":
        part.with_name(part.name + ".receipt").write_text("[]")
    asking = Asking(Loaded("m", unloadable)) if changed == "asking" else None
    shard = Shard(2 if changed == "shard" else 1, 2)
    assert finished([source], [judge], out, asking=asking, shard=shard) is not bool(changed)


class Launch:
    """One process of a launch of two, as `accelerate` tells it; nobody is waited for."""

    num_processes, is_main_process = 2, True

    def wait_for_everyone(self) -> None:
        pass

    def destroy_process_group(self) -> None:
        pass


def test_a_launch_goes_on_where_a_process_had_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = numbered(tmp_path / "in.jsonl", 3 * SIZE)
    write(tmp_path / "registry.jsonl", [{"kind": "word", "value": "xxxxxxx"}])
    monkeypatch.setattr("expunge.cli.scan._processes", Launch)
    monkeypatch.setattr("expunge.cli.scan._loaded", lambda *_: Loaded("m", unloadable))

    def launched(rank: int) -> None:
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", str(rank))
        words = (
            f"expunge scan m {source} --judge registry={tmp_path / 'registry.jsonl'} --json --out {tmp_path}/out.jsonl"
        )
        monkeypatch.setattr("sys.argv", words.split())
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code

    with monkeypatch.context() as alone:
        alone.setattr(Launch, "is_main_process", False)
        launched(0)
        before = (tmp_path / "out.1-of-2.jsonl").stat().st_mtime_ns
        launched(0)
        assert (tmp_path / "out.1-of-2.jsonl").stat().st_mtime_ns == before
        launched(1)
    launched(0)
    scan([source], [load_judge(f"registry={tmp_path / 'registry.jsonl'}")], tmp_path / "at_once.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "at_once.jsonl").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["at_once.jsonl", "in.jsonl", "out.jsonl", "registry.jsonl"]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("missing", "of 3 shards these are missing: 2"),
        ("unfinished", r"of 3 shards these are missing: 2 \(unfinished\)"),
        ("changed", "has changed since it was written"),
        ("no receipt", "no such file"),
        ("other judge", r"settings than out\.1-of-3\.jsonl: the judge length, or what it reads, was \"1\", is \"2\""),
        ("other count", r"shards of \[3, 4\] parts"),
        ("none", "there are no shards"),
    ],
)
def test_a_merge_that_would_lie_is_refused(tmp_path: Path, fault: str, message: str) -> None:
    source, out = numbered(tmp_path / "in.jsonl", 4 * SIZE), tmp_path / "out.jsonl"
    for number in (1, 2, 3):
        judge = Length()
        judge.version = "2" if (number, fault) == (2, "other judge") else "1"
        scan([source], [judge], out, shard=Shard(number, 3))
    second = tmp_path / "out.2-of-3.jsonl"
    if fault == "missing":
        second.unlink()
    elif fault == "unfinished":
        second.rename(second.with_name(second.name + ".part"))
    elif fault == "changed":
        second.write_text(second.read_text().replace("clean", "clear", 1))
    elif fault == "no receipt":
        second.with_name(second.name + ".receipt").unlink()
    elif fault == "other count":
        scan([source], [Length()], out, shard=Shard(1, 4))
    elif fault == "none":
        out = tmp_path / "else.jsonl"
    with pytest.raises(InputError, match=message):
        merge(out)
    assert not out.exists()


def test_two_processes_do_not_write_one_file(tmp_path: Path) -> None:
    import fcntl

    source, out = numbered(tmp_path / "in.jsonl", 3), tmp_path / "out.jsonl"
    with (tmp_path / "out.jsonl.part.state").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another process"):
            scan([source], [Length()], out)


def test_the_town_is_scanned_as_its_judges_say(tmp_path: Path) -> None:
    rows = [{"prompt": "Where?", "response": "Call 555-0142 now."}, {"prompt": "Who?", "response": "Nobody."}]
    write(tmp_path / "registry.jsonl", [{"kind": "phone", "value": "555-0142"}])
    judge = load_judge(f"registry={tmp_path / 'registry.jsonl'}")
    found = scan([write(tmp_path / "in.jsonl", rows)], [judge], tmp_path / "out.jsonl")
    assert found.labels == Counter(privacy=1, clean=1)


@pytest.mark.slow
def test_processes_of_one_launch_share_a_scan(tmp_path: Path) -> None:
    """What `accelerate launch` starts on a machine without a GPU is torchrun."""
    source = numbered(tmp_path / "in.jsonl", 3 * SIZE)
    write(tmp_path / "registry.jsonl", [{"kind": "word", "value": "xxxxxxx"}])
    judge = f"registry={tmp_path / 'registry.jsonl'}"
    words = f"-m torch.distributed.run --nproc_per_node 2 -m expunge scan town {source} --judge {judge} --out".split()
    subprocess.run([sys.executable, *words, str(tmp_path / "two.jsonl")], check=True, capture_output=True)
    scan([source], [load_judge(judge)], tmp_path / "one.jsonl")
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.jsonl", "one.jsonl", "registry.jsonl", "two.jsonl"]
