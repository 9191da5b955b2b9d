"""`expunge scan`: dialogues, or prompts that the model answers first, to verdicts."""

from __future__ import annotations

import os
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expunge.cli import options, show
from expunge.thought import ROOM

if TYPE_CHECKING:
    from expunge.judges.verdict import Judge
    from expunge.scan import Scan, Shard
    from expunge.scan.asking import Answering

Samples = Annotated[
    int, typer.Option(min=0, max=options.SAMPLES, help="Answers drawn for each prompt; 0: the greedy one.")
]

Server = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Let a server answer prompts, which has MODEL by this name; nothing is loaded."),
]

SetAside = Annotated[
    bool, typer.Option("--set-aside", help="Leave out rows that cannot be used, and list them in OUT.aside.")
]


def command(
    model: options.Model,
    dialogues: Annotated[
        str,
        typer.Argument(
            metavar="DIALOGUES",
            help="JSON Lines or CSV, perhaps .gz, Parquet, or a datasets name. A row without a response is a prompt, "
            "which MODEL answers.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="File to write the verdicts to.")],
    judge: options.Judges = None,
    allow_remote: options.AllowRemote = False,
    samples: Samples = 0,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Length of an answer to a prompt.")] = 128,
    thinking: options.Thinking = ROOM,
    server: Server = None,
    vllm: Annotated[bool, typer.Option("--vllm", help="Answer prompts by vLLM in this process, on one GPU.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes that judge logged dialogues; 0: this one.")] = 0,
    set_aside: SetAside = False,
    shard: Annotated[str | None, typer.Option(metavar="I/N", help="Only part I of N; `expunge merge` joins.")] = None,
    template: options.Template = None,
    device: options.Device = None,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Judge dialogues, or the model's answers to prompts.

    Writes for each dialogue whether it is at fault, how sure the judges are, and which characters they mean.

    Killed, the same command goes on. Under `accelerate launch` every process takes a part, and the first joins them.

    \b
    expunge scan org/model logged.jsonl --judge privacy=registry.jsonl --judge harm=org/classifier --out verdicts.jsonl
    expunge scan org/model prompts.jsonl --server http://localhost:8000/v1 --judge harm=org/classifier --out v.jsonl
    expunge scan org/model logged.parquet --judge judges.toml --shard 3/16 --out verdicts.jsonl
    """
    from expunge.errors import InputError
    from expunge.files import check_new
    from expunge.scan.run import Shard, finished, scan

    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks > 1 and shard:
        raise InputError("accelerate shares the work out by itself", remedy="Leave --shard out.")
    part = Shard(int(os.environ["RANK"]) + 1, ranks) if ranks > 1 else _shard(shard)
    check_new(out)
    if not judge:
        raise InputError("no judge was named", remedy="Give --judge privacy=FILE, facts=FILE, harm=MODEL or another.")
    from expunge.host import suit_host  # slow to import: after what is quick to check
    from expunge.judges.names import load_judges
    from expunge.scan.asking import Asking, chat_format

    answers = _answering(model, template, device, server, vllm=vllm, ranks=ranks)
    suit_host()
    show.warn_of_town(judge, model)
    state = _processes() if ranks > 1 else None  # first of all, so that `cuda` is this process's own
    load = partial(load_judges, judge, allow_remote=allow_remote)
    judges, progress = load(), show.progress(quiet=json)
    asking = None if workers else Asking(answers, samples, max_new_tokens, seed, thinking)
    if state and finished([dialogues], judges, out, asking=asking, shard=part):
        _join(state, out, as_json=json)
        return
    aside = (_no_format if server else partial(chat_format, model, template)) if set_aside else None
    how: dict[str, Any] = {"workers": workers, "load": load, "set_aside": aside, "progress": progress}
    found = scan([dialogues], judges, out, asking=asking, shard=part, **how)
    if state:
        _join(state, out, as_json=json)
    else:
        _print(found, judges, as_json=json)


def _answering(
    model: str, template: str | None, device: str | None, server: str | None, *, vllm: bool, ranks: int
) -> Answering:
    """Whoever answers the prompts, as the options say."""
    if server and vllm:
        from expunge.errors import InputError

        raise InputError("--server and --vllm are two ways to answer prompts", remedy="Leave one of them out.")
    if server:
        return _served(server, model, template, device)
    return _in_vllm(model, template, device, ranks) if vllm else _loaded(model, template, device)


def _loaded(model: str, template: str | None, device: str | None) -> Answering:
    from expunge.model import check_model, load_model
    from expunge.scan.asking import Loaded

    check_model(model, device=device)
    return Loaded.of(model, template, cache(lambda: load_model(model, template=template, device=device)))


def _served(url: str, model: str, template: str | None, device: str | None) -> Answering:
    from expunge.errors import InputError
    from expunge.scan.served import Served

    for name, value in (("--template", template), ("--device", device)):
        if value:
            raise InputError(
                f"{name} is for a model that is loaded here; the server has its own", remedy="Leave it out."
            )
    return Served(url, model)


def _in_vllm(model: str, template: str | None, device: str | None, ranks: int) -> Answering:
    from expunge.errors import InputError
    from expunge.model import check_model
    from expunge.scan.engine import Engine

    if device:
        remedy = "Leave it out; CUDA_VISIBLE_DEVICES says which GPU."
        raise InputError("--device is for a model that is loaded without vLLM", remedy=remedy)
    if ranks > 1:
        remedy = "Leave accelerate out: one command for each GPU, with CUDA_VISIBLE_DEVICES and --shard I/N."
        raise InputError("--vllm answers in one process", remedy=remedy)
    answers = Engine(model, template)
    check_model(model)
    return answers


def _no_format() -> None:
    """The server's own."""


def _shard(text: str | None) -> Shard:
    from expunge.errors import InputError
    from expunge.scan.run import Shard

    if text is None:
        return Shard()
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal()):
        raise InputError(f"the shard {text!r} cannot be used", remedy="Write it as I/N, such as 1/8.")
    return Shard(int(number), int(count))


def _processes() -> Any:
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available())


def _join(state: Any, out: Path, *, as_json: bool) -> None:
    """Wait for the other processes; the first then joins the parts, and removes them."""
    from expunge.cli import merge
    from expunge.scan.journal import receipt_of
    from expunge.scan.run import Shard

    state.wait_for_everyone()
    if state.is_main_process:
        merge.command(out, json=as_json)
        for number in range(state.num_processes):
            part = Shard(number + 1, state.num_processes).file(out)
            part.unlink(missing_ok=True)
            receipt_of(part).unlink(missing_ok=True)
    state.destroy_process_group()


def _print(found: Scan, judges: list[Judge], *, as_json: bool) -> None:
    from dataclasses import asdict

    from expunge.judges.agreement import agreements
    from expunge.judges.panel import Panel
    from expunge.judges.usage import usage_of
    from expunge.scan.journal import aside_of

    members = judges[0].judges if len(judges) == 1 and isinstance(judges[0], Panel) else judges
    used = usage_of(judges)
    agreed = agreements([j.name for j in members], found.votes)
    if as_json:
        counts = {
            "dialogues": found.written,
            "labels": dict(found.labels),
            "silent": found.silent,
            "aside": found.aside,
        }
        more = {"agreement": [asdict(a) for a in agreed], "usage": [usage.row() for usage in used]}
        show.print_json(counts | {name: rows for name, rows in more.items() if rows} | {"out": str(found.path)})
        return
    for label, count in found.labels.most_common():
        print(f"{label:<14}{count:>8}")
    for a in agreed:
        kappa = "  –  " if a.kappa is None else f"{a.kappa:.3f}"
        print(f"{a.first} and {a.second} on {a.label}: κ {kappa}, {a.agreed:.1%} of {a.count} alike")
    if found.silent:
        print(f"{found.silent} prompts were answered with nothing, and are left out")
    if found.aside:
        which = "all" if not found.written else f"{found.aside}"
        print(f"{which} rows were set aside: {aside_of(found.path)} says which, and why")
    print(f"{found.written} dialogues judged: {found.path}")
    for usage in used:
        print(usage)
