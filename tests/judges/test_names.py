from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import pytest

import expunge
import expunge.judges
from expunge.errors import InputError
from expunge.judges import FactsJudge, PrivacyJudge, load_judge

OWN = """
from expunge.judges import Verdict

class Mine:
    name, version = "mine", "1"

    def judge(self, dialogues):
        return [Verdict("clean", 0.0, self.name, self.version) for _ in dialogues]

class Picky(Mine):
    def __init__(self, word):
        pass

class NoJudge:
    name = "half"

instance = Mine()
"""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    (tmp_path / "registry.jsonl").write_text('{"kind": "name", "value": "Zoe Heron"}')
    (tmp_path / "facts.jsonl").write_text('{"question": "a?", "answer": "b"}')
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "syntax.py").write_text("x = 1\ndef (:\n")
    (tmp_path / "raises.py").write_text("x = 1\n\nraise ValueError('no')\n")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "file", "kind"),
    [
        ("privacy", "registry.jsonl", PrivacyJudge),
        ("registry", "registry.jsonl", PrivacyJudge),
        ("facts", "facts.jsonl", FactsJudge),
    ],
)
def test_built_in_judges(sources: Path, name: str, file: str, kind: type) -> None:
    judge = load_judge(f"{name}={sources / file}")
    assert isinstance(judge, kind)
    assert judge.name == name


def test_a_name_alone_takes_the_towns_source(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = types.ModuleType("expunge.demo")
    demo.path = lambda name: sources / name  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "expunge.demo", demo)
    monkeypatch.setattr(expunge, "demo", demo, raising=False)
    assert load_judge("registry").version == load_judge(f"registry={sources / 'registry.jsonl'}").version
    assert load_judge("facts").name == "facts"


@pytest.mark.parametrize("name", ["Mine", "instance"])
def test_ones_own_judge(sources: Path, name: str) -> None:
    assert load_judge(f"{sources / 'own.py'}:{name}").name == "mine"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("privcy", "unknown judge 'privcy'. Did you mean 'privacy'? Built in: privacy, registry, facts, harm"),
        ("zzz=1", "unknown judge 'zzz'. Built in: "),
        ("facts=", "the source after 'facts=' is missing"),
        ("facts=nowhere.jsonl", "nowhere.jsonl: there is no such file"),
        ("harm=.", "cannot load the classifier '.'"),
        ("own.py:Nobody", "own.py: no 'Nobody' in this file"),
        ("own.py:NoJudge", "own.py: 'NoJudge' does not fit Judge: it lacks version, judge"),
        ("own.py:Picky", "own.py: Picky() fails: TypeError"),
        ("nowhere.py:Mine", "nowhere.py: there is no such file"),
        ("syntax.py:Mine", "syntax.py:2: the file fails: SyntaxError"),
        ("raises.py:Mine", "raises.py:3: the file fails: ValueError: no"),
    ],
)
def test_faults_are_messages(sources: Path, monkeypatch: pytest.MonkeyPatch, spec: str, message: str) -> None:
    monkeypatch.chdir(sources)
    with pytest.raises(InputError) as caught:
        load_judge(spec)
    assert caught.value.message.startswith(message) or message in caught.value.message


def test_importing_the_judges_is_cheap_and_every_public_name_is_there() -> None:
    code = (
        "import sys, expunge.judges as j\n"
        "heavy = {'torch', 'transformers', 'phonenumbers', 'stdnum', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert all(hasattr(j, name) for name in j.__all__)\n"
        "heavy = {'torch', 'transformers', 'phonenumbers', 'stdnum'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert expunge.judges.__all__ == sorted(expunge.judges.__all__, key=lambda n: (not n.isupper(), n[0].islower(), n))
    with pytest.raises(AttributeError):
        _ = expunge.judges.Nothing
