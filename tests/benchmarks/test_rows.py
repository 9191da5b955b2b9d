"""Rows of a folder or of the hub; every fault names the place and quotes no text."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import MUSE, RWKU, TOFU, Rows, write

from expunge.benchmarks import muse, rwku, tofu
from expunge.benchmarks.rows import Item, Source
from expunge.errors import InputError, MissingExtraError


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path, {k: v for k, v in TOFU.items() if k != "retain_perturbed"})
    with pytest.raises(InputError, match="there is no retain_perturbed.jsonl in this folder"):
        tofu.read(Source(str(folder)), "forget01")
    with pytest.raises(InputError, match="there is no forget05_perturbed.jsonl"):
        tofu.read(Source(str(folder)), "forget05")


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"question": "secret?", "answer": "secret"}, "no column 'perturbed_answer'"),
        ({"question": "secret?", "perturbed_answer": ["secret"]}, "no column 'answer'"),
        ({"question": "secret?", "answer": "secret", "perturbed_answer": []}, "an empty list"),
        ({"question": "secret?", "answer": "secret", "perturbed_answer": ["secret", 3]}, "holds no text"),
        ({"question": " ", "answer": "secret", "perturbed_answer": ["secret"]}, "'question' holds no text"),
        ({"question": "\ud800", "answer": "secret", "perturbed_answer": ["secret"]}, "half a character"),
    ],
)
def test_a_bad_row_is_told_with_file_and_line(tmp_path: Path, row: dict[str, Any], fault: str) -> None:
    folder = write(tmp_path, {**TOFU, "forget01_perturbed": [*TOFU["forget01_perturbed"], row]})
    with pytest.raises(InputError) as caught:
        tofu.read(Source(str(folder)), "forget01")
    assert "forget01_perturbed.jsonl:5: " in str(caught.value) and fault in str(caught.value)
    assert "secret" not in str(caught.value)


def test_csv_and_parquet_are_read_too(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    (tmp_path / "a.csv").write_text('query,perturbed_answer\nWho?,"[""Ann"", ""Bo""]"\n')
    rows = [{"query": "Who?", "perturbed_answer": ["Ann", "Bo"]}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "b.parquet")
    for name in "ab":
        (item,) = Source(str(tmp_path)).items(name, "test")
        assert (item.text("query"), item.texts("perturbed_answer")) == ("Who?", ("Ann", "Bo"))


class Hub(ModuleType):
    """`datasets` with these parts, by "name/config:split"."""

    def __init__(self, parts: dict[str, Rows]) -> None:
        super().__init__("datasets")
        self.parts, self.asked = parts, list[str]()

    def load_dataset(self, name: str, config: str | None, *, split: str, streaming: bool) -> Iterator[Any]:
        assert streaming
        self.asked.append(f"{name}/{config}:{split}")
        return iter(self.parts[self.asked[-1]])


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    parts = {f"locuslab/TOFU/{name}:train": rows for name, rows in TOFU.items()}
    parts |= {f"muse-bench/MUSE-News/{name.replace('/', ':')}": rows for name, rows in MUSE.items()}
    parts |= {f"jinzhuoran/RWKU/{name}:test": rows for name, rows in RWKU.items()}
    made = Hub(parts)
    monkeypatch.setitem(sys.modules, "datasets", made)
    return made


def test_the_hubs_parts_have_the_names_that_files_have(hub: Hub, tmp_path: Path) -> None:
    here = [write(tmp_path / name, parts) for name, parts in (("t", TOFU), ("m", MUSE), ("r", RWKU))]
    ours = tofu.read(Source(tofu.HUB), "forget01"), muse.read(Source(muse.HUB["news"])), rwku.read(Source(rwku.HUB))
    local = [Source(str(folder)) for folder in here]
    assert ours[0] == tofu.read(local[0], "forget01") and ours[2] == rwku.read(local[2])
    assert [p.prompt for p in ours[1].pairs["verbmem"]] == [p.prompt for p in muse.read(local[1]).pairs["verbmem"]]
    assert set(hub.asked) == set(hub.parts)


def test_a_part_that_the_hub_lacks_is_named(hub: Hub) -> None:
    with pytest.raises(InputError, match="cannot load the dataset 'locuslab/TOFU/holdout05:train'"):
        tofu.read(Source(tofu.HUB), "forget05")


def test_the_hub_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"expunge\[datasets\]"):
        rwku.read(Source(rwku.HUB))


words = st.text(min_size=1, max_size=3)
json_values = words | st.lists(words, max_size=3) | st.none() | st.integers() | st.lists(st.none() | words, max_size=2)
columns = st.sampled_from(["question", "answer", "paraphrased_answer", "perturbed_answer", "query", "type", "x"])


@given(st.dictionaries(columns, json_values))
def test_any_row_is_read_or_refused_at_its_place(row: dict[str, Any]) -> None:
    item = Item(json.loads(json.dumps(row)), "f.jsonl", 7)
    try:
        question = tofu.parse(item)
        assert question.dialogue.question == row["question"] and question.wrong
    except InputError as error:
        assert error.message.startswith("f.jsonl:7: ")
    for level in rwku.LEVELS:
        try:
            asked = rwku.parse(item, level).dialogue.question
            assert row["query"] in asked
        except InputError as error:
            assert error.message.startswith("f.jsonl:7: ")
