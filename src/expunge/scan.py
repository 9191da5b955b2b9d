"""The evaluative model at work: dialogues, or prompts answered by the model, to verdicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.judges.panel import judge_all
from expunge.judges.verdict import Judge, Judged
from expunge.model import LanguageModel
from expunge.progress import Progress, Quiet

CHUNK = 4096


def scan(
    dialogues: Sequence[Dialogue],
    judges: Sequence[Judge],
    *,
    model: Callable[[], LanguageModel] | None = None,
    samples: int = 0,
    max_new_tokens: int = 128,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Judged]:
    """Judge every dialogue. Those without a response are prompts: `model` answers them first.

    model: called only if there are prompts, so that judging logged dialogues loads no model.
    samples: answers drawn for each prompt; 0 takes the one greedy answer.

    Raises:
        InputError: there is no judge; there are prompts and no model, or the model has no answer to any.
    """
    if not judges:
        raise InputError("there is no judge", remedy="Name at least one, such as privacy.")
    progress = progress or Quiet()
    answered = _answered(dialogues, model, samples, max_new_tokens, seed, progress)
    found: list[Judged] = []
    with progress.stage("Judging", len(answered)) as advance:
        for start in range(0, len(answered), CHUNK):
            chunk = answered[start : start + CHUNK]
            found += judge_all(judges, chunk)
            advance(len(chunk))
    return found


def _answered(
    dialogues: Sequence[Dialogue],
    model: Callable[[], LanguageModel] | None,
    samples: int,
    max_new_tokens: int,
    seed: int,
    progress: Progress,
) -> list[Dialogue]:
    prompts = [d for d in dialogues if d.response is None]
    if not prompts or model is None:
        return list(dialogues)
    from expunge.generation import generate

    with progress.stage("Asking the model", len(prompts)) as advance:
        answers = generate(
            model(), prompts, max_new_tokens=max_new_tokens, samples=samples, seed=seed, progress=advance
        )
    given = iter(answers)
    found: list[Dialogue] = []
    silent = 0
    for dialogue in dialogues:
        if dialogue.response is not None:
            found.append(dialogue)
            continue
        texts = [text for text in dict.fromkeys(next(given)) if text]
        silent += not texts
        found += [
            replace(dialogue.answered(text), id=f"{dialogue.id}#{number}" if samples else dialogue.id)
            for number, text in enumerate(texts, start=1)
        ]
    if not found:
        raise InputError("the model gave no answer to any prompt", remedy="Check the model and its --template.")
    if silent:
        progress.note(f"{silent} of {len(prompts)} prompts were answered with nothing, and are left out")
    return found
