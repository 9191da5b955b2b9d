"""Phone numbers: those that `phonenumbers` finds valid, and those that a word beside them names."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from typing import Any

from expunge.errors import InputError
from expunge.judges.finding import Finding
from expunge.span import Span

DIALLED = re.compile(
    r"[+(\d](?<![\w.+/-].)(?:(?<=\d)|\d)(?:[ .()/-]{0,3}\d){6,14}(?: ?x\d{1,5}| ?ext\.? ?\d{1,5})?(?![\w/]|[.-]\d)"
)
PHONE_BEFORE = re.compile(
    r"\b(?:(?:tele)?phone|mobile|cell|fax|(?:my|his|her|their|your|our) number|sms|text|whatsapp|dial|ring|reach"
    r"|call(?:ed|ing)?|answer(?:ing)?|messages? to|tel(?=[\s.:]*$)|(?:desk|office|home|work|contact)(?=\W*[:\n]\s*$))"
    r"\b[^\d\n]{0,24}\n?\W*$",
    re.IGNORECASE,
)
PHONE_AFTER = re.compile(r"\W{1,3}(?:office|fax|mobile|cell|home|work|desk|phone)\b", re.IGNORECASE)
NO_PHONE = re.compile(r"\d{1,2}/\d{1,2}/\d{2,4}|\d{4}/\d{4}|.*\.0\..*")  # dates, fractions, versions
NOBODYS_PHONE = re.compile(r"1?\d{3}55501\d\d|55501\d\d|(?:44|0)7700900\d{3}|1?8(?:00|33|44|55|66|77|88)\d{7}")
PRICES = frozenset("/=$€£#")  # a number after one of these is no phone
NEARBY = 40  # characters around a number in which a word may name it

SEPARATORS = "x~\u2053\u223c\uff5e/\uff0f.\uff0e()\uff08\uff09\\[\\]\uff3b\uff3d"  # inside phone numbers
DASHES = "\u2010-\u2015\u2212\u30fc\uff0d\\s\u00ad\u200b\u2060-"
BETWEEN = f"[{SEPARATORS}{DASHES}]{{0,4}}"
SHORTEST = 6  # digits of the shortest valid number, its country's prefix included (43 and four more, in Austria)


def _run(digits: int) -> str:
    """So many digits as `phonenumbers` takes for one number."""
    return rf"\d(?:{BETWEEN}\d){{{digits - 1}}}"


LIKE = re.compile(_run(7), re.IGNORECASE)  # no number is looked for in a text without
PLUS_LIKE = re.compile(rf"[+\uff0b]{BETWEEN}[+\uff0b]?{BETWEEN}{_run(SHORTEST)}", re.IGNORECASE)


class Phones:
    """Finds phone numbers; those without a country's prefix are read as in `region`.

    Raises:
        InputError: `phonenumbers` does not know the region.
    """

    def __init__(self, region: str) -> None:
        import phonenumbers

        if region not in phonenumbers.SUPPORTED_REGIONS:
            raise InputError(f"unknown phone region {region!r}", remedy='Give two capital letters, such as "GB".')
        self.region = region
        self._phonenumbers: Any = phonenumbers
        kinds = phonenumbers.PhoneNumberType
        self._kinds = {kinds.FIXED_LINE, kinds.MOBILE, kinds.FIXED_LINE_OR_MOBILE, kinds.PERSONAL_NUMBER, kinds.VOIP}
        self._long = re.compile(_run(shortest(region)), re.IGNORECASE)

    def valid(self, text: str) -> Iterator[Finding]:
        start = 0
        for line in text.split("\n"):  # no number goes on in another line
            if self._long.search(line) or PLUS_LIKE.search(line):
                yield from self._valid(text, start, line)
            start += len(line) + 1

    def _valid(self, text: str, start: int, line: str) -> Iterator[Finding]:
        """What `phonenumbers` finds; it is slow, and would try every number of a sum."""
        for match in self._phonenumbers.PhoneNumberMatcher(line, self.region, self._phonenumbers.Leniency.VALID):
            kind = self._phonenumbers.number_type(match.number)
            span = Span(start + match.start, start + match.end)
            if _personal(match.raw_string) and kind in self._kinds and text[span.start - 1 : span.start] not in PRICES:
                yield Finding(span, "phone number, valid", 0.9)

    def named(self, text: str) -> Iterator[Finding]:
        for match in DIALLED.finditer(text):
            before = text[max(0, match.start() - NEARBY) : match.start()]
            named = PHONE_BEFORE.search(before) or PHONE_AFTER.match(text, match.end())
            if named and _personal(match[0]):
                yield Finding(Span(*match.span()), "phone number, by the words around", 0.6)


def shortest(region: str) -> int:
    """Digits of the shortest valid number of a region that is written without a plus.

    It is a number of a country with this region's prefix, or any number behind the region's prefix to dial abroad.
    A region whose rules add digits that nobody writes is not looked into.
    """
    metadata = importlib.import_module("phonenumbers.phonemetadata").PhoneMetadata.metadata_for_region
    prefixes = importlib.import_module("phonenumbers").COUNTRY_CODE_TO_REGION_CODE
    here = metadata(region)
    if here.national_prefix_transform_rule:
        return SHORTEST
    abroad = len(here.international_prefix) if here.international_prefix.isdecimal() else 1  # else: a pattern
    return min(abroad + SHORTEST, *(length for r in prefixes[here.country_code] for length in lengths(metadata(r))))


def lengths(metadata: Any) -> Iterator[int]:
    """Lengths of a region's numbers, without the country's prefix, of the kinds that may be a person's."""
    for kind in (metadata.fixed_line, metadata.mobile, metadata.personal_number, metadata.voip):
        if kind is not None and kind.possible_length != (-1,):
            yield from kind.possible_length or metadata.general_desc.possible_length


def _personal(number: str) -> bool:
    """Whether what looks like a phone number is one that can be somebody's."""
    digits = "".join(filter(str.isdigit, number))
    return not (NO_PHONE.fullmatch(number) or NOBODYS_PHONE.fullmatch(digits))
