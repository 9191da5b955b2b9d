"""Which keys of a recipe each step reads: what no finished step has read may be mended, and the run goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expunge.differences import differences
from expunge.files import exists
from expunge.training.checkpoints import CHECKPOINTS

VERDICTS = "verdicts.jsonl"
SPLIT = "split"
"""Folder of the forget set and the normal set, as a run took them."""
FORGET = f"{SPLIT}/forget.jsonl"
"""Where a run keeps what was forgotten, with the expected outputs."""
WORK = "work"
"""Folder of a comparison's trainings under way; once it is there, the models are scored as the recipe says."""

_JUDGED = {"model", "template", "device", "seed", "dialogues", "judges", "label"}
_SPLIT = _JUDGED | {"normal", "never_seen", "expected"}
_READ = {
    "scan": _JUDGED | {"scan_samples", "set_aside"},
    "unlearn": _SPLIT | {"config"},
}
"""What each step reads; one that is not named reads everything."""
_MARKS = {
    "scan": (VERDICTS,),
    "unlearn": (CHECKPOINTS, "model", "adapter"),
    "audit": ("audit.json",),
    "comparison": (WORK,),
}
"""What lies in the folder once a step is done, or so far that it goes on with nothing else."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is otherwise than it was: in words, the keys of the recipe that it concerns, and whether it is a file."""

    text: str
    keys: frozenset[str]
    file: bool = False


def changes(old: Mapping[str, Any], new: Mapping[str, Any], named: Mapping[str, set[str]]) -> list[Change]:
    """Between two manifests' `recipe`, `inputs` and `audited`. named: the files that each key of the new one names."""
    found = []
    for name, text in differences(old["recipe"], new["recipe"]).items():
        if name != "config.seed":  # it is the recipe's
            found.append(Change(text.removeprefix("config."), frozenset({name.partition(".")[0]})))
    others = {key for change in found for key in change.keys}
    for path, text in differences(old["inputs"], new["inputs"]).items():
        by = frozenset(key for key, paths in named.items() if path in paths)
        if (path in old["inputs"] and path in new["inputs"]) or not (by or named.keys()) & others:
            found.append(Change(text, by or frozenset(named), file=True))
    if "audited" in old:
        audited = differences(*({"the audited model": one.get("audited")} for one in (old, new)))
        found += [Change(text, frozenset({"audited"})) for text in audited.values()]
    return found


def done(folder: Path, content: Mapping[str, Any]) -> list[str]:
    """The steps of a run, known by its manifest or by what they leave, with which a change may clash."""
    return [s for s, names in _MARKS.items() if s in content["steps"] or any(exists(folder / n) for n in names)]


def clashes(found: Sequence[Change], steps: Sequence[str]) -> list[Change]:
    """The changes of what one of these steps has read."""
    return [change for change in found if any(change.keys & _READ.get(step, change.keys) for step in steps)]


def discard(folder: Path, found: Sequence[Change]) -> None:
    """Remove what was made of what has changed, and is made again: the split, with thoughts and expected outputs."""
    if any(change.keys & _SPLIT for change in found):
        (folder / FORGET).unlink(missing_ok=True)
