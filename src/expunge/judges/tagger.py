"""The tagger judge: token-classification models, such as those that mark private data, with exact spans."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.files import digest
from expunge.identity import judge_digest
from expunge.judges.finding import Finding
from expunge.judges.loading import check_threshold, load, longest_input, place
from expunge.judges.verdict import FAULTS, Label, Verdict
from expunge.packing import by_length
from expunge.span import Span, merge_spans

RULES = "tagger rules 1"  # raise it whenever a rule changes
PREFIX = re.compile(r"([BIESLU])[-_](.+)", re.IGNORECASE)
BEGINS = frozenset("BSU")
GENERIC = re.compile(r"LABEL_\d+")
OVERLAP = 4  # neighbouring windows share a quarter
TOKENS = 16_384  # in one batch, padding included


@dataclass(frozen=True, slots=True)
class Tag:
    """One of the model's labels: an entity ("" outside all), and whether it begins one."""

    entity: str
    begins: bool


@dataclass(frozen=True, slots=True)
class Token:
    """A token of the response that the model marks."""

    span: Span
    tag: Tag
    score: float


class TaggerJudge:
    """Flags responses in which the model marks one of `entities` with a summed probability of at least `threshold`.

    model: a hub id or a folder. entities: the entities that count, with or without B-/I-; none means all but O. label:
    what is found is called this in verdicts. A token's score is the probability of all labels that count; its entity is
    the likeliest. Long responses are read in overlapping windows, and the surer reading of a token counts. The prompt
    is not judged.

    Raises:
        InputError: the model cannot be loaded, is no tagger, gives no character offsets, or its labels do not tell.
    """

    name = "tagger"

    def __init__(
        self,
        model: str | Path,
        *,
        entities: Sequence[str] = (),
        label: Label = "privacy",
        threshold: float = 0.5,
        device: str | None = None,
    ) -> None:
        check_threshold(threshold)
        if label not in FAULTS:
            raise InputError(f"{label!r} is not a fault", remedy=f"Faults: {', '.join(FAULTS)}.")
        self.label, self.threshold = label, threshold
        self._tokenizer, self._model = load(str(model), "TokenClassification")
        if not getattr(self._tokenizer, "is_fast", False):
            raise InputError("this model's tokenizer gives no character offsets", remedy="Use its fast tokenizer.")
        self.device = place(self._model, device)
        config = self._model.config
        names = [str(config.id2label[i]) for i in range(config.num_labels)]
        self._tags = [tag_of(name) for name in names]
        self._counting = _counting(names, [entities] if isinstance(entities, str) else entities, str(model))
        self._room = longest_input(self._tokenizer, config)
        self.version = digest(
            RULES, judge_digest(Path(model), config), label, repr(threshold), repr(self._counting), repr(self._room)
        )[:12]

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        responses = [dialogue.response or "" for dialogue in dialogues]
        return [self._verdict(text, found) for text, found in zip(responses, self.find_all(responses), strict=True)]

    def _verdict(self, response: str, findings: Sequence[Finding]) -> Verdict:
        if not response.strip():
            return Verdict("unknown", 0.0, self.name, self.version, "an empty response")
        if not findings:
            return Verdict("clean", 0.0, self.name, self.version)
        kinds = tuple(dict.fromkeys(f.reason for f in findings))
        score = max(f.score for f in findings)
        spans = merge_spans(f.span for f in findings)
        return Verdict(self.label, score, self.name, self.version, "; ".join(kinds), spans, categories=kinds)

    def find_all(self, texts: Sequence[str]) -> list[list[Finding]]:
        """What the model marks in each text; the reasons are its entities' names."""
        tokens: list[dict[Span, Token]] = [{} for _ in texts]
        rows = [(i, ids, offsets) for i, text in enumerate(texts) for ids, offsets in self._windows(text)]
        for batch in by_length([len(ids) for _, ids, _ in rows], tokens=TOKENS):
            for k, marked in zip(batch, self._marked([rows[k][1:] for k in batch]), strict=True):
                known = tokens[rows[k][0]]
                for token in marked:
                    if token.span not in known or known[token.span].score < token.score:
                        known[token.span] = token
        return [joined(text, list(found.values())) for text, found in zip(texts, tokens, strict=True)]

    def _windows(self, text: str) -> list[tuple[list[int], list[tuple[int, int]]]]:
        if not text.strip():
            return []
        bare = self._room - self._tokenizer.num_special_tokens_to_add()
        coded = self._tokenizer(
            text, truncation=True, max_length=self._room, stride=max(0, bare // OVERLAP), verbose=False,
            return_overflowing_tokens=True, return_offsets_mapping=True,
        )  # fmt: skip
        return list(zip(coded["input_ids"], coded["offset_mapping"], strict=True))

    def _marked(self, rows: Sequence[tuple[list[int], list[tuple[int, int]]]]) -> list[list[Token]]:
        import torch

        columns = max(len(ids) for ids, _ in rows)
        padding = self._tokenizer.pad_token_id or 0
        ids = torch.tensor([ids + [padding] * (columns - len(ids)) for ids, _ in rows], device=self.device)
        mask = torch.tensor([[1] * len(ids) + [0] * (columns - len(ids)) for ids, _ in rows], device=self.device)
        with torch.inference_mode():
            chances = self._model(input_ids=ids, attention_mask=mask).logits.float().softmax(-1)
        if not chances[mask.bool()].isfinite().all():
            raise InputError("the tagger answers with numbers that are not finite", remedy="Use another model.")
        found = []
        for (_, offsets), row in zip(rows, chances[:, :, self._counting].cpu(), strict=True):
            totals, best = row.sum(-1).clamp(max=1.0).tolist(), row.argmax(-1).tolist()
            found.append(
                [
                    Token(Span(start, end), self._tags[self._counting[best[k]]], totals[k])
                    for k, (start, end) in enumerate(offsets)
                    if start < end and totals[k] >= self.threshold
                ]
            )
        return found


def joined(text: str, tokens: Sequence[Token]) -> list[Finding]:
    """Marked tokens as findings: neighbours of one entity, with nothing but white space between, are one; trimmed."""
    groups: list[list[Token]] = []
    for token in sorted(tokens, key=lambda t: t.span):
        last = groups[-1][-1] if groups else None
        goes_on = (
            last is not None
            and last.tag.entity == token.tag.entity
            and not text[last.span.end : token.span.start].strip()
            and not (token.tag.begins and last.span.end < token.span.start)
        )
        if goes_on:
            groups[-1].append(token)
        else:
            groups.append([token])
    findings = []
    for group in groups:
        start, end = group[0].span.start, max(token.span.end for token in group)
        said = text[start:end]
        span = Span(start + len(said) - len(said.lstrip()), end - len(said) + len(said.rstrip()))
        if span.start < span.end:
            findings.append(Finding(span, group[0].tag.entity, max(token.score for token in group)))
    return findings


def tag_of(name: str) -> Tag:
    """B-, I-, E-, S- (L-, U-) and plain labels; O is outside."""
    if name.upper() in ("O", "OUTSIDE"):
        return Tag("", False)
    match = PREFIX.fullmatch(name)
    return Tag(match[2], match[1].upper() in BEGINS) if match else Tag(name, False)


def _counting(names: Sequence[str], entities: Sequence[str], model: str) -> list[int]:
    tags = [tag_of(name) for name in names]
    known = sorted({tag.entity for tag in tags if tag.entity})
    for entity in entities:
        if entity not in names and entity not in known:
            raise InputError(f"{model!r} has no entity {entity!r}", remedy=f"Known: {', '.join(known)}.")
    if entities:
        return [i for i, name in enumerate(names) if tags[i].entity and {name, tags[i].entity} & set(entities)]
    if all(map(GENERIC.fullmatch, names)) or all(tag.entity for tag in tags) or not known:
        raise InputError(
            f"cannot tell which labels of {model!r} are outside: {', '.join(names)}",
            remedy="Name those that count with the option `entities`.",
        )
    return [i for i, tag in enumerate(tags) if tag.entity]
