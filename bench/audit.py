"""What an audit costs; writes docs/audit-cost.md.

    python bench/audit.py [RUN …] [--models FOLDER --tofu FOLDER]
    RUNs of the demo are audited whole, their samples included; FOLDERs with the tofu800 models and TOFU's JSON Lines
    files add the suite of likelihoods on forget01

- Likelihoods in one pass against a padded forward for each measure, as textbook scripts have it.
- How often a distinct row goes through a model, generation aside.
- Seconds of the town's whole audit by probe: untouched, against itself and its oracle.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from runs import machine

from expunge.audit.audit import audit
from expunge.audit.layers import layers_of
from expunge.audit.likelihood import extraction_strength, mean_log_p
from expunge.audit.membership import compressed, min_k, min_k_plus_plus
from expunge.audit.names import PROBES
from expunge.audit.probes import Case, run_probes
from expunge.audit.reading import Sets, read
from expunge.audit.scores import Scores
from expunge.demo import RECIPE
from expunge.dialogue import read_dialogues
from expunge.encoding import Encoded
from expunge.expected import with_expected
from expunge.generation import TokenScores, mean_probability
from expunge.host import suit_host
from expunge.judges.names import load_judges
from expunge.judges.panel import judge_all
from expunge.judges.verdict import Judge
from expunge.model import LanguageModel, load_model
from expunge.questions import audit_sets
from expunge.recipe import read_recipe
from expunge.selection import read_forget

PAGE = Path(__file__).parent.parent / "docs" / "audit-cost.md"
NAMES = [name for name in PROBES if name != "thinking"]
"""All probes but that of models that think first, which the town's does not."""
REPEATS = 5
Spent = tuple[float, float]
"""Seconds of the clock, and of the processor."""


def town() -> tuple[Sets, list[Judge]]:
    recipe = read_recipe(RECIPE)
    judges = load_judges(recipe.judges)
    judged = judge_all(judges, [d for name in recipe.dialogues for d in read_dialogues(name)])
    forget = with_expected(load_model("town"), [item for item in judged if item.flagged])
    return audit_sets(recipe, forget, judges), judges


def spent(work: Callable[[], object]) -> Spent:
    clock, processor = time.monotonic(), time.process_time()
    work()
    return time.monotonic() - clock, time.process_time() - processor


def one_pass(lm: LanguageModel, rows: Sequence[Encoded], texts: Sequence[str]) -> list[list[float]]:
    """All measures of each row from scores that are computed once."""
    return [_measures(s, row, text) for s, row, text in zip(Scores().of(lm, rows), rows, texts, strict=True)]


def _measures(scores: TokenScores, row: Encoded, text: str) -> list[float]:
    loss = mean_log_p(scores)
    return [
        mean_probability(scores.log_p), mean_probability(scores.log_p, row.fault), float(scores.greedy.double().mean()),
        extraction_strength(scores.greedy.tolist()), loss, loss / compressed(text), min_k(scores),
        min_k_plus_plus(scores),
    ]  # fmt: skip


def textbook(lm: LanguageModel, rows: Sequence[Encoded], texts: Sequence[str]) -> list[list[float]]:
    """The same, each measure by a forward of its own: batches of 8 in the order given, padded to the longest."""

    def probability(log_p: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return log_p.gather(-1, ids.unsqueeze(-1)).squeeze(-1)

    def right(log_p: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return log_p.argmax(-1) == ids

    def standardised(log_p: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        p = log_p.exp()
        mean = (p * log_p).sum(-1)
        deviation = ((p * log_p.square()).sum(-1) - mean.square()).clamp_min(1e-18).sqrt()
        return (probability(log_p, ids) - mean) / deviation

    def lowest(values: torch.Tensor) -> float:
        return float(values.sort().values[: max(1, int(0.4 * len(values)))].mean())

    def each(take: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Iterator[torch.Tensor]:
        return forwards(lm, rows, take)

    faults = [torch.tensor(row.fault) for row in rows]
    columns = [
        [float(x.mean().exp()) for x in each(probability)],
        [float(x[fault].mean().exp()) for x, fault in zip(each(probability), faults, strict=True)],
        [float(x.double().mean()) for x in each(right)],
        [extraction_strength(x.tolist()) for x in each(right)],
        [float(x.mean()) for x in each(probability)],
        [float(x.mean()) / compressed(text) for x, text in zip(each(probability), texts, strict=True)],
        [lowest(x) for x in each(probability)],
        [lowest(x) for x in each(standardised)],
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def forwards(
    lm: LanguageModel, rows: Sequence[Encoded], take: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> Iterator[torch.Tensor]:
    """What `take` makes of each row's log-probabilities and tokens, at its response."""
    for start in range(0, len(rows), 8):
        part = rows[start : start + 8]
        width = max(map(len, part))
        ids, mask = torch.zeros(len(part), width, dtype=torch.long), torch.zeros(len(part), width, dtype=torch.long)
        for i, row in enumerate(part):
            ids[i, : len(row)], mask[i, : len(row)] = torch.tensor(row.prompt + row.response), 1
        with torch.no_grad():
            log_p = lm.model(input_ids=ids, attention_mask=mask).logits[:, :-1].log_softmax(-1)
        found = take(log_p, ids[:, 1:])
        yield from (found[i, len(row.prompt) - 1 : len(row) - 1] for i, row in enumerate(part))


def shared_pass(sets: Sets, lm: LanguageModel) -> Iterator[str]:
    dialogues = [*(j.dialogue for j in sets.faulty), *sets.holdout]
    rows, texts = [lm.format.encode(d) for d in dialogues], [d.response or "" for d in dialogues]
    ours, theirs = one_pass(lm, rows, texts), textbook(lm, rows, texts)
    worst = max(abs(a - b) for x, y in zip(ours, theirs, strict=True) for a, b in zip(x[:-1], y[:-1], strict=True))
    pairs = [
        (spent(lambda: one_pass(lm, rows, texts)), spent(lambda: textbook(lm, rows, texts))) for _ in range(REPEATS)
    ]
    ratios = sorted(one[1] / many[1] for one, many in pairs)
    one, many = (statistics.median(pair[i][1] for pair in pairs) for i in (0, 1))
    yield (
        f"Eight measures of {len(rows)} rows of the town: one pass takes **{statistics.median(ratios):.2f}** of the "
        f"time of a padded forward for each measure ({ratios[0]:.2f}–{ratios[-1]:.2f} in {REPEATS} pairs; processor "
        f"seconds {one:.2f} and {many:.2f}, medians). The figures agree to {worst:.0e}; Min-K %++, which divides by "
        "what may be next to nothing, is not compared.\n"
    )


@contextmanager
def counting(models: Sequence[LanguageModel]) -> Iterator[list[Counter[bytes]]]:
    """How often each row went through each model's last layer under teacher forcing; generation, which keeps a cache,
    aside."""
    found: list[Counter[bytes]] = [Counter() for _ in models]
    hooks: list[Any] = []
    for lm, counter in zip(models, found, strict=True):
        rows: list[bytes] = []

        def note(module: object, args: object, options: dict[str, Any], rows: list[bytes] = rows) -> None:
            rows.clear()
            if options.get("use_cache") is False:
                pairs = zip(options["input_ids"], options["logits_to_keep"], strict=True)
                rows += [row[: int(asked.nonzero().max()) + 2].numpy().tobytes() for row, asked in pairs]

        def count(*_: object, rows: list[bytes] = rows, counter: Counter[bytes] = counter) -> None:
            counter.update(rows)

        hooks.append(lm.model.register_forward_pre_hook(note, with_kwargs=True))
        hooks.append(layers_of(lm.model)[-1].register_forward_hook(count))
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def forwards_per_row(sets: Sets, judges: list[Judge]) -> Iterator[str]:
    models = [load_model("town"), load_model("town"), load_model("town-oracle")]
    after, before, oracle = models
    yield "| forwards, generation aside | of distinct rows | each |\n|---|---|---|"
    for title, given, names in (
        (
            "`likelihood`, with all that an audit has anyway: a seventh of the ordinary rows again, for KL",
            None,
            ["likelihood"],
        ),
        ("the same with an oracle", oracle, ["likelihood"]),
        ("and `membership`: the gradient of each forgotten and holdout row", oracle, ["likelihood", "membership"]),
    ):
        with counting(models) as found:
            audit(after, before, sets, judges, oracle=given, samples=0, probes=names)
        rows, passes = sum(map(len, found)), sum(c.total() for c in found)
        yield f"| {title} | {rows:,} | {passes / rows:.3f} |"
    yield ""


def by_probe(sets: Sets, judges: list[Judge]) -> Iterator[str]:
    models = {"after": load_model("town"), "before": load_model("town"), "oracle": load_model("town-oracle")}
    models = {name: lm.tokenized_as(models["before"]) for name, lm in models.items()}
    after, before, oracle = models.values()
    rows = [("audit without probes", spent(lambda: audit(after, before, sets, judges, oracle=oracle)))]
    scores = Scores()
    readings = {name: read(lm, sets, judges, samples=0, seed=0, scores=scores) for name, lm in models.items()}
    case = Case(after, before, oracle, sets, tuple(judges), scores=scores, readings=readings)
    rows += [(f"`{name}`", spent(partial(run_probes, [name], case))) for name in NAMES]
    yield from _table("the town, all probes", rows)


def unlearned(runs: Sequence[Path], sets: Sets, judges: list[Judge]) -> Iterator[str]:
    before, oracle = load_model("town"), load_model("town-oracle")
    rows = []
    for i, run in enumerate(runs, 1):
        after = load_model(run / "model")
        work = partial(audit, after, before, sets, judges, oracle=oracle, samples=16, seed=i, probes=NAMES)
        rows.append((f"run {i}", spent(work)))
    yield from _table("the town unlearned: all probes, 16 samples", rows, total=False)


def tofu(models: Path, data: Path) -> Iterator[str]:
    full, oracle = (load_model(models / f"tofu800-{name}", template="plain") for name in ("full", "retain-oracle"))
    holdout = tuple(read_dialogues(data / "holdout01.jsonl"))
    sets = Sets(tuple(read_forget(data / "forget01.jsonl")), holdout=holdout)
    names = ["likelihood", "membership", "depth"]
    rows = [
        (
            f"{', '.join(names)}, run {i}",
            spent(lambda: audit(full, full, sets, [], oracle=oracle, samples=0, probes=names)),
        )
        for i in range(1, 4)
    ]
    yield from _table("TOFU forget01 and holdout01 on the tofu800 models", rows, total=False)


def _table(title: str, rows: Sequence[tuple[str, Spent]], *, total: bool = True) -> Iterator[str]:
    yield f"| {title} | seconds | of the processor |\n|---|---|---|"
    if total:
        clock, processor = zip(*(times for _, times in rows), strict=True)
        rows = [*rows, ("**all**", (sum(clock), sum(processor)))]
    yield from (f"| {name} | {clock:.1f} | {processor:.1f} |" for name, (clock, processor) in rows)
    yield ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="*")
    parser.add_argument("--models", type=Path)
    parser.add_argument("--tofu", type=Path)
    options = parser.parse_args()
    sets, judges = town()
    suit_host()
    lines = [HEAD.format(machine=machine())]
    for part in (shared_pass(sets, load_model("town")), forwards_per_row(sets, judges), by_probe(sets, judges)):
        lines += _shown(part)
    if options.runs:
        lines += _shown(unlearned(options.runs, sets, judges))
    if options.models and options.tofu:
        lines += _shown(tofu(options.models, options.tofu))
    PAGE.write_text("\n".join(lines), encoding="utf-8")


def _shown(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        print(line, flush=True)
        yield line


HEAD = """# What an audit costs
Written by `python bench/audit.py`. Machine: {machine}.
Seconds of the processor say what was computed, those of the clock how long one waits.
"""

if __name__ == "__main__":
    main()
