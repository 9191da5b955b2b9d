"""A judge of one's own, from a Python file."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from expunge.errors import InputError
from expunge.judges.verdict import Judge


def own_judge(file: Path, name: str) -> Judge:
    """The object `name` of `file`, or one made of the class of that name.

    Raises:
        InputError: the file does not run, lacks the name, or what it holds does not fit `Judge`.
    """
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
