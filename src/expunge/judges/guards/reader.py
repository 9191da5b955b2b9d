"""A guard model at work: the probabilities of its label words after a prompt, and short greedy answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from expunge.errors import InputError
from expunge.packing import by_length

TOKENS = 16_384  # in one batch, padding included


@dataclass(frozen=True, slots=True)
class Reading:
    """chances: of each label, of all labels together. mass: their share of all that the model might have said."""

    chances: Mapping[str, float]
    mass: float


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt's token ids up to the place where a label comes next, and each label's first tokens there."""

    ids: tuple[int, ...]
    labels: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Reader:
    """A guard's tokenizer and model."""

    tokenizer: Any
    model: Any
    device: str

    def ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def ask(self, text: str, labels: Mapping[str, Sequence[str]]) -> Asked:
        """Where, after `text`, the labels' tokens part. Text and label are tokenized as one, as they would be read.

        Raises:
            InputError: the tokenizer does not tell the labels apart by their first token.
        """
        whole = {form: self.ids(text + form) for forms in labels.values() for form in forms}
        first = [whole[forms[0]] for forms in labels.values()]
        here = next((i for i, column in enumerate(zip(*first, strict=False)) if len(set(column)) > 1), 0)
        start = first[0][:here]
        found = {
            label: tuple({ids[here] for form in forms if (ids := whole[form])[:here] == start and len(ids) > here})
            for label, forms in labels.items()
        }
        listed = [token for tokens in found.values() for token in tokens]
        if not here or len(set(listed)) != len(listed):
            raise InputError(
                f"the guard's tokenizer does not tell {', '.join(labels)} apart",
                remedy="Give a model of this family, with its own tokenizer.",
            )
        return Asked(start, found)

    def read(self, asked: Sequence[Asked]) -> list[Reading | None]:
        """The labels' probabilities; None where the model's numbers are not finite. One forward a batch."""
        import torch

        from expunge.generation import reading

        readings: list[Reading | None] = [None] * len(asked)
        with torch.inference_mode(), reading(self.model):
            for batch in self._batches([len(a.ids) for a in asked]):
                ids, mask = self._padded([asked[i].ids for i in batch])
                positions = (mask.cumsum(1) - 1).clamp_min(0)
                out = self.model(
                    input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=1, use_cache=False
                )
                shares = out.logits[:, -1].float().softmax(-1)
                for row, i in zip(shares, batch, strict=True):
                    if row.isfinite().all():
                        readings[i] = _reading(row, asked[i].labels)
        return readings

    def answers(self, prompts: Sequence[tuple[int, ...]], *, length: int) -> list[str]:
        """The greedy answer to each prompt, of at most `length` tokens; special tokens are left out."""
        import torch
        from transformers import GenerationConfig

        from expunge.generation import reading

        texts = [""] * len(prompts)
        ends = self._ends()
        config = GenerationConfig(
            max_new_tokens=length, do_sample=False, eos_token_id=ends, pad_token_id=self._padding(ends)
        )
        with torch.inference_mode(), reading(self.model):
            for batch in self._batches([len(p) + length for p in prompts]):
                ids, mask = self._padded([prompts[i] for i in batch])
                out = self.model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
                for row, i in zip(out[:, ids.shape[1] :].tolist(), batch, strict=True):
                    stop = next((n for n, token in enumerate(row) if token in ends), len(row))
                    texts[i] = str(self.tokenizer.decode(row[:stop], skip_special_tokens=True))
        return texts

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """One row each where the model reads what a mask takes away (see `paddable`)."""
        from expunge.decoding import paddable

        return by_length(lengths, tokens=TOKENS if paddable(self.model) else 1)

    def _padded(self, rows: Sequence[tuple[int, ...]]) -> tuple[Any, Any]:
        import torch

        columns = max(map(len, rows))
        ids = torch.tensor([(0,) * (columns - len(r)) + r for r in rows], device=self.device)
        mask = torch.tensor([(0,) * (columns - len(r)) + (1,) * len(r) for r in rows], device=self.device)
        return ids, mask

    def _ends(self) -> list[int]:
        holders = (self.tokenizer, getattr(self.model, "generation_config", None), self.model.config)
        listed = [getattr(holder, "eos_token_id", None) for holder in holders]
        flat = [i for item in listed for i in (item if isinstance(item, list | tuple) else [item])]
        return list(dict.fromkeys(i for i in flat if isinstance(i, int)))

    def _padding(self, ends: Sequence[int]) -> int:
        return int(self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else (*ends, 0)[0])


def _reading(shares: Any, labels: Mapping[str, tuple[int, ...]]) -> Reading:
    each = {label: float(shares[list(tokens)].sum()) for label, tokens in labels.items()}
    mass = sum(each.values())
    even = 1.0 / len(each)
    return Reading({label: share / mass if mass else even for label, share in each.items()}, min(mass, 1.0))
