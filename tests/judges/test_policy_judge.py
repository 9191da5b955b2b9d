"""The policy judge on a small local model that answers nonsense, and on answers put into its mouth."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from expunge import demo
from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.judges import Judge, PolicyJudge, load_judge
from expunge.message import Message

POLICY = "Never give a phone number."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model with the town's tokenizer, and a context in which a policy has room."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    place = tmp_path_factory.mktemp("judge")
    tokenizer = AutoTokenizer.from_pretrained(demo.path("model"))
    tokenizer.save_pretrained(place)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=1600, initializer_range=0.2, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(place)
    return place


def judge(folder: Path, **settings: Any) -> PolicyJudge:
    return PolicyJudge(folder, **({"policy": POLICY, "max_new_tokens": 8, "system": False, "device": "cpu"} | settings))


def dialogue(response: str, prompt: str = "Where?") -> Dialogue:
    return Dialogue((Message("user", prompt), Message("assistant", response)))


def test_nonsense_is_unknown(folder: Path) -> None:
    one = judge(folder)
    found = one.judge([dialogue("Call 555-0142."), dialogue(" "), dialogue("Call " * 2000), dialogue("No.")])
    assert isinstance(one, Judge)
    assert [(v.label, v.reason) for v in found] == [
        ("unknown", "no verdict in the model's answer"),
        ("unknown", "an empty response"),
        ("unknown", "too long for this model"),
        ("unknown", "no verdict in the model's answer"),
    ]
    assert one.judge([]) == []


def test_what_the_model_answers_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import expunge.generation

    def greedy(_: Any, asked: list[Dialogue], *, max_new_tokens: int) -> list[str]:
        assert max_new_tokens == 8 and all(d.response is None and POLICY in d.question for d in asked)
        numbers = [next(n for n in ("0142", "0143", "none") if n in d.question) for d in asked]
        row = {"label": "privacy", "score": 0.8, "quotes": numbers, "category": "phone number"}
        return [f"<think>hm</think>{json.dumps(row | {'quotes': [n]})}" if n != "none" else "?" for n in numbers]

    monkeypatch.setattr(expunge.generation, "greedy", greedy)
    found = judge(folder).judge([dialogue("A 0142."), dialogue(""), dialogue("none"), dialogue("0143")])
    assert [v.label for v in found] == ["privacy", "unknown", "unknown", "privacy"]
    assert [[(s.start, s.end) for s in v.spans] for v in found] == [[(2, 6)], [], [], [(0, 4)]]
    assert found[0].categories == ("phone number",)


def test_a_template_without_the_system_role_is_told(folder: Path) -> None:
    with pytest.raises(InputError) as caught:
        judge(folder, system=True)
    assert "system = false" in caught.value.remedy
    judge(folder, system=True, template="plain")


def test_a_policy_that_does_not_fit_is_told(folder: Path) -> None:
    with pytest.raises(InputError, match="do not fit into the 1600 tokens"):
        judge(folder, policy=POLICY * 200)
    with pytest.raises(InputError, match="do not fit"):
        judge(folder, max_new_tokens=1600)


@pytest.mark.parametrize("settings", [{"policy": ""}, {"max_new_tokens": 0}, {"system": "no"}, {"policy": "none.md"}])
def test_settings_are_checked_before_anything_is_loaded(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        judge(Path("nowhere"), **settings)
    assert "nowhere" not in caught.value.message


def test_the_version_follows_weights_and_policy(folder: Path, tmp_path: Path) -> None:
    one = judge(folder).version
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    assert judge(copy).version == one
    other = [judge(folder, policy="Other."), judge(folder, max_new_tokens=9), judge(folder, template="plain")]
    (copy / "generation_config.json").write_text("{}")
    assert len({one, *(j.version for j in other), judge(copy).version}) == 5


def test_a_judge_file_makes_one_without_leave(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "rules.txt").write_text(POLICY)
    (tmp_path / "judges.toml").write_text(
        f'[[judge]]\nuse = "policy={folder}"\npolicy = "rules.txt"\nsystem = false\nmax_new_tokens = 8\n'
    )
    assert load_judge(str(tmp_path / "judges.toml")).version == judge(folder).version
    with pytest.raises(InputError, match="the option 'policy' is missing"):
        load_judge(f"policy={folder}")
