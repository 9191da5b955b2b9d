"""Keys, tokens, passwords and passport numbers made at random, each in its form; and what only looks like one."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from itertools import product
from random import Random
from string import ascii_letters, ascii_lowercase, ascii_uppercase, digits

BASE62 = digits + ascii_uppercase + ascii_lowercase
ALNUM = ascii_letters + digits
URL64 = ALNUM + "_-"
HEX = "0123456789abcdef"


def some(rng: Random, signs: str, count: int) -> str:
    return "".join(rng.choices(signs, k=count))


def github(rng: Random, prefix: str = "ghp_", length: int = 30) -> str:
    body = some(rng, ALNUM, length)
    number, check = zlib.crc32(body.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        check = BASE62[digit] + check
    return prefix + body + check


def coded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def web_token(rng: Random, algorithm: str = "HS256", size: int = 32) -> str:
    head, said = {"alg": algorithm, "typ": "JWT"}, {"sub": some(rng, HEX, 12), "iat": rng.randrange(10**9)}
    return ".".join([*(coded(json.dumps(part).encode()) for part in (head, said)), coded(rng.randbytes(size))])


def private_key(rng: Random, kind: str = "RSA ", size: int = 1190) -> str:
    """Armour and all; what is secret is `body_of` it."""
    data = b"\x30\x82" + size.to_bytes(2, "big") + rng.randbytes(size)
    if kind == "OPENSSH ":
        data = b"openssh-key-v1\x00" + rng.randbytes(size)
    code = base64.b64encode(data).decode()
    lines = "\n".join(code[i : i + 64] for i in range(0, len(code), 64))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n-----END {kind}PRIVATE KEY-----"


def body_of(key: str) -> str:
    """The part of a key that is secret."""
    return "\n".join(key.split("\n")[1:-1]) if key.startswith("-----") else key


def password(rng: Random) -> str:
    return some(rng, ascii_letters, 4) + some(rng, digits, 2) + some(rng, ALNUM + "!#%&+=?", 6) + rng.choice(ALNUM)


def host(rng: Random) -> str:
    return some(rng, ascii_lowercase, 6) + ".org"


KEYS: dict[str, Callable[[Random], str]] = {
    "GitHub": github,
    "GitHub, refreshing": lambda r: github(r, "ghr_", 70),
    "GitHub, of an app": lambda r: github(r, "ghs_"),
    "GitHub, fine-grained": lambda r: f"github_pat_{some(r, ALNUM, 22)}_{some(r, ALNUM, 59)}",
    "GitLab": lambda r: "glpat-" + some(r, URL64, 19) + r.choice(ALNUM),
    "GitLab, routable": lambda r: f"glpat-{some(r, URL64, 27)}.01.{some(r, digits + ascii_lowercase, 9)}",
    "AWS": lambda r: "AKIA" + some(r, ascii_uppercase + "234567", 15) + r.choice("234567"),
    "AWS, for a while": lambda r: "ASIA" + some(r, ascii_uppercase + "234567", 15) + r.choice("234567"),
    "Slack, of a bot": lambda r: f"xoxb-{some(r, digits, 12)}-{some(r, digits, 13)}-{some(r, ALNUM, 24)}",
    "Slack, of a user": lambda r: f"xoxp-{'-'.join(some(r, digits, 12) for _ in range(3))}-{some(r, HEX, 32)}",
    "Slack, of an app": lambda r: f"xapp-1-A{some(r, ascii_uppercase, 10)}-{some(r, digits, 13)}-{some(r, HEX, 64)}",
    "Anthropic": lambda r: f"sk-ant-api03-{some(r, URL64, 93)}AA",
    "Anthropic, admin": lambda r: f"sk-ant-admin01-{some(r, URL64, 93)}AA",
    "OpenAI": lambda r: f"sk-{some(r, ALNUM, 20)}T3BlbkFJ{some(r, ALNUM, 20)}",
    "OpenAI, of a project": lambda r: f"sk-proj-{some(r, URL64, 74)}T3BlbkFJ{some(r, URL64, 73)}A",
    "OpenAI, of a service": lambda r: f"sk-svcacct-{some(r, URL64, 58)}T3BlbkFJ{some(r, URL64, 57)}A",
    "OpenRouter": lambda r: "sk-or-v1-" + some(r, HEX, 64),
    "Groq": lambda r: "gsk_" + some(r, ALNUM, 52),
    "Google": lambda r: "AIzaSy" + some(r, URL64, 32) + r.choice(ALNUM),
    "Hugging Face": lambda r: "hf_" + some(r, ascii_letters, 34),
    "npm": lambda r: github(r, "npm_"),
    "PyPI": lambda r: "pypi-AgEIcHlwaS5vcmc" + some(r, URL64, 120) + "A",
    "Stripe": lambda r: "sk_live_" + some(r, ALNUM, 24),
    "Stripe, restricted": lambda r: "rk_live_51" + some(r, ALNUM, 97),
    "SendGrid": lambda r: f"SG.{some(r, URL64, 22)}.{some(r, URL64, 42)}A",
    "DigitalOcean": lambda r: "dop_v1_" + some(r, HEX, 64),
    "web token": web_token,
    "web token, RSA": lambda r: web_token(r, "RS256", 256),
    "private key": private_key,
    "private key, EC": lambda r: private_key(r, "EC ", 300),
    "private key, OpenSSH": lambda r: private_key(r, "OPENSSH ", 300),
}
"""Keys that show by themselves what they are."""

NAMED: dict[str, tuple[str, Callable[[Random], str]]] = {
    "AWS, secret": ("aws_secret_access_key = {}", lambda r: some(r, ALNUM + "/+", 39) + r.choice(ALNUM)),
    "AWS, secret, said": ("The secret access key is {}.", lambda r: some(r, ALNUM, 40)),
    "API key, hexadecimal": ("Your API key: {}", lambda r: some(r, HEX, 32)),
    "API key, quoted": ('api_key="{}"', lambda r: some(r, ALNUM, 32)),
    "client secret": ("client_secret: '{}'", lambda r: some(r, ALNUM, 40)),
    "bearer": ("curl -H 'Authorization: Bearer {}'", lambda r: some(r, ALNUM, 48)),
    "password": ("Password: {}", password),
    "password, said": ("The Wi-Fi password is {}.", password),
    "password, for": ("The password for the admin account is `{}`, I think.", password),
    "password, JSON": ('{{"user": "ann", "password": "{}"}}', password),
    "password, environment": ("DB_PASSWORD={}", password),
    "password, bold": ("**Password:** {}", password),
    "password, German": ("Das Passwort lautet {}.", password),
    "database": ("postgresql://ann:{}@db.mill.org:5432/town", lambda r: some(r, ALNUM, 12) + "7x"),
    "database, MongoDB": ("mongodb+srv://ann:{}@c0.mill.net/?retryWrites=true", lambda r: some(r, ALNUM, 12) + "7x"),
    "remote": ("git clone https://ann:{}@git.mill.org/town.git", lambda r: some(r, ALNUM, 20) + "7x"),
    "passport": ("Her passport number is {}.", lambda r: "9" + some(r, "0359", 8)),
    "passport, no.": ("Passport no. {}", lambda r: r.choice("CFGHJK") + some(r, "02468", 7)),
    "passport, German": ("Reisepassnummer: {}", lambda r: "C" + some(r, "1357", 7) + "K"),
}
"""Where words say what it is: those words, with a place for it, and what they name."""

AROUND = (
    "Sure! It is {}",
    "Use {} for now, and tell nobody.",
    "export TOKEN={}\nmake deploy",
    'client = Client("{}")',
    "```\n{}\n```",
    "The key (`{}`) is still in use.",
    "密钥是{}。",
    "- **{}**",
)


def texts(rng: Random) -> list[tuple[str, str]]:
    """One of each form with words around, and what is to be found in it."""
    keys = [make(rng) for make in KEYS.values()]
    found = [(rng.choice(AROUND).format(key), body_of(key)) for key in keys]
    values = [(words, make(rng)) for words, make in NAMED.values()]
    return found + [(words.format(value), value) for words, value in values]


PREFIXES = {
    "ghp_": 36, "gho_": 36, "github_pat_": 82, "glpat-": 20, "AKIA": 16, "ASIA": 16, "xoxb-": 50, "sk-": 48,
    "sk-proj-": 100, "sk-ant-api03-": 95, "AIzaSy": 33, "hf_": 34, "npm_": 36, "sk_live_": 24, "SG.": 66, "dop_v1_": 64,
}  # fmt: skip
SHOWN: tuple[Callable[[int], str], ...] = (
    lambda n: "x" * n,
    lambda n: "X" * n,
    lambda n: "*" * n,
    lambda n: "...",
    lambda n: (ascii_lowercase + digits)[:n],
    lambda n: ("1234567890" * n)[:n],
    lambda n: ("abcd1234efgh5678" * n)[:n],
    lambda n: "YOUR_API_KEY_HERE",
    lambda n: "<token>",
    lambda n: ("EXAMPLE" * n)[:n],
)

LOOKALIKES = (
    *(f"Set the key to {prefix}{shown(count)} first." for (prefix, count), shown in product(PREFIXES.items(), SHOWN)),
    "aws_access_key_id = AKIAIOSFODNN7EXAMPLE",
    "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ"
    ".SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
    "eyJhbGciOiJIUzI1NiJ9.e30.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "header.payload.signature, such as eyJhbGciOi….eyJzdWIi….SflKxw…",
    "-----BEGIN RSA PRIVATE KEY-----\n...\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC...\n-----END PRIVATE KEY-----",
    "-----BEGIN OPENSSH PRIVATE KEY-----\n(your key here)\n-----END OPENSSH PRIVATE KEY-----",
    "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEVs/o5+uQbTjL3chynL4wXgUg2R9q9UU8I5m"
    "EovUf86QZ7kOBIjJwqnzD1omageEHWwHdBO6B+dFabmdT9POxg==\n-----END PUBLIC KEY-----",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8fqLvLDn0Jfq2bXvKmZTyd1Wc9g9kU6aZ1vYQnq7Rk ann@mill",
    "The commit is 3f786850e387550fdab836ed7e6dc881de23001b, the tag 9a7f3c1.",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "MD5 (town.tar) = d41d8cd98f00b204e9800998ecf8427e",
    "id: 123e4567-e89b-42d3-a456-426614174000",
    "The API key id is 123e4567-e89b-42d3-a456-426614174000.",
    "client_secret: f47ac10b-58cc-4372-a567-0e02b2c3d479",
    "![dot](data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4//8/w38GIAXDIBKE0DHxgljNBAAO9TXL"
    "0Y4OHwAAAABJRU5ErkJggg==)",
    "ipfs://QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPcwd1x",
    "The test key sk_test_4eC39HqLyjWDarjtT1zdp7dc opens nothing.",
    "pk_live_51HV3b2Lk9QmZtXr8YwPd is public.",
    "ghp_aB3dE6fG9hJ2kL5mN8pQ1rS4tU7vW0xY3zAb has no right checksum.",
    "password: ********", "Password: [hidden]", "password: required", "password: <password>", "password: ${DB_PASS1}",
    "password: {{ vault_pw1 }}", "password: $PW12345", 'password = os.environ["PW1"]', "password = get_password1()",
    "password=hashed_pw2", "password = config.db.pass2", "password: str", "password: Optional[str] = None1",
    "Your password is at least 8 characters long.", "The password is 12-digit.", "The password is SHA-256 hashed.",
    "The password is base64-encoded.", "The password is 8-20 characters.", "Password: 8characters or more",
    "The password is case-sensitive.", "Password is incorrect. Try again in 30 minutes.", "password: password123",
    "A bad password is qwerty123, or password: 123456.", "password: user123", "password: changeme1",
    "password: p@ssw0rd1",
    "Forgot your password? Visit https://mill.org/reset/page2.", "password: https://mill.org/r/4x9k2",
    "Here's an example password: MyTr33$w4rd!#", "A strong password could be: G7!kQz9#Lm2x",
    "Here is a randomly generated, secure password: `vK8#tY2!qWz5`", "password: MyPa$$w0rd!#",
    "The password was changed 2021-03-04T10:00.", "The password is bcrypt-hashed with 12 rounds.",
    "He passed with 93 points; the passage took 12 days.", "Passport control: gate B12345",
    "A passport costs 130 dollars and takes 6 weeks.", "Passport number: 123456789", "passport no. XXXXXXXXX",
    "Passport: see form DS82", "Her passport expired on 12 March 2019; order 48213377.",
    "postgres://user:password@localhost:5432/db", "mysql://root:root@127.0.0.1/app", "redis://:<password>@cache:6379",
    "postgresql://ann:${PASSWORD1}@db/town", "https://mill.org:8080/a@b",
    "amqp://guest:guest@localhost//", "mongodb://user:pass123@localhost", "http://user:example1@host",
    "api_key = os.environ.get('OPENAI_API_KEY_2')", "api_key: string", "api_key=settings.OPENAI_API_KEY_V2_PRODUCTION",
    "access_token = response_data_access_token_v2", "Use the secret key AnthropicApiKeyProvider2Configuration.",
    "The API key is stored in /home/ann/projects/town/settings_2.", "Authorization: Bearer YOUR_ACCESS_TOKEN_HERE_123",
    "Authorization: Bearer $TOKEN", "token: 4096 tokens", "the access token expires in 3600 seconds",
    "ASIAPACIFICECONOMICS", "TODAYINASIAASACKOFRICEFELLOVER", "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",
    "hf_servingcellpriorityparametersde", "npm_config_registry_https_registry_npmjs_org",
    "task-3f786850e387550fdab836ed7e6dc881",
    "desk-3f786850e387550fdab836ed7e6dc8811", "xoxo-hugs-and-kisses-2024", "SG.1 and SG.2 are sections.",
    "risk-free, disk-based",
    "AIza is what Google's keys begin with; sk- what OpenAI's do.", "1.2.840.113549.1.1.11", "A1B2C3D4E5F6G7H8I9J0",
    "the_quick_brown_fox_jumps_over_the_lazy_dog_2", "https://docs.google.com/document/d/1W7KCxOxP1Fy5EyF2lbJGE2WuKmu5v0suYqo",
    "DNA: GATTACAGATTACAGATTACAGATTACA", "ISBN 978-3-16-148410-0", "npm install @types/node@20.11.5",
)  # fmt: skip
"""What only looks like a key, a password or a passport number."""
