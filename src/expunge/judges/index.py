"""Many canonical forms looked up in one pass over a text's words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from expunge.judges.folding import View

HEAD = 5  # characters looked up first; a shorter value is matched only as it is written
GAP = re.compile(r"[\W_]{0,3}(?:dot[\W_]{0,3})?")
EMPHASIS = re.compile(r"(\*{1,3}|_{1,3})(\s+)\1")  # Markdown, ended after one word and begun before the next
ARITHMETIC = re.compile(r"[=<>*+$%^\u00d7\u00f7]")  # digits on both sides are two numbers
SURE_LETTERS = 10  # from this length on, word breaks inside a name cannot be chance ("for man" is not Forman)


@dataclass(frozen=True, slots=True)
class Key:
    """One way in which an entry may be written. `breaks` are the places inside where its words end."""

    entry: int
    how: str
    breaks: frozenset[int]


class Index:
    """Keys by their first characters, then as a whole."""

    def __init__(self) -> None:
        self.lengths: dict[str, set[int]] = {}
        self.keys: dict[str, list[Key]] = {}

    def add(self, form: str, key: Key) -> None:
        if len(form) >= HEAD:
            self.lengths.setdefault(form[:HEAD], set()).add(len(form))
            self.keys.setdefault(form, []).append(key)

    def find(self, view: View) -> Iterator[tuple[int, int, Key]]:
        """(first word, last word, key) of each match that begins and ends with a word."""
        text, lengths = view.canonical, self.lengths
        if "+" not in view.text and lengths.keys().isdisjoint([text[p : p + HEAD] for p in view.at]):
            return  # nearly always
        starts = [(i, p) for i, p in enumerate(view.at) if text[p : p + HEAD] in lengths]
        if "+" in view.text:
            starts += _behind_prefix(view)
        if not starts:
            return
        ends = {p: i for i, p in enumerate(view.at)}
        for first, start in starts:
            for length in sorted(lengths.get(text[start : start + HEAD], ())):
                last = ends.get(start + length, 0) - 1
                if last < first:
                    continue
                for key in self.keys.get(text[start : start + length], ()):
                    if _plausible(view, first, last, start, key):
                        yield first, last, key


def _behind_prefix(view: View) -> list[tuple[int, int]]:
    """Places inside a +number where the national number may begin."""
    return [
        (i, view.at[i] + skipped)
        for i, (start, _) in enumerate(view.spans)
        if start and view.text[start - 1] == "+" and len(view.words[i]) > 7 and view.words[i].isdigit()
        for skipped in (1, 2, 3)
    ]


def _plausible(view: View, first: int, last: int, start: int, key: Key) -> bool:
    """Whether the words first … last say the key, rather than happen to hold its characters."""
    words = view.words[first : last + 1]
    gaps = [EMPHASIS.sub(r"\2", view.gap(i)) for i in range(first, last)]
    places = [view.at[i + 1] - start for i in range(first, last)]
    if _in_longer_number(view, first, last):
        return False
    for gap, one, two in zip(gaps, words, words[1:], strict=False):
        if not (GAP.fullmatch(gap) or (gap.isspace() and one.isalpha() and two.isalpha())):
            return False
    digits = all(map(str.isdigit, words))
    if digits and any(map(ARITHMETIC.search, gaps)):
        return False
    if digits and gaps and key.how == "reversed":  # another number by chance, unless it is also cut as the value is
        return key.breaks == set(places) or all(len(word) == 1 for word in words)
    if view.at[last + 1] - start >= SURE_LETTERS:
        return True
    return not any(
        gap.isspace() and place not in key.breaks and one.isalpha() and two.isalpha() and max(len(one), len(two)) > 1
        for gap, place, one, two in zip(gaps, places, words, words[1:], strict=False)
    )


def _in_longer_number(view: View, first: int, last: int) -> bool:
    """Whether a number spelt digit by digit goes on, in the same way, before or after the match."""

    def single(i: int) -> bool:
        return 0 <= i < len(view.words) and len(view.words[i]) == 1 and view.words[i].isdigit()

    if first == last:
        return False
    before = single(first - 1) and single(first) and view.gap(first - 1) == view.gap(first)
    if before and view.text[: view.spans[first - 1][0]].endswith("+"):
        before = False
    return before or (single(last) and single(last + 1) and view.gap(last) == view.gap(last - 1))
