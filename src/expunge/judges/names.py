"""Judges by name, as the command line and judge files give them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from expunge.errors import InputError, did_you_mean
from expunge.judges.own import own_judge
from expunge.judges.verdict import Judge


def load_judge(spec: str, *, allow_remote: bool = False) -> Judge:
    """The judge that `NAME`, `NAME=SOURCE`, `FILE.toml` or `path/to/file.py:Name` stands for.

    privacy=registry.jsonl    private data by its form, and the values of a registry
    registry=registry.jsonl   the values of a registry alone
    facts=references.jsonl    answers compared with references
    harm=ORG/MODEL            a sequence classifier: hub id or folder
    entailment=ORG/MODEL      contradictions of references (named in a judge file), by an entailment model
    consistency=ORG/MODEL     a causal model asked again: whether it agrees with itself, and with the response
    tagger=ORG/MODEL          a token classifier, such as one that marks private data
    presidio, presidio=MODEL  Presidio's patterns; with an installed spaCy model its names and places too
    qwen3guard=ORG/MODEL      a guard model of that family; so llama-guard, wildguard, granite-guardian, shieldgemma
    policy=ORG/MODEL          a causal model that reads a policy (in a judge file, which gives the policy)
    remote=URL                the same behind a server (in a judge file, which gives model and policy)
    judges.toml               judges with their settings, see `judge_file`
    file.py:Name              one's own: an object that fits `Judge`, or a class of such, made without arguments

    Some built-in names without a source take the built-in town's. allow_remote: whether a judge may send dialogues away
    from this machine.

    Raises:
        InputError: the name is unknown, its source cannot be used, one's own judge does not load or fit, or a judge is
            remote and was not allowed to be.
    """
    if ".py:" in spec:
        file, _, name = spec.rpartition(":")
        return own_judge(Path(file), name)
    if spec.endswith(".toml"):
        from expunge.judges.judge_file import read_judge_file

        return read_judge_file(Path(spec), allow_remote=allow_remote)
    name, equals, source = spec.partition("=")
    if equals and not source:
        raise InputError(f"the source after '{name}=' is missing")
    return named_judge(name, source, {}, allow_remote=allow_remote)


def load_judges(specs: Iterable[str], *, allow_remote: bool = False) -> list[Judge]:
    """Several; see `load_judge`."""
    return [load_judge(spec, allow_remote=allow_remote) for spec in specs]


def named_judge(name: str, source: str, options: Mapping[str, Any], *, allow_remote: bool = False) -> Judge:
    """The built-in judge `name` on `source`, with keyword options of its class.

    Raises:
        InputError: as `load_judge`; also for an option that the judge does not have.
    """
    if name not in BUILT_IN:
        raise InputError(
            f"unknown judge {name!r}.{did_you_mean(name, BUILT_IN)} Built in: {', '.join(BUILT_IN)}",
            remedy="NAME, NAME=SOURCE, FILE.toml, or path/to/file.py:Name for your own.",
        )
    kind = BUILT_IN[name]
    if kind.remote and not allow_remote:
        raise InputError(
            f"the judge {name!r} sends dialogues to {_host(source)}",
            remedy="Give --allow-remote if they may leave this machine.",
        )
    if not source and not kind.town and not kind.alone:
        raise InputError(f"the judge {name!r} needs a source", remedy=f"Write it as {name}=SOURCE.")
    return kind.make(source or (_town(kind.town) if kind.town else ""), options)


def _host(url: str) -> str:
    """The server alone: the rest of a URL may hold secrets."""
    try:
        return urlsplit(url).hostname or "a server"
    except ValueError:
        return "a server"


def _made(judge: Callable[..., Judge], *arguments: Any, options: Mapping[str, Any]) -> Judge:
    settings = [p for p in inspect.signature(judge).parameters.values() if p.kind is p.KEYWORD_ONLY]
    known = [p.name for p in settings]
    for option in options:
        if option not in known:
            fault = f"unknown option {option!r}.{did_you_mean(option, known)}"
            raise InputError(fault, remedy=f"Known: {', '.join(known) or 'none'}.")
    lacking = [p.name for p in settings if p.default is p.empty and p.name not in options]
    if lacking:
        remedy = "Set it in a judge file, FILE.toml, and name that as the judge."
        raise InputError(f"the option {lacking[0]!r} is missing", remedy=remedy)
    try:
        return judge(*arguments, **options)
    except (TypeError, ValueError) as error:
        if not options:
            raise
        raise InputError(f"an option cannot be used ({type(error).__name__}: {', '.join(options)})") from None


def _privacy(source: str, options: Mapping[str, Any]) -> Judge:
    from expunge.judges.privacy import PrivacyJudge
    from expunge.judges.registry import read_registry

    return _made(PrivacyJudge, read_registry(source), options=options)


def _registry(source: str, options: Mapping[str, Any]) -> Judge:
    from expunge.judges.privacy import PrivacyJudge
    from expunge.judges.registry import read_registry

    return _made(PrivacyJudge, read_registry(source), False, options=options)


def _facts(source: str, options: Mapping[str, Any]) -> Judge:
    from expunge.judges.facts import FactsJudge, read_references

    return _made(FactsJudge, read_references(source), options=options)


def _presidio(source: str, options: Mapping[str, Any]) -> Judge:
    from expunge.judges.presidio import PresidioJudge

    return _made(PresidioJudge, options=dict(options) | {"spacy": source} if source else options)


def _by_source(home: str) -> Callable[[str, Mapping[str, Any]], Judge]:
    """A judge made of its source as it is. home: "module:name" under `expunge.judges`, imported when asked for."""

    def make(source: str, options: Mapping[str, Any]) -> Judge:
        module, _, name = home.partition(":")
        return _made(getattr(import_module(f"expunge.judges.{module}"), name), source, options=options)

    return make


@dataclass(frozen=True, slots=True)
class Kind:
    """A built-in judge: `make(source, options)`; `town`: the built-in town's source, or "" where it has none.

    remote: whether it sends dialogues away. alone: whether it needs no source. reads, writes: options that may name a
    file; in a judge file it stands beside that.
    """

    make: Callable[[str, Mapping[str, Any]], Judge]
    town: str = ""
    remote: bool = False
    alone: bool = False
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


BUILT_IN: dict[str, Kind] = {
    "privacy": Kind(_privacy, "registry.jsonl"),
    "registry": Kind(_registry, "registry.jsonl"),
    "facts": Kind(_facts, "facts.jsonl"),
    "harm": Kind(_by_source("classifier:ClassifierJudge"), "harm"),
    "entailment": Kind(_by_source("entailment:EntailmentJudge"), reads=("references",)),
    "consistency": Kind(_by_source("consistency:ConsistencyJudge"), reads=("entailment", "template")),
    "tagger": Kind(_by_source("tagger:TaggerJudge")),
    "presidio": Kind(_presidio, alone=True),
    "qwen3guard": Kind(_by_source("guards.make:qwen3guard")),
    "llama-guard": Kind(_by_source("guards.make:llama_guard")),
    "wildguard": Kind(_by_source("guards.make:wildguard")),
    "granite-guardian": Kind(_by_source("guards.make:granite_guardian"), reads=("references",)),
    "shieldgemma": Kind(_by_source("guards.make:shieldgemma")),
    "policy": Kind(_by_source("policy_judge:PolicyJudge"), reads=("policy",)),
    "remote": Kind(_by_source("remote:RemoteJudge"), remote=True, reads=("policy",), writes=("cache",)),
}


def _town(name: str) -> str:
    from expunge import demo

    try:
        return str(demo.path(name))
    except FileNotFoundError:
        raise InputError(f"the built-in town has no {name!r}", remedy="Give a source: NAME=SOURCE.") from None
