"""Texts that try to be markup, and audits that say them everywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from expunge.audit.result import Audit, Sample, Text

Fake = Callable[..., Audit]

HOSTILE = [
    "<script>alert(1)</script>", "</script><script>alert(1)</script>", "</style><style>*{display:none}</style>",
    '"><img src=x onerror=alert(1)>', "'><img src=x onerror=alert(1)>", "<img src=//evil.example/x.png>",
    "<svg onload=alert(1)>", "</svg><svg/onload=alert(1)>", "<svg><title></title><script>1</script></svg>",
    "javascript:alert(1)", '<a href="javascript:alert(1)">x</a>', "<iframe srcdoc='<script>1</script>'></iframe>",
    "{{7*7}}", "{% include '/etc/passwd' %}", "{{ ''.__class__.__mro__ }}", "{# comment #}", "{{ config|safe }}",
    "${7*7}", "<%= 7*7 %>", "`${alert(1)}`", "<!-- -->", "<!--", "-->", "--!><img src=x>", "<![CDATA[ x ]]>",
    "<!doctype html>", "<?xml version='1.0'?>", "<base href='//evil.example'>", "<meta http-equiv=refresh content=0>",
    "<link rel=stylesheet href=//evil.example>", "<form action=//evil.example><input name=q>", "<plaintext>",
    "</article></main></body></html>", "<body onload=alert(1)>", "<details open ontoggle=1>", "<textarea>",
    "<noscript><p title='</noscript>'>",
    "&lt;script&gt;", "&#60;script&#62;", "&amp;lt;", "\u2028alert(1)\u2029", "\x00<scr\x00ipt>", "\x1b[31mred\x1b[0m",
    "\u202egnp.exe\u202c", "\u2066isolated\u2069", "\ufeff<b>bom</b>", "\ud800 lone surrogate", "<\u0130mg>",
    "\x85\x0b\x0c", "<template><mark></template>",
]  # fmt: skip


def spoken(text: str) -> Sample:
    """A sample that says `text` everywhere."""
    said = Text(text)
    return Sample(text, "trained", text, text, said, said, said, said, True, True, 1, 2)


def audit_saying(fake: Fake, text: str) -> Audit:
    measures = tuple(replace(m, title=text, meaning=text) for m in fake().measures)
    names: dict[str, Any] = {"model": text, "reference": text, "oracle": text, "facts": {text: {text: [text, 1.5]}}}
    return fake(measures=measures, samples=(spoken(text),) * 3, **names)
