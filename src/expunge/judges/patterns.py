"""Private data by its form: addresses and numbers that prove themselves by a check digit, a rule or the words around.

| what                                    | score | flagged when                                                     |
|-----------------------------------------|-------|------------------------------------------------------------------|
| IBAN, card, numbers with check digits   | 1.0   | the check holds (weak formats: and a word nearby names it)       |
| GitHub token, JSON web token, private key | 1.0 | checksum, contents or length are right (`credentials`)           |
| other keys and tokens                   | 0.95  | the format is right, and the key not made up to show it          |
| e-mail                                  | 0.95  | well formed, and its domain can belong to someone                |
| phone, valid                            | 0.9   | `phonenumbers` finds it valid, in the region or with a prefix    |
| numbers without check digit (SSN, NINO) | 0.8   | the format is right (bare digits: and a word nearby names it)    |
| password, passport number, unknown key  | 0.8   | a word before it names it (`passwords`), or it stands in a URL   |
| IP address                              | 0.7   | public, and not a version                                        |
| phone, by the words around              | 0.6   | seven to fifteen digits that a word such as "phone" names        |

Names reserved by RFC 2606 (.example, .test, .invalid, .localhost, example.com/.net/.org), phone numbers reserved
for fiction (555-01xx, 07700 900xxx) and toll-free ones belong to nobody.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib import import_module
from itertools import product

from expunge.judges.credentials import keys
from expunge.judges.finding import Finding
from expunge.judges.likely import DIGIT, likely, unified
from expunge.judges.national import ANY_NUMBER, LETTER, NUMBERS, Number
from expunge.judges.passwords import named
from expunge.judges.phones import LIKE as PHONE_LIKE
from expunge.judges.phones import NEARBY, Phones
from expunge.judges.screen import chunks
from expunge.span import Span

EMAIL = re.compile(
    r"(?<![\w.%+'-])[\w.%+'-]*[\w%+-]@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_]{2,24}(?!@|[_-]*[^\W_])"
)
EMAIL_LIKE = re.compile(r"@(?<=[\w%+-]@)[^\W_]")
RESERVED = re.compile(r"(?:.*[.@])?(?:example|test|invalid|localhost|example\.(?:com|net|org))", re.IGNORECASE)
CARD = re.compile(rf"\d(?<!\d\d)(?<!{LETTER}\d)(?<![.-]\d)(?:[ -]?\d){{11,18}}(?!{LETTER})(?!-|\.\d)")
CARD_GROUPS = re.compile(  # beside other digits (a date, a check number), but not in a row of a table
    rf"\d(?<!\d\d)(?<!{LETTER}\d)(?<!\.\d)(?<!\d{{4}}[ .-]\d{{4}}[ .-]\d)"
    r"(?=(\d{3}([ .-])\d{4}\2\d{4}\2\d{4}|(?<=3)\d{3}([ .-])\d{6}\3\d{4,5}|(?<!-\d)\d{12,18}(?!-|\.\d))"
    rf"(?!{LETTER})(?!(?:[ .-]\d{{4}}){{2}}))"
)
NO_DIGIT = re.compile(r"\D")
CARD_LIKE = re.compile(r"\d(?:[ .-]?\d){11}")
CARD_ISSUER = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"  # Mastercard
    r"|3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11,16}"  # American Express; Diners Club
    r"|(?:1800|2131)\d{11}|35\d{14}"  # JCB
    r"|6(?:011|4[4-9]\d|5\d\d)\d{12,15}|62\d{14,17}"  # Discover; UnionPay
    r"|(?:50|5[6-8]|6\d)\d{10,17}"  # Maestro
)
IBAN = re.compile(
    rf"(?<!{LETTER})[A-Z]{{2}}\d{{2}}(?:[ .-]?[A-Z0-9]{{4}}){{2,7}}(?:[ .-]?[A-Z0-9]{{1,3}})?(?!{LETTER})",
    re.IGNORECASE,
)
IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w-])(?!\.\d)")
IPV6 = re.compile(
    r"(?<![\w:])(?:[23][0-9a-f]{3}:(?:[0-9a-f]{0,4}:){1,6}[0-9a-f]{0,4}"  # the part of the space that is in use
    r"|(?=[0-9a-f:]*[0-9a-f]{3})(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4})(?![\w:])",  # or all written out, and no EUI-64
    re.IGNORECASE,
)
VERSION = re.compile(  # or the number of a part of a text
    r"(?:version|release|build|v|\u00a7|\b(?:chapter|section|sec|clause|article|paragraph|figure|fig|table|appendix)s?)"
    r"[ .:]*$",
    re.IGNORECASE,
)
NUMBER_LIKE = re.compile(r"\d(?:(?:[ .+-]?\d){5}|(?<=[A-Za-z]{5}\d)\d)")  # around it, cards and NUMBERS are looked for
NUMBER = re.compile(
    r"\d(?:(?:[ .-]?\d){7}|\d{5}[+aA]\d{3}|(?<=[^\W\d_]{5}\d)\d"
    r"|(?:(?<=[^\W\d_]\d)|(?<=[^\W\d_][ -]\d))(?: ?\d){5})"
)  # what each of them has inside
BLANKS = str.maketrans("", "", " .")
NO_DIGITS = bytes(set(range(256)) - set(b"0123456789"))
IBAN_LIKE = re.compile(r"\d(?<=[A-Za-z]{2}\d)\d")
IPV4_LIKE = re.compile(r"\d\.\d{1,3}\.\d{1,3}\.\d")
IPV6_LIKE = re.compile(r":[0-9A-Fa-f]{0,4}:")
BEFORE, AFTER = 16, 32  # characters of a card or a number of NUMBERS that may stand around that


class Patterns:
    """Finds private data of known forms.

    region: the country (ISO 3166, two letters) in which phone numbers without a country's prefix are read.

    Raises:
        InputError: `phonenumbers` does not know the region.
    """

    def __init__(self, region: str = "US") -> None:
        import phonenumbers
        import stdnum

        self.version = f"{phonenumbers.__version__} {stdnum.__version__} {region}"
        self._phones = Phones(region)
        self._luhn = import_module("stdnum.luhn").is_valid
        self._iban = partial(import_module("stdnum.iban").is_valid, check_country=False)  # that is a list of banks
        self._numbers = [(number, _check(number)) for number in NUMBERS]

    def find(self, text: str) -> list[Finding]:
        """Findings without overlap; where two forms fit the same characters, the surer one stands."""
        return self._find(text, True, True)

    def _find(self, text: str, secret: bool, other: bool) -> list[Finding]:
        """Those of the kinds that may be there: what opens something; the others."""
        said = unified(text)
        found: list[Finding] = []
        if secret:
            _keep(found, keys(said))
            _keep(found, named(said))
        if other:
            self._find_others(text, said, found)
        return sorted(found, key=lambda f: f.span)

    def _find_others(self, text: str, said: str, found: list[Finding]) -> None:
        _keep(found, self._emails(said) if EMAIL_LIKE.search(said) else ())
        digits = _digits(text)
        if digits >= 4:
            _keep(found, self._ibans(said) if IBAN_LIKE.search(said) else ())
            if NUMBER.search(said):
                windows = [(max(0, m.start() - BEFORE), m.end() + AFTER) for m in NUMBER_LIKE.finditer(said)]
                _keep(found, self._cards(said) if digits >= 12 and CARD_LIKE.search(said) else ())
                _keep(found, self._national(said, windows))
            _keep(found, self._addresses(said))
        if digits >= 7 and PHONE_LIKE.search(text):
            _keep(found, self._phones.valid(text))
            _keep(found, self._phones.named(text))

    def find_each(self, texts: Sequence[str]) -> list[list[Finding]]:
        """`find` of each; many times faster where few texts say anything."""
        found: list[list[Finding]] = [[] for _ in texts]
        for first, some in chunks(texts):
            secret, other = likely(some)
            for number in secret | other:
                found[first + number] = self._find(some[number], number in secret, number in other)
        return found

    def _emails(self, text: str) -> Iterator[Finding]:
        for match in EMAIL.finditer(text):
            if not RESERVED.fullmatch(match[0]):
                edge = "'_" if text.startswith("_", match.end()) else "'"  # quotes; Markdown
                start = match.end() - len(match[0].lstrip(edge))
                yield Finding(Span(start, match.end()), "e-mail address", 0.95)

    def _ibans(self, text: str) -> Iterator[Finding]:
        for match in IBAN.finditer(text):
            end = match.end()
            while end > match.start() and not self._iban(text[match.start() : end]):  # a word may follow it
                end = max(text.rfind(sign, match.start(), end) for sign in " .-")
            if end > match.start():
                yield Finding(Span(match.start(), end), "IBAN, checked", 1.0)

    def _cards(self, text: str) -> Iterator[Finding]:
        spans = [match.span() for match in CARD.finditer(text)]
        spans += [(match.start(), match.end(1)) for match in CARD_GROUPS.finditer(text)]
        for start, end in dict.fromkeys(spans):
            number = NO_DIGIT.sub("", text[start:end])
            if CARD_ISSUER.fullmatch(number) and self._luhn(number):
                yield Finding(Span(start, end), "card number, checked", 1.0)

    def _national(self, text: str, windows: Sequence[tuple[int, int]]) -> Iterator[Finding]:
        windows = [window for window in windows if ANY_NUMBER.search(text, *window)]
        for (number, check), (start, end) in product(self._numbers, windows):
            for match in number.alone.finditer(text, start, end):
                if match.end() == end < len(text):
                    continue  # cut off
                named = (number.strong is not None and number.strong.fullmatch(match[0])) or _near(number, text, match)
                if named and check(match[0].translate(BLANKS)):
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


def _digits(text: str) -> int:
    """How many digits there are; fast where most text is."""
    return len(text.encode().translate(None, NO_DIGITS)) if text.isascii() else len(DIGIT.findall(text))


def _keep(found: list[Finding], new: Iterable[Finding]) -> None:
    """Add what overlaps nothing found before."""
    for finding in new:
        if all(finding.span.end <= f.span.start or f.span.end <= finding.span.start for f in found):
            found.append(finding)


def _near(number: Number, text: str, match: re.Match[str]) -> bool:
    around = text[max(0, match.start() - NEARBY) : match.start()] + "\n" + text[match.end() : match.end() + NEARBY]
    return number.context.search(around) is not None


def _check(number: Number) -> Callable[[str], bool]:
    if not number.module:
        return lambda _: True
    check: Callable[[str], bool] = import_module(f"stdnum.{number.module}").is_valid
    return check
