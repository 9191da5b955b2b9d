"""Private data by its form: addresses and numbers that prove themselves by a check digit, a rule or the words around.

| what                                    | score | flagged when                                                     |
|-----------------------------------------|-------|------------------------------------------------------------------|
| IBAN, card, numbers with check digits   | 1.0   | the check holds (weak formats: and a word nearby names it)       |
| e-mail                                  | 0.95  | well formed, and its domain can belong to someone                |
| phone, valid                            | 0.9   | `phonenumbers` finds it valid, in the region or with a prefix    |
| numbers without check digit (SSN, NINO) | 0.8   | the format is right (bare digits: and a word nearby names it)    |
| IP address                              | 0.7   | public, and not a version                                        |
| phone, by the words around              | 0.6   | seven to fifteen digits that a word such as "phone" names        |

Names reserved by RFC 2606 (.example, .test, .invalid, .localhost, example.com/.net/.org), phone numbers reserved
for fiction (555-01xx, 07700 900xxx) and toll-free ones belong to nobody.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from itertools import product
from typing import Any

from expunge.errors import InputError
from expunge.judges.finding import Finding
from expunge.judges.national import NUMBERS, Number
from expunge.span import Span

EMAIL = re.compile(r"(?<![\w.%+'-])[\w.%+'-]*[\w%+-]@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_]{2,24}(?![\w@-])")
RESERVED = re.compile(r"(?:.*[.@])?(?:example|test|invalid|localhost|example\.(?:com|net|org))", re.IGNORECASE)
CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){11,18}(?![\w-])(?!\.\d)")
CARD_ISSUER = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"  # Mastercard
    r"|3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11,16}"  # American Express; Diners Club
    r"|(?:1800|2131)\d{11}|35\d{14}"  # JCB
    r"|6(?:011|4[4-9]\d|5\d\d)\d{12,15}|62\d{14,17}"  # Discover; UnionPay
    r"|(?:50|5[6-8]|6\d)\d{10,17}"  # Maestro
)
IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)", re.IGNORECASE)
IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w-])(?!\.\d)")
IPV6 = re.compile(
    r"(?<![\w:])(?:[23][0-9a-f]{3}:(?:[0-9a-f]{0,4}:){1,6}[0-9a-f]{0,4}"  # the part of the space that is in use
    r"|(?=[0-9a-f:]*[0-9a-f]{3})(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4})(?![\w:])",  # or all written out, and no EUI-64
    re.IGNORECASE,
)
VERSION = re.compile(r"(?:version|release|build|v)[ .:]*$", re.IGNORECASE)
DIALLED = re.compile(
    r"(?<![\w.+/-])(?:\+|\()?\d(?:[ .()/-]{0,3}\d){6,14}(?: ?x\d{1,5}| ?ext\.? ?\d{1,5})?(?![\w/]|[.-]\d)"
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
SEPARATORS = "x~\u2053\u223c\uff5e/\uff0f.\uff0e()\uff08\uff09\\[\\]\uff3b\uff3d"  # inside phone numbers
DASHES = "\u2010-\u2015\u2212\u30fc\uff0d\\s\u00ad\u200b\u2060-"
PHONE_LIKE = re.compile(
    rf"\d(?:[{SEPARATORS}{DASHES}]{{0,4}}\d){{6}}", re.IGNORECASE
)  # what `phonenumbers` would look at
NUMBER_LIKE = re.compile(r"\d(?:(?:[ .+-]?\d){5}|(?<=[A-Za-z]{5}\d)\d)")  # what cards and NUMBERS have inside
FOUR_DIGITS = re.compile(r"\d\D*\d\D*\d\D*\d")
IBAN_LIKE = re.compile(r"\d(?<=[A-Za-z]{2}\d)\d")
IPV4_LIKE = re.compile(r"\d\.\d{1,3}\.\d{1,3}\.\d")
IPV6_LIKE = re.compile(r":[0-9A-Fa-f]{0,4}:")
BEFORE, AFTER = 16, 32  # characters of a card or a number of NUMBERS that may stand around that
PRICES = frozenset("/=$€£#")  # a number after one of these is no phone
NEARBY = 40  # characters around a number in which a word may name it


class Patterns:
    """Finds private data of known forms.

    region: the country (ISO 3166, two letters) in which phone numbers without a country's prefix are read.

    Raises:
        InputError: `phonenumbers` does not know the region.
    """

    def __init__(self, region: str = "US") -> None:
        import phonenumbers
        import stdnum

        if region not in phonenumbers.SUPPORTED_REGIONS:
            raise InputError(f"unknown phone region {region!r}", remedy='Give two capital letters, such as "GB".')
        self.region = region
        self.version = f"{phonenumbers.__version__} {stdnum.__version__} {region}"
        self._phonenumbers: Any = phonenumbers
        kinds = phonenumbers.PhoneNumberType
        self._kinds = {kinds.FIXED_LINE, kinds.MOBILE, kinds.FIXED_LINE_OR_MOBILE, kinds.PERSONAL_NUMBER, kinds.VOIP}
        self._luhn = import_module("stdnum.luhn").is_valid
        self._iban = import_module("stdnum.iban").is_valid
        self._numbers = [(number, _check(number)) for number in NUMBERS]

    def find(self, text: str) -> list[Finding]:
        """Findings without overlap; where two forms fit the same characters, the surer one stands."""
        found = list(self._emails(text)) if "@" in text else []
        if FOUR_DIGITS.search(text):
            _keep(found, self._ibans(text) if IBAN_LIKE.search(text) else ())
            numbers = [(max(0, m.start() - BEFORE), m.end() + AFTER) for m in NUMBER_LIKE.finditer(text)]
            _keep(found, self._cards(text) if numbers else ())
            _keep(found, self._national(text, numbers))
            _keep(found, self._addresses(text))
            if PHONE_LIKE.search(text):
                _keep(found, self._phones(text))
                _keep(found, self._named_phones(text))
        return sorted(found, key=lambda f: f.span)

    def _emails(self, text: str) -> Iterator[Finding]:
        for match in EMAIL.finditer(text):
            if not RESERVED.fullmatch(match[0]):
                yield Finding(Span(*match.span()), "e-mail address", 0.95)

    def _ibans(self, text: str) -> Iterator[Finding]:
        for match in IBAN.finditer(text):
            end = match.end()
            while end > match.start() and not self._iban(text[match.start() : end]):  # a word may follow it
                end = text.rfind(" ", match.start(), end)
            if end > match.start():
                yield Finding(Span(match.start(), end), "IBAN, checked", 1.0)

    def _cards(self, text: str) -> Iterator[Finding]:
        for match in CARD.finditer(text):
            number = match[0].replace(" ", "").replace("-", "")
            if CARD_ISSUER.fullmatch(number) and self._luhn(number):
                yield Finding(Span(*match.span()), "card number, checked", 1.0)

    def _national(self, text: str, windows: Sequence[tuple[int, int]]) -> Iterator[Finding]:
        for (number, check), (start, end) in product(self._numbers, windows):
            for match in number.form.finditer(text, start, end):
                if match.end() == end < len(text):
                    continue  # cut off
                named = (number.strong is not None and number.strong.fullmatch(match[0])) or _near(number, text, match)
                if named and check(match[0]):
                    yield Finding(Span(*match.span()), number.kind, 1.0 if number.check_digit else 0.8)

    def _addresses(self, text: str) -> Iterator[Finding]:
        forms = [form for form, like in ((IPV4, IPV4_LIKE), (IPV6, IPV6_LIKE)) if like.search(text)]
        for form in forms:
            for match in form.finditer(text):
                try:
                    public = ipaddress.ip_address(match[0]).is_global
                except ValueError:
                    continue
                if public and not VERSION.search(text[max(0, match.start() - NEARBY) : match.start()]):
                    yield Finding(Span(*match.span()), "IP address", 0.7)

    def _phones(self, text: str) -> Iterator[Finding]:
        matcher = self._phonenumbers.PhoneNumberMatcher(text, self.region, self._phonenumbers.Leniency.VALID)
        for match in matcher:
            kind = self._phonenumbers.number_type(match.number)
            if (
                _personal(match.raw_string)
                and kind in self._kinds
                and text[match.start - 1 : match.start] not in PRICES
            ):
                yield Finding(Span(match.start, match.end), "phone number, valid", 0.9)

    def _named_phones(self, text: str) -> Iterator[Finding]:
        for match in DIALLED.finditer(text):
            before = text[max(0, match.start() - NEARBY) : match.start()]
            named = PHONE_BEFORE.search(before) or PHONE_AFTER.match(text, match.end())
            if named and _personal(match[0]):
                yield Finding(Span(*match.span()), "phone number, by the words around", 0.6)


def _keep(found: list[Finding], new: Iterable[Finding]) -> None:
    """Add what overlaps nothing found before."""
    for finding in new:
        if all(finding.span.end <= f.span.start or f.span.end <= finding.span.start for f in found):
            found.append(finding)


def _personal(number: str) -> bool:
    """Whether what looks like a phone number is one that can be somebody's."""
    digits = "".join(filter(str.isdigit, number))
    return not (NO_PHONE.fullmatch(number) or NOBODYS_PHONE.fullmatch(digits))


def _near(number: Number, text: str, match: re.Match[str]) -> bool:
    around = text[max(0, match.start() - NEARBY) : match.start()] + "\n" + text[match.end() : match.end() + NEARBY]
    return number.context.search(around) is not None


def _check(number: Number) -> Callable[[str], bool]:
    if not number.module:
        return lambda _: True
    check: Callable[[str], bool] = import_module(f"stdnum.{number.module}").is_valid
    return check
