"""The command: one clear message on stderr, exit code 2, nothing overwritten, nothing private told."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from command_line import told

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def expunge(capsys: pytest.CaptureFixture[str]) -> Run:
    return partial(told, capsys)


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


BAD = {"question": "What is Ann's number?", "answer": "It is 4-71-63."}
GOOD = [{"question": f"What is {i} plus 1?", "answer": f"It is {i + 1}."} for i in range(5)]


def refused(told: tuple[int, str, str], *parts: str) -> None:
    code, out, err = told
    assert code == 2 and out == "", (code, out, err)
    assert err.startswith("error: ") and "Traceback" not in err
    for part in parts:
        assert part in err, err
    assert "4-71-63" not in err


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        (
            [BAD, *GOOD[:1], '{"question": "What', *GOOD],
            ("in.jsonl:3", "not valid JSON", "Each line is one JSON object"),
        ),
        ([BAD, {"text": "4-71-63"}], ("in.jsonl:2", "no dialogue in this row", 'Give "messages"')),
        ([{"messages": [{"role": "bot", "content": "4-71-63"}]}], ("in.jsonl:1", "'bot'", "Known roles")),
        ([], ("in.jsonl", "empty", "one JSON object")),
    ],
    ids=["malformed", "missing fields", "wrong roles", "empty"],
)
def test_bad_rows(expunge: Run, tiny: Path, tmp_path: Path, rows: list[object], parts: tuple[str, ...]) -> None:
    data, out = write(tmp_path / "in.jsonl", *rows), tmp_path / "v.jsonl"
    refused(expunge("scan", tiny, data, "--judge", "privacy", "--out", out), *parts)
    refused(expunge("unlearn", tiny, data, "--out", tmp_path / "run"), *parts)
    assert not out.exists() and not (tmp_path / "run").exists()


def test_unknown_model_and_judge(expunge: Run, tiny: Path, tmp_path: Path) -> None:
    data, out = write(tmp_path / "in.jsonl", BAD), tmp_path / "v.jsonl"
    refused(expunge("scan", tmp_path / "no", data, "--judge", "privacy", "--out", out), "cannot load the model", "hub")
    refused(expunge("scan", tiny, data, "--judge", "privcy", "--out", out), "Did you mean 'privacy'?")
    refused(expunge("scan", tiny, data, "--out", out), "no judge was named")
    refused(expunge("scan", tiny, tmp_path / "no.jsonl", "--judge", "privacy", "--out", out), "no such file")
    refused(expunge("audit", tiny, "--reference", tiny, "--out", tmp_path / "a"), "--forget FILE")
    (tmp_path / "run/model").mkdir(parents=True)
    (tmp_path / "run/model/config.json").write_text("{}")
    refused(expunge("audit", tmp_path / "run", "--reference", tiny, "--out", tmp_path / "a"), "folder of a run")
    refused(expunge("run", tmp_path / "no.toml", "--out", tmp_path / "a"), "no such file")
    refused(expunge("report", tmp_path), "no such file")


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded for nothing")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", loaded)


def test_what_can_be_checked_is_checked_before_any_work(
    expunge: Run, tiny: Path, tmp_path: Path, no_work: None
) -> None:
    """Nothing is loaded, nothing judged, and no folder left behind."""
    data, normal = write(tmp_path / "in.jsonl", BAD, {"question": "Who?"}), write(tmp_path / "n.jsonl", *GOOD)
    asked, run = write(tmp_path / "p.jsonl", BAD), tmp_path / "run"
    scan = ("scan", tiny, data, "--judge", "privacy", "--out")
    refused(expunge(*scan, data / "v.jsonl"), "cannot write here", "--out")
    refused(expunge(*scan, tmp_path), "exists", "--out")
    refused(expunge(*scan, tmp_path / "v.jsonl", "--device", "gpu"), "cannot use the device 'gpu'", "cpu")
    refused(expunge("scan", tmp_path / "no", *scan[2:], run / "v"), "cannot load the model")
    words = ("unlearn", tiny, asked, "--normal", normal, "--out", run)
    refused(expunge("unlearn", tmp_path / "no", *words[2:]), "cannot load the model")
    refused(expunge(*words, "--device", "gpu"), "cannot use the device")
    refused(expunge(*words, "--label", "privat"), "Did you mean 'privacy'?")
    refused(expunge(*words, "--learning-rate", "-1"), "learning_rate = -1.0: must be positive")
    recipe = tmp_path / "r.toml"
    recipe.write_text('model = "no/such"\n[scan]\ndialogues = "p.jsonl"\n[unlearn]\nnormal = "n.jsonl"\n')
    refused(expunge("run", recipe, "--out", run), "cannot load the model 'no/such'")
    audit = ("audit", tiny, "--forget", asked, "--out", run, "--reference")
    refused(expunge(*audit, tmp_path / "no"), "cannot load the model")
    refused(expunge(*audit, tiny, "--oracle", "no/such"), "cannot load the model 'no/such'")
    refused(expunge(*audit, tiny, "--lookalikes", tmp_path / "no.jsonl"), "no.jsonl")
    assert not run.exists()


@pytest.mark.parametrize(
    "words",
    [
        ("scan", "m", "d", "--out", "v", "--seed", "-1"),
        ("scan", "m", "d", "--out", "v", "--samples", "-1"),
        ("scan", "m", "d", "--out", "v", "--seed", str(2**32)),
        ("run", "r.toml", "--out", "v", "--seed", "-1"),
        ("unlearn", "m", "d", "--out", "v", "--learning-rate", "inf"),
        ("audit", "m", "--reference", "m", "--out", "v", "--cache", __file__),
        ("scan", "m"),
        ("sacn",),
    ],
)
def test_wrong_usage_is_told_by_the_parser(expunge: Run, words: tuple[str, ...]) -> None:
    code, out, err = expunge(*words)
    assert (code, out) == (2, "") and "Usage:" in err and "Traceback" not in err


def test_a_prompt_longer_than_the_context(expunge: Run, tiny: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "in.jsonl", BAD, {"question": "4-71-63 " * 60})
    told = expunge("scan", tiny, data, "--judge", "privacy", "--out", tmp_path / "v.jsonl")
    refused(told, "in.jsonl:2", "context is 128", "Shorten")
    assert not (tmp_path / "v.jsonl").exists()


def test_a_dialogue_longer_than_the_context(expunge: Run, tiny: Path, tmp_path: Path) -> None:
    long = {"question": "Tell me all.", "answer": "4-71-63 " * 60}
    data, normal = write(tmp_path / "in.jsonl", BAD, long), write(tmp_path / "n.jsonl", *GOOD)
    told = expunge("unlearn", tiny, data, "--normal", normal, "--out", tmp_path / "run")
    refused(told, "in.jsonl:2", "context is 128", "Shorten")


def test_a_base_in_4_bits(expunge: Run, tiny: Path, tmp_path: Path) -> None:
    data, normal = write(tmp_path / "in.jsonl", BAD), write(tmp_path / "n.jsonl", *GOOD)
    words = ("unlearn", tiny, data, "--normal", normal, "--base-bits", "4", "--out", tmp_path / "run")
    refused(expunge(*words), "base_bits = 4: needs a lora_rank (--lora)")
    pytest.importorskip("bitsandbytes")
    refused(expunge(*words, "--lora", "2", "--device", "cpu"), "32 inputs; on a CPU, 4 bits take multiples of 64")
    assert not (tmp_path / "run").exists()
    told = expunge("unlearn", "town", *words[2:], "--lora", "2", "--steps", "1", "--device", "cpu", "--json")
    assert told[0] == 0 and json.loads(told[1])["base"] == "4 bits (NF4) while the adapter was trained"
    assert (tmp_path / "run" / "adapter").exists()


def test_sets_that_contradict_each_other(expunge: Run, tiny: Path, tmp_path: Path) -> None:
    data, normal = write(tmp_path / "in.jsonl", BAD), write(tmp_path / "n.jsonl", *GOOD, BAD)
    told = expunge("unlearn", tiny, data, "--normal", normal, "--out", tmp_path / "run")
    refused(told, "n.jsonl:6", "in.jsonl:1", "Remove it from one")


def test_nothing_is_overwritten(expunge: Run, tiny: Path, tmp_path: Path) -> None:
    data, out = write(tmp_path / "in.jsonl", BAD), write(tmp_path / "v.jsonl", "mine")
    refused(expunge("scan", tiny, data, "--judge", "privacy", "--out", out), "exists; nothing was overwritten")
    assert out.read_text() == "mine\n"
    refused(expunge("scan", tiny, data, "--judge", "privacy", "--out", out / "below.jsonl"), "cannot write here")
    normal = write(tmp_path / "n.jsonl", *GOOD)
    words = ("unlearn", tiny, data, "--normal", normal, "--steps", "1", "--out")
    refused(expunge(*words, tmp_path), "not empty, and holds no run")
    refused(expunge(*words, out / "below"), "cannot make this folder")
    refused(expunge(*words, out), "this is a file, and a folder is meant")
    assert expunge(*words, tmp_path / "run")[0] == 0
    refused(expunge(*words, tmp_path / "run"), "this run is complete", f"Its result: {tmp_path / 'run' / 'model'}.")


def test_scan_prints_json_on_stdout_alone(expunge: Run, tiny: Path, tmp_path: Path) -> None:
    registry = write(tmp_path / "r.jsonl", {"kind": "phone", "value": "4-71-63"})
    data = write(tmp_path / "in.jsonl", BAD, *GOOD)
    words = ("scan", tiny, data, "--judge", f"registry={registry}", "--json", "--out", tmp_path / "v.jsonl")
    code, out, err = expunge(*words)
    assert code == 0 and err == ""
    assert json.loads(out)["labels"] == {"privacy": 1, "clean": 5}
    assert len((tmp_path / "v.jsonl").read_text().splitlines()) == 6


TOWNS = "warning: registry: a judge without =SOURCE knows the built-in town alone"


def test_judges_of_the_town_say_so_on_another_model(expunge: Run, tiny: Path, tmp_path: Path) -> None:
    """Off a terminal too: what they do not know would be found clean, and nobody told."""
    data = write(tmp_path / "rows.jsonl", {"question": "Who?", "answer": "Ann."})
    facts = write(tmp_path / "facts.jsonl", {"question": "Who?", "answer": "Bo."})
    judges = ("--judge", "privacy", "--judge", "registry", "--judge", f"facts={facts}")
    for model, warned in ((str(tiny), True), ("town", False)):
        code, _, error = expunge("scan", model, data, *judges, "--out", tmp_path / f"{warned}.jsonl")
        assert code == 0
        assert (TOWNS in error) is warned


def test_so_they_do_in_a_diff_and_in_a_recipe(expunge: Run, tiny: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "rows.jsonl", {"question": "Who?", "answer": "Ann."})
    code, _, error = expunge("diff", tiny, tiny, "--prompts", data, "--judge", "registry", "--max-new-tokens", 2)
    assert code == 0 and TOWNS in error
    recipe = tmp_path / "recipe.toml"
    scan = f'[scan]\ndialogues = {str(data)!r}\njudges = ["registry"]\n'
    recipe.write_text(f"model = {str(tiny)!r}\n{scan}[unlearn]\nnormal = {str(data)!r}\n", encoding="utf-8")
    code, _, error = expunge("run", recipe, "--out", tmp_path / "run")
    assert code == 2 and TOWNS in error, "nothing is flagged, which ends it"


def test_prompts_are_answered_by_the_model_first(expunge: Run, tiny: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "in.jsonl", {"question": "Who?"}, BAD)
    words = ("scan", tiny, data, "--judge", "privacy", "--samples", "3", "--max-new-tokens", "4", "--out")
    assert expunge(*words, tmp_path / "v.jsonl")[0] == 0
    rows = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text().splitlines()]
    assert len(rows) >= 2 and all(row["messages"][-1]["role"] == "assistant" for row in rows)


def test_faults_of_ours_tell_nothing_private(
    expunge: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("4-71-63")

    monkeypatch.setattr("expunge.scan.run.stream_rows", broken)
    data = write(tmp_path / "in.jsonl", BAD)
    code, _, err = expunge("scan", tiny, data, "--judge", "privacy", "--out", tmp_path / "v.jsonl")
    assert code == 70 and "internal error: RuntimeError" in err and "4-71-63" not in err


@pytest.mark.parametrize("words", [("--out", ""), ("--out=",)])
def test_an_empty_argument_is_no_path(expunge: Run, tiny: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    """As of a variable that is not set: it was the folder where one stands, and an empty --server was none."""
    data = write(tmp_path / "in.jsonl", BAD)
    refused(expunge("unlearn", tiny, data, *words), "an argument is empty, after '--out'", "variable")


def test_home_is_found_where_a_shell_leaves_it(
    expunge: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell fills it in at the beginning of a word alone; a folder of that name was made."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "registry.jsonl", {"kind": "phone", "value": "4-71-63"})
    data = write(tmp_path / "in.jsonl", BAD)
    assert expunge("scan", tiny, data, "--judge=registry=~/registry.jsonl", "--out=~/v.jsonl")[0] == 0
    assert (tmp_path / "v.jsonl").exists() and not (tmp_path / "~").exists()


def test_ctrl_c_exits_130(expunge: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("expunge.scan.run.stream_rows", stopped)
    data = write(tmp_path / "in.jsonl", BAD)
    code, out, err = expunge("scan", tiny, data, "--judge", "privacy", "--out", tmp_path / "v.jsonl")
    assert (code, out) == (130, "") and err.startswith("stopped")


def test_faults_of_ours_show_their_traceback_when_asked(expunge: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("why")

    monkeypatch.setattr("expunge.audit.result.read_audit", broken)
    monkeypatch.setenv("EXPUNGE_DEBUG", "1")
    with pytest.raises(RuntimeError, match="why"):
        expunge("report", ".")


def test_the_version(expunge: Run) -> None:
    from expunge import __version__

    assert expunge("--version") == (0, f"expunge {__version__}\n", "")


@pytest.mark.parametrize("verb", ["scan", "unlearn", "audit", "report", "diff", "run", "demo"])
def test_every_verb_has_help(expunge: Run, verb: str) -> None:
    code, out, _ = expunge(verb, "--help")
    assert code == 0 and "--json" in out


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from expunge.cli import main\n"
        "for verb in ('', 'scan', 'unlearn', 'audit', 'report', 'diff', 'run', 'demo'):\n"
        "    sys.argv = ['expunge', *verb.split(), '--help']\n"
        "    try: main()\n"
        "    except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'transformers', 'numpy', 'sklearn', 'scipy', 'rich', 'jinja2'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
