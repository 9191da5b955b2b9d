"""Phone numbers are looked for only where one may stand; that must lose none."""

from __future__ import annotations

import re

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import Leniency, PhoneNumberFormat, PhoneNumberMatcher, PhoneNumberType

from expunge.judges import likely
from expunge.judges.phones import BETWEEN, NOBODYS_PHONE, Phones, shortest

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
FORMATS = (PhoneNumberFormat.NATIONAL, PhoneNumberFormat.INTERNATIONAL)
LIKE_NUMBERS = st.text(st.sampled_from("0123456789" * 2 + "+-. ()/x\n"), max_size=30)


def matched(region: str, text: str) -> list[str]:
    return [m.raw_string for m in PhoneNumberMatcher(text, region, Leniency.VALID)]


def valid(region: str, text: str) -> list[str]:
    return [text[f.span.start : f.span.end] for f in Phones(region).valid(text)]


@pytest.mark.parametrize(
    ("region", "digits"),
    [
        ("US", 9),  # 011 to dial abroad, and six; at home it is ten
        ("GB", 8),  # 00, and six
        ("DE", 5),
        ("AT", 4),
        ("AR", 6),  # its rules add digits
    ],
)
def test_the_shortest_number_of_a_region(region: str, digits: int) -> None:
    assert shortest(region) == digits


def test_every_regions_numbers_are_found() -> None:
    for region in REGIONS:
        number = phonenumbers.example_number_for_type(region, PhoneNumberType.FIXED_LINE)
        text = "\n".join(phonenumbers.format_number(number, how) for how in FORMATS) if number else ""
        somebodys = [s for s in matched(region, text) if not NOBODYS_PHONE.fullmatch("".join(filter(str.isdigit, s)))]
        assert valid(region, text) == somebodys, region


@given(st.sampled_from(["US", "GB", "DE", "AT", "AR", "LU"]), LIKE_NUMBERS)
def test_all_that_is_found_line_by_line_is_found_in_the_whole_text(region: str, text: str) -> None:
    assert set(valid(region, text)) <= set(matched(region, text))


def test_a_number_ends_with_its_line() -> None:
    assert valid("US", "It is (415)\n867-5309 or 415-867-\n5309.") == matched("US", "(415)\n867-5309") == []
    assert valid("US", "One\n\n(415) 867-5309\n(415) 867-5310") == ["(415) 867-5309", "(415) 867-5310"]


def test_the_quick_look_knows_the_signs_inside_a_number() -> None:
    between = {code for code in range(128) if re.fullmatch(BETWEEN, chr(code), re.IGNORECASE)}
    assert set(likely.IN_PHONE.nonzero()[0].tolist()) == between | {ord("?")}
