"""Keys and tokens that open something, by their form, or by the words before them.

Formats after GitHub's "Behind GitHub's new authentication token formats" (2021; CRC-32 in base 62), AWS IAM's "Unique
identifiers", GitLab's and Slack's lists of token types, RFC 7519 (JSON web tokens), RFC 7468 (private keys), and the
rules of gitleaks and TruffleHog. A finding is the key alone; of a private key what stands between its first and last
line. Keys made up to show a form, and those for tests (`sk_test_…`), open nothing; UUIDs are mostly names of things.
"""

from __future__ import annotations

import base64
import json
import re
import string
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from expunge.judges.finding import Finding
from expunge.span import Span

IN_KEY = string.ascii_letters + string.digits + "_+/-"
RUN = 20
RUN_LIKE = re.compile(rf"(?=[a-z_+/-]*[A-Z0-9])[{IN_KEY}]{{{RUN}}}")  # in every key; `likely` looks for it too
BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
EXAMPLE = re.compile(
    r"example|sample|placeholder|dummy|redact|insert|replace|change_?me|secret|token|passw|api_?key|your[_-]"
    r"|(?<![a-z])(?:fake|test|mock|demo|todo|here)(?![a-z])",
    re.ASCII | re.IGNORECASE,
)
RSA_SIGNATURES = (342, 512, 683)  # in base64, of keys with 2,048, 3,072 and 4,096 bits
JWT_SIGNATURES = {"HS256": (43,), "HS384": (64,), "HS512": (86,), "EdDSA": (86,)}
JWT_SIGNATURES |= {"ES256": (86,), "ES384": (128,), "ES512": (176,)}
BREAK = r"(?:\s|\\[nr])"  # of a line, also as JSON writes it
URL64 = r"[A-Za-z0-9_-]"
QUOTES = "\"'`\u2018\u2019\u201c\u201d"
MARKS = rf"[\\{QUOTES}*_]{{0,4}}"
SAID = rf"{MARKS}\s{{0,2}}(?:(?P<sign>[:=]|:=|=>)|(?ai:is|was|ist|lautet|est)\b:?)[*_]{{0,2}}\s{{0,2}}"
"""What stands between a name and its value: "my_key = '…'", "**Key:** …", "the key is …"."""


def made_up(value: str) -> bool:
    """Whether a value shows a form: "xxxx", "abcd1234", "EXAMPLE". Of 10,000 random keys less than one does."""
    return len(set(value)) < 8 or steps(value) >= 0.5 or EXAMPLE.search(value) is not None


def steps(value: str) -> float:
    """The share of characters that are the one before, or the next in the alphabet."""
    return sum(ord(two) - ord(one) in (0, 1) for one, two in pairwise(value.lower())) / len(value)


def _random(key: str) -> bool:
    return not made_up(key)


def _aws(key: str) -> bool:
    """Whether it is no line of capitals (as one random key in 1,000 seems to be)."""
    return (any(map(str.isdigit, key)) or sum(c in "JKQVWXYZ" for c in key[4:]) >= 2) and not made_up(key)


def _mixed(key: str) -> bool:
    """Whether it is no identifier, which has few capitals or little else."""
    return min(sum(map(str.isupper, key)), sum(map(str.islower, key))) >= 6 and not made_up(key)


def _github(token: str) -> bool:
    """Whether its last six characters are the checksum of what stands between the prefix and them."""
    told = 0
    for character in token[-6:]:
        told = told * 62 + BASE62.index(character)
    return told == zlib.crc32(token[4:-6].encode())


def _jwt(token: str) -> bool:
    """Whether head and claims are JSON and the signature as long as its algorithm's; not jwt.io's John Doe."""
    head, claims, signature = token.split(".")
    try:
        algorithm, said = json.loads(_bytes(head))["alg"], json.loads(_bytes(claims))
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    right = len(signature) in JWT_SIGNATURES.get(str(algorithm), RSA_SIGNATURES)
    return right and isinstance(said, dict) and "John Doe" not in said.values() and not made_up(signature)


def _private(body: str) -> bool:
    """Whether the lines of a private key are as long as its DER says, or shorter where an answer was cut off."""
    code = re.sub(BREAK, "", body)
    if len(code) < 64 or len(set(code)) < 16:
        return False
    if not code.startswith("M"):  # OpenSSH's and PGP's own form, or encrypted
        return True
    data = _bytes(code[:16])
    size = data[1] & 0x7F if data[1] & 0x80 else 0
    told = 2 + size + (int.from_bytes(data[2 : 2 + size], "big") if size else data[1])
    return 3 * len(code.rstrip("=")) // 4 <= told <= 1 << 16


def _bytes(code: str) -> bytes:
    return base64.b64decode(code + "=" * (-len(code) % 4), b"-_", validate=True)


@dataclass(frozen=True, slots=True)
class Key:
    """A form that shows what it is: a sign that such a key begins with, and the rest of it.

    holds: whether what looks so is one. part: the group that is the key.
    """

    kind: str
    sign: str
    alone: re.Pattern[str]
    holds: Callable[[str], bool]
    part: int
    score: float


def _key(kind: str, sign: str, rest: str, holds: Callable[[str], bool] = _random, *, proved: bool = False) -> Key:
    """A key with nothing grown onto it; a group in `rest` is the part of it that is secret."""
    begins = rf"{sign}(?<![A-Za-z0-9]{sign})(?<![A-Za-z0-9][_-]{sign})"
    alone = re.compile(rf"{begins}(?:{rest})(?![A-Za-z0-9]|[_-]{{1,4}}[A-Za-z0-9])", re.ASCII)
    return Key(kind, sign, alone, holds, alone.groups, 1.0 if proved else 0.95)


KEYS = (
    _key("GitHub token, checked", "gh", r"[pousr]_[A-Za-z0-9]{36}|r_[A-Za-z0-9]{76}", _github, proved=True),
    _key("GitHub token", "github_pat_", r"[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"),
    _key("GitLab token", "gl", rf"(?:pat|dt|rt)-{URL64}{{20}}(?:{URL64}{{7,280}}(?:\.[0-9a-z]{{2}})?\.[0-9a-z]{{9}})?"),
    _key("AWS access key", "AKIA", r"[A-Z2-7]{16}", _aws),
    _key("AWS access key", "ASIA", r"[A-Z2-7]{16}", _aws),
    _key("Slack token", "xox", r"[abeoprs]-(?:[0-9]{8,14}-){1,3}[A-Za-z0-9]{18,64}"),
    _key("Slack token", "xapp-", r"[0-9]-[A-Z0-9]{9,12}-[0-9]{10,14}-[0-9a-f]{64}"),
    _key("Anthropic key", "sk-ant-", rf"(?:api|admin)[0-9]{{2}}-{URL64}{{93}}AA|o[ar]t[0-9]{{2}}-{URL64}{{80,120}}"),
    _key("OpenAI key", "sk-", r"[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}"
         rf"|(?:proj|svcacct|admin)-{URL64}{{20,100}}T3BlbkFJ{URL64}{{20,100}}"),
    _key("key of a model's server", "sk-", r"or-v1-[0-9a-f]{64}|[0-9a-f]{32}"),
    _key("key of a model's server", "gsk_", r"[A-Za-z0-9]{52}"),
    _key("key of a model's server", "xai-", r"[A-Za-z0-9]{80}"),
    _key("Google key", "AIza", rf"{URL64}{{35}}"),
    _key("Google key", "GOCSPX-", rf"{URL64}{{28}}"),
    _key("Hugging Face token", "hf_", r"[A-Za-z0-9]{34}", _mixed),
    _key("npm token", "npm_", r"[A-Za-z0-9]{36}", _mixed),
    _key("PyPI token", "pypi-AgE", rf"{URL64}{{60,500}}"),
    _key("Stripe key", "sk_live_", r"[A-Za-z0-9]{24,247}"),
    _key("Stripe key", "rk_live_", r"[A-Za-z0-9]{24,247}"),
    _key("SendGrid key", "SG", rf"\.{URL64}{{22}}\.{URL64}{{43}}"),
    _key("DigitalOcean token", "do", r"[opr]_v1_[0-9a-f]{64}"),
    _key("JSON web token, checked", "eyJ", rf"{URL64}{{12,1000}}\.eyJ{URL64}{{4,4000}}\.{URL64}{{43,700}}",
         _jwt, proved=True),
    _key("private key", "-----BEGIN ", rf"(?:[A-Z]+ ){{0,2}}PRIVATE KEY(?: BLOCK)?-----{BREAK}*"
         rf"(?:[A-Za-z-]{{3,12}}: [^\n\\]{{1,80}}{BREAK}+)*"
         rf"([A-Za-z0-9+/]{{{RUN},}}={{0,2}}(?:{BREAK}+[A-Za-z0-9+/]{{{RUN},}}={{0,2}})*"
         rf"(?:{BREAK}+[A-Za-z0-9+/]{{1,{RUN - 1}}}={{0,2}}(?={BREAK}*(?:-----END|=)))?)", _private, proved=True),
)  # fmt: skip
NAMED_KEY = re.compile(
    r"(?:(?ai:(?:api|access|secret|auth|client|private|encryption|signing)[ _-]?(?:access[ _-]?)?(?:key|token|secret))"
    rf"(?:{SAID}|\s)|\bBearer\s){MARKS}(?!gh[a-z]{{1,2}}_|[spr]k_test_|eyJ)"  # those above prove themselves
    rf"(?P<value>[A-Za-z0-9+/_-]{{{RUN},128}}={{0,2}})(?![A-Za-z0-9+/_=-]|[.(\[]\S)",
    re.ASCII,
)
UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
DIGEST = re.compile(r"[0-9a-f]+")


def keys(text: str) -> Iterator[Finding]:
    """The keys in a text; those of known forms first."""
    for key in KEYS:
        for match in key.alone.finditer(text) if key.sign in text else ():
            if key.holds(match[key.part]) and RUN_LIKE.search(match[0]):
                yield Finding(Span(*match.span(key.part)), key.kind, key.score)
    small = text.lower()
    if any(name in small for name in ("key", "token", "secret", "bearer")):
        for match in NAMED_KEY.finditer(text):
            if _nameless(match["value"]):
                yield Finding(Span(*match.span("value")), "key, by the words around", 0.8)


def _nameless(value: str) -> bool:
    """Whether it is no name in code, whose letters and digits come in longer rows, nor one of a thing."""
    no_name = 2 * len(value) < 7 * len(PIECE.findall(value)) or DIGEST.fullmatch(value)
    return bool(no_name) and any(map(str.isdigit, value)) and not made_up(value) and not UUID.fullmatch(value)
