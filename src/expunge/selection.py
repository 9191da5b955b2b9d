"""Step 3: dialogues and verdicts to the forget set and the normal set. Contradictions are refused, not averaged."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from expunge.dialogue import Dialogue, check_ids, parse, read_dialogues
from expunge.errors import InputError
from expunge.files import write_jsonl
from expunge.judges.thoughts import every_way
from expunge.judges.verdict import Judged, Label, Verdict, parse_judged, read_verdicts, write_verdicts
from expunge.sources import read_rows, stream_rows, unsliced

WORD = r"(?u)\b\w+\b"
NEAREST = 16
"""Normal dialogues that count as neighbours of a flagged one by their form."""


@dataclass(frozen=True, slots=True)
class Split:
    """What must go, and what must stay.

    neighbours: places in `normal` of the dialogues nearest to the forget set. never_seen: dialogues like those to
    forget that the model was never trained on; what is forgotten is to become as likely as they are.
    """

    forget: tuple[Judged, ...]
    normal: tuple[Dialogue, ...]
    neighbours: tuple[int, ...] = ()
    never_seen: tuple[Dialogue, ...] = ()


def read_forget(path: str | Path, *, label: Label = "privacy") -> list[Judged]:
    """Read verdicts; plain dialogues are read as a deletion request: every one is flagged with `label`.

    Raises:
        InputError: a bad row, or a file that has verdicts in some rows only.
    """
    file, _ = unsliced(path)
    rows = read_rows(path)
    scanned = next((line for line, row in rows if "verdicts" in row), None)
    if scanned is not None:
        bare = next((line for line, row in rows if "verdicts" not in row), None)
        if bare is not None:
            remedy = f"Line {scanned} has some: give verdicts in every row, or in none (all are flagged then)."
            raise InputError("this row has no verdicts", file=file, line=bare, remedy=remedy)
        judged = [parse_judged(row, file=file, line=line) for line, row in rows]
    else:
        judged = [item for line, row in rows for item in _requested(row, file, line, label)]
    check_ids(item.dialogue for item in judged)
    return judged


def _requested(row: Mapping[str, Any], file: str, line: int, label: Label) -> list[Judged]:
    dialogue = parse(row, file=file, line=line)
    if dialogue.response is None:
        raise InputError("a dialogue to forget needs its response", file=file, line=line, remedy="Scan it first.")
    verdict = Verdict(label, 1.0, "request", "1", reason="deletion requested")
    parts = [dialogue] if dialogue.thought is None else [dialogue.thought, dialogue.direct]
    return [Judged(part, (verdict,)) for part in parts]


def split(judged: Sequence[Judged], normal: Sequence[Dialogue], *, never_seen: Sequence[Dialogue] = ()) -> Split:
    """The forget set (what is flagged) and the normal set (given dialogues, and judged ones found clean).

    Raises:
        InputError: nothing is flagged, no normal dialogue is left, a normal dialogue's prompt is flagged too, or one
            that was never seen is to be forgotten or kept.
    """
    forget = tuple({j.dialogue.content_id: j for j in judged if j.flagged}.values())
    if not forget:
        raise InputError("no dialogue is flagged: there is nothing to unlearn", remedy="Check the judges, or the file.")
    clean = [j.dialogue for j in judged if j.label == "clean"]
    refuse_contradictions(forget, normal)
    asked = {j.dialogue.asked for j in forget}
    answered = [d for d in (*normal, *clean) if d.response is not None and d.asked not in asked]
    whole = {d.thought.content_id for d in answered if d.thought}  # a scan has a row for the thought alone
    kept = {d.content_id: d for d in every_way(answered) if d.content_id not in whole}
    if not kept:
        remedy = "Give ordinary dialogues with --normal FILE: without them, ordinary ability cannot be kept."
        raise InputError("there is no normal dialogue", remedy=remedy)
    rest = tuple(kept.values())
    for unseen in never_seen:
        if unseen.asked in asked or unseen.content_id in kept:
            remedy = "Remove it from one of the two files."
            raise InputError(
                f"{unseen.place}: a dialogue that was never seen is to be forgotten or kept", remedy=remedy
            )
    near = find_neighbours([j.dialogue for j in forget], rest, nearest=NEAREST)
    return Split(forget, rest, near, tuple(never_seen))


def write_split(folder: Path, parts: Split) -> None:
    """Both sets as files, readable by the owner alone; the forget set last, which says that both are there."""
    near = set(parts.neighbours)
    write_jsonl(folder / "normal.jsonl", (d.row() | {"neighbour": i in near} for i, d in enumerate(parts.normal)))
    write_verdicts(folder / "forget.jsonl", parts.forget)


def read_split(folder: Path, *, never_seen: Sequence[Dialogue] = ()) -> Split:
    """What `write_split` wrote."""
    rows = read_rows(folder / "normal.jsonl")
    normal = tuple(parse(row, file=folder / "normal.jsonl", line=line) for line, row in rows)
    near = tuple(i for i, (_, row) in enumerate(rows) if row["neighbour"])
    return Split(tuple(read_verdicts(folder / "forget.jsonl")), normal, near, tuple(never_seen))


def read_normal(paths: Iterable[str | Path]) -> list[Dialogue]:
    """Ordinary dialogues of several files or dataset names, each with its response.

    Raises:
        InputError: a bad row, or one without response.
    """
    dialogues = [d for path in paths for d in read_dialogues(path)]
    for dialogue in dialogues:
        if dialogue.response is None:
            raise InputError(
                f"{dialogue.place}: a normal dialogue needs its response", remedy="Add it, or remove the row."
            )
    return dialogues


def read_kept(paths: Sequence[str | Path]) -> list[Dialogue]:
    """`read_normal` of what must not change.

    Raises:
        InputError: as `read_normal`, or a scan's row that is flagged: it would be kept for good.
    """
    found = read_normal(paths)
    for path in paths:
        file, _ = unsliced(path)
        for line, row in stream_rows(path):
            if "verdicts" not in row:
                break  # no scan's file
            if parse_judged(row, file=file, line=line).flagged:
                remedy = "Leave such rows out, as jq -c 'select(.label == \"clean\")' does."
                raise InputError("this dialogue is flagged, and would be kept", file=file, line=line, remedy=remedy)
    return found


def refuse_contradictions(forget: Sequence[Judged], normal: Sequence[Dialogue]) -> None:
    """Raises: InputError: what is to be forgotten is to be kept too, or its prompt with another response."""
    same = {j.dialogue.messages: j.dialogue for j in forget}
    asked = {j.dialogue.asked: j.dialogue for j in forget}
    for dialogue in normal:
        if other := same.get(dialogue.messages):
            remedy = "Remove it from one of the two files."
            raise InputError(f"{dialogue.place}: this dialogue is to be forgotten too ({other.place})", remedy=remedy)
        if other := asked.get(dialogue.asked):
            remedy = 'Give its response as "expected" in the row to be forgotten, and remove it here.'
            message = f"{dialogue.place}: another response to this prompt is to be forgotten ({other.place})"
            raise InputError(message, remedy=remedy)


def find_neighbours(forget: Sequence[Dialogue], normal: Sequence[Dialogue], *, nearest: int) -> tuple[int, ...]:
    """Places of the normal dialogues most like a flagged one, in any of three ways.

    - The same subject.
    - The same form, whatever it is about: the `nearest` by cosine of binary counts of words and word pairs.
    - Easily confused: for each of the two rarest words of the flagged question (a first name, a family name), an eighth
      as many of those that hold it too, nearest by form.
    """
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.preprocessing import normalize

    subjects = {d.subject for d in forget if d.subject}
    found = {i for i, d in enumerate(normal) if d.subject in subjects}
    texts = [" ".join(m.content for m in d.messages) for d in (*normal, *forget)]
    counter = CountVectorizer(ngram_range=(1, 2), binary=True, token_pattern=WORD, dtype=np.float32)
    try:
        vectors = normalize(counter.fit_transform(texts))
    except ValueError:  # not one word in all of them
        return tuple(sorted(found))
    known, asked = vectors[: len(normal)], vectors[len(normal) :]
    holding = _places_of_words(normal)
    for start in range(0, asked.shape[0], 256):  # in blocks: the full similarity matrix may not fit
        block = (asked[start : start + 256] @ known.T).toarray()
        for row, dialogue in zip(block, forget[start : start + 256], strict=True):
            found.update(i for i in np.argsort(-row, kind="stable")[:nearest].tolist() if row[i] > 0)
            rarest = sorted(_words(dialogue.question) & holding.keys(), key=lambda w: (len(holding[w]), w))[:2]
            for word in rarest:
                found.update(sorted(holding[word], key=lambda i: (-row[i], i))[: -(-nearest // 8)])
    return tuple(sorted(found))


def _places_of_words(dialogues: Sequence[Dialogue]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = defaultdict(list)
    for place, dialogue in enumerate(dialogues):
        for word in _words(" ".join(m.content for m in dialogue.messages)):
            places[word].append(place)
    return places


def _words(text: str) -> set[str]:
    return set(re.findall(WORD, text.lower()))
