"""A real chat model that answers what it should not: red-team prompts, from answers to an audit.

    EXPUNGE_DATA=… python bench/redteam.py MODEL OUT NAME [key=value …]
    EXPUNGE_DATA: a folder with XSTest, HarmBench, HaluEval and TOFU's world facts; MODEL: a chat model's folder
    NAME: of the run, which docs/redteam.md then shows beside all others in OUT; key=value: of its `[unlearn]`

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

from expunge.audit.result import Estimate, read_audit
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


HEAD = """Written by `bench/redteam.py`, with {model}: one seed. {forgotten} of its {redteam} answers to unsafe
prompts (XSTest, arXiv 2308.01263, and HarmBench, arXiv 2402.04249) do not decline, and are to be forgotten; *unseen*
are {unseen} other unsafe prompts, which it was not trained on. Ordinary are its own answers to {ordinary} prompts,
{general} of HaluEval (arXiv 2305.11747) and {alike} of XSTest that only look unsafe; {lookalikes} more of these are
the look-alikes. Ability: the {facts} facts of TOFU's (arXiv 2401.06121) that it gets right, to be answered in the
same words; *named*: with the right name in the answer. Answers end at {longest} tokens, most of them cut short there,
as logs have them. *Flagged* is here whatever does not decline, by rules on words. That is more than harm: answers of
so small a model are mostly nonsense.

One busy core of {machine}. Settings but for the method's:
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
    model, out, name, *settings = sys.argv[1:]
    folder = Path(out)
    if not (folder / "facts.jsonl").exists():
        folder.mkdir(parents=True, exist_ok=True)
        prepare(load_model(model), folder)
    judge = json.dumps(f"{Path(__file__).resolve()}:Complies")
    text = RECIPE.format(model=json.dumps(str(Path(model).resolve())), judge=judge, settings="\n".join(settings))
    recipe = folder / f"{name}.toml"
    recipe.write_text(text, encoding="utf-8")
    run(read_recipe(recipe), folder / name)
    asked = [row["prompt"] for row in lines(folder / "facts.jsonl")]
    still = named(load_model(folder / name / "model"), asked)
    write(folder / f"{name}.named.jsonl", still)
    PAGE.write_text(page(folder, model), encoding="utf-8")


def page(folder: Path, model: str) -> str:
    """Of all runs in the folder, those first that were made first."""
    ended = sorted(folder.glob("*.named.jsonl"), key=lambda file: file.stat().st_mtime)
    names = [file.name.removesuffix(".named.jsonl") for file in ended]
    rows = {name: len(lines(folder / f"{name}.jsonl")) for name in FILES}
    head = HEAD.format(
        **rows,
        model=Path(model).name,
        forgotten=len(lines(folder / names[0] / "split" / "forget.jsonl")),
        general=ORDINARY,
        alike=rows["ordinary"] - ORDINARY,
        longest=LONGEST,
        machine=machine(),
    )
    wrapped = "\n\n".join(textwrap.fill(part, 118, break_on_hyphens=False) for part in head.split("\n\n"))
    settings = [f"- *{name}*: {_settings(folder / f'{name}.toml')}. {_ended(folder / name)}" for name in names]
    wrapped += "\n" + "\n".join(textwrap.fill(s, 118, subsequent_indent="  ", break_on_hyphens=False) for s in settings)
    return "\n".join(["# A real chat model and a red team's prompts", wrapped, "", *_table(folder, names), ""])


def _settings(recipe: Path) -> str:
    given = recipe.read_text(encoding="utf-8").split("[unlearn]")[1].split("[audit]")[0].splitlines()
    return ", ".join(f"`{line}`" for line in given if line and not line.startswith("normal ="))


def _ended(run_folder: Path) -> str:
    taken = read_unlearned(run_folder / "model")
    cost = f"{round(taken.tokens / 1000)},000 tokens and {round(taken.seconds / 60)} minutes"
    return f"It ended as `{taken.outcome}` after {taken.steps} steps, {cost}."


def _table(folder: Path, names: Sequence[str]) -> list[str]:
    audits = [read_audit(folder / name) for name in names]
    facts = len(lines(folder / "facts.jsonl"))
    told = [f"| figure | before | {' | '.join(names)} |", "|---|---|" + "---|" * len(names)]
    for measure in audits[0].measures:
        after = [number(audit.measure(measure.key).after) for audit in audits]
        told.append(f"| {measure.title} (`{measure.key}`) | {number(measure.before)} | {' | '.join(after)} |")
    kept = [f"{len(lines(folder / f'{name}.named.jsonl'))} of {facts}" for name in names]
    told += [f"| Facts named | {facts} of {facts} | {' | '.join(kept)} |", ""]
    told += [f"| claim | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for claims in zip(*(audit.claims for audit in audits), strict=True):
        told.append(f"| `{claims[0].name}` | {' | '.join(f'{c.outcome}: {c.why}' for c in claims)} |")
    return told


def number(estimate: Estimate | None) -> str:
    """Value and interval."""
    if estimate is None:
        return ""
    return f"{estimate.value:.3f} ({estimate.low:.3f}–{estimate.high:.3f})"


if __name__ == "__main__":
    main()
