"""Judge files: judges with their settings, thresholds and a rule, in TOML.

    rule = "majority"                 # any (default), all, majority, weighted; `threshold` is of the last

    [[judge]]
    use = "harm=org/classifier"       # as on the command line; files are looked for beside this one first
    faults = ["toxic"]                # any other key is an option of that judge
    cutoff = 0.83                     # flag from this score on, whatever the judge's own threshold
    fault = "harmful"                 # what to call a response that only the cutoff flags
    weight = 2.0                      # for rule = "weighted"

Files that options name (`policy`, `cache`) stand beside the judge file.

`expunge calibrate` writes such files, with its evidence in a table [judge.calibration].
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expunge.errors import InputError
from expunge.files import exists, read_toml
from expunge.judges.names import BUILT_IN, load_judge, named_judge
from expunge.judges.panel import Panel
from expunge.judges.policy import is_policy_file
from expunge.judges.threshold import Threshold
from expunge.judges.verdict import Judge

if TYPE_CHECKING:
    from expunge.judges.calibration import Calibration

KEYS = ("rule", "threshold", "judge")
OWN = ("use", "cutoff", "fault", "weight", "calibration")


def read_judge_file(path: Path, *, allow_remote: bool = False) -> Judge:
    """The judge, or the panel of judges, that a judge file describes.

    Raises:
        InputError: no such file, not TOML, an unknown key, a judge that cannot be made, or a file that uses itself;
            the file is named.
    """
    _check_circle(path)
    table = _table(path)
    try:
        judges = [_judge(row, path.parent, allow_remote) for row in table["judge"]]
        if len(judges) == 1 and "rule" not in table:
            return judges[0]
        weights = [_number(row, "weight", 1.0) for row in table["judge"]]
        threshold = _number(table, "threshold", 0.5)
        return Panel(judges, rule=table.get("rule", "any"), weights=weights, threshold=threshold)
    except InputError as error:
        raise InputError(error.message, file=None if error.file else path, remedy=error.remedy) from None


def judge_sources(spec: str) -> list[str]:
    """The files that a judge, as named on the command line, reads: those of a judge file included."""
    if spec.endswith(".toml"):
        _check_circle(Path(spec))
        rows, folder = _table(Path(spec))["judge"], Path(spec).parent
        used = [path for row in rows for path in judge_sources(placed_judge(row["use"], folder))]
        return [spec, *used, *(path for row in rows for path in _files_read(row, folder))]
    return [spec.rpartition(":")[0] if ".py:" in spec else spec.partition("=")[2]]


def _check_circle(path: Path, above: tuple[Path, ...] = ()) -> None:
    """Raise InputError for a judge file that uses itself, if only through others."""
    rows, whole = _table(path)["judge"], path.resolve()
    if whole in above:
        raise InputError("this judge file uses itself", file=path, remedy="Name another judge in it.")
    for spec in (placed_judge(row["use"], path.parent) for row in rows):
        if spec.endswith(".toml"):
            _check_circle(Path(spec), (*above, whole))


def placed_judge(spec: str, folder: Path) -> str:
    """The judge as named, with the whole path of its file where that stands in `folder`."""
    if ".py:" in spec:
        file, _, name = spec.rpartition(":")
        return f"{_beside(file, folder)}:{name}"
    if spec.endswith(".toml"):
        return _beside(spec, folder)
    name, _, source = spec.partition("=")
    return f"{name}={_beside(source, folder)}" if source else spec


def _beside(name: str, folder: Path) -> str:
    return str((folder / name).resolve()) if exists(folder / name) else name


def _options(row: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A judge's own options, their files placed in `folder`."""
    kind = BUILT_IN.get(row["use"].partition("=")[0])
    options = {key: value for key, value in row.items() if key not in OWN}
    for name, value in options.items():
        read = kind is not None and name in kind.reads and _is_file(value, folder)
        written = kind is not None and name in kind.writes and isinstance(value, str)
        if read or written:
            options[name] = str(folder / value)
    return options


def _files_read(row: Mapping[str, Any], folder: Path) -> list[str]:
    kind = BUILT_IN.get(row["use"].partition("=")[0])
    reads = kind.reads if kind else ()
    return [text for name, text in _options(row, folder).items() if name in reads and _is_file(text, folder)]


def _is_file(value: Any, folder: Path) -> bool:
    return is_policy_file(value) or (isinstance(value, str) and exists(folder / value))


def _table(path: Path) -> dict[str, Any]:
    table = read_toml(path)
    for key in table:
        if key not in KEYS:
            raise InputError(f"unknown key {key!r}", file=path, remedy=f"Known: {', '.join(KEYS)}.")
    rows = table.get("judge")
    if not isinstance(rows, list) or not rows or not all(isinstance(r, dict) for r in rows):
        raise InputError("there is no judge in this file", file=path, remedy='Add [[judge]] with use = "NAME=SOURCE".')
    if not all(isinstance(row.get("use"), str) for row in rows):
        raise InputError("a [[judge]] needs the text `use`", file=path, remedy='Such as use = "harm=org/model".')
    return table


def _judge(row: Mapping[str, Any], folder: Path, allow_remote: bool) -> Judge:
    spec = placed_judge(row["use"], folder)
    options = _options(row, folder)
    name, _, source = spec.partition("=")
    if options and name not in BUILT_IN:
        raise InputError(f"{spec!r} takes no options", remedy=f"Known keys: {', '.join(OWN)}.")
    if name in BUILT_IN:
        judge = named_judge(name, source, options, allow_remote=allow_remote)
    else:
        judge = load_judge(spec, allow_remote=allow_remote)
    if "cutoff" not in row:
        return judge
    return Threshold(judge, _number(row, "cutoff", 0.5), fault=row.get("fault", getattr(judge, "label", "harmful")))


def _number(table: Mapping[str, Any], name: str, default: float) -> float:
    value = table.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{name!r} must be a number")
    return float(value)


def calibrated(spec: str, found: Calibration, *, folder: Path) -> str:
    """The text of a judge file in `folder` for the judge of this name with the threshold found, and the evidence."""
    lines = ["[[judge]]", f"use = {_text(_from(spec, folder))}", f"cutoff = {found.threshold!r}"]
    lines += [f"fault = {_text(found.fault)}", "", "[judge.calibration]"]
    lines += [f"goal = {_text(f'{found.goal} {found.wanted}')}"]
    lines += [f"{name} = {_text(str(getattr(found, name)))}" for name in ("precision", "recall")]
    lines += [f"auc = {found.auc!r}"] if found.auc is not None else []
    lines += [f"error = {found.error!r}", f"dialogues = {found.count}", f"at_fault = {found.at_fault}"]
    lines += [f"unknown = {found.unknown}", f"gold = {_text(found.gold)}"]
    return "\n".join(lines) + "\n"


def _from(spec: str, folder: Path) -> str:
    """The judge as named from `folder`: its local file with the whole path."""
    return placed_judge(spec, Path.cwd()) if folder.resolve() != Path.cwd() else spec


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)  # a JSON string is a TOML basic string
