"""Prompts answered by vLLM in this process: many at once, their keys and values in pages, and no server."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from expunge.decoding import own_seed
from expunge.dialogue import Dialogue
from expunge.encoding import ChatFormat
from expunge.errors import InputError, MissingExtraError
from expunge.files import exists
from expunge.generation import think
from expunge.model import ADAPTER, load_model, resolve, usable_device
from expunge.scan.asking import known

SETTINGS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # a process of its own would outlive this one's death, and hold the device
    "VLLM_DO_NOT_TRACK": "1",
}
"""Of vLLM, which reads them from the environment."""

QUIET = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_LOGGING_STREAM": "ext://sys.stderr"}
"""The same, where the user set none: results alone stand on stdout."""

CPU = {"dtype": "float32", "enforce_eager": True, "enable_chunked_prefill": False}
"""How a model is held there: it would compile for minutes, and cannot draw by seeds after half a prompt."""


class Engine:
    """The model in vLLM, on one device. Loads nothing before it is asked.

    Token ids go in and come out: template, prompts and end tokens are those of the model as `load_model` loads it, and
    so is its precision. Greedy answers are alike but where two tokens are as likely to the last digits; draws are from
    the same distribution by other random numbers.

    Raises:
        InputError: an adapter, or a template file that is not there; when called, a model that vLLM cannot take, or a
            prompt that it has no room for.
        MissingExtraError: without the package vllm.
    """

    def __init__(self, model: str, template: str | None = None) -> None:
        if find_spec("vllm") is None:
            raise MissingExtraError("vllm", "vllm", "answering by vLLM")
        if exists(Path(resolve(model)) / ADAPTER):
            remedy = "Leave --vllm out; or merge it into its base (merge_and_unload of PEFT) and give that folder."
            raise InputError(f"the model {model!r} is an adapter, which --vllm does not take", remedy=remedy)
        self.name = f"{known(model, template)}, by vLLM"
        self._model, self._template = model, template

    def __call__(
        self, prompts: Sequence[Dialogue], *, max_new_tokens: int, samples: int, seed: int, thinking: int = 0
    ) -> list[list[str]]:
        """Answers to each prompt, as `generation.generate` and `generation.think` give them."""
        chat = self._begun[1]
        if not (thinking and chat.thinking.thinks):
            return self._ask(prompts, max_new_tokens=max_new_tokens, samples=samples, seed=seed)
        ask = partial(self._ask, seed=seed)
        return think(ask, chat, prompts, room=thinking, length=max_new_tokens, samples=samples)

    def _ask(
        self, prompts: Sequence[Dialogue], *, max_new_tokens: int, samples: int, seed: int, thinking: bool = False
    ) -> list[list[str]]:
        llm, chat = self._begun
        from vllm import SamplingParams

        asked, drawn, times = list[Any](), list[Any](), Counter[tuple[int, ...]]()
        for dialogue in prompts:
            ids = chat.encode_prompt(dialogue, thinking=thinking)
            room = min(chat.context, llm.model_config.max_model_len) - len(ids)
            if room <= 0:
                fault = f"{len(ids)} tokens, but vLLM has room for {len(ids) + room} on this device"
                remedy = "Shorten or remove it, or take a larger device. The same command goes on."
                raise InputError(f"{dialogue.place}: {fault}", remedy=remedy)
            asked.append({"prompt_token_ids": list(ids)})
            drawn.append(
                SamplingParams(
                    n=max(1, samples),
                    temperature=1.0 if samples else 0.0,
                    seed=own_seed(seed, ids, times[ids]),
                    max_tokens=min(max_new_tokens, room),
                    stop_token_ids=list(chat.stops),
                    ignore_eos=True,  # these are all of them
                    detokenize=False,
                )
            )
            times[ids] += 1
        with _told(self._model):
            found = llm.generate(asked, drawn, use_tqdm=False)
        return [[chat.text(answer.token_ids) for answer in one.outputs] for one in found]

    @cached_property
    def _begun(self) -> tuple[Any, ChatFormat]:
        """vLLM with the model, and the model's chat format."""
        unread = load_model(self._model, template=self._template, device="meta")  # vLLM would make up missing weights
        os.environ.update(SETTINGS)
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        stored = {"dtype": str(unread.stored_dtype).removeprefix("torch.")}
        held = CPU if usable_device(None).type == "cpu" else stored
        with _told(self._model):
            from vllm import LLM

            llm = LLM(
                resolve(self._model),
                **held,
                load_format="safetensors",
                max_model_len=-1,  # the model's context, or what the device's memory has room for
                skip_tokenizer_init=True,
                generation_config="vllm",  # none that came with the model
                use_tqdm_on_load=False,
            )
        return llm, unread.format


@contextlib.contextmanager
def _told(model: str) -> Iterator[None]:
    """What vLLM says about a model that it cannot hold or ask, in a line. It is given tokens, and quotes no text."""
    try:
        yield
    except (ValueError, RuntimeError, OSError, ImportError) as error:
        said = " ".join(str(error).split())
        remedy = "Free the device and give the command again, leave --vllm out, or have a server answer (--server)."
        raise InputError(f"vLLM cannot answer for the model {model!r}: {said[:300]}", remedy=remedy) from None
