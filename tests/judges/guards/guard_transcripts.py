"""Answers in the form that each family documents, written for these tests; None where they cannot be read."""

from __future__ import annotations

from expunge.judges.guards.answer import Family
from expunge.judges.guards.granite_guardian import GraniteGuardian
from expunge.judges.guards.llama_guard import LlamaGuard
from expunge.judges.guards.qwen3guard import Qwen3Guard
from expunge.judges.guards.shieldgemma import ShieldGemma
from expunge.judges.guards.wildguard import WildGuard

Read = tuple[str, tuple[str, ...], str] | None

TRANSCRIPTS: list[tuple[Family, str, Read]] = [
    (Qwen3Guard(), "Safety: Safe\nCategories: None\nRefusal: No", ("Safe", (), "")),
    (Qwen3Guard(), "Safety: Safe\nCategories: None\nRefusal: Yes\n", ("Safe", (), "refuses")),
    (
        Qwen3Guard(),
        "<think>\n\n</think>\n\nSafety: Unsafe\nCategories: Violent\nRefusal: No",
        ("Unsafe", ("Violent",), ""),
    ),
    (
        Qwen3Guard(),
        "Safety: Unsafe\nCategories: Non-violent Illegal Acts, PII,Violent\nRefusal: No",
        ("Unsafe", ("Non-violent Illegal Acts", "PII", "Violent"), ""),
    ),
    (
        Qwen3Guard(),
        "Safety: Controversial\nCategories: Politically Sensitive Topics\nRefusal: No",
        ("Controversial", ("Politically Sensitive Topics",), ""),
    ),
    (Qwen3Guard(), "Safety: Unsafe\nCategories: Violent", None),
    (Qwen3Guard(), "Safety: Unsafe\nCategories: None\nRefusal: No", None),
    (Qwen3Guard(), "Safety: Safe\nCategories: Violent\nRefusal: No", None),
    (Qwen3Guard(), "Safety: Safe\nSafety: Unsafe\nCategories: None\nRefusal: No", None),
    (Qwen3Guard(), "Safety: Harmless\nCategories: None\nRefusal: No", None),
    (Qwen3Guard(), "Safety: Unsafe\nCategories: Weather\nRefusal: No", None),
    (LlamaGuard(), "safe", ("safe", (), "")),
    (LlamaGuard(), "\n\nsafe", ("safe", (), "")),
    (LlamaGuard(), "\n\nunsafe\nS1", ("unsafe", ("S1: Violent Crimes",), "")),
    (LlamaGuard(), "unsafe\nS2,S10, S2", ("unsafe", ("S2: Non-Violent Crimes", "S10: Hate"), "")),
    (LlamaGuard(), "unsafe\nS21", ("unsafe", ("S21: other",), "")),
    (LlamaGuard(), "unsafe", None),
    (LlamaGuard(), "safe\nS1", None),
    (LlamaGuard(), "unsafe\nviolence", None),
    (LlamaGuard(), "I think this is unsafe", None),
    (
        WildGuard(),
        "Harmful request: yes\nResponse refusal: yes\nHarmful response: no",
        ("no", (), "harmful request, refuses"),
    ),
    (WildGuard(), "Harmful request: no\nResponse refusal: no\nHarmful response: no\n", ("no", (), "")),
    (WildGuard(), "Harmful request: yes\nResponse refusal: no\nHarmful response: yes", ("yes", (), "harmful request")),
    (WildGuard(), "Harmful request: yes\nResponse refusal: no", None),
    (WildGuard(), "Harmful request: yes\nResponse refusal: no\nHarmful response: n/a", None),
    (WildGuard(), "Harmful response: yes", None),
    (GraniteGuardian(), "Yes", ("Yes", ("harm",), "")),
    (GraniteGuardian(), "No\n<confidence> High </confidence>", ("No", (), "")),
    (GraniteGuardian("violence"), "<score> yes </score>", ("Yes", ("violence",), "")),
    (GraniteGuardian(), "<think>\n</think>\n<score> no </score>", ("No", (), "")),
    (
        GraniteGuardian("groundedness"),
        "<think>It adds a year.</think><score>yes</score>",
        ("Yes", ("groundedness",), ""),
    ),
    (GraniteGuardian(), "<score> maybe </score>", None),
    (GraniteGuardian(), "<score> yes", None),
    (GraniteGuardian(), "Yes and no", None),
    (GraniteGuardian(), "<think>It never ends", None),
    (ShieldGemma(), "Yes", ("Yes", (), "")),
    (ShieldGemma(), "No. The response is about bread.", ("No", (), "")),
    (ShieldGemma(), "Nothing", None),
    (ShieldGemma(), "The answer is Yes", None),
]
FAMILIES: tuple[Family, ...] = (Qwen3Guard(), LlamaGuard(), WildGuard(), GraniteGuardian(), ShieldGemma())
