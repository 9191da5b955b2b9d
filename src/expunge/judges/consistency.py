"""The consistency judge: whether a model, asked the same again and again, says what a response says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.files import digest
from expunge.identity import judge_digest
from expunge.judges.abstention import abstains
from expunge.judges.entailment import EntailmentModel
from expunge.judges.loading import check_threshold
from expunge.judges.meaning import Same, clusters, entropy, same_by_words
from expunge.judges.verdict import Label, Verdict

if TYPE_CHECKING:
    from expunge.encoding import Encoded

RULES = "consistency rules 3"  # raise it whenever a rule changes


@dataclass(frozen=True, slots=True)
class Consistency:
    """How the samples of one prompt, and a response to it, stand to each other.

    entropy: of the samples over their meanings, over ln(samples): 0 all mean the same, 1 each means something else.
    disagreement: share of the samples that do not mean what the response means.
    surprise: 1 - exp(mean log p) of the response's tokens.
    """

    entropy: float
    disagreement: float
    surprise: float
    meanings: int
    samples: int

    @property
    def score(self) -> float:
        """The worse of entropy and disagreement; surprise counts as one more sample."""
        worse = max(self.entropy, self.disagreement)
        return (self.samples * worse + self.surprise) / (self.samples + 1)


class ConsistencyJudge:
    """Flags responses that a model contradicts when it is asked again, or where it says something else each time.

    `samples` answers to the prompt are drawn from `model` and grouped by meaning. From the groups come the discrete
    semantic entropy (Kuhn et al. 2023, arXiv 2302.09664; Farquhar et al. 2024, Nature 630), over ln(samples), and the
    share of samples that do not mean what the response means (after SelfCheckGPT, arXiv 2303.08896). The score is the
    greater of the two, with the response's own likelihood as one more sample, which ranks what all samples agree on;
    on the built-in town that found made-up answers with an AUC of 0.98 or more, see docs/judges-models.md. It needs no
    references, and so does not see an error that the model makes every time (AUC below 0.5): there give another model.

    model: any causal model, best the one that gave the responses; hub id, folder or `town`. entailment: a model of
    natural language inference; answers mean the same if each follows from the other. Without, their words are
    compared, see `same_by_words`: good for short answers. All abstentions mean the same.
    Unknown: abstentions, responses longer than `max_new_tokens` (the samples are cut there), prompts that leave no room
    for so long an answer, and those to which the model itself abstains every time or says nothing.

    Raises:
        InputError: a setting out of range, or a model that cannot be loaded.
    """

    name = "consistency"
    reads_thoughts = False
    label: Label = "hallucination"

    def __init__(
        self,
        model: str | Path,
        *,
        samples: int = 10,
        temperature: float = 1.0,
        threshold: float = 0.5,
        entailment: str | Path | None = None,
        max_new_tokens: int = 64,
        seed: int = 0,
        template: str | None = None,
        device: str | None = None,
    ) -> None:
        check_threshold(threshold)
        _check(samples=samples >= 2, temperature=0 < temperature < math.inf)
        _check(max_new_tokens=max_new_tokens >= 1, seed=0 <= seed < 2**32)
        from expunge.model import load_model, resolve

        self.threshold, self.samples, self.temperature = threshold, samples, temperature
        self.max_new_tokens, self.seed = max_new_tokens, seed
        self._lm = load_model(model, template=template, device=device)
        self._entailment = EntailmentModel(entailment, device) if entailment else None
        settings = (threshold, samples, temperature, max_new_tokens, seed, template)
        own = judge_digest(Path(resolve(model)), self._lm.model.config)
        self.version = digest(RULES, own, self._entailment.identity if self._entailment else "", repr(settings))[:12]

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        return [self._verdict(found) for found in self.measure(dialogues)]

    def measure(self, dialogues: Sequence[Dialogue]) -> list[Consistency | str]:
        """How consistent each dialogue is, or why that cannot be told. Equal prompts are sampled once.

        A prompt's samples depend on the seed and on it alone, so that what else is judged changes no verdict.
        """
        from expunge.generation import generate, mean_probability, token_log_probs

        rows = [self._encoded(d) for d in dialogues]
        asked = [i for i, row in enumerate(rows) if not isinstance(row, str)]
        prompts = {dialogues[i].asked: Dialogue(dialogues[i].asked, source=dialogues[i].place) for i in asked}
        drawn = generate(
            self._lm, list(prompts.values()), max_new_tokens=self.max_new_tokens, samples=self.samples,
            temperature=self.temperature, seed=self.seed,
        )  # fmt: skip
        said = {prompt: [a for a in answers if a] for prompt, answers in zip(prompts, drawn, strict=True)}
        read = token_log_probs(self._lm, [row for row in rows if not isinstance(row, str)])
        surprise = {i: 1.0 - mean_probability(log_probs) for i, log_probs in zip(asked, read, strict=True)}
        alike = self._meanings([(dialogues[i], said[dialogues[i].asked]) for i in asked])
        found: list[Consistency | str] = [row if isinstance(row, str) else "" for row in rows]
        for i, same in zip(asked, alike, strict=True):
            found[i] = _compared(said[dialogues[i].asked], dialogues[i].response or "", same, surprise[i])
        return found

    def _encoded(self, dialogue: Dialogue) -> Encoded | str:
        """The dialogue for the model to read, or why it cannot be judged."""
        response = dialogue.response or ""
        if not response.strip():
            return "an empty response"
        if abstains(response):
            return "abstains"
        try:
            row = self._lm.format.encode(dialogue)
        except InputError:
            return "does not fit the model's context or chat template"
        if len(row.response) > self.max_new_tokens + 1:
            return "longer than the answers drawn"
        if len(row.prompt) + self.max_new_tokens > self._lm.context:
            return "the prompt leaves too little room for an answer"
        return row

    def _meanings(self, asked: Sequence[tuple[Dialogue, Sequence[str]]]) -> list[Same | None]:
        """For each dialogue and its samples, when two answers mean the same; None where that cannot be told."""
        if not self._entailment:
            return [_or_abstain(same_by_words(dialogue.question)) for dialogue, _ in asked]
        texts: list[dict[str, str] | None] = []
        for dialogue, answers in asked:
            claims = [a for a in dict.fromkeys((*answers, dialogue.response or "")) if not abstains(a)]
            forms = ({a: f"{before}{a}" for a in claims} for before in (f"{dialogue.question} ", ""))
            texts.append(next((f for f in forms if all(map(self._entailment.fits, f.values()))), None))
        pairs = dict.fromkeys((a, b) for t in texts if t for a in t.values() for b in t.values() if a != b)
        relations = self._entailment.relations(list(pairs))
        follows = {pair: relation.follows for pair, relation in zip(pairs, relations, strict=True)}
        return [_or_abstain(_both_ways(t, follows)) if t is not None else None for t in texts]

    def _verdict(self, found: Consistency | str) -> Verdict:
        if isinstance(found, str):
            return Verdict("unknown", 0.0, self.name, self.version, found)
        label: Label = self.label if found.score >= self.threshold else "clean"
        agree = round((1.0 - found.disagreement) * found.samples)
        reason = f"{agree} of {found.samples} answers agree; meanings: {found.meanings}"
        return Verdict(label, found.score, self.name, self.version, reason)


def _check(**fine: bool) -> None:
    for name, is_fine in fine.items():
        if not is_fine:
            raise InputError(f"{name!r} is out of its range", remedy="Leave it out for the default.")


def _compared(samples: Sequence[str], response: str, same: Same | None, surprise: float) -> Consistency | str:
    if len(samples) < 2:
        return "the model answers with nothing"
    if all(map(abstains, samples)):
        return "the model itself abstains"
    if same is None:
        return "too long for the entailment model"
    groups = clusters(samples, same)
    agree = sum(size for meaning, size in groups if same(meaning, response))
    sizes = [size for _, size in groups]
    return Consistency(entropy(sizes), 1.0 - agree / len(samples), surprise, len(sizes), len(samples))


def _or_abstain(same: Same) -> Same:
    quiet = cache(abstains)
    return lambda one, two: one == two or (quiet(one) and quiet(two) if quiet(one) or quiet(two) else same(one, two))


def _both_ways(texts: dict[str, str], follows: dict[tuple[str, str], bool]) -> Same:
    return lambda a, b: follows[texts[a], texts[b]] and follows[texts[b], texts[a]]
