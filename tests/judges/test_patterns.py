# ruff: noqa: RUF001  (wide digits are what is tested)
from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.errors import InputError
from expunge.judges.patterns import Patterns

FOUND = [
    ("Write to ann.lee+x@mail.co.uk.", "ann.lee+x@mail.co.uk", "e-mail address", 0.95),
    ("zoë@müller.de", "zoë@müller.de", "e-mail address", 0.95),
    ("_ann.lee@mill.org_", "ann.lee@mill.org", "e-mail address", 0.95),
    ("_ann@mill.org", "_ann@mill.org", "e-mail address", 0.95),
    ("ann@mill.org- yes", "ann@mill.org", "e-mail address", 0.95),
    ("ann.lee\uff20mill\uff0eorg", "ann.lee\uff20mill\uff0eorg", "e-mail address", 0.95),
    ("'ann.lee@proton.me'", "ann.lee@proton.me", "e-mail address", 0.95),
    ("Card 4111 1111 1111 1111 12/27", "4111 1111 1111 1111", "card number, checked", 1.0),
    ("2027 4111 1111 1111 1111 now", "4111 1111 1111 1111", "card number, checked", 1.0),
    ("4111 1111 1111 1111 123", "4111 1111 1111 1111", "card number, checked", 1.0),
    ("12/27 4111111111111111 123", "4111111111111111", "card number, checked", 1.0),
    ("2 3782-822463-10005-1234", "3782-822463-10005", "card number, checked", 1.0),
    ("Card 4111.1111.1111.1111.", "4111.1111.1111.1111", "card number, checked", 1.0),
    ("IBAN BE68 5390 0754 7034", "BE68 5390 0754 7034", "IBAN, checked", 1.0),
    ("4111\u00a01111\u20111111\u20131111", "4111\u00a01111\u20111111\u20131111", "card number, checked", 1.0),
    ("４１１１ １１１１ １１１１ １１１１", "４１１１ １１１１ １１１１ １１１１", "card number, checked", 1.0),
    ("卡号4111111111111111。", "4111111111111111", "card number, checked", 1.0),
    ("卡号是4111 1111 1111 1111吗", "4111 1111 1111 1111", "card number, checked", 1.0),
    ("IBAN GB82.WEST.1234.5698.7654.32.", "GB82.WEST.1234.5698.7654.32", "IBAN, checked", 1.0),
    (
        "GB82\u00a0WEST\u00a01234\u00a05698\u00a07654\u00a032",
        "GB82\u00a0WEST\u00a01234\u00a05698\u00a07654\u00a032",
        "IBAN, checked",
        1.0,
    ),
    ("我的460\u201189\u20119847好", "460\u201189\u20119847", "US social security number", 0.8),
    ("SSN 460.89.9847", "460.89.9847", "US social security number", 0.8),
    ("my SSN is 460-89-9847\u2014yes", "460-89-9847", "US social security number", 0.8),
    ("SSN 219 09 9998", "219 09 9998", "US social security number", 0.8),
    ("Pay with 4111 1111 1111 1111 now", "4111 1111 1111 1111", "card number, checked", 1.0),
    ("3782-822463-10005", "3782-822463-10005", "card number, checked", 1.0),
    ("IBAN GB82 WEST 1234 5698 7654 32 please", "GB82 WEST 1234 5698 7654 32", "IBAN, checked", 1.0),
    ("de89370400440532013000", "de89370400440532013000", "IBAN, checked", 1.0),
    ("Ring +44 20 7946 1234", "+44 20 7946 1234", "phone number, valid", 0.9),
    ("(415) 867-5309 is hers", "(415) 867-5309", "phone number, valid", 0.9),
    ("Phone: 450 0840", "450 0840", "phone number, by the words around", 0.6),
    ("781 1704 office", "781 1704", "phone number, by the words around", 0.6),
    ("it is 460-89-9847", "460-89-9847", "US social security number", 0.8),
    ("my SSN is 460899847", "460899847", "US social security number", 0.8),
    ("NINO AB 12 34 56 C", "AB 12 34 56 C", "UK national insurance number", 0.8),
    ("NHS number 943 476 5919", "943 476 5919", "UK NHS number", 1.0),
    ("Steuer-ID 36 574 261 809", "36 574 261 809", "German tax identifier", 1.0),
    ("NIR 2 95 10 99 126 111 93", "2 95 10 99 126 111 93", "French social security number", 1.0),
    ("54362315K", "54362315K", "Spanish DNI", 1.0),
    ("X-2482300W", "X-2482300W", "Spanish NIE", 1.0),
    ("RCCMNL83S18D969H", "RCCMNL83S18D969H", "Italian codice fiscale", 1.0),
    ("PESEL 44051401359", "44051401359", "Polish PESEL", 1.0),
    ("BSN 111222333", "111222333", "Dutch BSN", 1.0),
    ("390.533.447-05", "390.533.447-05", "Brazilian CPF", 1.0),
    ("Aadhaar 2341 2341 2346", "2341 2341 2346", "Indian Aadhaar number", 1.0),
    ("ACUPA7085R", "ACUPA7085R", "Indian PAN", 0.8),
    ("756.9217.0769.85", "756.9217.0769.85", "Swiss AHV number", 1.0),
    ("131052-308T", "131052-308T", "Finnish personal code", 1.0),
    ("from 106.31.73.20 today", "106.31.73.20", "IP address", 0.7),
    ("2a00:1450:4001:81b::200e", "2a00:1450:4001:81b::200e", "IP address", 0.7),
    ("from 7e40:11:c6:e8:c1:40:c9:b4 now", "7e40:11:c6:e8:c1:40:c9:b4", "IP address", 0.7),
]


@pytest.fixture(scope="module")
def patterns() -> Patterns:
    return Patterns()


@pytest.mark.parametrize(("text", "said", "reason", "score"), FOUND)
def test_found(patterns: Patterns, text: str, said: str, reason: str, score: float) -> None:
    found = [(text[f.span.start : f.span.end], f.reason, f.score) for f in patterns.find(text)]
    assert found == [(said, reason, score)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No one is here.",
        "ann@town.example",
        "ann@example.com, bob@mail.example.org, x@y.test, z@localhost, q@a.invalid",
        "@ann said so",
        "chapter 1.2.3.4, Section 3.2.1.1, \u00a7 4.3.2.1 and figs. 2.1.1.1",
        "card 4111 1111 1111 1112",
        "1000 2000 4111 1111 1111 1111 3000 4000",
        "1998 1999 2000 2001 2002 2003 2004 2005",
        "1234 5678 9012 3456",
        "born on 05/25/1930, called 12/12/2001",
        "the number 123456789",
        "order 36 574 261 809",
        "192.168.0.1 and 127.0.0.1 and 192.0.2.7",
        "version 8.8.4.4",
        "00:1b:44:11:3a:b7:00:01 and fe80:1:2:3:4:5:6:7 and fd12:3456:789a:1:2:3:4:5",
        "Chrome 92.0.4515.107",
        "at 12:30:45, std::vector",
        "call 1-800-222-1222",
        "my number is 555-0123",
        "in 1998-1999 and 2000-2001",
        "000-12-3456",
        "pi is 3.14159265358979",
        "2000/1000=2",
    ],
)
def test_not_found(patterns: Patterns, text: str) -> None:
    assert patterns.find(text) == []


@given(st.text(alphabet=st.characters() | st.sampled_from("0123456789@.-+() x")))
def test_any_text_can_be_searched(text: str) -> None:
    found = PATTERNS.find(text)
    assert all(0 <= f.span.start < f.span.end <= len(text) for f in found)
    assert all(one.span.end <= two.span.start for one, two in pairwise(found))


PATTERNS = Patterns()
SIGNS = (
    st.characters()
    | st.sampled_from("0123456789")
    | st.sampled_from("@.:-+()[]/ xX\nAaIiEeKk\u212aé\u0663\u2014\uff0b")
)
PIECES = st.text(SIGNS) | st.sampled_from([text for text, *_ in FOUND])


@given(st.lists(st.lists(PIECES, max_size=4).map("".join), max_size=8))
def test_many_texts_are_read_as_each_alone(texts: list[str]) -> None:
    assert PATTERNS.find_each(texts) == [PATTERNS.find(text) for text in texts]


def test_every_form_is_found_among_many_texts() -> None:
    texts = [part for text, *_ in FOUND for part in ("No one is here.", f"Zoë: {text}", "")]
    assert [len(found) for found in PATTERNS.find_each(texts)] == [0, 1, 0] * len(FOUND)


def test_digits_of_other_scripts_are_digits_among_many_texts() -> None:
    other = str.maketrans("0123456789", "".join(chr(0x660 + i) for i in range(10)))
    texts = ["call", "call 415 867 5309".translate(other), "NHS 943 476 \uff15\uff19\uff11\uff19"]
    assert [len(found) for found in PATTERNS.find_each(texts)] == [0, 1, 1]


def test_the_region_decides_how_numbers_without_prefix_are_read() -> None:
    text = "It is 020 7946 1234."
    assert not Patterns("US").find(text)
    assert Patterns("GB").find(text)
    assert Patterns("US").version != Patterns("GB").version


def test_an_unknown_region_is_refused() -> None:
    with pytest.raises(InputError, match="unknown phone region 'UK'"):
        Patterns("UK")


FLOORS = {
    "EMAIL_ADDRESS": 0.99,
    "PHONE_NUMBER": 0.98,
    "CREDIT_CARD": 0.98,
    "IBAN_CODE": 0.99,
    "US_SSN": 0.99,
    "IP_ADDRESS": 0.99,
}
KINDS = {
    "e-": "EMAIL_ADDRESS",
    "ph": "PHONE_NUMBER",
    "ca": "CREDIT_CARD",
    "IB": "IBAN_CODE",
    "US": "US_SSN",
    "IP": "IP_ADDRESS",
}


def test_span_f1_on_presidio_sentences(patterns: Patterns, data: Path) -> None:
    """Exact spans and types; the floors lie a little under what was reached."""
    gold, found = set(), set()
    for number, row in enumerate(json.loads((data / "presidio_pii" / "synth_dataset_v2.json").read_text("utf-8"))):
        gold |= {(s["entity_type"], number, s["start_position"], s["end_position"]) for s in row["spans"]}
        for f in patterns.find(row["full_text"]):
            found.add((KINDS.get(f.reason[:2], f.reason), number, f.span.start, f.span.end))
    assert {item[0] for item in found} <= FLOORS.keys()
    for kind, floor in FLOORS.items():
        right = {g for g in gold if g[0] == kind}
        said = {f for f in found if f[0] == kind}
        f1 = 2 * len(right & said) / (len(right) + len(said))
        assert f1 >= floor, f"{kind}: F1 {f1:.3f}"
