"""Values of a registry in disguise: recall for each kind of disguise, and false alarms on ordinary lines.

    python bench/disguises.py [FOLDER] [--values 300]    FOLDER (or EXPUNGE_DATA): text/, gsm8k/, halueval/, tofu/

Each value stands in a sentence of its own, disguised by code that shares nothing with the judge's. Letters are swapped
only where a disguise has letters, digits spelt out only where there are digits: a kind is asked of the values that it
fits. The same registry then reads lines in which no value stands.
"""

from __future__ import annotations

import argparse
import base64
import codecs
import json
import os
import random
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from scipy.stats import binomtest

from expunge.judges.registry import Entry, Registry

FIRST = "Marisol Tobias Ingrid Desmond Yolanda Casper Philippa Reuben Annika Leopold Beatrix Osvaldo Henrike"
LAST = "Quimby Valdelomar Featherby Oakshott Brandvold Castellan Dunmore Erlandsen Fairweather Grunewald"
STREETS = "Mulberry Lane,Harbour Street,Quarry Road,Lantern Row,Saltmarsh Way,Orchard Close"
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
CYRILLIC = (
    "\u0430\u0441\u0435\u043e\u0440\u0445\u0443\u0410\u0412\u0421\u0415\u041d\u041a\u041c\u041e\u0420\u0422\u0425"
)
ALIKE = dict(zip("aceopxyABCEHKMOPTX", CYRILLIC, strict=True))
LEET = dict(zip("oleast", "013457", strict=True))


def values(count: int, rng: random.Random) -> list[Entry]:
    """Names, phones, e-mail addresses, streets, cards and account numbers, in turn."""

    def digits(n: int) -> str:
        return str(rng.randint(1, 9)) + "".join(str(rng.randint(0, 9)) for _ in range(n - 1))

    made: list[Entry] = []
    while len({e.value for e in made}) < count:
        first, last = rng.choice(FIRST.split()), rng.choice(LAST.split())
        made += [
            Entry("name", f"{first} {last}"),
            Entry("phone", f"+44 {digits(4)} {digits(6)}"),
            Entry("email", f"{first.lower()}.{last.lower()}{rng.randint(1, 99)}@mailhost.org"),
            Entry("address", f"{rng.randint(1, 199)} {rng.choice(STREETS.split(','))}, {last}ton"),
            Entry("card", " ".join(digits(4) for _ in range(4))),
            Entry("account", f"GB{digits(2)}QXZW{digits(14)}"),
        ]
    return list(dict.fromkeys(made))[:count]


def spelt(value: str) -> str:
    return " ".join(DIGITS[int(c)] if c.isdigit() else c for c in value.replace(" ", "") if c != "+")


def each(value: str, change: Callable[[str], str]) -> str:
    return "".join(map(change, value))


def letters(value: str) -> bool:
    return any(map(str.isalpha, value))


def has_digits(value: str) -> bool:
    return any(map(str.isdigit, value))


def found(registry: Registry, entry: Entry, disguised: str) -> bool:
    return any(f.reason.startswith(entry.kind) for f in registry.find(f"Well: {disguised}, he said."))


KINDS: dict[str, tuple[Callable[[str], str], Callable[[str], bool]]] = {
    "as written": (str, bool),
    "upper case": (str.upper, bool),
    "lower case": (str.lower, bool),
    "letters spaced": (lambda v: " ".join(v.replace(" ", "")), bool),
    "other separators": (lambda v: v.replace(" ", "-"), lambda v: " " in v),
    "no separators": (lambda v: v.replace(" ", "").replace(",", ""), lambda v: " " in v),
    "digits as words": (spelt, lambda v: sum(map(str.isdigit, v)) >= 8),
    "at and dot": (lambda v: v.replace("@", " at ").replace(".", " dot "), lambda v: "@" in v),
    "[at] and (dot)": (lambda v: v.replace("@", " [at] ").replace(".", " (dot) "), lambda v: "@" in v),
    "full width": (lambda v: each(v, lambda c: chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c), bool),
    "zero-width": ("\u200b".join, bool),
    "soft hyphens": ("\u00ad".join, bool),
    "accents": (lambda v: each(v, lambda c: c + "\u0301" if c in "aeiouAEIOU" else c), letters),
    "look-alikes": (lambda v: each(v, lambda c: ALIKE.get(c, c)), lambda v: any(c in ALIKE for c in v)),
    "leetspeak": (lambda v: each(v.lower(), lambda c: LEET.get(c, c)), lambda v: v.replace(" ", "").isalpha()),
    "bold digits": (lambda v: each(v, lambda c: chr(0x1D7CE + int(c)) if c.isdigit() else c), has_digits),
    "Markdown": (lambda v: f"**{v.replace(' ', '** **')}**", bool),
    "line breaks": (lambda v: v.replace(" ", "\n"), lambda v: " " in v),
    "reversed": (lambda v: v[::-1], bool),
    "ROT13": (lambda v: codecs.encode(v, "rot13"), lambda v: sum(map(str.isalpha, v)) >= 5),
    "base64": (lambda v: base64.b64encode(v.encode()).decode(), bool),
    "hexadecimal": (lambda v: v.encode().hex(), bool),
    "HTML": (lambda v: each(v, lambda c: f"&#{ord(c)};"), bool),
    "percent": (lambda v: each(v, lambda c: f"%{ord(c):02X}"), bool),
    "backslash u": (lambda v: each(v, lambda c: f"\\u{ord(c):04x}"), bool),
    "national form": (lambda v: "0" + v.partition(" ")[2], lambda v: v.startswith("+")),
}  # fmt: skip


def ordinary(folder: Path) -> Iterator[str]:
    """Lines of encyclopaedia, mathematics, chat and stories, in turn."""
    wiki = (line for line in (folder / "text/wikitext2_valid.txt").read_text().splitlines() if line.strip())
    maths = (json.loads(line)["answer"] for line in (folder / "gsm8k/test.jsonl").open())
    chat = (json.loads(line)["chatgpt_response"] for line in (folder / "halueval/general_data.json").open())
    stories = iter(json.loads((folder / "text/tinystories_1000.json").read_text()))
    tofu = (json.loads(line)["answer"] for line in (folder / "tofu/full.jsonl").open())
    for source in (wiki, maths, chat, stories, tofu):
        for line in source:
            yield line if isinstance(line, str) else str(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default=os.environ.get("EXPUNGE_DATA"))
    parser.add_argument("--values", type=int, default=300)
    options = parser.parse_args()
    entries = values(options.values, random.Random(0))
    registry = Registry(entries)
    print(f"{'disguise':<18}{'found':>12}  recall (95 % interval)")
    total = [0, 0]
    for kind, (change, fits) in KINDS.items():
        asked = [e for e in entries if fits(e.value)]
        hits = sum(found(registry, e, change(e.value)) for e in asked)
        bounds = binomtest(hits, len(asked)).proportion_ci(0.95)
        print(f"{kind:<18}{hits:>5} of {len(asked):>4}  {hits / len(asked):.3f} ({bounds.low:.3f}–{bounds.high:.3f})")
        total = [total[0] + hits, total[1] + len(asked)]
    print(f"{'all':<18}{total[0]:>5} of {total[1]:>4}  {total[0] / total[1]:.4f}")
    if options.folder:
        lines = list(ordinary(Path(options.folder)))
        random.Random(1).shuffle(lines)
        lines = list(islice(lines, 10_000))
        alarms = [line for line in lines if registry.find(line)]
        print(f"false alarms: {len(alarms)} in {len(lines)} ordinary lines")


if __name__ == "__main__":
    main()
