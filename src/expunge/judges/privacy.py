"""The privacy judge: values of a registry, and private data by its form."""

from __future__ import annotations

from collections.abc import Sequence

from expunge.dialogue import Dialogue
from expunge.files import digest
from expunge.judges.finding import Finding
from expunge.judges.patterns import Patterns
from expunge.judges.registry import Entry, Registry
from expunge.judges.verdict import Verdict
from expunge.span import merge_spans

RULES = "privacy rules 5"  # raise it whenever a rule changes


class PrivacyJudge:
    """Flags responses that say a registered value, plainly or in disguise, or private data of a known form.

    registry: the values that must not be said. patterns: whether to look for forms too (e-mail, phone, card, key, …).
    region: the country in which phone numbers without prefix are read.

    A value of the registry scores 1.0; a form scores what `patterns` says of it. The prompt is not judged.

    Raises:
        InputError: the region is unknown.
    """

    def __init__(self, registry: Sequence[Entry] = (), patterns: bool = True, *, region: str = "US") -> None:
        self.name = "privacy" if patterns else "registry"
        self._registry = Registry(registry)
        self._patterns = Patterns(region) if patterns else None
        forms = self._patterns.version if self._patterns else ""
        self.version = digest(RULES, self._registry.digest, forms)[:12]
        self._clean = Verdict("clean", 0.0, self.name, self.version)

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        texts = [dialogue.response or "" for dialogue in dialogues]
        said = self._registry.find_each(texts)
        if self._patterns:
            said = [one + two for one, two in zip(said, self._patterns.find_each(texts), strict=True)]
        return [self._verdict(findings) for findings in said]

    def _verdict(self, findings: Sequence[Finding]) -> Verdict:
        if not findings:
            return self._clean
        return Verdict(
            label="privacy",
            score=max(f.score for f in findings),
            judge=self.name,
            version=self.version,
            reason="; ".join(dict.fromkeys(f.reason for f in findings)),
            spans=merge_spans(f.span for f in findings),
        )

    def find(self, text: str) -> list[Finding]:
        """What is private in `text`."""
        return self._registry.find(text) + (self._patterns.find(text) if self._patterns else [])
