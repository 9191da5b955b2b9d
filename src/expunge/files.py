"""Files written whole or not at all; files that hold dialogues are readable by their owner alone."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import json
import os
import re
import shutil
import tomllib
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from expunge.errors import InputError, OutputError

PRIVATE = 0o600
PUBLIC = 0o644
SURROGATE = re.compile("[\ud800-\udfff]")
"""Half a character: JSON can escape it alone, and UTF-8 cannot hold it."""

_OTHER = "Choose another --out, or make room and see that it may be written to."
_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
_ESCAPED = re.compile(r"\\u[dD][89a-fA-F]")


def write_text(path: Path, text: str, *, mode: int = PUBLIC) -> None:
    """Write `text` to `path` in one step: a reader, or a crash, sees the old file or the new one."""
    write_lines(path, [text], mode=mode)


def write_json(path: Path, value: Any, *, mode: int = PUBLIC) -> None:
    """Write `value` as indented JSON, in one step."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", mode=mode)


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]], *, mode: int = PRIVATE) -> None:
    """Write one JSON object a line; private by default, since rows hold dialogues."""
    write_lines(path, (json.dumps(row, ensure_ascii=False) + "\n" for row in rows), mode=mode)


def write_lines(path: Path, lines: Iterable[str], *, mode: int) -> None:
    """Write texts one after another, in one step: if one of them fails to come, the old file stays.

    Raises:
        OutputError: nothing can be written here.
    """
    make_folder(path.parent)
    with writing(path):
        part = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)  # and as private as the umask says
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def writing(path: Path, remedy: str = _OTHER) -> Iterator[None]:
    """While something is written at `path`. Raises: OutputError: it cannot be, and why."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write here ({reason(error, path)})", file=path, remedy=remedy) from None


def reason(error: BaseException, path: Path) -> str:
    """Why nothing can be written at `path`, in words; where that is for want of room, how much there is."""
    told, number = (error.strerror, error.errno) if isinstance(error, OSError) else (None, None)
    if told and number != errno.ENOSPC:
        return told
    with contextlib.suppress(OSError):
        nearest = next(folder for folder in path.absolute().parents if folder.is_dir())
        return f"{told or 'the file could not be written whole'}: {size(shutil.disk_usage(nearest).free)} free"
    return told or type(error).__name__


def size(count: float) -> str:
    """So many bytes, in the unit that fits."""
    units = ["bytes", "KiB", "MiB", "GiB"]
    while count >= 1000 and len(units) > 1:
        count /= 1024
        units.pop(0)
    return f"{count:,.0f} {units[0]}" if units[0] == "bytes" or count >= 100 else f"{count:.1f} {units[0]}"


def check_new(path: Path) -> None:
    """Make sure, before long work, that a file can be written at `path`, and that none is there. Creates nothing.

    Raises:
        OutputError: it cannot, or there is one.
    """
    if exists(path):
        raise OutputError("this file exists; nothing was overwritten", file=path, remedy="Choose another --out.")
    check_writable(path)


def check_writable(path: Path) -> None:
    """Make sure, before long work, that a file can be written at `path`. Creates nothing.

    Raises:
        OutputError: it cannot.
    """
    try:
        nearest = path.parent
        while not nearest.exists() and nearest != nearest.parent:
            nearest = nearest.parent
        if path.is_dir():
            fault = errno.EISDIR
        elif not nearest.is_dir():
            fault = errno.ENOTDIR
        else:
            path.exists()  # a name too long is an OSError
            fault = 0 if os.access(nearest, os.W_OK | os.X_OK) else errno.EACCES
    except OSError as error:
        fault = error.errno or errno.EIO
    if fault:
        raise OutputError(f"cannot write here ({os.strerror(fault)})", file=path, remedy=_OTHER)


def lock(handle: int, *, wait: bool = False) -> bool:
    """Hold an open file for this process alone, until it is closed or the process ends; whether nobody else holds it.

    wait: until nobody does.

    Also true where the system, or the file's, knows no locks.
    """
    with contextlib.suppress(ImportError):  # not on every system
        import fcntl

        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        except OSError:
            pass
    return True


def at_home(text: str) -> str:
    """With the home folder for a `~/` that a shell left as it is, as in --out=~/run or registry=~/values.jsonl."""
    return re.sub(r"(^|=)~(?=/)", lambda found: found[1] + str(Path.home()), text)


def exists(path: Path) -> bool:
    """Whether there is something at `path`; not so for a name that is no path, or one that cannot be looked at."""
    try:
        return path.exists()
    except OSError:
        return False


def make_folder(path: Path, *, option: str = "--out") -> Path:
    """Create `path` and its parents. option: that names it.

    Raises:
        OutputError: it cannot be created, or is a file.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        remedy = f"Choose another {option}."
        raise OutputError("this is a file, and a folder is meant", file=path, remedy=remedy) from None
    except OSError as error:
        remedy = f"Choose another {option}, or make the folder writable."
        raise OutputError(f"cannot make this folder ({error.strerror})", file=path, remedy=remedy) from None
    return path


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        InputError: there is none, or it is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")  # with or without byte order mark
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise InputError("not UTF-8 text", file=path, line=line, remedy="Save the file as UTF-8.") from None
    except OSError as error:
        fault = "there is no such file" if error.errno in _NO_FILE else f"cannot be read ({error.strerror})"
        raise InputError(fault, file=path, remedy="Check the path.") from None


def read_toml(path: Path) -> dict[str, Any]:
    """The table of a TOML file.

    Raises:
        InputError: there is none, it is not UTF-8, or not TOML, whose whole numbers have 64 bits.
    """
    fault = "not valid TOML: a number too long, or too many brackets"
    try:
        table = tomllib.loads(read_text(path))
        if _too_long(table):
            raise InputError(fault, file=path)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"not valid TOML: {error}", file=path) from None
    except (ValueError, RecursionError):
        raise InputError(fault, file=path) from None
    return table


def _too_long(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(map(_too_long, value.values() if isinstance(value, dict) else value))
    return isinstance(value, int) and not -(2**63) <= value < 2**63


def read_jsonl(path: Path, *, halves: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a JSON Lines file, perhaps .gz; blank lines are passed over.

    halves: let lone surrogates through, where whoever reads the rows refuses them in what it uses.

    Raises:
        InputError: no file, not UTF-8, no row at all, or a line that is not a JSON object.
    """
    found, number = False, 0
    with open_bytes(path) as file:
        try:
            for number, data in enumerate(file, start=1):
                line = data.decode("utf-8-sig" if number == 1 else "utf-8")  # with or without byte order mark
                if line.strip():
                    found = True
                    row = _object(line, path, number)
                    if not halves and _ESCAPED.search(line) and SURROGATE.search(json.dumps(row, ensure_ascii=False)):
                        fault, remedy = "half a character (a lone surrogate)", "Write it again as UTF-8."
                        raise InputError(fault, file=path, line=number, remedy=remedy)
                    yield number, row
        except UnicodeDecodeError:
            raise InputError("not UTF-8 text", file=path, line=number, remedy="Save the file as UTF-8.") from None
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise InputError("the compressed file is damaged", file=path, line=number + 1) from None
    if not found:
        raise InputError("the file is empty", file=path, remedy="Give at least one JSON object, one a line.")


@contextlib.contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, decompressed if its name ends in .gz.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    try:
        with path.open("rb") as plain:
            plain.peek(1)  # a folder, say, opens only to fail here
            yield gzip.GzipFile(fileobj=plain) if path.suffix == ".gz" else plain  # type: ignore[misc]
    except gzip.BadGzipFile:
        raise
    except OSError as error:
        fault = "there is no such file" if error.errno in _NO_FILE else f"cannot be read ({error.strerror})"
        raise InputError(fault, file=path, remedy="Check the path.") from None


def _object(line: str, path: Path, number: int) -> dict[str, Any]:
    remedy = "Each line is one JSON object; check quotes, commas and unescaped line breaks."
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        fault = f"not valid JSON ({error.msg}, column {error.colno})"
        raise InputError(fault, file=path, line=number, remedy=remedy) from None
    except (ValueError, RecursionError):
        fault = "not valid JSON (a number too long, or too many brackets)"
        raise InputError(fault, file=path, line=number, remedy=remedy) from None
    if not isinstance(row, dict):
        fault = f"a JSON object was expected, not {type(row).__name__}"
        raise InputError(fault, file=path, line=number, remedy=remedy)
    return row


def digest(*parts: str | bytes) -> str:
    """SHA-256 of the parts, each preceded by its length so that parts cannot run together."""
    found = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        found.update(len(data).to_bytes(8, "little") + data)
    return found.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(folder: Path, only: str = "**/*") -> str:
    """SHA-256 over the names and bytes of a folder's files; `only` is a pattern such as "*.safetensors"."""
    files = sorted(path for path in folder.glob(only) if path.is_file())
    return digest(*(part for path in files for part in (str(path.relative_to(folder)), file_digest(path))))
