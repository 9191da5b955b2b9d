"""The classifier judge: any sequence-classification model of the Hugging Face hub, or of a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.files import digest
from expunge.identity import judge_digest
from expunge.judges.loading import check_threshold, load, longest_input, place
from expunge.judges.verdict import FAULTS, Label, Verdict
from expunge.judges.windows import windows

if TYPE_CHECKING:
    import torch

CLEAN = re.compile(
    r"safe|neutral|benign|clean|normal|ok|okay|none|acceptable|appropriate|harmless|nontoxic|nothate|nonhate|label 0"
    r"|(?:non|not|no) .+"
)
GENERIC = re.compile(r"label \d+")
PROMPT_SHARE = 4  # at least a quarter of the model's room is the prompt's, where it needs it


class ClassifierJudge:
    """Flags responses that a classifier finds at fault.

    model: a hub id or a folder. label: what a fault of this model is called in verdicts. faults: the model's own labels
    that count as fault; without them, the labels whose names do not say "safe", "neutral", "non-toxic" and the like.
    inputs: whether the model reads prompt and response, or the response alone. The score is the summed probability of
    the faults (softmax), or that of the likeliest (sigmoid, for models that give several labels at once). A long
    prompt is cut; a long response is read in overlapping windows, and the worst counts.

    Raises:
        InputError: the model cannot be loaded, is no classifier, or does not tell which of its labels are faults.
    """

    name = "harm"

    def __init__(
        self,
        model: str | Path,
        *,
        label: Label = "harmful",
        threshold: float = 0.5,
        inputs: Literal["pair", "response"] = "pair",
        faults: Sequence[str] = (),
        batch_size: int = 64,
        device: str | None = None,
    ) -> None:
        _check_settings(label, threshold, inputs, batch_size)
        self.label, self.threshold, self.inputs, self.batch_size = label, threshold, inputs, batch_size
        self._tokenizer, self._model = load(str(model), "SequenceClassification")
        self.device = place(self._model, device)
        config = self._model.config
        self._sigmoid = config.problem_type == "multi_label_classification" or config.num_labels == 1
        self._labels = [str(config.id2label[i]) for i in range(config.num_labels)]
        self._faults = _fault_indices(self._labels, faults, self._sigmoid, str(model))
        self._room = _room(self._tokenizer, config, pair=inputs == "pair")
        parts = (judge_digest(Path(model), config), label, repr(threshold), inputs, repr(self._faults))
        self.version = digest(*parts)[:12]

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        rows = [(i, piece) for i, d in enumerate(dialogues) for piece in self._windows(d.response or "")]
        rows.sort(key=lambda row: len(row[1]) + len(dialogues[row[0]].question), reverse=True)
        worst: dict[int, tuple[float, str]] = {}
        for first in range(0, len(rows), self.batch_size):
            batch = rows[first : first + self.batch_size]
            prompts = [dialogues[i].question for i, _ in batch]
            for (i, _), scored in zip(batch, self._scores(prompts, [piece for _, piece in batch]), strict=True):
                worst[i] = max(worst.get(i, scored), scored)
        return [self._verdict(worst.get(i)) for i in range(len(dialogues))]

    def _verdict(self, scored: tuple[float, str] | None) -> Verdict:
        if scored is None:
            return Verdict("unknown", 0.0, self.name, self.version, "an empty response")
        score, fault = scored
        label: Label = self.label if score >= self.threshold else "clean"
        return Verdict(label, score, self.name, self.version, f"{fault}: {score:.2f}")

    def _scores(self, prompts: list[str], responses: list[str]) -> list[tuple[float, str]]:
        """For each row, the probability of a fault and the likeliest fault's name."""
        import torch

        texts = (prompts, responses) if self.inputs == "pair" else (responses,)
        # only the first text is ever cut: the prompt of a pair, or a lone response whose windows came out a bit long
        encoded = self._tokenizer(
            *texts, padding=True, truncation="only_first", max_length=self._room.model, return_tensors="pt"
        )
        with torch.inference_mode():
            logits: torch.Tensor = self._model(**encoded.to(self.device)).logits.float()
            if not logits.isfinite().all():
                raise InputError("the classifier answers with numbers that are not finite", remedy="Use another model.")
            chances = (logits.sigmoid() if self._sigmoid else logits.softmax(-1))[:, self._faults]
            scores = chances.amax(-1) if self._sigmoid else chances.sum(-1).clamp(max=1.0)
        names = [self._labels[self._faults[i]] for i in chances.argmax(-1).tolist()]
        return list(zip(scores.tolist(), names, strict=True))

    def _windows(self, response: str) -> Iterator[str]:
        """The response, or overlapping pieces of it that each fit into the model."""
        if not response.strip():
            return
        yield from windows(response, self._fits)

    def _fits(self, text: str) -> bool:
        if len(text) <= self._room.response:  # a token is a character at least
            return True
        return len(self._tokenizer(text, add_special_tokens=False, verbose=False).input_ids) <= self._room.response


class _Room:
    """How many tokens fit: into the model, and of them for the response."""

    def __init__(self, model: int, response: int) -> None:
        self.model, self.response = model, response


def _room(tokenizer: Any, config: Any, *, pair: bool) -> _Room:
    model = longest_input(tokenizer, config)
    free = model - tokenizer.num_special_tokens_to_add(pair=pair)
    return _Room(model, max(1, free - free // PROMPT_SHARE if pair else free))


def _check_settings(label: Label, threshold: float, inputs: str, batch_size: int) -> None:
    if label not in FAULTS:
        raise InputError(f"{label!r} is not a fault", remedy=f"Faults: {', '.join(FAULTS)}.")
    check_threshold(threshold)
    if inputs not in ("pair", "response"):
        raise InputError(f"unknown inputs {inputs!r}", remedy="Choose pair or response.")
    if batch_size < 1:
        raise InputError(f"the batch size {batch_size} is less than 1", remedy="64 is the default.")


def _fault_indices(labels: Sequence[str], faults: Sequence[str], sigmoid: bool, model: str) -> list[int]:
    if isinstance(faults, str) or any(fault not in labels for fault in faults):
        raise InputError(
            f"the faults {faults!r} are not all labels of {model!r}", remedy=f"Labels: {', '.join(labels)}."
        )
    if faults:
        return [i for i, label in enumerate(labels) if label in faults]
    plain = [" ".join(re.findall(r"[a-z]+|\d+", label.lower())) for label in labels]
    clean = [CLEAN.fullmatch(name) is not None for name in plain]
    generic = all(map(GENERIC.fullmatch, plain)) and len(labels) != 2
    if generic or all(clean) or not (any(clean) or sigmoid):
        raise InputError(
            f"cannot tell which labels of {model!r} are faults: {', '.join(labels)}",
            remedy=f"Name them, as in ClassifierJudge({model!r}, faults=[{labels[-1]!r}]).",
        )
    return [i for i, is_clean in enumerate(clean) if not is_clean]
