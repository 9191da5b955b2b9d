"""Span F1 of the privacy judge's patterns and of Presidio's pattern recognizers, on the same sentences; then how many
random keys and passwords are found to the character, and how many texts that only look as if they held one are flagged.

    python bench/privacy.py [FOLDER]      FOLDER (or the environment variable EXPUNGE_DATA) holds presidio_pii/

Only the types that both claim are counted. Presidio runs without a language model, at its best threshold of several:
for each type the one with the highest F1, which favours it. Our patterns were made with these sentences at hand, which
favours us. Intervals: 95 %, 2,000 bootstrap draws of sentences; that of the difference is paired.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np

from expunge.judges.presidio import PresidioJudge
from expunge.judges.privacy import PrivacyJudge
from expunge.span import Span

OURS = {
    "e-mail": "EMAIL_ADDRESS",
    "phone": "PHONE_NUMBER",
    "card": "CREDIT_CARD",
    "IBAN": "IBAN_CODE",
    "US social": "US_SSN",
    "IP": "IP_ADDRESS",
}
TYPES = tuple(OURS.values())
THRESHOLDS = (0.01, 0.35, 0.4, 0.5, 0.75)
DRAWS = 2000
Item = tuple[str, Span]
Match = Callable[[Span, Span], bool]


def exact(one: Span, two: Span) -> bool:
    return one == two


def overlap(one: Span, two: Span) -> bool:
    """Intersection over union of at least a half."""
    both = min(one.end, two.end) - max(one.start, two.start)
    return both > 0 and both / (max(one.end, two.end) - min(one.start, two.start)) >= 0.5


def ours(judge: PrivacyJudge, text: str) -> list[Item]:
    found = []
    for finding in judge.find(text):
        kind = next((kind for begins, kind in OURS.items() if finding.reason.startswith(begins)), finding.reason)
        found.append((kind, finding.span))
    return found


def counts(gold: Sequence[Sequence[Item]], said: Sequence[Sequence[Item]], kind: str, match: Match) -> np.ndarray:
    """True positives, found, and gold of each sentence: int [sentences, 3]. A gold span is matched once."""
    rows = np.zeros((len(gold), 3), dtype=np.int64)
    for i, (right, found) in enumerate(zip(gold, said, strict=True)):
        free = [span for name, span in right if name == kind]
        spans = [span for name, span in found if name == kind]
        rows[i, 1:] = len(spans), len(free)
        for span in spans:
            hit = next((g for g in free if match(span, g)), None)
            if hit is not None:
                free.remove(hit)
                rows[i, 0] += 1
    return rows


def f1(total: np.ndarray) -> np.ndarray:
    """F1 of (..., 3) sums; 0 where there is nothing."""
    return 2 * total[..., 0] / np.maximum(total[..., 1] + total[..., 2], 1)


def drawn(rows: np.ndarray) -> np.ndarray:
    """F1 of bootstrap draws of sentences, the same draws for whatever is compared."""
    rng = np.random.default_rng(0)
    return np.array([f1(rows[rng.integers(0, len(rows), len(rows))].sum(0)) for _ in range(DRAWS)])


def interval(values: np.ndarray) -> str:
    low, high = np.quantile(values, (0.025, 0.975))
    return f"{low:.3f} to {high:.3f}"


def report(name: str, mine: np.ndarray, theirs: np.ndarray) -> None:
    one, two = drawn(mine), drawn(theirs)
    precision = [rows.sum(0)[0] / max(1, rows.sum(0)[1]) for rows in (mine, theirs)]
    recall = [rows.sum(0)[0] / max(1, rows.sum(0)[2]) for rows in (mine, theirs)]
    print(
        f"| {name} | {mine.sum(0)[2]} | {f1(mine.sum(0)):.3f} ({interval(one)}) | {f1(theirs.sum(0)):.3f} "
        f"({interval(two)}) | {interval(one - two)} | {precision[0]:.3f} / {recall[0]:.3f} | "
        f"{precision[1]:.3f} / {recall[1]:.3f} |"
    )


def secrets(times: int = 300) -> None:
    """So many of each form, made as the tests make them."""
    sys.path.append(str(Path(__file__).parent.parent / "tests"))
    from made_keys import LOOKALIKES, texts

    made = [pair for seed in range(times) for pair in texts(Random(seed))]
    exact = sum([text[f.span.start : f.span.end] for f in PRIVACY.find(text)] == [secret] for text, secret in made)
    wrong = sum(bool(PRIVACY.find(text)) for text in LOOKALIKES)
    print(f"\nkeys and passwords: {exact:,} of {len(made):,} found exactly; {wrong} of {len(LOOKALIKES)} lookalikes")


def main(folder: str) -> None:
    rows = json.loads((Path(folder) / "presidio_pii" / "synth_dataset_v2.json").read_text(encoding="utf-8"))
    texts = [row["full_text"] for row in rows]
    gold = [[(s["entity_type"], Span(s["start_position"], s["end_position"])) for s in row["spans"]] for row in rows]
    mine = [ours(PRIVACY, text) for text in texts]
    presidio = PresidioJudge(entities=TYPES, threshold=min(THRESHOLDS))
    scored = [presidio.find(text) for text in texts]
    for name, match in (("exact spans", exact), ("overlap, IoU ≥ 0.5", overlap)):
        print(f"\n{name}, {len(texts)} sentences\n")
        print("| type | gold | F1, expunge | F1, Presidio | difference | P / R, expunge | P / R, Presidio |")
        print("|---|---|---|---|---|---|---|")
        all_mine, all_theirs = [], []
        for kind in TYPES:
            tried = []
            for threshold in THRESHOLDS:
                said = [[(f.reason, f.span) for f in found if f.score >= threshold] for found in scored]
                tried.append(counts(gold, said, kind, match))
            theirs = max(tried, key=lambda c: float(f1(c.sum(0))))
            all_mine.append(counts(gold, mine, kind, match))
            all_theirs.append(theirs)
            report(kind, all_mine[-1], theirs)
        report("all", sum(all_mine), sum(all_theirs))


PRIVACY = PrivacyJudge()

if __name__ == "__main__":
    place = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("EXPUNGE_DATA", "")
    if not place:
        sys.exit("give the data folder, or set EXPUNGE_DATA")
    main(place)
    secrets()
