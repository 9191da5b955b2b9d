"""Rows wherever they lie; every fault names the file and the line."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.dialogue import read_dialogues
from expunge.errors import InputError
from expunge.sources import read_rows

ROWS: list[dict[str, Any]] = [
    {"prompt": "Who,\nthen?", "response": 'She said "no".', "expected": ["a", "b"]},
    {"prompt": "Wo?", "response": "Über’m Fluß."},
]
CHAT = {"messages": [{"role": "user", "content": "Hm?"}, {"role": "assistant", "content": "Yes."}]}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    plain = path.with_name("plain")
    if kind == "jsonl":
        plain.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    elif kind == "csv":
        with plain.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, sorted({k for r in rows for k in r}))
            writer.writeheader()
            writer.writerows({k: json.dumps(v) if isinstance(v, list) else v for k, v in r.items()} for r in rows)
    else:
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), plain)
    path.write_bytes(gzip.compress(plain.read_bytes()) if path.suffix == ".gz" else plain.read_bytes())
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv", "a.csv.gz", "a.parquet"])
def test_every_form_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, ROWS)
    assert [row for _, row in read_rows(path)] == ROWS
    assert [row for _, row in read_rows(f"{path}[1:]")] == ROWS[1:]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_messages_are_read_in_every_form(tmp_path: Path, name: str) -> None:
    assert read_dialogues(write(tmp_path / name, [CHAT]))[0].response == "Yes."


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"prompt,response\na?,yes\nb?\n", "a.csv:3: a row with fewer cells than the header"),
        ("a.csv", b"prompt,response\na?,yes,no\n", "a.csv:2: a row with more cells than the header"),
        ("a.csv", b'prompt,response\na?,"yes\n', "a.csv:2: not valid CSV"),
        ("a.csv", b"prompt,response\na?,\xff\n", "a.csv:2: not UTF-8 text"),
        ("a.csv", b"prompt,response\n" + b"a?,yes\n" * 4000 + b"a?,\xe9\n", "a.csv:4002: not UTF-8 text"),
        ("a.csv", b'prompt,response\n"a?\n\n",yes\nb?,"y\n\xe9"\n', "a.csv:6: not UTF-8 text"),
        ("a.csv", b"prompt,response\ra?,yes\rb?,\xff\r", "a.csv:3: not UTF-8 text"),
        ("a.csv", "prompt,response\na?,yes\n".encode("utf-16"), "a.csv:1: not UTF-8 text"),
        ("a.csv", b"prompt;response\na?;yes\n", "a.csv:1: the header is one column, which holds semicolons"),
        ("a.csv", b"\xef\xbb\xbfprompt\tresponse\na?\tyes\n", "a.csv:1: the header is one column, which holds tabs"),
        ("a.csv.gz", gzip.compress(b"prompt,response\n" + b"a?,yes\n" * 5000 + b"\xff,no\n"), ":5002: not UTF-8 text"),
        ("a.csv", b"prompt,response,,,response\na?,yes,,,no\n", "a.csv:1: the columns 2 and 5 have the same name"),
        ("a.parquet.gz", gzip.compress(b"no"), "a.parquet.gz: Parquet inside of .gz is not read"),
        ("a.csv", b"", "a.csv: the file is empty"),
        ("a.csv", b"prompt,response\n", "a.csv: the file is empty"),
        ("a.csv", b"prompt,response\n\n\n", "a.csv: the file is empty"),
        ("a.parquet", b"no", "a.parquet: not a Parquet file"),
        ("a.jsonl.gz", b"no", "the compressed file is damaged"),
        ("a.csv.gz", b"no", "the compressed file is damaged"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 9)[:-9], "the compressed file is damaged"),
        ("a.jsonl", b'{"a": 1}\n\xff\n', "a.jsonl:2: not UTF-8 text"),
        ("a.jsonl", b'{"a": 1}\n{"a"\n', "a.jsonl:2: not valid JSON"),
    ],
)
def test_faults(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_rows(tmp_path / name)
    assert message in caught.value.message


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet", "a.jsonl.gz"])
def test_no_such_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_rows(tmp_path / name)


def test_standard_input_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="not read from standard input"):
        read_rows("-")
    Path("-").write_text('{"prompt": "Hello?"}\n')
    assert read_rows("-") == [(1, {"prompt": "Hello?"})]


def test_a_spreadsheets_byte_order_mark_line_ends_and_empty_columns_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfprompt,response,,\r\na?,yes,,\r\n,,,\r\n")
    assert [row for _, row in read_rows(tmp_path / "a.csv")] == [{"prompt": "a?", "response": "yes"}, {}]


texts = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1).filter(str.strip)


@given(st.lists(st.fixed_dictionaries({"prompt": texts, "response": texts}), min_size=1, max_size=4))
def test_csv_gives_back_what_was_written(rows: list[dict[str, str]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "a.csv", rows)
        assert [row for _, row in read_rows(path)] == rows


@pytest.mark.parametrize("text", ["[1, 2, 3]", "[]", '["a"]', "[" * 200_000, "[" + "9" * 5000 + "]", '[{"a": 1}]'])
def test_what_only_looks_like_a_list_is_a_text(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "a.csv", [{"prompt": text, "response": text}, {"prompt": "Hm?", "response": "Yes."}])
    dialogue = read_dialogues(path)[0]
    assert (dialogue.question, dialogue.response) == (text, text)


def test_a_prompt_of_messages_and_a_list_of_what_is_expected(tmp_path: Path) -> None:
    first = {"prompt": CHAT["messages"][:1], "response": "Yes.", "expected": "[1]"}
    path = write(tmp_path / "a.csv", [first, {"prompt": "Hm?", "response": "Yes.", "expected": ["a", "b"]}])
    one, two = read_dialogues(path)
    assert (one.question, one.expected, two.expected) == ("Hm?", ("[1]",), ("a", "b"))


def test_messages_that_are_no_list_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("messages\n" + "[" * 200_000 + "\n")
    with pytest.raises(InputError, match=r"a\.csv:2: 'messages' must be a list"):
        read_dialogues(tmp_path / "a.csv")


def test_parquet_that_is_not_utf8(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    column = pyarrow.array([b"Hm?", b"\xff"]).view(pyarrow.string())
    parquet.write_table(pyarrow.table({"prompt": column}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet: not UTF-8 text"):
        read_rows(tmp_path / "a.parquet")
