"""Presidio as a judge: the recognizers of `presidio-analyzer`, without any model unless one is named.

No recognizer of ours opens a connection: the e-mail recognizer, which would fetch the list of public suffixes at its
first use, reads the list that comes with `tldextract`; a spaCy model is never downloaded.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from expunge.dialogue import Dialogue
from expunge.errors import InputError, MissingExtraError
from expunge.files import digest
from expunge.judges.finding import Finding
from expunge.judges.loading import check_threshold
from expunge.judges.verdict import Verdict
from expunge.span import Span, merge_spans

RULES = "presidio rules 1"  # raise it whenever a rule changes


class PresidioJudge:
    """Flags responses in which Presidio finds one of `entities` with a score of at least `threshold`.

    entities: Presidio's names (EMAIL_ADDRESS, US_SSN …); none means all that it knows. spacy: an installed spaCy model
    (a package or a folder) for names and places too; without one, patterns, check digits and context words alone.

    Raises:
        InputError: an entity or language that Presidio does not know, or a spaCy model that is not installed.
        MissingExtraError: `presidio-analyzer` is not installed.
    """

    name = "presidio"
    label = "privacy"

    def __init__(
        self, *, entities: Sequence[str] = (), threshold: float = 0.4, language: str = "en", spacy: str = ""
    ) -> None:
        check_threshold(threshold)
        self.threshold, self.language = threshold, language
        self._analyzer = _analyzer(language, spacy)
        known = sorted(self._analyzer.get_supported_entities(language))
        wanted = [entities] if isinstance(entities, str) else list(entities)
        for entity in wanted:
            if entity not in known:
                raise InputError(f"Presidio knows no entity {entity!r}", remedy=f"Known: {', '.join(known)}.")
        self.entities = tuple(wanted or known)
        packages = (version("presidio-analyzer"), version("tldextract"), version("phonenumbers"))
        self.version = digest(RULES, *packages, language, spacy, repr(threshold), repr(self.entities))[:12]

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        return [self._verdict(dialogue.response or "") for dialogue in dialogues]

    def _verdict(self, response: str) -> Verdict:
        findings = self.find(response)
        if not findings:
            return Verdict("clean", 0.0, self.name, self.version)
        kinds = tuple(dict.fromkeys(f.reason for f in findings))
        return Verdict(
            label="privacy",
            score=min(1.0, max(f.score for f in findings)),
            judge=self.name,
            version=self.version,
            reason="; ".join(kinds),
            spans=merge_spans(f.span for f in findings),
            categories=kinds,
        )

    def find(self, text: str) -> list[Finding]:
        """What Presidio finds in `text`; the reasons are its entities' names."""
        if not text.strip():
            return []
        found = self._analyzer.analyze(
            text, language=self.language, entities=list(self.entities), score_threshold=self.threshold
        )
        spans = [Finding(Span(r.start, r.end), r.entity_type, r.score) for r in found if r.start < r.end]
        return sorted(spans, key=lambda f: f.span)


def _analyzer(language: str, spacy: str) -> Any:
    try:
        import tldextract
        from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
        from presidio_analyzer.predefined_recognizers import EmailRecognizer
    except ImportError:
        raise MissingExtraError("presidio-analyzer", "presidio", "the judge 'presidio'") from None
    suffixes = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

    class OfflineEmailRecognizer(EmailRecognizer):  # type: ignore[misc]  # the package has no types
        def validate_result(self, pattern_text: str) -> bool:
            return bool(suffixes(pattern_text).fqdn)

    engine = _language_engine(language, spacy)
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)  # it warns of each recognizer of another language
    try:
        registry = RecognizerRegistry(supported_languages=[language])
        registry.load_predefined_recognizers(languages=[language], nlp_engine=engine)
        registry.remove_recognizer("EmailRecognizer")
        registry.add_recognizer(OfflineEmailRecognizer(supported_language=language))
        return AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=[language])
    except Exception as error:  # its faults have no common class
        raise InputError(
            f"Presidio cannot be set up for the language {language!r} ({type(error).__name__})",
            remedy='Give another language, such as "en".',
        ) from None


def _language_engine(language: str, model: str) -> Any:
    """Words for Presidio's context rules: from the named spaCy model, else from spaCy's plain tokenizer."""
    import spacy
    from presidio_analyzer.nlp_engine import NlpArtifacts, SpacyNlpEngine

    if model and not (spacy.util.is_package(model) or Path(model).is_dir()):
        raise InputError(f"the spaCy model {model!r} is not installed", remedy="Install it; none is downloaded here.")
    try:
        pipeline = spacy.load(model) if model else spacy.blank(language)
    except Exception as error:  # its faults have no common class
        raise InputError(f"cannot load spaCy for {model or language!r} ({type(error).__name__})") from None

    class Words(SpacyNlpEngine):  # type: ignore[misc]  # the package has no types
        def process_text(self, text: str, language: str) -> NlpArtifacts:
            read = super().process_text(text, language)
            pairs = zip(read.lemmas, read.tokens, strict=True)
            words = [lemma or token.lower_ for lemma, token in pairs]  # the plain tokenizer knows no lemmas
            return NlpArtifacts(read.entities, read.tokens, read.tokens_indices, words, self, language)

    engine = Words()
    engine.nlp = {language: pipeline}
    return engine
