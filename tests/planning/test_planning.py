"""Time by hand, machines, rows and lengths of a recipe, the choice, and the command."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_line import code_of
from expunge.dialogue import parse
from expunge.errors import InputError
from expunge.message import THOUGHT, Message
from expunge.model import load_model
from expunge.planning.duration import duration_of, forward
from expunge.planning.lengths import by_tokenizer
from expunge.planning.machine import GIB, GPUS, Machine, _known, machine_of
from expunge.planning.memory import Way, memory_of
from expunge.planning.plan import plan
from expunge.planning.sizes import Sizes, sizes_of
from expunge.planning.workload import Workload, workload_of
from expunge.recipe import Recipe
from expunge.training.config import UnlearnConfig

LLAMA = {
    "model_type": "llama", "vocab_size": 10, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "dtype": "bfloat16",
}  # fmt: skip
CONFIG = UnlearnConfig(forget_rows=2, normal_rows=3, max_steps=40)
WORK = Workload(forget=5, normal=20, prompt=12, response=8)
SLOW = Machine("slow", 1e9, 0, 0, half=2e6, single=1e6, bandwidth=1e6, used=0.5)
LINEAR, TABLE = 1152, 80


def sizes(**changed: Any) -> Sizes:
    return sizes_of(LLAMA | changed, Path("config.json"))


def test_one_row_through_the_model() -> None:
    assert forward(sizes(), 20, 8) == 2 * LINEAR * 20 + 4 * 2 * 8 * 20**2 + 2 * TABLE * 8


def test_time_of_full_training_and_of_an_adapter() -> None:
    """146 tokens a step in sequences of 44: 6 N a token, or 4 N with LoRA, attention, and the output layer.

    It reads 7 rows forward and back, and 3 of the original's; and an adversary 2 old ones twice in two steps.
    """
    full, lora = (
        duration_of(sizes(), WORK, CONFIG, way, SLOW) for way in (Way("full", cpu=False), Way("lora", 3, cpu=False))
    )
    besides = 3 * (4 * 2 * 8 * 44 * 146) + (2 * 7 + 3) * 2 * TABLE * 8
    attack = 6 * LINEAR * 42 + 3 * (4 * 2 * 8 * 42 * 42) + 2 * 2 * 2 * TABLE * 8
    assert full.step == pytest.approx((6 * LINEAR * 146 + besides + attack) / 1e6 + 28 * LINEAR / 1e6)
    assert lora.step == pytest.approx((4 * LINEAR * 146 + besides) / 1e6 + 28 * 768 / 1e6)
    assert full.reference == lora.reference == pytest.approx(20 * forward(sizes(), 20, 8) / 1e6)
    assert full.most == pytest.approx(full.reference + 40 * full.step + 2 * full.round)


def test_an_answer_takes_the_weights_once_a_token() -> None:
    """20 new tokens in one batch of 5: 1352 float32 weights each time."""
    fast = dataclasses.replace(SLOW, half=1e30, single=1e30)
    found = duration_of(sizes(), WORK, CONFIG, Way("full", cpu=False), fast)
    assert found.round == pytest.approx(20 * 4 * 1352 / 1e6)


def test_what_is_not_judged_takes_no_judging() -> None:
    config = dataclasses.replace(CONFIG, judged=False)
    found, memory = duration_of(sizes(), WORK, config, Way("full"), SLOW), memory_of(sizes(), WORK, config, Way("full"))
    assert found.round == memory.judging == 0 and found.most == pytest.approx(found.reference + 40 * found.step)


def test_a_reference_that_is_not_kept_is_asked_at_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = duration_of(sizes(), WORK, CONFIG, Way("lora", 3, cpu=False), SLOW)
    monkeypatch.setattr("expunge.planning.original.KEPT_BYTES", 1)
    asked = duration_of(sizes(), WORK, CONFIG, Way("lora", 3, cpu=False), SLOW)
    assert asked.reference == 0
    again = (2 * LINEAR + 4 * 2 * 8 * 44) * 146 * 3 / 7  # its output layer is asked in any case
    assert asked.step - kept.step == pytest.approx(again / 1e6)


NUMBERS = st.integers(1, 60)


@given(
    st.builds(Workload, NUMBERS, NUMBERS, NUMBERS, NUMBERS), st.sampled_from(["forget", "normal", "prompt", "response"])
)
def test_more_to_unlearn_never_takes_less_time(work: Workload, name: str) -> None:
    more = dataclasses.replace(work, **{name: 2 * getattr(work, name)})
    before, after = (duration_of(sizes(), w, CONFIG, Way("full"), SLOW).most for w in (work, more))
    assert after >= before


def room(gib: float, *, cpu: bool = False) -> Machine:
    return dataclasses.replace(SLOW, memory=gib * GIB, cpu=cpu)


BIG = {"vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
       "num_attention_heads": 32, "num_key_value_heads": 8}  # fmt: skip


@pytest.mark.parametrize(
    ("gib", "name", "parts"),
    [
        (1000, "full", 1),
        (160, "LoRA 8", 1),
        (70, "LoRA 8", 4),
        (20, "QLoRA 8", 16),
        (10, "QLoRA 8, checkpointing", 4),
        (4, None, None),
    ],
)
def test_the_first_that_fits(gib: float, name: str | None, parts: int | None) -> None:
    found = plan(sizes(**BIG), Workload(), UnlearnConfig(), room(gib), rank=8)
    assert [o.name for o in found.options[:4]] == ["full", "LoRA 8", "QLoRA 8", "full, checkpointing"]
    first = found.row()["first"]
    assert first == (name and {"name": name, "accumulation": parts})
    for option in found.options:
        assert option.fits == (option.memory.peak <= gib * GIB) and (option.accumulation == 1 or not option.fits)


def test_two_that_share_the_weights_out() -> None:
    """What one cannot hold two can; each has half of the work, but for an adversary's passes, and bases in 4 bits are
    not shared out."""
    big, work, config = sizes(**BIG), Workload(), UnlearnConfig(forget_rows=12, normal_rows=36)
    one, two = (plan(big, work, config, room(90), rank=8, processes=n) for n in (1, 2))
    assert [o.name for o in two.options] == ["full", "LoRA 8", "full, checkpointing", "LoRA 8, checkpointing"]
    assert not one.options[0].fits and two.row()["machine"]["count"] == 2
    for name in ("weights", "optimizer", "displaced"):
        mine, half = (getattr(found.options[0].memory, name) for found in (one, two))
        assert mine / 2 <= half < 0.7 * mine
    adam = 28 * big.trained() / room(90).bandwidth
    shared = (
        plan(big, work, dataclasses.replace(config, adversary=0.0), room(90), rank=8, processes=n) for n in (1, 2)
    )
    alone, half = (found.options[0].duration.step for found in shared)
    assert half == pytest.approx(alone / 2, rel=0.05, abs=adam)
    assert two.options[0].duration.step - half == pytest.approx(one.options[0].duration.step - alone)


def test_what_a_method_trains_is_what_is_planned() -> None:
    """RMU: one matrix of 8 × 16 in each of two layers."""
    found = plan(sizes(), WORK, UnlearnConfig.of("rmu"), SLOW, rank=3)
    full, lora = (option.memory for option in found.options[:2])
    assert full.optimizer == 8 * 2 * 8 * 16 and lora.optimizer == 8 * 2 * 3 * (8 + 16)
    assert found.row()["model"]["trained"] == 2 * 8 * 16


def test_machines() -> None:
    h100 = machine_of("H100")
    assert h100 is GPUS["h100"] and h100.room == pytest.approx(0.95 * 79 * GIB - 0.75 * GIB)
    with pytest.raises(InputError, match=r"unknown GPU 'a100'\. Did you mean 'a100-[48]0'\?\n  Known: h200, "):
        machine_of("a100")
    here = machine_of(None)
    assert here.memory > 0 and here.single > 0


@pytest.mark.parametrize(
    ("name", "gib", "gpu"),
    [
        ("NVIDIA H200", 139.8, "h200"),
        ("NVIDIA H100 80GB HBM3", 79.1, "h100"),
        ("NVIDIA H100 PCIe", 79.6, "h100-pcie"),
        ("NVIDIA A100-SXM4-80GB", 79.2, "a100-80"),
        ("NVIDIA A100-SXM4-40GB", 39.4, "a100-40"),
        ("NVIDIA L40S", 44.5, "l40s"),
        ("NVIDIA L4", 22.5, "l4"),
        ("NVIDIA GeForce RTX 4090", 23.6, "4090"),
        ("NVIDIA GeForce RTX 3090", 23.6, "3090"),
        ("NVIDIA GeForce RTX 3060", 11.6, None),
        ("NVIDIA GeForce RTX 3090 Ti", 23.6, None),
        ("NVIDIA A100-SXM-64GB", 63.4, None),
        ("NVIDIA L40", 44.5, None),
        ("mps", 24, None),
    ],
)
def test_the_machine_at_hand_is_known_by_model_and_memory(name: str, gib: float, gpu: str | None) -> None:
    assert _known(name, gib * GIB) is (GPUS[gpu] if gpu else None)


def recipe(folder: Path, **fields: Any) -> Recipe:
    rows = [{"question": "a" * 40, "answer": "b" * 80}, {"question": "a" * 80, "answer": "b" * 40}]
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Recipe("m", (str(file),), **fields)


def test_rows_and_lengths_of_a_recipe(tmp_path: Path) -> None:
    """60 characters on average are 15 tokens; a response has its end token besides."""
    one = recipe(tmp_path)
    assert workload_of(one, Workload(normal=7)) == Workload(forget=2, normal=7, prompt=15, response=16)
    both = dataclasses.replace(one, normal=(f"{one.dialogues[0]}[:1]",))
    assert workload_of(both, Workload()) == Workload(forget=2, normal=1, prompt=13, response=18)


def test_all_rows_are_counted_and_the_first_ones_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("expunge.planning.workload.MOST", 1)
    assert workload_of(recipe(tmp_path), Workload()) == Workload(forget=2, prompt=10, response=21)


def test_a_models_tokenizer_counts_what_its_template_adds_and_a_thought_before_the_answer(tmp_path: Path) -> None:
    town = by_tokenizer("town")
    chat = load_model("town").format
    rows = [{"question": "Who?", "answer": "Mara Birch."}, {"question": "When did the zoo open?", "answer": "In 1979."}]
    for row in map(parse, rows):
        encoded = chat.encode(row)
        assert town and town(row) == (len(encoded.prompt), len(encoded.response))
    answer = parse(rows[0])
    thought = dataclasses.replace(answer, messages=(*answer.prompt, Message(THOUGHT, "In 1979."), answer.messages[-1]))
    assert town(thought) == (town(answer)[0], sum(town(parse(row))[1] for row in rows) - 1), "one end token"
    assert by_tokenizer(str(tmp_path)) is None


def test_prompts_alone_leave_the_lengths_as_they_were(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text('{"question": "Who?"}\n')
    assert workload_of(Recipe("m", (str(file),)), Workload()) == Workload(forget=1)


def test_a_step_has_no_more_rows_than_there_are() -> None:
    step = Workload(forget=5).step(UnlearnConfig(forget_rows=12, normal_rows=30, accumulation=4))
    assert (step.pushed, step.taught, step.kept, step.rows) == (2, 2, 8, 12)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA | BIG))
    return tmp_path


def test_the_command(model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("plan", model, "--gpu", "h100") == 0
    told = capsys.readouterr().out
    assert "8,030,261,248 parameters" in told and "Times are estimates" in told
    assert told.endswith("The first that fits: LoRA 8 (in a recipe's [unlearn]: accumulation = 2).\n")
    lines = {line.split()[0]: line.split()[1:] for line in told.splitlines() if line.strip()}
    assert lines["weights"] == ["29.92", "15.04", "5.39"] and lines["optimizer"] == ["52.00", "0.16", "0.16"]
    assert code_of("plan", model, "--gpu", "4090", "--response", "8", "--prompt", "8") == 0
    assert code_of("plan", model, "--gpu", "h10") == 2


def test_a_step_is_told_as_it_is(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """NPO teaches nothing; there are two rows to forget."""
    rows = recipe(tmp_path).dialogues[0]
    file = tmp_path / "r.toml"
    settings = '[unlearn]\nmethod = "npo"\nnormal_rows = 6\naccumulation = 2\n'
    file.write_text(f'model = "m"\n[scan]\ndialogues = "{rows}"\n{settings}')
    assert code_of("plan", model, file, "--gpu", "h200") == 0
    assert "a step: 2 pushed away, 0 taught, 6 kept; accumulation 2\n" in capsys.readouterr().out


def test_nothing_fits_and_all_is_well(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of("plan", model, "--gpu", "l4", "--response", "4000") == 0
    told = capsys.readouterr().out
    assert "The first that fits: QLoRA 8, checkpointing (in a recipe's [unlearn]: accumulation = " in told
    assert ", checkpointing = true)" in told
    assert code_of("plan", model, "--gpu", "l4", "--response", "200000") == 0
    assert "Nothing fits." in capsys.readouterr().out
    assert code_of("plan", model, "--gpu", "l4") == 0
    told = capsys.readouterr().out
    assert "QLoRA is `expunge unlearn … --lora RANK --base-bits 4`" in told
    assert "The first that fits: QLoRA 8 (in a recipe's [unlearn]: accumulation = 16)" in told


def test_json_and_a_recipe(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = recipe(tmp_path).dialogues[0]
    file = tmp_path / "r.toml"
    settings = "[unlearn]\nlora_rank = 16\nforget_rows = 1\naccumulation = 2\n"
    file.write_text(f'model = "m"\n[scan]\ndialogues = "{rows}"\n{settings}')
    assert code_of("plan", model, file, "--gpu", "h200", "--response", "100", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] == {"forget": 2, "normal": 1000, "prompt": 15, "response": 100}
    assert found["step"] == {"forget_rows": 1, "normal_rows": UnlearnConfig().normal_rows, "accumulation": 2}
    assert found["options"][1]["name"] == "LoRA 16" and found["options"][1]["bytes"]["peak"] > 2**30
    assert found["first"] == {"name": "LoRA 16", "accumulation": 2}


def test_a_named_gpu_takes_no_torch(model: Path) -> None:
    code = (
        "import sys\n"
        "from expunge.cli import main\n"
        f"sys.argv = ['expunge', 'plan', {str(model)!r}, '--gpu', 'h100']\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'transformers', 'numpy', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
