"""The values that must not be said, found exactly and in disguise, however many there are.

Every value is indexed under its canonical form (see `folding`) and under a few rewritten ones (reversed, ROT13, phones
with and without their country's prefix); one pass over a text's words looks up the first five characters at each word.
A cost of its own has only what few texts show: leetspeak (a word mixing letters and digits) and encoded text (a long
word that is not plain letters).
"""

from __future__ import annotations

import base64
import codecs
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from expunge.errors import InputError
from expunge.files import digest, read_jsonl
from expunge.judges.finding import Finding
from expunge.judges.folding import LEET_FOLD, LEET_READ, UNSPACED, View, as_written, plain, read
from expunge.judges.index import HEAD, Index, Key
from expunge.judges.screen import Heads, Lines, chunks
from expunge.span import Span

ENCODED = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
MIXED = re.compile(r"[A-Z0-9](?:(?<=[a-z0-9][A-Z])|(?<=[A-Za-z][0-9])|(?<=[0-9])[0-9]{9})")
"""What encoded text has, and prose seldom; begins with what is rare, so that it is searched fast."""
LINES = str.maketrans("\n\r\t", "   ")  # unprintable, but text
SURE_REWRITTEN = 8  # letters of a lone word from which, rewritten, it is no other word ("Aidan" backwards is "Nadia")
SHORT_WORD = re.compile(rf"[{UNSPACED}](?<=\w)|[^\W{UNSPACED}]+")
IN_WORD = re.compile(rf"[^\W{UNSPACED}]")


@dataclass(frozen=True, slots=True)
class Entry:
    """A private value. `kind` is what it is (phone, email, name …), `owner` whose.

    Any kind will do; a "phone" is also found as it is dialled from elsewhere.
    """

    kind: str
    value: str
    owner: str = ""


def read_registry(path: str | Path) -> list[Entry]:
    """Read JSON Lines of `{"kind": …, "value": …, "owner": … (optional)}`.

    Raises:
        InputError: no file, an empty one, or a row without kind and value, or with a value that has nothing to match.
    """
    entries = []
    for line, row in read_jsonl(Path(path)):
        for name in ("kind", "value", "owner"):
            text = row.get(name, "" if name == "owner" else None)
            if not isinstance(text, str) or (name != "owner" and not text.strip()):
                remedy = 'A row reads {"kind": "phone", "value": "…"}, and may name an "owner".'
                raise InputError(f"{name!r} must be a text that is not empty", file=path, line=line, remedy=remedy)
        if not SHORT_WORD.search(row["value"]):
            raise InputError("the value has neither letters nor digits", file=path, line=line, remedy="Remove the row.")
        entries.append(Entry(row["kind"], row["value"].strip(), row.get("owner", "")))
    return entries


class Registry:
    """Finds entries in texts."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = tuple(dict.fromkeys(entries))
        self.digest = digest(*(part for e in sorted(self.entries, key=repr) for part in (e.kind, e.value)))
        self._plain, self._leet = Index(), Index()
        self._short: dict[str, list[tuple[int, int]]] = {}
        for number, entry in enumerate(self.entries):
            self._add(number, entry)
        self._heads, self._leet_heads = Heads(self._plain.lengths), Heads(self._leet.lengths)

    def _add(self, number: int, entry: Entry) -> None:
        view = read(entry.value)
        if len(view.canonical) < HEAD:
            if first := SHORT_WORD.search(entry.value):
                self._short.setdefault(first[0], []).append((number, first.start()))
            return
        forms: dict[str, Key] = {}
        for form, key in reversed(list(_forms(number, entry, view))):  # the plainest of equal forms names them
            forms[form] = key
        for form, key in forms.items():
            self._plain.add(form, key)
        if 2 * sum(map(str.isalpha, view.canonical)) >= len(view.canonical):
            self._leet.add((letters := view.letters()).canonical, _key(number, "leetspeak", letters))

    def find(self, text: str) -> list[Finding]:
        """All entries in `text`, with the exact characters that say them."""
        if not self.entries:
            return []
        view = read(text)
        findings = [*self._find_short(text), *self._find_in(view, text)]
        for span, said in _encoded(text):
            findings += [Finding(span, _of(f.reason, "encoded"), f.score) for f in self.find(said)]
        return findings

    def find_each(self, texts: Sequence[str]) -> list[list[Finding]]:
        """`find` of each; many times faster where few texts say anything."""
        found: list[list[Finding]] = [[] for _ in texts]
        for first, some in chunks(texts) if self.entries else ():
            for number in self._suspects(some):
                found[first + number] = self.find(some[number])
        return found

    def _suspects(self, texts: Sequence[str]) -> set[int]:
        """All texts in which something will be found, and a few others."""
        shown = [text if as_written(text) else plain(text) for text in texts]
        lines = Lines(shown)
        suspects = {*lines.starting(self._heads)}
        if leet := lines.leet():
            letters = Lines([shown[i].translate(LEET_READ) for i in leet])
            suspects |= {leet[i] for i in letters.starting(self._leet_heads, LEET_FOLD)}
        for i in {*lines.encoded(), *(i for i, text in enumerate(texts) if text is not shown[i])}:
            if any(_encoded(texts[i])):
                suspects.add(i)
        if self._short:
            said = (SHORT_WORD.findall(text) for text in texts)
            suspects |= {i for i, words in enumerate(said) if not self._short.keys().isdisjoint(words)}
        return suspects

    def _find_in(self, view: View, text: str) -> Iterator[Finding]:
        yield from self._report(view, text, self._plain)
        if (read_as_letters := view.leet()) is not None:
            yield from self._report(read_as_letters, text, self._leet)

    def _report(self, view: View, text: str, index: Index) -> Iterator[Finding]:
        for first, last, key in index.find(view):
            entry = self.entries[key.entry]
            span = _widened(view.original(first, last), entry.value, text)
            how = key.how or _disguise(text[span.start : span.end], entry.value)
            yield Finding(span, f"{entry.kind} of the registry, {how}", 1.0)

    def _find_short(self, text: str) -> Iterator[Finding]:
        if not self._short:
            return
        for match in SHORT_WORD.finditer(text):
            for number, lead in self._short.get(match[0], ()):
                entry = self.entries[number]
                span = Span(match.start() - lead, match.start() - lead + len(entry.value))
                if span.start >= 0 and text[span.start : span.end] == entry.value and _stands_alone(text, span):
                    yield Finding(span, f"{entry.kind} of the registry, as written", 1.0)


def _forms(number: int, entry: Entry, view: View) -> Iterator[tuple[str, Key]]:
    """The ways in which a value may be written, as they are read, the plainest first."""
    yield view.canonical, _key(number, "", view)
    joined = "".join(c for c in view.text if c.isalnum() or c == "@")
    yield joined, Key(number, "", frozenset())  # number words run together, as in "heronone"
    if entry.kind == "phone":
        for dialled in _dialled(entry.value, view.canonical):
            yield dialled, Key(number, "dialled otherwise", frozenset())
    if view.canonical.isalpha() and len(view.words) == 1 and len(view.canonical) < SURE_REWRITTEN:
        return
    for how, value in (("reversed", entry.value[::-1]), ("ROT13", codecs.encode(entry.value, "rot13"))):
        rewritten = read(value)
        yield rewritten.canonical, _key(number, how, rewritten)


def _key(number: int, how: str, view: View) -> Key:
    return Key(number, how, frozenset(view.at[1:-1]))


def _dialled(value: str, digits: str) -> set[str]:
    """The ways to dial a phone number: with, without or within a country's prefix."""
    value = value.strip()
    if not value.startswith(("+", "00")):
        national = digits.lstrip("0")
        return {national} - {digits} if len(national) >= 7 else set()
    import phonenumbers

    try:
        number = phonenumbers.parse("+" + value.lstrip("+0"), None)
    except phonenumbers.NumberParseException:
        return set()
    country, national = str(number.country_code), phonenumbers.national_significant_number(number)
    prefixes = (country, country + "0", "00" + country, "011" + country, "", "0")
    return {prefix + national for prefix in prefixes if len(national) >= 7} - {digits}


def _encoded(text: str) -> Iterator[tuple[Span, str]]:
    """Words that are something else encoded, and what they say."""
    if not MIXED.search(text):
        return
    for word in ENCODED.finditer(text):
        if MIXED.search(word[0]):
            yield from ((Span(*word.span()), said) for said in _decoded(word[0]))


def _decoded(word: str) -> Iterator[str]:
    """What a word says as base64 or as hexadecimal, where that is text."""
    padded = word.rstrip("=").translate(str.maketrans("-_", "+/"))
    padded += "=" * (-len(padded) % 4)
    decoders: tuple[Callable[[str], bytes], ...] = (base64.b64decode, bytes.fromhex)
    for decode, code in zip(decoders, (padded, word), strict=True):
        try:
            plain = decode(code).decode("utf-8")
        except ValueError:
            continue
        if plain.strip().translate(LINES).isprintable():
            yield plain


def _widened(span: Span, value: str, text: str) -> Span:
    """The span with the value's own outer signs, the bracket of "(04) 71-63", where they stand there."""
    words = SHORT_WORD.search(value)
    lead = value[: words.start()] if words else ""
    tail = value[len(value.rstrip("".join(c for c in value if not c.isalnum()))) :]
    start = span.start - len(lead) if text[: span.start].endswith(lead) else span.start
    return Span(start, span.end + len(tail) if text.startswith(tail, span.end) else span.end)


def _stands_alone(text: str, span: Span) -> bool:
    before, after = text[span.start - 1 : span.start], text[span.end : span.end + 1]
    return not (IN_WORD.match(before) or IN_WORD.match(after))


def _of(reason: str, how: str) -> str:
    return f"{reason.rpartition(', ')[0]}, {how}"


def _disguise(said: str, value: str) -> str:
    """How a value was written, in a word or two."""
    if said == value:
        return "as written"
    if said.lower() == value.lower():
        return "in another case"
    if _bare(said) != _bare(value):
        spelt = ("@" in value and "@" not in said) or any(map(str.isdigit, value)) > any(map(str.isdigit, said))
        return "spelt out" if spelt else "in other characters"
    return "spaced or separated otherwise"


def _bare(text: str) -> str:
    return "".join(filter(str.isalnum, text.lower()))
