"""`expunge bench`: the field's benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from expunge.cli import options, show

if TYPE_CHECKING:
    from expunge.benchmarks.result import Models, Result

Model = Annotated[
    str, typer.Option("--model", metavar="MODEL", help="Hub name or folder of a causal model; `town` is built in.")
]
Oracle = Annotated[
    str | None, typer.Option("--oracle", metavar="MODEL", help="A model that never saw what is to be forgotten.")
]
Data = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="FOLDER|NAME", help="Folder of the benchmark's files, or a hub name; default: the authors'."
    ),
]
Out = Annotated[Path | None, typer.Option("--out", help="JSON file to write.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, metavar="ROWS", help="Only the first rows of each part.")]
Cache = Annotated[
    Path | None,
    typer.Option(file_okay=False, help="Folder that keeps likelihoods for further runs of the same models."),
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Rows that lm-eval reads at once.")]
TaskFolder = Annotated[Path | None, typer.Option("--tasks-from", help="Folder of lm-eval task files of one's own.")]


def tofu(
    model: Model,
    split: Annotated[Literal["forget01", "forget05", "forget10"], typer.Option("--split", help="What was forgotten.")],
    oracle: Oracle = None,
    data: Data = None,
    limit: Limit = None,
    template: options.Template = None,
    device: options.Device = None,
    cache: Cache = None,
    out: Out = None,
    json: options.Json = False,
) -> None:
    """TOFU: what is left of fictitious authors.

    Probability, ROUGE-L, truth ratio, model utility, membership; with an oracle, forget quality.

    \b
    expunge bench tofu --model run/model --oracle org/retrained --split forget10 --out tofu.json
    """
    _check(out, model, oracle, device)
    from expunge.benchmarks import tofu as benchmark
    from expunge.benchmarks.rows import Source

    sets = benchmark.read(Source(data or benchmark.HUB, limit), split)
    found = benchmark.tofu(_load(model, oracle, template, device, cache, json=json), sets, split=split)
    _tell(found, out, json=json)


def muse(
    model: Model,
    corpus: Annotated[Literal["news", "books"], typer.Option("--corpus", help="What was forgotten.")],
    oracle: Oracle = None,
    data: Data = None,
    limit: Limit = None,
    device: options.Device = None,
    cache: Cache = None,
    out: Out = None,
    json: options.Json = False,
) -> None:
    """MUSE: what is left of news or books.

    Verbatim and knowledge memorization; with an oracle, PrivLeak. Its prompts are raw text, without template.

    \b
    expunge bench muse --model run/model --oracle muse-bench/MUSE-News_retrain --corpus news --out muse.json
    """
    _check(out, model, oracle, device)
    from expunge.benchmarks import muse as benchmark
    from expunge.benchmarks.rows import Source

    sets = benchmark.read(Source(data or benchmark.HUB[corpus], limit))
    found = benchmark.muse(_load(model, oracle, None, device, cache, json=json), sets, corpus=corpus)
    _tell(found, out, json=json)


def rwku(
    model: Model,
    oracle: Oracle = None,
    data: Data = None,
    limit: Limit = None,
    template: options.Template = None,
    device: options.Device = None,
    out: Out = None,
    json: options.Json = False,
) -> None:
    """RWKU: what is still said of famous people.

    Level by level, and of their neighbours.

    \b
    expunge bench rwku --model run/model --out rwku.json
    """
    _check(out, model, oracle, device)
    from expunge.benchmarks import rwku as benchmark
    from expunge.benchmarks.rows import Source

    levels = benchmark.read(Source(data or benchmark.HUB, limit))
    _tell(benchmark.rwku(_load(model, oracle, template, device, None, json=json), levels), out, json=json)


def wmdp(
    model: Model,
    oracle: Oracle = None,
    limit: Limit = None,
    batch_size: BatchSize = 8,
    device: options.Device = None,
    out: Out = None,
    json: options.Json = False,
) -> None:
    """WMDP and MMLU, by lm-eval (extra `lm-eval`).

    Dangerous knowledge in biology, cyber security and chemistry, and what is to be kept.

    \b
    expunge bench wmdp --model run/model --out wmdp.json
    """
    _check(out, model, oracle, device)
    from expunge.benchmarks import harness

    names = (*harness.HAZARDOUS, *harness.ORDINARY)
    known = harness.manager(names)
    models = _load(model, oracle, None, device, None, json=json)
    found = harness.run(
        models, names, known, name="wmdp", forgotten=harness.HAZARDOUS, limit=limit, batch_size=batch_size
    )
    _tell(found, out, json=json)


def tasks(
    model: Model,
    task: Annotated[list[str], typer.Option("--task", metavar="NAME", help="Give it several times for several.")],
    oracle: Oracle = None,
    tasks_from: TaskFolder = None,
    limit: Limit = None,
    batch_size: BatchSize = 8,
    device: options.Device = None,
    out: Out = None,
    json: options.Json = False,
) -> None:
    """Any tasks of lm-eval (extra `lm-eval`): ordinary ability.

    \b
    expunge bench tasks --model run/model --task arc_easy --task gsm8k --out tasks.json
    """
    _check(out, model, oracle, device)
    from expunge.benchmarks import harness

    known = harness.manager(task, tasks_from)
    models = _load(model, oracle, None, device, None, json=json)
    _tell(harness.run(models, task, known, name="tasks", limit=limit, batch_size=batch_size), out, json=json)


COMMANDS = (tofu, muse, rwku, wmdp, tasks)


def _check(out: Path | None, model: str, oracle: str | None, device: str | None) -> None:
    """What can be wrong before anything is read."""
    from expunge.files import check_new
    from expunge.model import check_model

    if out:
        check_new(out)
    for name in filter(None, (model, oracle)):
        check_model(name, device=device)


def _load(
    model: str, oracle: str | None, template: str | None, device: str | None, cache: Path | None, *, json: bool
) -> Models:
    from expunge.audit.scores import Scores
    from expunge.benchmarks.result import Models
    from expunge.host import suit_host
    from expunge.model import load_model

    suit_host()
    scores = Scores(cache)
    one = load_model(model, template=template, device=device)
    other = load_model(oracle, template=template, device=device).tokenized_as(one) if oracle else None
    return Models(one, other, scores, show.progress(quiet=json))


def _tell(found: Result, out: Path | None, *, json: bool) -> None:
    from expunge.files import write_json

    if out:
        write_json(out, found.row())
    if json:
        show.print_json(found.row())
    else:
        _print(found)


def _print(found: Result) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from expunge.report.redact import showable
    from expunge.report.wording import GROUPS, figure, interval

    title = Text(showable(f"{found.benchmark}: {found.model}"), style="bold")
    caption = Text("[low–high]: 95% interval of the model.", style="dim")
    grid = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, title=title, caption=caption,
        title_justify="left", caption_justify="left",
    )  # fmt: skip
    grid.add_column("Measure", ratio=1)
    headings: Sequence[str] = ("model", "[low–high]", *(("oracle",) if found.oracle else ()), "n")
    for heading in headings:
        grid.add_column(Text(heading), justify="right", no_wrap=True)
    for group, (words, _) in GROUPS.items():
        for i, m in enumerate(m for m in found.measures if m.group == group):
            if not i:
                grid.add_row(Text(words, style="bold"))
            told = [figure(m.after.value, m.unit), f"[{interval(m.after, m.unit)}]"]
            told += [figure(m.oracle.value, m.unit) if m.oracle else ""] if found.oracle else []
            grid.add_row(Text(showable(f"  {m.title}")), *map(Text, (*told, str(m.after.count))))
    Console().print(grid)
