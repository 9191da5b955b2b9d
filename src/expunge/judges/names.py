"""Judges by name, as the command line gives them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from expunge.errors import InputError
from expunge.judges.verdict import Judge


def load_judge(spec: str) -> Judge:
    """The judge that `NAME`, `NAME=SOURCE` or `path/to/file.py:Name` stands for.

    privacy=registry.jsonl    private data by its form, and the values of a registry
    registry=registry.jsonl   the values of a registry alone
    facts=references.jsonl    answers compared with references
    harm=ORG/MODEL            a sequence classifier: hub id or folder
    file.py:Name              one's own: an object that fits `Judge`, or a class of such, made without arguments

    A built-in name without a source takes the built-in town's.

    Raises:
        InputError: the name is unknown, its source cannot be used, or one's own judge does not load or fit.
    """
    if ".py:" in spec:
        file, _, name = spec.rpartition(":")
        return _own(Path(file), name)
    name, equals, source = spec.partition("=")
    if name not in BUILT_IN:
        close = get_close_matches(name, BUILT_IN, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise InputError(
            f"unknown judge {name!r}.{hint} Built in: {', '.join(BUILT_IN)}",
            remedy="NAME, NAME=SOURCE, or path/to/file.py:Name for your own.",
        )
    if equals and not source:
        raise InputError(f"the source after '{name}=' is missing", remedy=f"{name} alone takes the built-in one.")
    make, town = BUILT_IN[name]
    return make(source or _town(town))


def _privacy(source: str) -> Judge:
    from expunge.judges.privacy import PrivacyJudge
    from expunge.judges.registry import read_registry

    return PrivacyJudge(read_registry(source))


def _registry(source: str) -> Judge:
    from expunge.judges.privacy import PrivacyJudge
    from expunge.judges.registry import read_registry

    return PrivacyJudge(read_registry(source), patterns=False)


def _facts(source: str) -> Judge:
    from expunge.judges.facts import FactsJudge, read_references

    return FactsJudge(read_references(source))


def _harm(source: str) -> Judge:
    from expunge.judges.classifier import ClassifierJudge

    return ClassifierJudge(source)


BUILT_IN: dict[str, tuple[Callable[[str], Judge], str]] = {
    "privacy": (_privacy, "registry.jsonl"),
    "registry": (_registry, "registry.jsonl"),
    "facts": (_facts, "facts.jsonl"),
    "harm": (_harm, "harm"),
}


def _town(name: str) -> str:
    from expunge import demo

    try:
        return str(demo.path(name))
    except FileNotFoundError:
        raise InputError(f"the built-in town has no {name!r}", remedy="Give a source: NAME=SOURCE.") from None


def _own(file: Path, name: str) -> Judge:
    if not file.is_file():
        raise InputError("there is no such file", file=file, remedy="A judge of your own reads path/to/file.py:Name.")
    module = _run(file)
    if not hasattr(module, name):
        public = ", ".join(n for n in vars(module) if not n.startswith("_")) or "nothing"
        raise InputError(f"no {name!r} in this file", file=file, remedy=f"It holds: {public}.")
    judge: Any = getattr(module, name)
    if isinstance(judge, type):
        judge = _guarded(judge, file, f"{name}()")
    if not isinstance(judge, Judge) or not callable(judge.judge):
        lacking = [n for n in ("name", "version", "judge") if not hasattr(judge, n)]
        remedy = "A judge has a name, a version and judge(dialogues) -> verdicts."
        raise InputError(
            f"{name!r} does not fit Judge: it lacks {', '.join(lacking) or 'a method judge'}", file=file, remedy=remedy
        )
    return judge


def _run(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"expunge_own_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise InputError("not a Python file", file=file)
    module = importlib.util.module_from_spec(spec)
    loader = spec.loader
    _guarded(lambda: loader.exec_module(module), file, "the file")
    return module


def _guarded(call: Callable[[], Any], file: Path, what: str) -> Any:
    """The user's code run; its fault told as one message."""
    try:
        return call()
    except InputError:
        raise
    except Exception as error:
        trace, line = error.__traceback__, None
        while trace is not None:
            if Path(trace.tb_frame.f_code.co_filename).resolve() == file.resolve():
                line = trace.tb_lineno
            trace = trace.tb_next
        if isinstance(error, SyntaxError):
            line = error.lineno
        raise InputError(f"{what} fails: {type(error).__name__}: {error}", file=file, line=line) from None
