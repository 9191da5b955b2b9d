"""Files: whole or not at all, private where they hold dialogues."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from expunge import files
from expunge.errors import InputError, OutputError
from expunge.files import (
    check_writable,
    digest,
    file_digest,
    folder_digest,
    make_folder,
    read_jsonl,
    read_toml,
    write_json,
    write_jsonl,
    write_text,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_rows_are_private_and_other_files_public(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_jsonl(tmp_path / "new" / "rows.jsonl", [{"ü": "日本"}, {}])
        write_json(tmp_path / "facts.json", {"ü": 1})
        write_text(tmp_path / "secret.html", "x", mode=files.PRIVATE)
    finally:
        os.umask(before)
    assert mode(tmp_path / "new" / "rows.jsonl") == mode(tmp_path / "secret.html") == 0o600
    assert mode(tmp_path / "facts.json") == 0o644
    assert list(read_jsonl(tmp_path / "new" / "rows.jsonl")) == [(1, {"ü": "日本"}), (2, {})]
    assert (tmp_path / "new" / "rows.jsonl").read_bytes().decode() == '{"ü": "日本"}\n{}\n'
    assert (tmp_path / "facts.json").read_bytes().decode() == '{\n  "ü": 1\n}\n'
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "nan.json", float("nan"))


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "x", "old")
    seen = []

    def sync(handle: int) -> None:
        seen.append((os.fstat(handle).st_size, (tmp_path / "x").read_text()))

    monkeypatch.setattr(os, "fsync", sync)
    write_text(tmp_path / "x", "newer")
    assert seen == [(5, "old")] and (tmp_path / "x").read_text() == "newer"


@pytest.mark.parametrize("escaped", [r"bob\ud83d smith", r"\uDC00", r"\udc00\ud800"])
def test_half_a_character_is_refused_by_line(tmp_path: Path, escaped: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"a": "\\ud83d\\ude00 \\\\ud800"}}\n{{"a": [{{"b": "{escaped}"}}]}}\n')
    rows = read_jsonl(path)
    assert next(rows) == (1, {"a": "\U0001f600 \\ud800"}), "a whole pair, and a backslash that escapes nothing"
    with pytest.raises(InputError, match=r"rows\.jsonl:2: half a character"):
        next(rows)
    assert len(list(read_jsonl(path, halves=True))) == 2


@pytest.mark.parametrize(
    "value", ["9" * 5000, "1" + "0" * 400, "0x" + "f" * 400, "-9223372036854775809", "[" * 100_000]
)
def test_toml_that_python_could_not_use(tmp_path: Path, value: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(f"a = 9223372036854775807\n[[b]]\nc = {value}\n")
    with pytest.raises(InputError, match=r"x\.toml: not valid TOML: a number too long, or too many brackets"):
        read_toml(path)


def test_a_public_file_written_anew_as_private_is_private(tmp_path: Path) -> None:
    write_text(tmp_path / "x", "1")
    write_text(tmp_path / "x", "2", mode=files.PRIVATE)
    assert mode(tmp_path / "x") == 0o600 and (tmp_path / "x").read_text() == "2"


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt])
def test_a_crash_in_the_middle_leaves_the_old_file_alone(tmp_path: Path, fault: type[BaseException]) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        yield {"new": 1}
        raise fault

    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [{"old": 1}])
    with pytest.raises(fault):
        write_jsonl(path, rows())
    assert json.loads(path.read_text()) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_full_disk_is_an_output_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    write_text(tmp_path / "x", "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"(?s)x: .*No space left on device: [0-9.,]+ [GMK]iB free.*--out"):
        write_text(tmp_path / "x", "new")
    assert (tmp_path / "x").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_sizes_have_the_unit_that_fits() -> None:
    sizes = [0, 999, 1000, 4096, 3 * 2**20, 150 * 2**20, 2**40]
    assert [files.size(n) for n in sizes] == [
        "0 bytes", "999 bytes", "1.0 KiB", "4.0 KiB", "3.0 MiB", "150 MiB", "1,024 GiB",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["file/x.json", "file/deeper/x.json", "folder", "n" * 300])
def test_where_nothing_can_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="(?s)--out") as caught:
        write_json(tmp_path / name, {})
    assert caught.value.exit_code == 2
    with pytest.raises(OutputError, match="(?s)--out"):
        check_writable(tmp_path / name)
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_looking_whether_a_path_can_be_written_leaves_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b" / "x.json")
    assert not list(tmp_path.iterdir())
    write_text(tmp_path / "x", "")
    check_writable(tmp_path / "x")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_locked_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        check_writable(tmp_path / "x")
    tmp_path.chmod(0o700)


@pytest.mark.parametrize(("masked", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_what_a_umask_forbids_is_not_allowed(masked: int, mode: int, tmp_path: Path) -> None:
    """Figures and reports were readable for everybody under any."""
    before = os.umask(masked)
    try:
        write_text(tmp_path / "x", "")
        assert (tmp_path / "x").stat().st_mode & 0o777 == mode and os.umask(masked) == masked
    finally:
        os.umask(before)


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file: this is a file, and a folder is meant\n  Choose another --out\."):
        make_folder(tmp_path / "file")


def test_digests(tmp_path: Path) -> None:
    assert digest("ab", "c") != digest("a", "bc") and digest("ü") == digest("ü".encode())
    spelt = b"\2\0\0\0\0\0\0\0ab\1\0\0\0\0\0\0\0c"
    assert digest("ab", "c") == hashlib.sha256(spelt).hexdigest(), "seeds are made of it: it never changes"
    (tmp_path / "a.bin").write_bytes(b"123")
    assert file_digest(tmp_path / "a.bin") == hashlib.sha256(b"123").hexdigest()
    first = folder_digest(tmp_path)
    (tmp_path / "b.txt").write_text("x")
    assert folder_digest(tmp_path) != first and folder_digest(tmp_path, "*.bin") == first
    (tmp_path / "a.bin").rename(tmp_path / "c.bin")
    assert folder_digest(tmp_path, "*.bin") != first, "names count"
