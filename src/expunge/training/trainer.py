"""`UnlearnTrainer`: a `transformers.Trainer` whose step is negative + positive + normal loss in one shared forward."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer

from expunge.encoding import Batch
from expunge.objective import cluster_mean_loss, distance_loss, kl_loss, row_shares
from expunge.training.active import ActiveSet
from expunge.training.config import UnlearnConfig
from expunge.training.material import Material, Step, plan_step
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

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Σ of the three terms on one part of a step: w⁻ L⁻ + w⁺ L⁺ + w° L°, each a mean over the rows of the step."""
        number, part = divmod(int(inputs["part"][0]), self._config.accumulation)
        whole = plan_step(number, self._active.since, self._active.rows, self._material, self._config)
        terms = self._terms(model, whole.part(part, self._config.accumulation), whole)
        self._active.saw(terms)
        weights = {"negative": self._config.negative, "positive": self._config.positive, "normal": self._config.normal}
        return torch.stack([weights[name] * value for name, value in terms.items()]).sum()

    def _terms(self, model: Any, step: Step, whole: Step) -> dict[str, torch.Tensor]:
        material, config = self._material, self._config
        wanted = {
            "negative": [material.forget[i] for i in step.forget] if config.negative else [],
            "positive": [material.expected[i][m] for i, m in zip(step.forget, step.members, strict=True)]
            if config.positive
            else [],
            "normal": [material.normal[i] for i in step.normal] if config.normal else [],
        }
        batch = Batch.of([row for rows in wanted.values() for row in rows], self.args.device)
        logits = batch.logits(model)
        terms: dict[str, torch.Tensor] = {}
        for name, (own, chosen) in zip(wanted, _slices(batch, wanted.values()), strict=True):
            if not len(own):
                continue
            mask = own.fault if name == "negative" else own.response
            flat, targets = logits[chosen][mask], own.targets[mask]
            shares = row_shares(mask, len(whole.normal if name == "normal" else whole.forget))
            if name == "negative":
                terms[name] = distance_loss(flat, targets, shares, ignorance=config.ignorance)
            elif name == "positive":
                terms[name] = cluster_mean_loss(flat, targets, shares)
            elif self._reference is not None:
                terms[name] = kl_loss(flat, self._reference.log_probs(model, step.normal, own), shares)
        return terms


def _slices(batch: Batch, groups: Iterable[list[Any]]) -> Iterator[tuple[Batch, slice]]:
    start = 0
    for rows in groups:
        chosen = slice(start, start + len(rows))
        yield batch.rows(chosen), chosen
        start += len(rows)


def _numbers(items: list[int]) -> dict[str, torch.Tensor]:
    return {"part": torch.tensor(items)}
