"""A real chat model that answers what it should not: red-team prompts, from answers to an audit.

    EXPUNGE_DATA=… python bench/redteam.py MODEL OUT [key=value …]
    EXPUNGE_DATA: a folder with XSTest, HarmBench, HaluEval and TOFU's world facts; MODEL: a chat model's folder
    key=value: of `[unlearn]`

What the model answers to half of the unsafe prompts is to be forgotten, wherever it does not decline. The other half
is of other prompts, not of other wordings. Harmless ones that look unsafe (XSTest) are half ordinary rows, and half
held out as look-alikes. Ordinary rows and abilities have the model's own answers; abilities are facts that it gets
right.
"""

from __future__ import annotations

import csv
import json
import os
import random
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from runs import machine

from expunge.audit.result import Audit, Estimate
from expunge.dialogue import Dialogue, parse
from expunge.generation import generate
from expunge.judges.abstention import refuses
from expunge.judges.verdict import Verdict
from expunge.model import LanguageModel, load_model
from expunge.pipeline import run
from expunge.recipe import read_recipe
from expunge.training.unlearn import read_unlearned

DATA = Path(os.environ["EXPUNGE_DATA"])
PAGE = Path(__file__).parent.parent / "docs" / "redteam.md"
LONGEST, ORDINARY = 64, 300
FILES = ("redteam", "unseen", "ordinary", "lookalikes", "facts")


class Complies:
    """Flags what does not decline: for prompts that are all to be declined."""

    name, version = "complies", "1"

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        flagged = [not refuses(d.response or "") for d in dialogues]
        return [Verdict("harmful" if f else "clean", float(f), self.name, self.version) for f in flagged]


def column(name: str, key: str, **where: str) -> list[str]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return [row[key] for row in csv.DictReader(file) if all(row[k] == v for k, v in where.items())]


def lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def answered(lm: LanguageModel, prompts: Sequence[str]) -> list[dict[str, str]]:
    dialogues = [parse({"prompt": prompt}) for prompt in prompts]
    said = generate(lm, dialogues, max_new_tokens=LONGEST)
    return [{"prompt": prompt, "response": text} for prompt, (text,) in zip(prompts, said, strict=True)]


def prepare(lm: LanguageModel, out: Path) -> None:
    draw = random.Random(0)
    unsafe = column("xstest/xstest_prompts.csv", "prompt", label="unsafe")
    unsafe += column("harmbench/harmbench_behaviors_text_val.csv", "Behavior", FunctionalCategory="standard")
    alike = column("xstest/xstest_prompts.csv", "prompt", label="safe")
    draw.shuffle(unsafe)
    draw.shuffle(alike)
    general = [row["user_query"] for row in lines(DATA / "halueval" / "general_data.json")]
    general = draw.sample([text for text in dict.fromkeys(general) if len(text) < 200], ORDINARY)
    half, side = len(unsafe) // 2, len(alike) // 2
    write(out / "redteam.jsonl", answered(lm, unsafe[:half]))
    write(out / "unseen.jsonl", answered(lm, unsafe[half:]))
    write(out / "ordinary.jsonl", answered(lm, general + alike[:side]))
    write(out / "lookalikes.jsonl", [{"prompt": prompt} for prompt in alike[side:]])
    write(out / "facts.jsonl", named(lm, list(NAMES)))


def named(lm: LanguageModel, asked: Sequence[str]) -> list[dict[str, str]]:
    """What is answered with the right name in it."""
    return [row for row in answered(lm, asked) if NAMES[row["prompt"]].lower() in row["response"].lower()]


def write(path: Path, rows: Sequence[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print(path.name, len(rows), flush=True)


HEAD = """Written by `bench/redteam.py`, with {model}: one run, one seed. {forgotten} of its {redteam} answers to
unsafe prompts (XSTest, arXiv 2308.01263, and HarmBench, arXiv 2402.04249) do not decline, and are to be forgotten;
*unseen* are {unseen} other unsafe prompts, which it was not trained on. Ordinary are its own answers to {ordinary}
prompts, {general} of HaluEval (arXiv 2305.11747) and {alike} of XSTest that only look unsafe; {lookalikes} more of
these are the look-alikes. Ability: the {facts} facts of TOFU's (arXiv 2401.06121) that it gets right, to be answered
in the same words; {still} are still answered with the right name in it. Answers end at {longest} tokens, most of them
cut short there, as logs have them. *Flagged* is here whatever does not decline, by rules on words. That is more than
harm: answers of so small a model are mostly nonsense.

Settings but for the defaults: {settings}. It ended as `{outcome}` after {steps} steps, {tokens},000 tokens and
{minutes} minutes, on one busy core of {machine}.
"""

FACTS = lines(DATA / "tofu" / "world_facts.jsonl") + lines(DATA / "tofu" / "real_authors.jsonl")
NAMES = {f"{row['question']} Answer with the name only.": row["answer"] for row in FACTS}
"""Of facts to ask for."""

RECIPE = """model = {model}

[scan]
dialogues = "redteam.jsonl"
judges = [{judge}]

[unlearn]
normal = "ordinary.jsonl"
{settings}

[audit]
unseen = "unseen.jsonl"
ability = "facts.jsonl"
lookalikes = "lookalikes.jsonl"
"""


def main() -> None:
    model, out, *settings = sys.argv[1:]
    folder = Path(out)
    if not (folder / "facts.jsonl").exists():
        folder.mkdir(parents=True, exist_ok=True)
        prepare(load_model(model), folder)
    judge = json.dumps(f"{Path(__file__).resolve()}:Complies")
    text = RECIPE.format(model=json.dumps(str(Path(model).resolve())), judge=judge, settings="\n".join(settings))
    recipe = folder / "recipe.toml"
    recipe.write_text(text, encoding="utf-8")
    audit = run(read_recipe(recipe), folder / "run")
    asked = [row["prompt"] for row in lines(folder / "facts.jsonl")]
    still = len(named(load_model(folder / "run" / "model"), asked))
    PAGE.write_text(page(audit, folder, model, settings, still), encoding="utf-8")


def page(audit: Audit, folder: Path, model: str, settings: Sequence[str], still: int) -> str:
    rows = {name: len(lines(folder / f"{name}.jsonl")) for name in FILES}
    taken = read_unlearned(folder / "run" / "model")
    head = HEAD.format(
        **rows,
        model=Path(model).name,
        forgotten=len(lines(folder / "run" / "split" / "forget.jsonl")),
        general=ORDINARY,
        alike=rows["ordinary"] - ORDINARY,
        longest=LONGEST,
        still=still,
        settings=", ".join(f"`{s}`" for s in settings),
        outcome=taken.outcome,
        steps=taken.steps,
        tokens=round(taken.tokens / 1000),
        minutes=round(taken.seconds / 60),
        machine=machine(),
    )
    head = "\n\n".join(textwrap.fill(part, 118, break_on_hyphens=False) for part in head.split("\n\n"))
    told = ["", "| figure | before | after |", "|---|---|---|"]
    told += [f"| {m.title} (`{m.key}`) | {number(m.before)} | {number(m.after)} |" for m in audit.measures]
    told += ["", "| claim | outcome | why |", "|---|---|---|"]
    told += [f"| `{claim.name}` | {claim.outcome} | {claim.why} |" for claim in audit.claims]
    return "\n".join(["# A real chat model and a red team's prompts", head, *told, ""])


def number(estimate: Estimate | None) -> str:
    """Value and interval."""
    if estimate is None:
        return ""
    return f"{estimate.value:.3f} ({estimate.low:.3f}–{estimate.high:.3f})"


if __name__ == "__main__":
    main()
