"""Relearning at many learning rates: does what is forgotten stay so, or only at the rate that the audit takes?

    python bench/relearning.py RUN [RUN …]

RUNs are folders of `expunge demo`. Each model, the untouched town and its oracle are fine-tuned on one half of the
forget set and asked the other, both ways round: the mean probability of what was at fault, for each rate and number of
steps. Prints a table.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from runs import spread

from expunge.audit.copies import exact_copy
from expunge.audit.reading import encode_old
from expunge.audit.relearning import STEPS, fine_tune, halves
from expunge.generation import mean_probability, token_log_probs
from expunge.host import suit_host
from expunge.judges.verdict import Judged
from expunge.model import LanguageModel, load_model
from expunge.selection import read_forget

RATES = (1e-4, 3e-4, 1e-3, 3e-3)


def asked(lm: LanguageModel, items: Sequence[Judged]) -> list[float]:
    rows = encode_old(lm, items)
    return [mean_probability(p, row.fault) for p, row in zip(token_log_probs(lm, rows), rows, strict=True)]


def relearned(lm: LanguageModel, forget: Sequence[Judged], rate: float, seed: int) -> list[float]:
    """After each of `STEPS`, the mean over both halves."""
    parts = halves(forget, seed)
    found: list[list[float]] = [[] for _ in STEPS]
    for taught, other in (parts, parts[::-1]):
        attacked = exact_copy(lm)
        for place, _ in enumerate(fine_tune(attacked, encode_old(lm, taught), seed, rate=rate)):
            found[place] += asked(attacked, other)
    return [fmean(values) for values in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    runs = parser.parse_args().runs
    suit_host()
    forget = [item for item in read_forget(runs[0] / "verdicts.jsonl") if item.flagged]
    models = {"original": ["town"], "unlearned": [str(run / "model") for run in runs], "oracle": ["town-oracle"]}
    print("| rate | model | before | " + " | ".join(f"{n} steps" for n in STEPS) + " |\n|" + "---|" * (len(STEPS) + 3))
    for rate in RATES:
        for name, folders in models.items():
            loaded = [load_model(folder) for folder in folders]
            before = spread([fmean(asked(lm, forget)) for lm in loaded])
            after = [relearned(lm, forget, rate, seed) for seed, lm in enumerate(loaded)]
            cells = [spread(values) for values in zip(*after, strict=True)]
            print(f"| {rate:g} | {name} | {before} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
