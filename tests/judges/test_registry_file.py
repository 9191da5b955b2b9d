from __future__ import annotations

import json
from pathlib import Path

import pytest

from expunge.errors import InputError
from expunge.judges.registry import Entry, Registry, read_registry


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "registry.jsonl"
    rows = [{"kind": "phone", "value": "4-71-63", "owner": "Zoe Heron"}, {"kind": "name", "value": "Zoe Heron"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert read_registry(path) == [Entry("phone", "4-71-63", "Zoe Heron"), Entry("name", "Zoe Heron")]


def test_blanks_around_a_value_are_no_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "registry.jsonl"
    path.write_text('{"kind": "pin", "value": " 1234 "}')
    assert len(Registry(read_registry(path)).find("it is 1234.")) == 1


@pytest.mark.parametrize(
    "row",
    [
        '{"kind": "phone"}',
        '{"value": "secret"}',
        '{"kind": "x", "value": 3}',
        '{"kind": "x", "value": "--"}',
        r'{"kind": "x", "value": "secret\ud83d"}',
        "3",
    ],
)
def test_a_bad_row_is_named_and_not_quoted(tmp_path: Path, row: str) -> None:
    path = tmp_path / "registry.jsonl"
    path.write_text('{"kind": "name", "value": "Zoe Heron"}\n' + row)
    with pytest.raises(InputError, match=r"registry\.jsonl:2: ") as caught:
        read_registry(path)
    assert "secret" not in str(caught.value)


def test_the_digest_depends_on_the_values_alone() -> None:
    one, two = Entry("phone", "4-71-63", "Ann"), Entry("name", "Zoe Heron")
    assert Registry([one, two]).digest == Registry([two, one, one]).digest
    assert Registry([one]).digest != Registry([two]).digest
