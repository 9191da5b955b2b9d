"""Dialogues in and out: every form of row, and every way in which a row can be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.dialogue import Dialogue, parse, read_dialogues
from expunge.errors import InputError
from expunge.message import Message

USER, REPLY = {"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}
SYSTEM = {"role": "system", "content": "Be brief."}
BOTH = (Message("user", "Hi?"), Message("assistant", "Hello."))


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [USER, REPLY]},
        {"prompt": "Hi?", "response": "Hello."},
        {"prompt": "Hi?", "completion": "Hello."},
        {"prompt": [USER], "response": "Hello."},
        {"question": "Hi?", "answer": "Hello."},
        {"question": "Hi?", "response": "Hello."},
        {"messages": None, "prompt": None, "question": "Hi?", "answer": "Hello."},
        {"question": "Hi?", "answer": "Hello.", "response": "Other."},
        {"prompt": "Hi?", "answer": "Hello."},
        {"prompt": "Hi?", "response": None, "answer": "Hello."},
        {"messages": [USER], "response": "Hello."},
        {"messages": [USER, REPLY], "answer": "Other."},
        {"question": "Hi?", "answer": "Hello.", "id": None, "expected": None, "subject": None, "key": None},
    ],
)
def test_every_form_of_row_is_the_same_dialogue(row: dict[str, Any]) -> None:
    assert parse(row) == Dialogue(BOTH)


def test_parts_of_a_dialogue() -> None:
    long = parse({"messages": [SYSTEM, USER, REPLY, {"role": "user", "content": "Bye."}, REPLY]})
    assert [m.role for m in long.prompt] == ["system", "user", "assistant", "user"]
    assert (long.question, long.response) == ("Bye.", "Hello.")
    prompt = parse({"prompt": "Hi?", "response": None, "expected": "Hey."})
    assert (prompt.response, prompt.prompt, prompt.expected) == (None, BOTH[:1], ("Hey.",))
    assert [parse({"prompt": "Hi?", "key": key}).key for key in (1979, ["a", "b"])] == [("1979",), ("a", "b")]
    answered = prompt.answered("Hello.")
    assert answered.messages == BOTH and answered.id == prompt.id and answered.answered("No.").prompt == BOTH[:1]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({}, "no dialogue in this row.*no fields"),
        ({"text": "x"}, 'no dialogue.*"messages", or "prompt" and "response".*found: text'),
        ({"messages": []}, "'messages' must be a list of at least one message"),
        ({"messages": "Hi?"}, "must be a list"),
        ({"messages": [{"role": "user"}]}, "message 1 of 'messages' lacks"),
        ({"messages": [USER, {"role": "bot", "content": "x"}]}, "message 2 has the role 'bot'.*Known roles"),
        ({"messages": [{"role": [], "content": "x"}]}, "message 1 has a role that is no word"),
        ({"messages": [REPLY]}, r"out of order \(assistant\).*beginning with the user"),
        ({"messages": [USER, USER]}, "out of order"),
        ({"messages": [SYSTEM]}, "out of order"),
        ({"messages": [USER, SYSTEM, REPLY]}, "out of order"),
        ({"prompt": [USER, REPLY], "response": "x"}, "out of order"),
        ({"prompt": "", "response": "x"}, "'prompt' is empty.*Remove the row"),
        ({"question": "Hi?", "answer": " \n"}, "'answer' is empty"),
        ({"question": "Hi?", "answer": 7}, "'answer' must be a text, not int"),
        ({"question": "Hi?", "expected": [""]}, "'expected' is empty"),
        ({"question": "Hi?", "expected": 3}, "'expected' must be a text or a list of texts, not int"),
        ({"question": "Hi?", "key": 0.5}, "'key' must be a text or a list of texts, not float"),
        ({"question": "Hi?", "id": ["x"]}, "'id' must be a text, not list"),
        ({"question": "\ud800", "answer": "x"}, "'question' holds half a character"),
    ],
)
def test_a_wrong_row_is_named_with_its_remedy(row: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=rf"(?s)log\.jsonl:7: .*{message}"):
        parse(row, file="log.jsonl", line=7)


def test_a_number_is_an_id() -> None:
    assert parse({"question": "Hi?", "id": 7}).id == "7"


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = (
    "messages",
    "prompt",
    "question",
    "response",
    "completion",
    "answer",
    "id",
    "expected",
    "subject",
    "skill",
    "key",
)
ROLED = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system"]) | ODD, "content": ODD})


@given(st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), ODD | st.lists(ROLED, max_size=3), max_size=5))
def test_anything_else_in_a_row_is_an_input_error(row: dict[str, Any]) -> None:
    try:
        dialogue = parse(row)
    except InputError:
        return
    assert parse(json.loads(json.dumps(dialogue.row()))) == dialogue


TEXT = st.text(min_size=1, max_size=12).filter(str.strip)


@given(st.lists(TEXT, min_size=1, max_size=5), st.text(max_size=5), st.lists(TEXT, max_size=2), st.booleans())
def test_a_row_reads_back_and_its_id_is_stable(texts: list[str], id: str, expected: list[str], system: bool) -> None:
    roles = ["user", "assistant"] * 3
    messages = [Message(role, text) for role, text in zip(roles, texts, strict=False)]
    dialogue = Dialogue(
        (*[Message("system", "s")] * system, *messages), id=id, expected=tuple(expected), key=tuple(expected)
    )
    again = parse(json.loads(json.dumps(dialogue.row())), file="x", line=1)
    assert again == dialogue and again.row() == dialogue.row()
    assert again.content_id == Dialogue(dialogue.messages).id


SECRET = "call 555-0199"


@pytest.mark.parametrize(
    "row",
    [
        {"question": SECRET},
        {SECRET: SECRET},
        {"messages": [{"role": SECRET, "content": SECRET}]},
        {"messages": [{"role": "user", "content": SECRET, "name": 1}, {"role": "user", "content": SECRET}]},
        {"messages": [{"role": {"x": SECRET}, "content": SECRET}]},
        {"question": SECRET, "answer": [SECRET]},
        {"question": SECRET, "answer": SECRET, "expected": {"x": SECRET}},
        {"question": SECRET, "answer": "\ud800" + SECRET},
    ],
)
def test_messages_never_quote_a_dialogue(row: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        parse(row | {"id": 5.5})
    assert "555" not in str(caught.value)


def rows(path: Path, count: int = 10) -> list[str]:
    lines = [json.dumps({"question": f"What is {i}?", "answer": f"It is {i}."}) for i in range(count)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return lines


def test_malformed_json_is_named_by_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines = rows(path)
    lines[2] = lines[2][:-1]
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(
        InputError, match=r"(?s)log\.jsonl:3: not valid JSON \(.*column \d+\).*one JSON object"
    ) as caught:
        read_dialogues(path)
    assert caught.value.line == 3


@pytest.mark.parametrize("line", ["[" * 100_000, "9" * 5000, '{"question": ' + "[" * 100_000])
def test_json_that_python_refuses_is_an_input_error_too(tmp_path: Path, line: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"question": "x"}\n' + line, encoding="utf-8")
    with pytest.raises(InputError, match=r"log\.jsonl:2: not valid JSON"):
        read_dialogues(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\n \n", "the file is empty"),
        (b'[{"question": "x"}]', ":1: a JSON object was expected, not list.*one JSON object"),
        (b'{"question": "x"}\n{"question": "\xff"}\n', r":2: not UTF-8 text.*Save the file as UTF-8"),
    ],
)
def test_an_unusable_file(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "log.jsonl").write_bytes(content)
    with pytest.raises(InputError, match=rf"(?s)log\.jsonl.*{message}"):
        read_dialogues(tmp_path / "log.jsonl")


def test_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"question": "x"}\r\n\r\n{"question": "y\xe2\x80\xa8z"}\r\n')
    assert [(d.question, d.source) for d in read_dialogues(path)] == [("x", f"{path}:1"), ("y\u2028z", f"{path}:3")]


def test_one_id_for_two_dialogues_names_both_places(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"question": "x", "id": "a"}\n{"question": "x", "id": "a"}\n{"question": "y", "id": "a"}\n')
    with pytest.raises(InputError, match=r"(?s)log\.jsonl:3: the id 'a' .* at .*log\.jsonl:1.*its own id"):
        read_dialogues(path)


@pytest.mark.parametrize(
    ("cut", "found"), [("[2:4]", [2, 3]), ("[:1]", [0]), ("[8:]", [8, 9]), ("[9:99]", [9]), ("[:]", list(range(10)))]
)
def test_a_slice_of_a_file(tmp_path: Path, cut: str, found: list[int]) -> None:
    rows(tmp_path / "log.jsonl")
    chosen = read_dialogues(f"{tmp_path / 'log.jsonl'}{cut}")
    assert [d.question for d in chosen] == [f"What is {i}?" for i in found]
    assert chosen[0].source.endswith(f"log.jsonl:{found[0] + 1}"), "the line of the file, not of the slice"


@pytest.mark.parametrize("cut", ["[5:5]", "[10:]", "[-3:]", "[1:2:3]", "[4]", "[a:b]", "[" + "9" * 5000 + ":]"])
def test_a_slice_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: str) -> None:
    (tmp_path / "in").mkdir()
    rows(tmp_path / "in" / "log.jsonl")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="slice"):
        read_dialogues(f"in/log.jsonl{cut}")


@pytest.mark.parametrize("name", ["no.jsonl", "in/no.json", "./no", "no", "a/b/c", "x" * 5000, "/" + "y" * 300])
def test_a_missing_file_is_a_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="(?s)no such file.*Check the path"):
        read_dialogues(name)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_dialogues(tmp_path)
