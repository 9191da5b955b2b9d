# ruff: noqa: RUF001  (look-alike characters are what is tested)
from __future__ import annotations

import base64
import html
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.judges.registry import Entry, Registry

_DIGITS = "zero one two three four five six seven eight nine"
SPELT = dict(zip("0123456789", _DIGITS.split(), strict=True))
LEET = str.maketrans("oleast", "013457")
WIDE = {chr(c): chr(c + 0xFEE0) for c in range(0x21, 0x7F)}
CYRILLIC = str.maketrans("aeopcxyAEOPCXHKMTB", "аеорсхуАЕОРСХНКМТВ")

Disguise = Callable[[str], str]


def bare(text: str) -> str:
    return "".join(c for c in text if c.isalnum())


def percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


FOR_ALL: dict[str, Disguise] = {
    "as written": lambda v: v,
    "upper case": str.upper,
    "lower case": str.lower,
    "full width": lambda v: "".join(WIDE.get(c, c) for c in v),
    "zero width": "\u200b".join,
    "soft hyphens": "\u00ad".join,
    "reversed": lambda v: v[::-1],
    "base64": lambda v: base64.b64encode(v.encode()).decode(),
    "url-safe base64": lambda v: base64.urlsafe_b64encode(v.encode()).decode().rstrip("="),
    "hexadecimal": lambda v: v.encode().hex(),
    "numeric entities": lambda v: "".join(f"&#{ord(c)};" for c in v),
    "hexadecimal entities": lambda v: "".join(f"&#x{ord(c):x};" for c in v),
    "named entities": html.escape,
    "percent": percent,
    "percent where needed": quote,
    "spaced out": lambda v: " ".join(v.replace(" ", "")),
    "accents combined": lambda v: "".join(c + "\u0301" if c.isalpha() else c for c in v),
}
FOR_NUMBERS: dict[str, Disguise] = {
    "no separators": bare,
    "dots": lambda v: v.replace("-", "."),
    "slashes": lambda v: v.replace("-", "/"),
    "spaces": lambda v: v.replace("-", " "),
    "underscores": lambda v: v.replace("-", "_"),
    "dashes": lambda v: v.replace("-", "\u2013"),
    "double spaces": lambda v: v.replace("-", "  "),
    "digits as words": lambda v: " ".join(SPELT[c] for c in bare(v)),
    "words with commas": lambda v: ", ".join(SPELT[c].title() for c in bare(v)),
    "words with hyphens": lambda v: "-".join(SPELT[c] for c in bare(v)),
    "oh": lambda v: " ".join("oh" if c == "0" else SPELT[c] for c in bare(v)),
    "double": lambda v: _doubled(bare(v)),
    "arabic digits": lambda v: "".join(chr(0x660 + int(c)) if c.isdigit() else c for c in v),
    "bold digits": lambda v: "".join(chr(0x1D7CE + int(c)) if c.isdigit() else c for c in v),
    "brackets": lambda v: f"({v.split('-')[0]}) {'-'.join(v.split('-')[1:])}",
    "country prefix": lambda v: f"+44 {v}",
}
FOR_NAMES: dict[str, Disguise] = {
    "no space": bare,
    "underscore": lambda v: v.replace(" ", "_"),
    "hyphen": lambda v: v.replace(" ", "-"),
    "dot": lambda v: v.replace(" ", "."),
    "line break": lambda v: v.replace(" ", "\n"),
    "leetspeak": lambda v: v.lower().translate(LEET),
    "one as i": lambda v: v.replace("i", "1"),
    "look-alikes": lambda v: v.translate(CYRILLIC),
    "spaced with hyphens": lambda v: "-".join(bare(v)),
    "bold words": lambda v: "**" + v.replace(" ", "** **") + "**",
}
FOR_MAILS: dict[str, Disguise] = {
    "at and dot": lambda v: v.replace("@", " at ").replace(".", " dot "),
    "(at) and (dot)": lambda v: v.replace("@", " (at) ").replace(".", " (dot) "),
    "[at] and [dot]": lambda v: v.replace("@", "[at]").replace(".", "[dot]"),
    "spaces around": lambda v: v.replace("@", " @ ").replace(".", " . "),
    "leetspeak": lambda v: v.translate(LEET),
}


def _doubled(digits: str) -> str:
    said = []
    i = 0
    while i < len(digits):
        twice = digits[i : i + 2] == digits[i] * 2
        said.append(("double " if twice else "") + SPELT[digits[i]])
        i += 2 if twice else 1
    return " ".join(said)


def said(registry: Registry, text: str) -> list[str]:
    return [text[f.span.start : f.span.end] for f in registry.find(text)]


phones = st.from_regex(r"[1-9]-[0-9]{2}-[0-9]{2}", fullmatch=True)
names = st.from_regex(r"[A-Z][b-dj-np-t][a-z]{2,5} [A-Z][b-dj-np-t][a-z]{3,6}", fullmatch=True)
mails = st.from_regex(r"[a-z]{3,6}\.[b-z]{3,6}@[b-z]{4,8}\.(?:org|com|net)", fullmatch=True)


@pytest.mark.parametrize("how", [*FOR_ALL, *FOR_NUMBERS])
@given(value=phones)
def test_a_phone_is_found_in_disguise(how: str, value: str) -> None:
    _check_found("phone", value, (FOR_ALL | FOR_NUMBERS)[how](value))


@pytest.mark.parametrize("how", [*FOR_ALL, *FOR_NAMES])
@given(value=names)
def test_a_name_is_found_in_disguise(how: str, value: str) -> None:
    _check_found("name", value, (FOR_ALL | FOR_NAMES)[how](value))


@pytest.mark.parametrize("how", [*FOR_ALL, *FOR_MAILS])
@given(value=mails)
def test_an_address_is_found_in_disguise(how: str, value: str) -> None:
    _check_found("email", value, (FOR_ALL | FOR_MAILS)[how](value))


def _check_found(kind: str, value: str, disguised: str) -> None:
    """Found among other words, and the span holds the disguised value (its outer signs may fall away)."""
    text = f"Well, you asked: {disguised}, he said."
    start = text.index(disguised)
    found = Registry([Entry(kind, value)]).find(text)
    assert any(_covers(disguised, f.span.start - start, f.span.end - start) for f in found)
    for finding in found:
        assert start <= finding.span.start < finding.span.end <= start + len(disguised)
        assert value not in finding.reason
        assert finding.reason.startswith(f"{kind} of the registry, ")


def _covers(disguised: str, start: int, end: int) -> bool:
    return bare(disguised[:start] + disguised[end:]) in ("", "44")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("+44 7700 912345", "07700 912345"),
        ("+44 7700 912345", "0044 7700-912-345"),
        ("+44 7700 912345", "+44 (0)7700 912345"),
        ("+44 7700 912345", "447700912345"),
        ("07700 912345", "+44 7700 912345"),
        ("07700 912345", "+447700912345"),
        ("+1 415 867 5309", "(415) 867-5309"),
        ("+1 415 867 5309", "1-415-867-5309"),
    ],
)
def test_a_phone_is_found_with_and_without_its_countrys_prefix(value: str, written: str) -> None:
    assert said(Registry([Entry("phone", value)]), f"Ring {written} today.")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("4-71-63", "947163"),
        ("4-71-63", "471639"),
        ("4-71-63", "94-71-63"),
        ("4-71-63", "4-71-639"),
        ("4-71-63", "9 4 7 1 6 3"),
        ("4-71-63", "4 7 1 6 3 9"),
        ("4-71-63", "nine four seven one six three"),
        ("4-71-63", "<<4*71=63>>"),
        ("4-71-63", "the years 4 and 7163"),
        ("4-71-63", "4      71      63"),
        ("Ann Lee", "joann leeds"),
        ("Ann Lee", "Ann, who lives with Lee"),
        ("Forman", "It is for man and beast."),
        ("Theron", "the Ron I know"),
        ("Aidan", "Nadia and Diana"),
        ("Enola", "all alone"),
        ("Terra", "it is green"),
        ("Ann", "ann"),
        ("Ann", "Anna"),
        ("Ann", "Ann_x"),
        ("471", "4711"),
        ("471", "4-71"),
    ],
)
def test_no_false_alarm(value: str, text: str) -> None:
    assert said(Registry([Entry("phone" if value[0].isdigit() else "name", value)]), text) == []


@pytest.mark.parametrize(
    ("value", "text", "span"),
    [
        ("4-71-63", "+9 4 7 1 6 3", "4 7 1 6 3"),
        ("(04) 71-63-8", "at (04) 71-63-8.", "(04) 71-63-8"),
        ("Ann", "It is Ann.", "Ann"),
        ("@ann", "write @ann now", "@ann"),
        ("Forman", "F o r m a n", "F o r m a n"),
        ("Lighthart", "it is trahthgil", "trahthgil"),
        ("Ann Lee", "it is eel nna", "eel nna"),
        ("Ann Lee", "Ann Lee's dog", "Ann Lee"),
        ("Алёна Ким", "это АЛЁНА КИМ", "АЛЁНА КИМ"),
        ("김철수민수", "김철수민수 씨", "김철수민수"),
        ("Ann Lee", "Ann      Lee", "Ann      Lee"),
        ("Ann Lee", "Ann\n\n \n\nLee", "Ann\n\n \n\nLee"),
        ("王小明", "他的名字是王小明。", "王小明"),
        ("山田太郎次郎", "私は山田太郎次郎です", "山田太郎次郎"),
        ("สมชายใจดี", "ชื่อสมชายใจดีครับ", "สมชายใจดี"),
        ("1912", "磨坊建于1912年。", "1912"),
    ],
)
def test_the_span_is_exact(value: str, text: str, span: str) -> None:
    assert said(Registry([Entry("x", value)]), text) == [span]


@given(st.text(), st.lists(st.text(min_size=1).filter(lambda v: any(map(str.isalnum, v))), max_size=5))
def test_any_text_can_be_searched(text: str, values: list[str]) -> None:
    for finding in Registry([Entry("x", v) for v in values]).find(text):
        assert 0 <= finding.span.start < finding.span.end <= len(text)


VARIED = Registry(
    [
        *(
            Entry("name", v)
            for v in (
                "Zoe Heron",
                "Ann Lee",
                "At Forman",
                "Алёна Ким",
                "김철수민수",
                "山田太郎次郎",
                "王小",
                "Ann",
                "one",
            )
        ),
        *(Entry("phone", v) for v in ("4-71-63", "+44 7700 912345", "07700 912346", "twenty one 55 40", "471")),
        *(Entry("email", v) for v in ("zo7@x.org", "ann.dot@mail.org", "a@b.co")),
        Entry("address", "12 Heron Lane"),
    ]
)
_SIGNS = "@+$.,-_*&%\\;#= \n\t01345779aeilotéё—\u200b\x00\x7f김１王小山ガ"
_PIECES = "one oh double triple forty five twenty at dot zoe heron Ann LEE 4 71 63 47163 zo 07700 91234 h3r0n l4ne"
_DISGUISED = [
    how(e.value) for how in (*FOR_ALL.values(), FOR_NUMBERS["digits as words"], bare) for e in VARIED.entries
    if how is not FOR_NUMBERS["digits as words"] or bare(e.value).isdecimal()
]  # fmt: skip
pieces = st.sampled_from(_SIGNS) | st.sampled_from(_PIECES.split()) | st.sampled_from(_DISGUISED) | st.characters()
mixtures = st.lists(pieces, max_size=12).map("".join)


@given(st.lists(mixtures, max_size=6))
def test_many_texts_are_read_as_each_alone(texts: list[str]) -> None:
    assert VARIED.find_each(texts) == [VARIED.find(text) for text in texts]


def test_every_disguise_is_found_among_many_texts() -> None:
    texts = [f"{one}{value}{two}" for value in _DISGUISED for one in ("", "So: ", "+", "one ") for two in ("", " five")]
    alone = [VARIED.find(text) for text in texts]
    assert VARIED.find_each(texts) == alone
    assert 3 * sum(map(bool, alone)) > 2 * len(texts)


def test_a_word_of_one_text_is_not_read_on_into_the_next() -> None:
    registry = Registry([Entry("phone", "40-55-6")])
    assert [len(found) for found in registry.find_each(["it is forty", "five five six", "forty five five six"])] == [
        0
    ] * 3
    assert [len(found) for found in registry.find_each(["it is 4055", "6", "forty", "55 6 and forty 55 6"])] == [
        0,
        0,
        0,
        1,
    ]
    assert [len(found) for found in registry.find_each(["double", "5", "forty 5 5 six", "five"])] == [0, 0, 1, 0]


def test_texts_of_any_length_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["x" * 9, "", "Zoe Heron", "y" * 40, "4-71-63", "4-71-64"]
    monkeypatch.setattr("expunge.judges.screen.CHARACTERS", 10)
    assert [bool(found) for found in VARIED.find_each(texts)] == [False, False, True, False, True, False]
    assert VARIED.find_each([]) == []


def test_encoded_text_may_have_lines() -> None:
    text = base64.b64encode(b"Her name:\n\tZoe Heron\n4-71-63").decode()
    assert said(VARIED, text) == [text] * 2
    assert len(VARIED.find_each([text])[0]) == 2


def test_many_values_cost_no_more_than_few() -> None:
    registry = Registry([Entry("phone", f"7{i:05}-{i * 7919 % 100000:05}") for i in range(5000)])
    assert said(registry, "It is 700042-32598, no?") == ["700042-32598"]
    assert said(registry, "It is 700042-32599, no?") == []
