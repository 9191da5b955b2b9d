"""`UnlearnTrainer`: a `transformers.Trainer` whose step is negative + positive + normal loss."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer
from transformers.trainer import SCHEDULER_NAME

from expunge.errors import InputError
from expunge.objective.term import Slot
from expunge.sharding import keep_optimizer, keep_weights, own_part, restore_optimizer, restore_weights
from expunge.training.active import ActiveSet
from expunge.training.config import UnlearnConfig
from expunge.training.loss import Loss
from expunge.training.processes import processes, total
from expunge.training.surgery import Surgery

_WEIGHTS, _OPTIMIZER = "weights", "optimizer"
"""Folders in a checkpoint of weights that are shared out."""


class Parts(Dataset[int]):
    """The numbers of the parts of all steps. What is in a part is decided when it is computed, by the active set."""

    def __init__(self, steps: int, parts: int) -> None:
        self._length = steps * parts

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: int) -> int:
        return part


class UnlearnTrainer(Trainer):  # type: ignore[misc]
    """Trains `model` away from the active forget rows; checkpoints, devices and schedules are `Trainer`'s.

    A step is computed in `accumulation` parts on each process; all parts together are the step, however many. Processes
    need not run as many forwards as each other, so gradients are added up here and not by a wrapper of the model.
    """

    def __init__(self, *, active: ActiveSet, loss: Loss, config: UnlearnConfig, **options: Any) -> None:
        self._processes = processes()
        self._parts = config.accumulation * self._processes
        super().__init__(
            train_dataset=Parts(config.max_steps, self._parts),
            data_collator=_numbers,
            callbacks=[active],
            **options,
        )
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            remedy = "Leave those settings of accelerate out, and give `sharded = true` (--sharded)."
            raise InputError("accelerate's own FSDP and DeepSpeed are not supported", remedy=remedy)
        self.loss_is_scaled_for_ga = True  # shares are of the whole step, so parts add up without another division
        self._active, self._loss = active, loss
        self._surgery = Surgery() if config.surgery else None
        self._shares_weights = config.sharded and not config.lora_rank  # an adapter is whole in every process

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        if self.lr_scheduler is None:
            self.lr_scheduler: Any = LambdaLR(optimizer or self.optimizer, self._active.pace)
        return self.lr_scheduler

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Σ of the terms on one part of a step, w⁻ L⁻ + w⁺ L⁺ + w° L°, each a mean over the rows of the step."""
        values = self._weighed(model, inputs)
        return sum(values.values()) if values else self._loss.nothing(model)

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """One part, and after the last one what there is to do with the gradients of the whole step."""
        model = self.accelerator.unwrap_model(model)
        loss: torch.Tensor
        if self._surgery is None:
            loss = super().training_step(model, inputs, num_items_in_batch)
        else:
            loss = self._apart(self._surgery, model, inputs)
        if self.accelerator.sync_gradients:  # the last part
            for weight in model.parameters():
                if weight.grad is not None and self._processes > 1 and own_part(weight) is weight:
                    weight.grad = total(weight.grad)  # where weights are shared out, it is one already
            if self._surgery is not None:
                self._surgery.operate(model)
        return loss

    def _sync_replicated_trainable_parameters(self, model: Any) -> None:
        """Nothing: they begin alike, and their gradients are added up here."""

    def _defer_fsdp_gradient_reduction(self) -> AbstractContextManager[None]:
        """Not: until a step's last part every process would hold gradients of the whole model."""
        return nullcontext()

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if self._shares_weights and output_dir:
            keep_weights(self.model, Path(output_dir) / _WEIGHTS)
        else:
            super()._save(output_dir, state_dict)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if self._shares_weights:
            restore_weights(self.model, Path(resume_from_checkpoint) / _WEIGHTS)
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self._shares_weights:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        keep_optimizer(self.model, self.optimizer.optimizer, Path(output_dir) / _OPTIMIZER)
        if self.args.should_save:
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if not (self._shares_weights and checkpoint):
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        restore_optimizer(self.model, self.optimizer.optimizer, Path(checkpoint) / _OPTIMIZER)
        self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint) / SCHEDULER_NAME, weights_only=True))

    def _apart(self, surgery: Surgery, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        model.train()
        with self.compute_loss_context_manager():
            values = self._weighed(model, self._prepare_inputs(inputs))
        kept = sum((v for slot, v in values.items() if slot in ("normal", "hidden")), start=_nothing(model))
        forgotten = sum((v for slot, v in values.items() if slot in ("negative", "positive")), start=_nothing(model))
        surgery.add(model, forgotten)
        self.accelerator.backward(kept)
        return (kept + forgotten).detach()

    def _weighed(self, model: Any, inputs: Mapping[str, Any]) -> dict[Slot, torch.Tensor]:
        number, part = divmod(int(inputs["part"][0]), self._parts)
        step = self._active.plan(number)
        values = self._loss.values(model, step.part(part, self._parts), step, self._active.without(number))
        self._active.saw(number, values)
        weights = self._active.weights
        return {slot: weights[slot] * value for slot, value in values.items()}


def _nothing(model: Any) -> torch.Tensor:
    """0, with a gradient: a part may have no rows, and of some kind often has none."""
    zero: torch.Tensor = 0.0 * next(p for p in model.parameters() if p.requires_grad).sum()
    return zero


def _numbers(items: list[int]) -> dict[str, torch.Tensor]:
    return {"part": torch.tensor(items)}
