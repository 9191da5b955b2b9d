"""Unlearning as the textbook has it, to measure against: NPO with KL, a copied reference, padding, all logits.

Not part of Expunge. It is what a plain `transformers.Trainer` makes of arXiv 2404.05868's loss.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from transformers import Trainer, TrainingArguments

Row = tuple[Sequence[int], int]
"""Token ids, and how many of them are the prompt's."""
Pair = tuple[Row, Row]
"""A forget row and a normal one."""


def arguments(folder: Path, batch: int, steps: int, rate: float = 1e-5, seed: int = 42) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=batch,
        max_steps=steps,
        learning_rate=rate,
        seed=seed,
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
    )


def collate(pairs: Sequence[Pair]) -> dict[str, dict[str, torch.Tensor]]:
    return {"forget": padded([pair[0] for pair in pairs]), "normal": padded([pair[1] for pair in pairs])}


def padded(rows: Sequence[Row]) -> dict[str, torch.Tensor]:
    longest = max(len(ids) for ids, _ in rows)
    shape = (len(rows), longest)
    ids, mask, labels = (torch.full(shape, value, dtype=torch.long) for value in (0, 0, -100))
    for i, (row, prompt) in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
        labels[i, prompt : len(row)] = torch.tensor(row[prompt:])
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


class TextbookNPO(Trainer):
    """L = −(2/β) · mean log σ(β (NLL_θ − NLL_ref)) + mean KL(p_ref ‖ p_θ) over the response tokens of normal rows."""

    def __init__(self, *, beta: float = 0.1, **options: Any) -> None:
        super().__init__(data_collator=collate, **options)
        self.beta = beta
        self.reference = copy.deepcopy(self.model).eval().requires_grad_(False)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        forget, normal = inputs["forget"], inputs["normal"]
        with torch.no_grad():
            reference_nll = nll(self.reference, forget)
            reference = logits_of(self.reference, normal).log_softmax(-1)
        risen = nll(model, forget) - reference_nll
        npo = -2 / self.beta * F.logsigmoid(self.beta * risen).mean()
        log_p = logits_of(model, normal).log_softmax(-1)
        kl = F.kl_div(log_p, reference, log_target=True, reduction="none").sum(-1)
        return npo + kl[normal["labels"][:, 1:] >= 0].mean()


def logits_of(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    found = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False)
    logits: torch.Tensor = found.logits[:, :-1].float()
    return logits


def nll(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Summed over the response: float [rows]."""
    logits = logits_of(model, batch)
    return F.cross_entropy(logits.transpose(1, 2), batch["labels"][:, 1:], reduction="none").sum(1)
