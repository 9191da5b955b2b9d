"""What a folder or a hub's repository holds of a model: which class of transformers' reads it whole, on which base an
adapter is, and which files tell how images and sounds are read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from expunge.files import exists, read_text

LEGACY_TEMPLATE = "chat_template.json"
PROCESSORS = ("preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json", LEGACY_TEMPLATE)
"""Of models that read images or sound too."""


def reader(path: str, *, trust_remote_code: bool = False) -> Any:
    """What of transformers' reads the model whole: of one that reads images or sound too, all that it has, so that what
    is written of it later lacks nothing.

    Raises:
        ValueError: it writes no text, or writes it from what an encoder has read.
    """
    import transformers

    config = transformers.AutoConfig.from_pretrained(_base_of(path), trust_remote_code=trust_remote_code)
    causal, whole = transformers.AutoModelForCausalLM, transformers.AutoModelForMultimodalLM
    if "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {}) and trust_remote_code:
        return causal
    named = config.architectures or ()
    known = [auto for auto in (causal, whole) if type(config) in auto._model_mapping]
    if not known or config.is_encoder_decoder:
        raise ValueError(f"{(*named, type(config).__name__)[0]} is no causal model that transformers knows")
    return next((auto for auto in known if auto._model_mapping[type(config)].__name__ in named), known[0])


def beside(path: str, config: Any) -> Iterator[Path]:
    """Files of a model that reads images or sound, for `AutoProcessor` and for servers."""
    from transformers import AutoModelForMultimodalLM
    from transformers.utils import cached_file

    missing = {f"_raise_exceptions_for_{what}": False for what in ("missing_entries", "connection_errors")}
    for name in PROCESSORS if type(config) in AutoModelForMultimodalLM._model_mapping else ():
        found = cached_file(_base_of(path), name, **missing)
        if found is not None:
            yield Path(found)


def take_template(tokenizer: Any, beside: Sequence[Path]) -> None:
    """The chat template, where an older processor's file holds it and not the tokenizer."""
    file = next((file for file in beside if file.name == LEGACY_TEMPLATE), None)
    if file and not tokenizer.chat_template:
        tokenizer.chat_template = json.loads(read_text(file))["chat_template"]


def _base_of(path: str) -> str:
    """The model that an adapter is on; the path itself, where it is none."""
    from transformers.utils.peft_utils import find_adapter_config_file

    file = find_adapter_config_file(path)
    if file is None or exists(Path(path) / "config.json"):
        return path
    return str(json.loads(read_text(Path(file)))["base_model_name_or_path"])
