"""`expunge scan`: dialogues, or prompts that the model answers first, to verdicts."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from expunge.cli import options, show


def command(
    model: options.Model,
    dialogues: Annotated[
        str,
        typer.Argument(
            metavar="DIALOGUES", help="JSON Lines file, or a datasets name; rows without response are asked."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="File to write the verdicts to.")],
    judge: options.Judges = None,
    allow_remote: options.AllowRemote = False,
    samples: Annotated[int, typer.Option(min=0, help="Answers drawn for each prompt; 0: the greedy one.")] = 0,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Length of an answer to a prompt.")] = 128,
    template: options.Template = None,
    device: options.Device = None,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Judge dialogues: which should never have been said, how sure, and which characters.

    \b
    expunge scan org/model logged.jsonl --judge privacy=registry.jsonl --judge harm=org/classifier --out verdicts.jsonl
    expunge scan town prompts.jsonl --judge facts --out verdicts.jsonl
    """
    from expunge.dialogue import read_dialogues
    from expunge.errors import InputError, OutputError
    from expunge.files import check_writable, exists
    from expunge.judges.names import load_judge
    from expunge.judges.usage import usage_of
    from expunge.judges.verdict import write_verdicts

    if exists(out):
        raise OutputError("this file exists; nothing was overwritten", file=out, remedy="Choose another --out.")
    if not judge:
        raise InputError("no judge was named", remedy="Give --judge privacy, --judge facts or --judge harm.")
    check_writable(out)
    rows = read_dialogues(dialogues)
    from expunge.model import check_model, limit_threads, load_model  # slow to import: after what is quick to check
    from expunge.scan import scan

    check_model(model, device=device)
    limit_threads()
    judges = [load_judge(spec, allow_remote=allow_remote) for spec in judge]
    judged = scan(
        rows,
        judges,
        model=cache(lambda: load_model(model, template=template, device=device)),
        samples=samples,
        max_new_tokens=max_new_tokens,
        seed=seed,
        progress=show.progress(quiet=json),
    )
    write_verdicts(out, judged)
    counts = Counter(item.label for item in judged)
    used = usage_of(judges)
    if json:
        found = {"dialogues": len(judged), "labels": dict(counts), "out": str(out)}
        show.print_json(found | ({"usage": [usage.row() for usage in used]} if used else {}))
        return
    for label, count in counts.most_common():
        print(f"{label:<14}{count:>8}")
    print(f"{len(judged)} dialogues judged: {out}")
    for usage in used:
        print(usage)
