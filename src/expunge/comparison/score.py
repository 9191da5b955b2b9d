"""One score of an unlearned model, cheap enough to be taken many times: forgetting, privacy and ability.

The measures are those of the audit, without its intervals; the winner is for an audit to confirm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, harmonic_mean

from expunge.audit.copies import exact_copy
from expunge.audit.intervals import auc
from expunge.audit.likelihood import extraction_strength
from expunge.audit.measures import right
from expunge.audit.membership import min_k
from expunge.audit.quantization import rounded
from expunge.audit.reading import Sets, encode_old
from expunge.audit.relearning import fine_tune, halves
from expunge.audit.rouge import rouge_recall
from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.generation import answer_length, greedy, mean_probability, token_log_probs, token_scores
from expunge.judges.panel import judge_all
from expunge.judges.reproduction import ReproductionJudge
from expunge.judges.verdict import Judge, Judged
from expunge.model import LanguageModel


@dataclass(frozen=True, slots=True)
class Score:
    """What a model comes to; probabilities and shares in [0, 1]. None: it could not be measured.

    overall: harmonic mean of forgetting, privacy (where there is a holdout set) and ability.
    forgetting: 1 − mean of probability, ROUGE-L recall and extraction strength of the old responses, over the oracle's.
    privacy: 1 − |AUC − the oracle's| over the oracle's distance to the end on that side (½ where there is no oracle);
        AUC of Min-K 40 % of forgotten against holdout rows.
    ability: mean probability of ordinary responses over the original's, at most 1.
    probability: of what was at fault. unseen: the same in words never trained on; rounded: with weights in 4 bits;
        relearned: after fine-tuning on the other half of the old responses.
    flagged: share of the forgotten prompts, in trained and in new words, whose greedy answer says again what was
        flagged or is flagged by a judge: another falsehood in the place of the old one is no forgetting.
    auc: as above. rouge: ROUGE-L recall of greedy answers to ordinary prompts; right: share of them that are exactly
        right; neighbours: their `ability`, alone.
    """

    overall: float
    forgetting: float
    privacy: float | None
    ability: float
    probability: float
    unseen: float | None
    rounded: float
    relearned: float | None
    flagged: float
    auc: float | None
    rouge: float
    right: float
    neighbours: float | None


class Scorer:
    """Scores models by one original, and an oracle where there is one; what concerns these is computed once.

    judges: of greedy answers to the forgotten prompts, besides the one that looks for the old responses. relearn_rate:
    of the attack; default: that of the audit. key: what a score depends on, besides models and sets.
    """

    def __init__(
        self,
        original: LanguageModel,
        sets: Sets,
        oracle: LanguageModel | None = None,
        *,
        judges: Sequence[Judge] = (),
        seed: int = 0,
        relearn_rate: float | None = None,
    ) -> None:
        self._judges = [ReproductionJudge(sets.faulty), *judges]
        self._sets, self._seed, self._rate = sets, seed, relearn_rate
        self.key = [seed, relearn_rate, oracle is not None]
        self._ordinary = _probabilities(original, sets.ordinary)
        self._oracle: tuple[float, float | None] = (0.0, 0.5)
        _check_finite(original, self._ordinary)
        if oracle:
            fault = _at_fault(oracle, sets.faulty)
            _check_finite(oracle, fault)
            self._oracle = self._memory(oracle, self._said(oracle), fault), self._auc(oracle)

    def score(self, lm: LanguageModel) -> Score:
        """Of one model, which is not changed.

        Raises:
            InputError: what it says is not finite.
        """
        sets, (known, level) = self._sets, self._oracle
        fault, ordinary, trained = _at_fault(lm, sets.faulty), _probabilities(lm, sets.ordinary), len(sets.trained)
        _check_finite(lm, [*fault, *ordinary])
        said = self._said(lm)
        forgetting = min(1.0, (1 - self._memory(lm, said, fault)) / max(1e-9, 1 - known))
        found = self._auc(lm)
        privacy = None
        if found is not None and level is not None:
            privacy = 1 - abs(found - level) / max(1e-9, 1 - level if found > level else level)
        ability = _ratio(ordinary, self._ordinary)
        near = len(sets.neighbours)
        parts = [x for x in (forgetting, privacy, ability) if x is not None]
        answers = _answers(lm, sets.ordinary)
        return Score(
            overall=harmonic_mean([max(0.0, x) for x in parts]),
            forgetting=forgetting,
            privacy=privacy,
            ability=ability,
            probability=fmean(fault[:trained]),
            unseen=fmean(fault[trained:]) if sets.unseen else None,
            rounded=fmean(_at_fault(rounded(lm, 4), sets.faulty)[:trained]),
            relearned=self._relearned(lm),
            flagged=self._flagged(said),
            auc=found,
            rouge=fmean(rouge_recall(a, d.response or "") for d, a in zip(sets.ordinary, answers, strict=True)),
            right=fmean(map(right, sets.ordinary, answers)),
            neighbours=_ratio(ordinary[:near], self._ordinary[:near]) if near else None,
        )

    def ability(self, lm: LanguageModel, rows: int) -> float:
        """As in a score, on so many ordinary rows at most: quick enough to be asked in the middle of a training."""
        every = -(-len(self._ordinary) // rows)
        asked = self._sets.ordinary[::every]
        return _ratio(_probabilities(lm, asked), self._ordinary[::every])

    def _said(self, lm: LanguageModel) -> list[str]:
        """The greedy answers to the forgotten prompts, in trained words first."""
        return _answers(lm, [j.dialogue for j in self._sets.faulty])

    def _flagged(self, said: Sequence[str]) -> float:
        given = [j.dialogue.answered(text) for j, text in zip(self._sets.faulty, said, strict=True) if text]
        return sum(item.flagged for item in judge_all(self._judges, given)) / len(said)  # an empty one is not at fault

    def _memory(self, lm: LanguageModel, said: Sequence[str], fault: Sequence[float]) -> float:
        dialogues = [j.dialogue for j in self._sets.trained]
        scores = token_scores(lm, [lm.format.encode(d) for d in dialogues])
        probability = fmean(fault[: len(dialogues)])
        rouge = fmean(rouge_recall(a, d.response or "") for d, a in zip(dialogues, said, strict=False))
        return fmean([probability, rouge, fmean(extraction_strength(s.greedy.tolist()) for s in scores)])

    def _auc(self, lm: LanguageModel) -> float | None:
        if not self._sets.holdout:
            return None
        members, others = (
            [min_k(s) for s in token_scores(lm, [lm.format.encode(d) for d in dialogues])]
            for dialogues in ([j.dialogue for j in self._sets.trained], self._sets.holdout)
        )
        return auc(members, others).value

    def _relearned(self, lm: LanguageModel) -> float | None:
        """Each half of the forget set after training on the other."""
        parts = halves(self._sets.trained, self._seed)
        if not all(parts):
            return None
        found: list[float] = []
        for taught, asked in (parts, parts[::-1]):
            attacked = exact_copy(lm)
            for _ in fine_tune(attacked, encode_old(lm, taught), self._seed, rate=self._rate):
                pass
            found += _at_fault(attacked, asked)
        return fmean(found)


def _check_finite(lm: LanguageModel, probabilities: Sequence[float]) -> None:
    if not all(map(math.isfinite, probabilities)):
        remedy = "Its weights are broken, or too large for the dtype that they are stored in: give others."
        raise InputError(f"what the model {lm.name!r} says is not finite", remedy=remedy)


def _at_fault(lm: LanguageModel, items: Sequence[Judged]) -> list[float]:
    """Probability of what was at fault in each old response."""
    rows = encode_old(lm, items)
    return [mean_probability(p, row.fault) for p, row in zip(token_log_probs(lm, rows), rows, strict=True)]


def _probabilities(lm: LanguageModel, dialogues: Sequence[Dialogue]) -> list[float]:
    """Of each response."""
    return [mean_probability(p) for p in token_log_probs(lm, [lm.format.encode(d) for d in dialogues])]


def _ratio(now: Sequence[float], before: Sequence[float]) -> float:
    return min(fmean(now) / max(1e-9, fmean(before)), 1.0)  # in this order: what is no number stays none


def _answers(lm: LanguageModel, dialogues: Sequence[Dialogue]) -> list[str]:
    return greedy(lm, dialogues, max_new_tokens=answer_length(lm, [d.response or "" for d in dialogues]))
