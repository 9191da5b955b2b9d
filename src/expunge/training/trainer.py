"""`UnlearnTrainer`: a `transformers.Trainer` whose step is negative + positive + normal loss in one shared forward."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer

from expunge.encoding import Encoded, response_logits
from expunge.objective import cluster_mean_loss, distance_loss, kl_loss, row_shares
from expunge.training.active import ActiveSet
from expunge.training.config import UnlearnConfig
from expunge.training.material import Material, Step
from expunge.training.reference import Reference


class Parts(Dataset[int]):
    """The numbers of the parts of all steps. What is in a part is decided when it is computed, by the active set."""

    def __init__(self, config: UnlearnConfig) -> None:
        self._length = config.max_steps * config.accumulation

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: int) -> int:
        return part


class UnlearnTrainer(Trainer):  # type: ignore[misc]
    """Trains `model` away from the active forget rows; checkpoints, devices and schedules are `Trainer`'s."""

    def __init__(
        self,
        *,
        active: ActiveSet,
        material: Material,
        reference: Reference | None,
        config: UnlearnConfig,
        **options: Any,
    ) -> None:
        super().__init__(train_dataset=Parts(config), data_collator=_numbers, callbacks=[active], **options)
        self.loss_is_scaled_for_ga = True  # shares are of the whole step, so parts add up without another division
        self._active, self._material, self._reference, self._config = active, material, reference, config

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        if self.lr_scheduler is None:
            self.lr_scheduler: Any = LambdaLR(optimizer or self.optimizer, self._active.pace)
        return self.lr_scheduler

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Σ of the three terms on one part of a step, w⁻ L⁻ + w⁺ L⁺ + w° L°, each a mean over the rows of the step."""
        number, part = divmod(int(inputs["part"][0]), self._config.accumulation)
        whole = self._active.plan(number)
        terms = self._terms(model, whole.part(part, self._config.accumulation), whole)
        if not terms:  # more parts than rows: nothing to add
            return 0.0 * next(p for p in model.parameters() if p.requires_grad).sum()
        self._active.saw(terms)
        weights = self._config.weights
        return torch.stack([weights[name] * value for name, value in terms.items()]).sum()

    def _terms(self, model: Any, step: Step, whole: Step) -> dict[str, torch.Tensor]:
        material, config = self._material, self._config
        wanted: dict[str, list[Encoded]] = {
            "negative": [material.forget[i] for i in step.forget],
            "positive": [material.expected[i][m] for i, m in zip(step.forget, step.members, strict=True)],
            "normal": [material.normal[i] for i in step.normal],
        }
        wanted = {name: rows for name, rows in wanted.items() if rows and config.weights[name]}
        logits = iter(response_logits(model, [row for rows in wanted.values() for row in rows], self.args.device))
        terms: dict[str, torch.Tensor] = {}
        for name, rows in wanted.items():
            masks = [torch.tensor(row.fault if name == "negative" else (True,) * len(row.response)) for row in rows]
            flat = torch.cat([next(logits)[mask] for mask in masks])
            targets = torch.cat([torch.tensor(r.response)[m] for r, m in zip(rows, masks, strict=True)])
            size = len(whole.normal if name == "normal" else whole.forget)
            shares = row_shares([int(mask.sum()) for mask in masks], size).to(flat.device)
            if name == "negative":
                terms[name] = distance_loss(flat, targets.to(flat.device), shares, ignorance=config.ignorance)
            elif name == "positive":
                terms[name] = cluster_mean_loss(flat, targets.to(flat.device), shares)
            elif self._reference is not None:
                terms[name] = kl_loss(flat, self._reference.log_probs(model, step.normal).to(flat.device), shares)
        return terms


def _numbers(items: list[int]) -> dict[str, torch.Tensor]:
    return {"part": torch.tensor(items)}
