"""Decoding that works on what is not known yet: no row whose answer has ended, nor twice the samples that are alike so
far, nor the last few rows by themselves; transformers' own keeps all rows of a batch to the last one's end."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch

from expunge.files import digest
from expunge.kv_cache import Options, each, joined, movable, select, selectable
from expunge.prefill import prefill, read

FEW = 2
"""The last of a batch's rows, one in so many, wait for the next batch."""


class Alive(NamedTuple):
    """An answer that goes on: its row, shared by samples that are alike so far, and the token to be read next."""

    answer: int
    row: int
    token: int


class Decoder:
    """Answers of a model to prompts that are handed to it batch by batch.

    said: the tokens of each answer, its end token included, in the order asked; complete after `finish`.
    ended: how many are complete.
    """

    def __init__(
        self, model: Any, ends: Sequence[int], *, samples: int = 0, temperature: float = 1.0, seed: int = 0
    ) -> None:
        """samples: 0 for the one greedy answer to each prompt; n > 0 for n drawn from the untruncated distribution.

        Draws depend on the seed, on the prompt, and on how often it was asked before, not on other prompts.
        """
        self.said: list[list[int]] = []
        self.ended = 0
        self._asks, self._model, self._ends, self._seed = model.generate, model, tuple(ends), seed
        self._samples, self._each, self._temperature = samples, max(1, samples), temperature
        self._even = _even(model.config.get_text_config())
        self._rooms: list[int] = []
        self._draws: dict[int, list[float]] = {}
        self._asked: dict[str, int] = {}
        self._alive: list[Alive] = []
        self._options: Options = {}
        self._rows = 0  # in the cache

    def ask(self, prompts: Sequence[tuple[int, ...]], room: int) -> None:
        """Answer these with at most `room` tokens each; the last few rows wait for others."""
        from transformers import GenerationConfig

        if len({len(p) for p in prompts}) > 1 and not paddable(self._model):
            for prompt in prompts:
                self.ask([prompt], room)
                self.finish()
            return
        columns, device = max(map(len, prompts)), self._model.device
        ids = torch.tensor([(0,) * (columns - len(p)) + p for p in prompts], device=device)
        mask = torch.tensor([(0,) * (columns - len(p)) + (1,) * len(p) for p in prompts], device=device)
        config = GenerationConfig(eos_token_id=list(self._ends), pad_token_id=self._ends[0], max_new_tokens=room)
        if not alone():
            self._keep_step(ids, mask, config)
            return
        if columns + room > self._even:
            for prompt, row in zip(prompts, ids, strict=True):
                own = row[None, columns - len(prompt) :]
                self._keep_step(own, torch.ones_like(own), config)
            return
        answers = len(prompts) * self._each
        self._draws |= enumerate(self._drawn(prompts, room), len(self.said))
        self.said += [[] for _ in range(answers)]
        self._rooms += [room] * answers
        self._asks(input_ids=ids, attention_mask=mask, generation_config=config, custom_generate=self._begin)

    def finish(self) -> None:
        """Answer what still waits."""
        self._go_on(0)

    def _drawn(self, prompts: Sequence[tuple[int, ...]], room: int) -> list[list[float]]:
        """A uniform number for each token of each answer, if any is drawn."""
        found: list[list[float]] = []
        for prompt in prompts if self._samples else ():
            source = torch.Generator().manual_seed(own_seed(self._seed, prompt, self._times(prompt)))
            found += torch.rand(self._samples, room, generator=source, dtype=torch.float64).tolist()
        return found

    def _times(self, asked: Sequence[Any]) -> int:
        """How often this was asked before."""
        times = self._asked[repr(asked)] = self._asked.get(repr(asked), -1) + 1
        return times

    def _keep_step(self, ids: torch.Tensor, mask: torch.Tensor, config: Any) -> None:
        """As transformers does it, whatever has ended: no process may stop before the others, and some models read all
        anew in between."""
        if self._samples:
            drawn = {"do_sample": True, "temperature": self._temperature, "top_k": 0, "top_p": 1.0}
            config.update(**drawn, num_return_sequences=self._samples)
        with torch.random.fork_rng([ids.device] if ids.device.type == "cuda" else []):
            torch.manual_seed(own_seed(self._seed, ids.tolist(), self._times(ids.tolist())))
            rows = self._asks(input_ids=ids, attention_mask=mask, generation_config=config)
        self.said += rows[:, ids.shape[1] :].tolist()
        self._rooms += [config.max_new_tokens] * len(rows)
        self.ended += len(rows)

    def _begin(
        self,
        model: Any,
        input_ids: torch.Tensor,
        logits_processor: Any,
        stopping_criteria: Any,
        generation_config: Any,
        **options: Any,
    ) -> torch.Tensor:
        """For `model.generate(custom_generate=…)`, which knows what a step of the model is to be handed."""
        self._model = model  # below any adapter's wrapper
        new = range(len(self.said) - self._each * len(input_ids), len(self.said))
        places = options.get("position_ids")
        if places is not None and places.dim() > 2:  # one for each side of an image; of text all are alike
            options["position_ids"] = places[0]
        if not selectable(options, len(input_ids)):
            self._whole(input_ids, options, new)
            return input_ids
        if options.get("attention_mask", ...) is None:  # `generate` leaves it out where nothing is padded
            options["attention_mask"] = torch.ones_like(input_ids)
        joins = movable(options)
        logits, parts = zip(*prefill(model, input_ids, options), strict=True)
        fresh = self._say(torch.cat(logits), [Alive(answer, i // self._each, 0) for i, answer in enumerate(new)])
        waiting = [self._options] if self._alive else []
        self._alive += [Alive(answer, self._rows + row, token) for answer, row, token in fresh]
        self._rows += len(input_ids)
        room = max((self._rooms[x.answer] - len(self.said[x.answer]) for x in self._alive), default=0)
        self._options = joined([*waiting, *parts], room)
        self._drop()
        self._go_on(len(new) // FEW if joins else 0)
        return input_ids

    def _whole(self, input_ids: torch.Tensor, options: Options, new: range) -> None:
        """Where rows cannot leave: one for each answer, all to the last one's end."""

        def repeated(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.repeat_interleave(self._each, 0)

        logits, options = read(self._model, repeated(input_ids), each(options, repeated))
        alive = self._say(logits, [Alive(answer, i, 0) for i, answer in enumerate(new)])
        while alive:
            logits, options = self._step(alive, len(new), options)
            alive = self._say(logits, alive)

    def _go_on(self, few: int) -> None:
        """Until so few rows are left."""
        while len({x.row for x in self._alive}) > few:
            logits, self._options = self._step(self._alive, self._rows, self._options)
            self._alive = self._say(logits, self._alive)
            self._drop()

    def _step(self, alive: Sequence[Alive], rows: int, options: Options) -> tuple[torch.Tensor, Options]:
        """The logits [rows, vocabulary] after one token more, and what the next step is handed."""
        model, words = self._model, [0] * rows
        for _, row, token in alive:
            words[row] = token
        ids = torch.tensor(words, device=model.device)[:, None]
        out = model(**model.prepare_inputs_for_generation(ids, next_sequence_length=1, **options), return_dict=True)
        return out.logits[:, -1], model._update_model_kwargs_for_generation(out, options)

    def _say(self, logits: torch.Tensor, alive: Sequence[Alive]) -> list[Alive]:
        """Each answer's next token; those that go on."""
        going = []
        for (answer, row, _), token in zip(alive, self._tokens(logits, alive), strict=True):
            self.said[answer].append(token)
            left = self._rooms[answer] - len(self.said[answer])
            if left and token not in self._ends:
                going.append(Alive(answer, row, token))
            else:
                self.ended += 1
                self._draws.pop(answer, None)
        return going

    def _tokens(self, logits: torch.Tensor, alive: Sequence[Alive]) -> list[int]:
        """The likeliest, or the one where the answer's uniform number falls in the cumulated probabilities."""
        rows = torch.tensor([x.row for x in alive], device=logits.device)
        if not self._samples:
            return list(logits.argmax(-1)[rows].tolist())
        exact = torch.float32 if logits.device.type == "mps" else torch.float64
        reach = (logits.to(exact) / self._temperature).softmax(-1).cumsum(-1)[rows]
        numbers = [self._draws[x.answer][len(self.said[x.answer])] for x in alive]
        drawn = torch.tensor(numbers, dtype=exact, device=logits.device)[:, None] * reach[:, -1:]
        places = torch.searchsorted(reach, drawn, right=True).squeeze(1)
        return list(places.clamp_max(reach.shape[1] - 1).tolist())

    def _drop(self) -> None:
        """Let the rows of ended answers go; a row whose samples differ from now on becomes several."""
        heirs = _arranged(dict.fromkeys((row, token) for _, row, token in self._alive))
        parents = [row for row, _ in heirs]
        if parents == list(range(self._rows)):
            return
        places = {heir: place for place, heir in enumerate(heirs)}
        self._options = select(self._options, torch.tensor(parents, device=self._model.device)) if heirs else {}
        self._alive = [Alive(answer, places[row, token], token) for answer, row, token in self._alive]
        self._rows = len(heirs)


def _arranged(heirs: Collection[tuple[int, int]]) -> list[tuple[int, int]]:
    """In the order in which the fewest rows move: one heir of each keeps its place, if that is among the first."""
    places: list[tuple[int, int] | None] = [None] * len(heirs)
    others = []
    for heir in heirs:
        if heir[0] < len(places) and places[heir[0]] is None:
            places[heir[0]] = heir
        else:
            others.append(heir)
    return [heir or others.pop() for heir in places]


def alone() -> bool:
    """Whether this process may stop when its own rows have ended: where several share a model, all must keep step."""
    spread = torch.distributed
    return not (spread.is_available() and spread.is_initialized() and spread.get_world_size() > 1)


_paddable: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def paddable(model: Any) -> bool:
    """Whether padding that a mask marks before a prompt changes nothing in what follows; tried once for a model.

    Some states go on from it all the same. Sums of other lengths, and experts with other rows, give other last bits.
    """
    from transformers import GenerationConfig

    if model not in _paddable:
        size = model.config.get_text_config().vocab_size
        ids = torch.tensor([[size - 1, size // 2, size // 3, 5, 3, 4], [5, 4, 3, 5, 4, 3]], device=model.device) % size
        mask = torch.tensor([[0, 0, 0, 0, 1, 1], [1] * 6], device=model.device)
        config = GenerationConfig(max_new_tokens=2, output_logits=True, return_dict_in_generate=True, pad_token_id=0)
        padded, alone = (
            torch.stack(model.generate(input_ids=i, attention_mask=m, generation_config=config).logits)[:, 0].float()
            for i, m in ((ids, mask), (ids[:1, 4:], mask[:1, 4:]))
        )
        near = max(1e-4, 16 * torch.finfo(next(model.parameters()).dtype).eps) * float(alone.abs().max())
        _paddable[model] = not float((padded - alone).abs().max()) > near
    return _paddable[model]


def _even(config: Any) -> int:
    """The longest sequence read as shorter ones are: beyond, "longrope" turns every token of a batch otherwise."""
    ropes = getattr(config, "rope_parameters", None) or {}
    kinds = [kind for kind in (ropes, *ropes.values()) if isinstance(kind, dict)]  # one, or one for each kind of layer
    lengths = (k.get("original_max_position_embeddings", 0) for k in kinds if k.get("rope_type") == "longrope")
    return min(lengths, default=2**31)


def own_seed(*parts: Any) -> int:
    """A seed of 60 bits for what is said so."""
    return int(digest(*map(repr, parts))[:15], 16)
