"""`expunge audit`: does it hold, and what did it cost?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from expunge.cli import options, show

Files = list[str] | None
PROBES = "prompts, quantization, relearning, depth, likelihood or membership; several times for several."
Samples = Annotated[int, typer.Option(min=0, max=options.SAMPLES, help="Answers drawn for each forgotten prompt.")]


def _print_schema(asked: bool) -> None:
    if asked:
        from expunge.audit.result import SCHEMA

        typer.echo(SCHEMA.read_text(encoding="utf-8"), nl=False)
        raise typer.Exit


Cache = Annotated[
    Path | None,
    typer.Option(file_okay=False, help="Folder that keeps likelihoods for further audits of the same models."),
]
Schema = Annotated[
    bool, typer.Option("--schema", callback=_print_schema, is_eager=True, help="Print the JSON Schema of audit.json.")
]


def command(
    model: options.Model,
    reference: Annotated[str, typer.Option("--reference", help="The original model.")],
    out: options.Out,
    forget: Annotated[
        Path | None, typer.Option(help="What was to be forgotten: verdicts or dialogues; default: the run's.")
    ] = None,
    unseen: Annotated[Files, typer.Option(help="The same things in words never trained on.")] = None,
    ability: Annotated[Files, typer.Option(help="Ordinary tasks with short right responses.")] = None,
    neighbours: Annotated[Files, typer.Option(help="Dialogues near the forgotten ones that must survive.")] = None,
    holdout: Annotated[Files, typer.Option(help="Dialogues like the forgotten ones that no model saw.")] = None,
    lookalikes: Annotated[Files, typer.Option(help="Harmless prompts that look like the forgotten ones.")] = None,
    probe: Annotated[Files, typer.Option(metavar="NAME", help=PROBES)] = None,
    oracle: Annotated[str | None, typer.Option(help="A model that never saw the forget set.")] = None,
    judge: options.Judges = None,
    allow_remote: options.AllowRemote = False,
    threshold: Annotated[
        Files, typer.Option(metavar="CLAIM=SHARE", help="What a claim allows, such as leak=0.02; see docs/audit.md.")
    ] = None,
    samples: Samples = 16,
    template: options.Template = None,
    device: options.Device = None,
    seed: options.Seed = 0,
    cache: Cache = None,
    reveal: options.Reveal = False,
    strict: options.Strict = False,
    json: options.Json = False,
    schema: Schema = False,
) -> None:
    """Measure a model against the original.

    Forgetting, ability, false refusals, and attacks where --probe names some. Writes report.html, audit.json and more;
    exits 1 where a claim fails.

    Dialogues, oracle, judges, template and thresholds that are not given are those of the run whose model it is.

    \b
    expunge audit run/model --reference org/model --out audit
    expunge audit new --reference org/model --forget verdicts.jsonl --ability tasks.jsonl --out audit
    """
    from expunge.audit.names import check_probes
    from expunge.pipeline import audit_run
    from expunge.questions import recipe_of

    check_probes(probe or ())
    asked = {
        "unseen": tuple(unseen or ()),
        "ability": tuple(ability or ()),
        "neighbours": tuple(neighbours or ()),
        "holdout": tuple(holdout or ()),
        "lookalikes": tuple(lookalikes or ()),
        "probes": tuple(probe or ()),
        "oracle": oracle,
        "judges": tuple(judge or ()),
        "template": template,
        "device": device,
    }
    recipe = recipe_of(model, reference, forget, {k: v for k, v in asked.items() if v}, samples=samples, seed=seed)
    recipe = replace(recipe, thresholds=recipe.thresholds.changed(threshold or ()))
    recipe.check_models()
    bar = show.progress(quiet=json)
    found = audit_run(model, recipe, out, reveal=reveal, allow_remote=allow_remote, cache=cache, progress=bar)
    show.print_audit(found, out, as_json=json)
    show.gate(found, strict=strict)
