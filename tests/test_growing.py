"""Files that several processes add to: no line is lost or torn, whoever is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from expunge.growing import add_lines, whole_lines

ADDING = """
import sys
from pathlib import Path
from expunge.growing import add_lines
for i in range(200):
    add_lines(Path(sys.argv[1]), f"{sys.argv[2]} {i} {'x' * 5000}\\n")
    print(i, flush=True)
"""


def test_processes_add_at_once_and_one_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    command = [sys.executable, "-c", ADDING, str(path)]
    started = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in "abc"]
    assert started[0].stdout is not None
    said = [started[0].stdout.readline() for _ in range(20)]
    started[0].kill()
    for process in started:
        process.communicate()
    lines, torn = whole_lines(path)
    found = {name: [int(n) for who, n, _ in map(bytes.split, lines) if who == name.encode()] for name in "abc"}
    assert not torn and found["b"] == found["c"] == list(range(200)) and all(line.endswith(b"xxx") for line in lines)
    assert len(found["a"]) >= len(said) and found["a"] == list(range(len(found["a"])))


def test_a_torn_line_makes_place_for_the_next(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    for before, wanted in ((b"a\nb", b"a\nc\n"), (b"b", b"c\n"), (b"a\n", b"a\nc\n"), (b"", b"c\n")):
        path.write_bytes(before)
        add_lines(path, "c\n")
        assert path.read_bytes() == wanted
