"""The entailment judge: responses that contradict what is known, by a model of natural language inference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.files import digest
from expunge.identity import judge_digest
from expunge.judges.abstention import abstains
from expunge.judges.loading import check_threshold, load, longest_input, place
from expunge.judges.statements import read_statements
from expunge.judges.verdict import Label, Verdict
from expunge.judges.windows import windows
from expunge.packing import by_length

RULES = "entailment rules 3"  # raise it whenever a rule changes
LABELS = ("entailment", "neutral", "contradiction")
TOKENS = 16_384  # in one batch, padding included


@dataclass(frozen=True, slots=True)
class Relation:
    """How a response stands to one reference: the probabilities that it follows from it, and that it contradicts it."""

    entailed: float
    contradicted: float

    @property
    def follows(self) -> bool:
        return self.entailed > max(self.contradicted, 1.0 - self.entailed - self.contradicted)


class EntailmentModel:
    """A model of natural language inference: a classifier whose labels are entailment, neutral and contradiction.

    Raises:
        InputError: it cannot be loaded, or has other labels.
    """

    def __init__(self, model: str | Path, device: str | None = None) -> None:
        self._tokenizer, self._model = load(str(model), "SequenceClassification")
        self._device = place(self._model, device)
        config = self._model.config
        self._order = _order([str(config.id2label[i]) for i in range(config.num_labels)], str(model))
        self._room = longest_input(self._tokenizer, config)
        self.identity = judge_digest(Path(model), config)

    def fits(self, text: str) -> bool:
        """Whether a text leaves half of the model's room to another."""
        return len(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]) <= self._room // 2

    def relations(self, pairs: Sequence[tuple[str, str]]) -> list[Relation]:
        """How each hypothesis stands to its premise, of (premise, hypothesis); a premise too long is cut."""
        import torch

        found: list[Relation] = [Relation(0.0, 0.0)] * len(pairs)
        for batch in by_length([len(one) + len(two) for one, two in pairs], tokens=TOKENS):
            premises, hypotheses = zip(*(pairs[i] for i in batch), strict=True)
            coded: Any = self._tokenizer(
                list(premises), list(hypotheses), padding=True, truncation="only_first", max_length=self._room,
                return_tensors="pt",
            )  # fmt: skip
            with torch.inference_mode():
                chances = self._model(**coded.to(self._device)).logits.float().softmax(-1)
            if not chances.isfinite().all():
                raise InputError("the model answers with numbers that are not finite", remedy="Use another model.")
            for i, row in zip(batch, chances[:, self._order].tolist(), strict=True):
                found[i] = Relation(row[0], row[2])
        return found


class EntailmentJudge:
    """Flags responses that contradict a reference with a probability of at least `threshold`.

    model: a sequence classifier whose labels are entailment, neutral and contradiction, by hub id or folder; the
    reference is its premise, the response its hypothesis. references: JSON Lines of statements, or of questions with
    their answers, see `statements`. A response that follows from one of the references is clean; one that neither
    follows nor contradicts is `unknown`, and so is one without a reference. Abstentions claim nothing and are clean.
    A long reference is cut; a long response is read in overlapping windows: one that contradicts is enough, and all
    must follow.

    Raises:
        InputError: no references, or the model cannot be loaded or has other labels.
    """

    name = "entailment"
    reads_thoughts = False
    label: Label = "hallucination"

    def __init__(
        self, model: str | Path, *, references: str | Path = "", threshold: float = 0.5, device: str | None = None
    ) -> None:
        check_threshold(threshold)
        if not references:
            raise InputError(
                "the judge 'entailment' has no references",
                remedy='Name their file in a judge file: use = "entailment=ORG/MODEL", references = "FILE.jsonl".',
            )
        self.threshold = threshold
        self._statements = read_statements(references)
        self._model = EntailmentModel(model, device)
        self.version = digest(RULES, self._model.identity, repr(threshold), self._statements.version)[:12]

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        verdicts: dict[int, Verdict] = {}
        pairs: list[tuple[int, str, str]] = []
        for i, dialogue in enumerate(dialogues):
            response = dialogue.response or ""
            premises = self._statements.about(dialogue)
            if not response.strip() or not premises:
                reason = "no reference for this dialogue" if response.strip() else "an empty response"
                verdicts[i] = self._answer("unknown", 0.0, reason)
            elif abstains(response):
                verdicts[i] = self._answer("clean", 0.0, "abstains")
            else:
                pieces = list(windows(response, self._model.fits))
                pairs += [(i, premise, piece) for premise in premises for piece in pieces]
        relations: dict[int, dict[str, list[Relation]]] = {}
        for (i, premise, _), relation in zip(pairs, self._model.relations([pair[1:] for pair in pairs]), strict=True):
            relations.setdefault(i, {}).setdefault(premise, []).append(relation)
        for i, found in relations.items():
            verdicts[i] = self._verdict([_whole(pieces) for pieces in found.values()])
        return [verdicts[i] for i in range(len(dialogues))]

    def _verdict(self, relations: Sequence[Relation]) -> Verdict:
        """From the response's relation to each reference."""
        following = [r for r in relations if r.follows and r.contradicted < self.threshold]
        if following:
            best = max(following, key=lambda r: r.entailed)
            return self._answer("clean", best.contradicted, f"follows from a reference: {best.entailed:.2f}")
        worst = max(r.contradicted for r in relations)
        if worst >= self.threshold:
            return self._answer(self.label, worst, f"contradicts a reference: {worst:.2f}")
        return self._answer("unknown", 0.0, "neither follows from the references nor contradicts them")

    def _answer(self, label: Label, score: float, reason: str) -> Verdict:
        return Verdict(label, min(1.0, score), self.name, self.version, reason)


def _whole(pieces: Sequence[Relation]) -> Relation:
    """The relation of a response read in pieces."""
    if len(pieces) == 1:
        return pieces[0]
    contradicted = max(piece.contradicted for piece in pieces)
    return Relation(min(1.0 - contradicted, *(piece.entailed for piece in pieces)), contradicted)


def _order(names: Sequence[str], model: str) -> list[int]:
    """Where the labels entailment, neutral and contradiction stand."""
    lower = [name.lower() for name in names]
    if sorted(lower) != sorted(LABELS):
        raise InputError(
            f"the labels of {model!r} are {', '.join(names)}",
            remedy=f"Give a model of natural language inference, with the labels {', '.join(LABELS)}.",
        )
    return [lower.index(label) for label in LABELS]
