"""The facts judge on TruthfulQA: can it tell correct answers from incorrect ones, given references?

    python bench/facts.py [FOLDER]    FOLDER (or EXPUNGE_DATA) holds truthfulqa/TruthfulQA.csv

Leave one out: a correct answer is judged with the question's other correct answers as references; an incorrect one with
as many, one correct answer left out at random. Questions with one correct answer only are passed over. "As given" keeps
them all, so that correct answers are said word for word. Accuracy is balanced: the mean of that on correct and that on
incorrect answers, `unknown` being half right. AUC is that of the score. Intervals: 95 %, bootstrap over questions.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from expunge.dialogue import Dialogue
from expunge.judges.facts import FactsJudge, Reference
from expunge.judges.verdict import Judge, Verdict
from expunge.judges.words import token_f1, tokens
from expunge.message import Message

DRAWS = 200
Asked = tuple[int, bool, Verdict]
"""Number of the question, whether the answer is incorrect, verdict."""
Question = tuple[str, list[str], list[str]]
Make = Callable[[list[Reference]], Judge]


class BareF1:
    """Token F1 with the nearest reference alone: what the judge adds to it is the rest."""

    name, version = "token F1", "1"

    def __init__(self, references: Sequence[Reference], threshold: float) -> None:
        self._answers = [tokens(a) for a in references[0].answers]
        self._threshold = threshold

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        scores = [1 - max(token_f1(tokens(d.response or ""), a) for a in self._answers) for d in dialogues]
        limit = 1 - self._threshold
        return [Verdict("hallucination" if s > limit else "clean", s, self.name, self.version) for s in scores]


def questions(path: Path) -> Iterator[Question]:
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            correct, wrong = (_answers(row[name]) for name in ("Correct Answers", "Incorrect Answers"))
            if len(correct) > 1 and wrong:
                yield row["Question"], correct, wrong


def _answers(cell: str) -> list[str]:
    return list(dict.fromkeys(a.strip() for a in cell.split(";") if a.strip()))


def verdicts(rows: Sequence[Question], make: Make, *, leave_out: bool = True) -> list[Asked]:
    rng = random.Random(0)
    found: list[Asked] = []
    for number, (question, correct, wrong) in enumerate(rows):
        for said, incorrect in [(a, False) for a in correct] + [(a, True) for a in wrong]:
            left_out = rng.choice(correct) if incorrect else said
            known = tuple(a for a in correct if a != left_out or not leave_out)
            references = [Reference((question,), known)]
            dialogue = Dialogue((Message("user", question), Message("assistant", said)))
            found.append((number, incorrect, make(references).judge([dialogue])[0]))
    return found


def figures(found: Sequence[Asked]) -> tuple[float, float]:
    """Balanced accuracy and AUC."""
    right = {True: [0.0, 0], False: [0.0, 0]}
    for _, incorrect, verdict in found:
        hit = 0.5 if verdict.label == "unknown" else float(verdict.flagged == incorrect)
        right[incorrect][0] += hit
        right[incorrect][1] += 1
    accuracy = sum(hits / count for hits, count in right.values()) / 2
    scores = [0.5 if v.label == "unknown" else v.score for _, _, v in found]
    return accuracy, float(roc_auc_score([incorrect for _, incorrect, _ in found], scores))


def report(name: str, found: Sequence[Asked]) -> None:
    by_question: dict[int, list[Asked]] = {}
    for item in found:
        by_question.setdefault(item[0], []).append(item)
    groups = list(by_question.values())
    rng = np.random.default_rng(0)
    draws = [
        [item for i in rng.integers(0, len(groups), len(groups)) for item in groups[i]] for _ in range(DRAWS // 10)
    ]
    bounds = np.percentile([figures(draw) for draw in draws], [2.5, 97.5], axis=0)
    unknown = sum(v.label == "unknown" for _, _, v in found) / len(found)
    shown: list[Any] = []
    for i, value in enumerate(figures(found)):
        shown.append(f"{value:.3f} ({bounds[0][i]:.3f}–{bounds[1][i]:.3f})")
    print(f"| {name} | {shown[0]} | {shown[1]} | {unknown:.3f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default=os.environ.get("EXPUNGE_DATA"))
    options = parser.parse_args()
    rows = list(questions(Path(options.folder) / "truthfulqa/TruthfulQA.csv"))
    print(f"{len(rows)} questions, {sum(len(c) + len(w) for _, c, w in rows)} answers")
    print("| method | accuracy | AUC | unknown |\n|---|---|---|---|")
    for threshold in (0.3, 0.5, 0.8):
        bare, facts = partial(BareF1, threshold=threshold), partial(FactsJudge, threshold=threshold)
        report(f"token F1 alone, at {threshold}", verdicts(rows, bare))
        report(f"facts judge, at {threshold}", verdicts(rows, facts))
        report(f"facts judge, at {threshold}, as given", verdicts(rows, facts, leave_out=False))


if __name__ == "__main__":
    main()
