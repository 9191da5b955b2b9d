"""The part of a model that reads and writes text, where another reads images or sound."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from transformers import PreTrainedModel


def text_modules(model: Any) -> Iterator[tuple[str, torch.nn.Module]]:
    """Modules with their names: those whose nearest model of transformers', a part of the whole, is configured as its
    text is, and the output layer; nothing that stands around a model of another kind. Of a model of text alone, all.
    """
    kind, ends = type(model.config.get_text_config()), model.get_output_embeddings()

    def walk(module: torch.nn.Module, name: str, inside: bool) -> Iterator[tuple[str, torch.nn.Module]]:
        kinds = [type(part.config) is kind for part in module.modules() if isinstance(part, PreTrainedModel)]
        if isinstance(module, PreTrainedModel):
            inside = type(module.config) is kind
        elif kinds and not any(kinds):
            inside = False
        if inside or module is ends:
            yield name, module
        for last, part in module.named_children():
            yield from walk(part, f"{name}.{last}" if name else last, inside)

    yield from walk(model, "", True)
