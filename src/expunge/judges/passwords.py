"""Passwords and passport numbers, by the words before them; passwords in URLs.

Most of what follows "password" is none ("password: required"), so a password has a letter and a digit, is none that
many have ("hunter2"), no name in code, and not shown as an example.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from expunge.judges.credentials import MARKS, QUOTES, SAID, steps
from expunge.judges.finding import Finding
from expunge.span import Span

NEARBY = 40  # characters before a password in which a word may say that it is nobody's
REACH = 160  # characters behind "pass" in which a password or a passport number has its first digit
PASS_LIKE = re.compile(rf"(?ai:pass(?:(?<=e....)|(?=[wpc]))[^0-9]{{1,{REACH}}}[0-9])")  # `likely` looks for it too
PASSWORD = re.compile(
    rf"(?P<name>(?ai:passw(?:or[dt]|d)|passcode|passphrase))(?:\s(?:for|of|to|on)\s[^\n:=.,;?!]{{1,40}}?)?"
    rf"{SAID}(?P<marks>{MARKS})(?P<value>[^\s{QUOTES}<>{{}}]{{6,64}})(?![^\s{QUOTES}<>{{}}])",
    re.ASCII,
)
IN_URL = re.compile(
    rf"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{{1,20}}://[^\s:/@<>{QUOTES}]{{0,64}}"
    rf":(?P<value>[^\s:/@<>{{}}$(){QUOTES}]{{6,128}})@(?=[A-Za-z0-9])",
    re.ASCII,
)
PASSPORT = re.compile(
    r"(?ai:passport|reisepass)"
    rf"(?:(?ai:\s?(?:number|num|no|nr|nummer)\b\.?){MARKS}(?:\s?[:=#]|\s(?ai:is|was|ist|est)\b)?|{MARKS}\s?[:#])"
    rf"\s{{0,2}}{MARKS}(?P<value>[A-Z0-9]{{6,9}})(?![A-Za-z0-9]|[.,-][0-9])",
    re.ASCII,
)
COMMON = re.compile(
    r".*(?:p[a@][s$]*w|pwd|qwert|1234|letmein|hunter2|change|admin|welcome|example|secret|redact|xxxx|\*\*|\.\.|://)"
    r".*|(?:foo|bar|baz|user|test|guest|root|demo|abc|xyz|string|value|pass|your)[a-z_-]*\d*"
    r"|(?:sha|md|aes|rsa|base|utf|rot|argon|pbkdf|crc|wpa|oauth|http|tls|ipv)-?\d{1,4}(?:[-_/]\w*)*"  # how it is kept
    r"|\d+[-+]?\d*-?(?:char|digit|letter|bit|byte|day|hour|month|year|time|word|symbol|number|min|max|sec|week)\w*"
    r"|\d{4}-\d\d-\d\d.*|[\w.+-]+@[\w-]+\.[\w.]+",
    re.ASCII | re.IGNORECASE,
)
SHOWN = re.compile(
    r"\b(?:example|sample|strong|secure|complex|random|weak|generated|suggested|possible)\b[^\n.:]{0,20}$"
)
NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
NAMES = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+", re.ASCII)


def named(text: str) -> Iterator[Finding]:
    """The passwords and passport numbers in a text."""
    if "pass" in text.lower() and PASS_LIKE.search(text):
        for match in PASSWORD.finditer(text):
            if value := _password(match):
                yield _finding(match, value, "password, by the words around")
        for match in PASSPORT.finditer(text):
            if _passport(match["value"]):
                yield _finding(match, match["value"], "passport number, by the words around")
    if "://" in text:
        for match in IN_URL.finditer(text):
            if _secret(match["value"]):
                yield _finding(match, match["value"], "password in a URL")


def _finding(match: re.Match[str], value: str, reason: str) -> Finding:
    start = match.start("value")
    return Finding(Span(start, start + len(value)), reason, 0.8)


def _password(match: re.Match[str]) -> str:
    """The password without the signs of its sentence; nothing where it is none."""
    value, sign = match["value"], match["sign"]
    if SHOWN.search(match.string[max(0, match.start() - NEARBY) : match.start()].lower()):
        return ""  # "here is a strong password"
    if not set(QUOTES).isdisjoint(match["marks"]):
        return value if _secret(value) else ""
    value = re.split(r"[,;|]", value)[0].rstrip(".:?*_)")
    if not set("()[]").isdisjoint(value) or value[:1] in ("$", "%", "&") or NAMES.fullmatch(value):
        return ""
    if sign in ("=", ":=") and NAME.fullmatch(value) and not match["name"].isupper():
        return ""  # another name in code
    if sign is None and "-" in value:
        return ""  # "is 12-digit", "is base64-encoded"
    return value if _secret(value) else ""


def _secret(value: str) -> bool:
    """Whether it can be somebody's password."""
    letters, digits = (any(map(kind, value)) for kind in (str.isalpha, str.isdigit))
    return len(value) >= 6 and letters and digits and len(set(value)) >= 5 and not COMMON.fullmatch(value)


def _passport(value: str) -> bool:
    return sum(map(str.isdigit, value)) >= 5 and steps(value) < 0.7
