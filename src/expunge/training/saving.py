"""What training leaves: a folder like the one that the model came from."""

from __future__ import annotations

import copy
import shutil
from itertools import chain
from pathlib import Path
from typing import Any

from expunge.checkpoint import LEGACY_TEMPLATE
from expunge.files import make_folder, write_json
from expunge.model import LanguageModel, quiet_transformers
from expunge.sharding import gathered, sharded
from expunge.training.processes import is_main


class Settings:
    """Configurations of a model as they are now: a trainer writes its own into them, and into what is saved."""

    def __init__(self, model: Any) -> None:
        own = (model.config, getattr(model, "generation_config", None))
        self._kept = [(config, copy.deepcopy(vars(config))) for config in own if config is not None]

    def put_back(self) -> None:
        for config, kept in self._kept:
            vars(config).clear()
            vars(config).update(kept)


def save(lm: LanguageModel, target: Path, settings: Settings, name: str, result: dict[str, Any]) -> None:
    """Write weights and tokenizer, in the dtypes the model came in, and what says how it reads images and sounds, to a
    folder that appears whole or not at all, with `result` in a file of this name."""
    part, model = target.with_name(f".{target.name}.part"), lm.model
    if is_main():
        shutil.rmtree(part, ignore_errors=True)
        make_folder(part)
    adapter = hasattr(model, "disable_adapter")
    settings.put_back()
    if not adapter:
        _as_stored(lm)
    whole = {"state_dict": gathered(model)} if sharded(model) and not adapter else {}
    with quiet_transformers():
        if is_main() or (adapter and sharded(model)):  # PEFT looks at its base's weights, in all processes
            model.save_pretrained(part, safe_serialization=True, is_main_process=is_main(), **whole)
        if is_main():
            lm.format.tokenizer.save_pretrained(part)
    if is_main():
        for file in lm.beside if not adapter else ():
            if file.name != LEGACY_TEMPLATE:  # the tokenizer has written it, as it is written now
                shutil.copyfile(file, part / file.name)
        write_json(part / name, result)
        part.replace(target)


def _as_stored(lm: LanguageModel) -> None:
    """Put the weights into the dtypes that they came in."""
    model, apart = lm.model, lm.apart
    held = {name: tensor.detach().clone() for name, tensor in _tensors(model) if name in apart}
    if lm.stored_dtype != next(model.parameters()).dtype:
        model.to(lm.stored_dtype)
    for name, tensor in _tensors(model):
        if name in held:
            tensor.data = held[name].to(apart[name])


def _tensors(model: Any) -> Any:
    return chain(model.named_parameters(), model.named_buffers())
