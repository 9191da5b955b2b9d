"""`UnlearnTrainer`: a `transformers.Trainer` whose step is negative + positive + normal loss."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer

from expunge.encoding import Encoded, Output, forward_rows
from expunge.objective import cluster_mean_loss, distance_loss, hidden_loss, kl_loss, row_shares
from expunge.training.active import ActiveSet
from expunge.training.config import UnlearnConfig
from expunge.training.material import Material, Mean, Step
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
        self._layers = kept_layers(self.model) if config.hidden_weight else ()

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
        forget = [material.forget[i] for i in step.pushed] if config.negative_weight else []
        taught = list(zip(step.forget, step.members, strict=True)) if config.positive_weight else []
        expected = [material.expected[i][m] for i, m in taught]
        normal = [material.normal[i] for i in step.normal] if self._reference else []
        rows = [*forget, *expected, *normal]
        found = iter(forward_rows(model, rows, self.args.device, self._layers if normal else ()))
        terms: dict[str, torch.Tensor] = {}
        if forget:
            terms["negative"] = self._negative(forget, list(islice(found, len(forget))), len(whole.forget))
        if expected:
            means = [material.means[i][m] for i, m in taught]
            terms["positive"] = self._positive(means, list(islice(found, len(expected))), len(whole.forget))
        if normal and self._reference:
            original = self._reference.outputs(model, step.normal)
            terms |= self._normal(normal, list(found), original, len(whole.normal))
        return terms

    def _negative(self, rows: Sequence[Encoded], found: Sequence[Output], count: int) -> torch.Tensor:
        masks = [torch.tensor(row.fault) for row in rows]
        logits = torch.cat([output.logits[mask] for output, mask in zip(found, masks, strict=True)])
        targets = torch.cat([torch.tensor(row.response)[mask] for row, mask in zip(rows, masks, strict=True)])
        shares = row_shares([int(mask.sum()) for mask in masks], count).to(logits.device)
        return distance_loss(logits, targets.to(logits.device), shares, ignorance=self._config.ignorance)

    def _positive(self, means: Sequence[Mean], found: Sequence[Output], count: int) -> torch.Tensor:
        logits = torch.cat([output.logits for output in found])
        choices = [choice for mean in means for choice in mean]
        most = max(map(len, choices))
        padded = [(*choice, *[(0, 0.0)] * (most - len(choice))) for choice in choices]
        tokens = torch.tensor([[token for token, _ in choice] for choice in padded], device=logits.device)
        mean = torch.tensor([[share for _, share in choice] for choice in padded], device=logits.device)
        shares = row_shares([len(mean) for mean in means], count).to(logits.device)
        return cluster_mean_loss(logits, tokens, mean, shares)

    def _normal(
        self, rows: Sequence[Encoded], found: Sequence[Output], original: Sequence[Output], count: int
    ) -> dict[str, torch.Tensor]:
        device, weights = found[0].logits.device, self._config.weights
        terms: dict[str, torch.Tensor] = {}
        if weights["normal"]:
            logits, reference = (torch.cat([o.logits for o in outputs]) for outputs in (found, original))
            shares = row_shares([len(row.response) for row in rows], count).to(device)
            terms["normal"] = kl_loss(logits, reference.to(device), shares)
        if weights["hidden"]:
            hidden, reference = (torch.cat([_hidden(o) for o in outputs]) for outputs in (found, original))
            shares = row_shares([len(row) for row in rows], count).to(device)
            terms["hidden"] = hidden_loss(hidden, reference.to(device), shares)
        return terms


def kept_layers(model: Any) -> tuple[int, ...]:
    """After which layers the hidden states are held: the middle and the last one."""
    layers = int(model.config.get_text_config().num_hidden_layers)
    return (layers // 2, layers)


def _hidden(output: Output) -> torch.Tensor:
    assert output.hidden is not None
    return output.hidden


def _numbers(items: list[int]) -> dict[str, torch.Tensor]:
    return {"part": torch.tensor(items)}
