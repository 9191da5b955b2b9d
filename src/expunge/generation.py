"""Answers and likelihoods from a model: one place for every forward that is not training."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from expunge.batches import Batch, alike
from expunge.dialogue import Dialogue
from expunge.encoding import ChatFormat, Encoded
from expunge.errors import InputError
from expunge.host import CPU_TOKENS
from expunge.model import LanguageModel
from expunge.packing import by_length
from expunge.progress import Advance
from expunge.thought import marked

TOKENS = 16_384
"""In one batch at most, padding included."""

LOGITS = 2**26
"""In one batch at most: 256 MB."""


def batch_tokens(lm: LanguageModel) -> int:
    """Tokens read in one batch, padding included, where each may have its logits."""
    return max(256, min(CPU_TOKENS if lm.device.type == "cpu" else TOKENS, LOGITS // lm.vocabulary))


def generate(
    lm: LanguageModel,
    dialogues: Sequence[Dialogue],
    *,
    max_new_tokens: int,
    samples: int = 0,
    temperature: float = 1.0,
    seed: int = 0,
    starts: Sequence[Sequence[int]] | None = None,
    thinking: bool = False,
    progress: Advance | None = None,
) -> list[list[str]]:
    """Answers of the model to each dialogue's prompt; or what it thinks first, where `thinking` or a thought is judged.

    samples: 0 gives the one greedy answer; n > 0 gives n drawn at `temperature` from the untruncated distribution.
    seed: of this call's own draws. A prompt's depend on it, on the prompt, and on how often that was asked in this call
        before, not on other prompts.
    starts: for each dialogue the token ids that its answer begins with, if any, part of the answer and counted among
        `max_new_tokens`; one that ends with an end token is the whole answer.
    An answer ends where the model's context does. Generation settings that came with the model are left aside.

    Raises:
        InputError: a prompt that fills the model's context, or a chat template that fails on it.
    """
    from expunge.decoding import Decoder

    given = [tuple(start)[:max_new_tokens] for start in starts or [()] * len(dialogues)]
    asked_for = (lm.format.encode_prompt(d, thinking=thinking) for d in dialogues)
    prompts = [prompt + start for prompt, start in zip(asked_for, given, strict=True)]
    stops = lm.format.stops
    answers = [[lm.format.text(start)] * max(1, samples) for start in given]
    rooms = [
        0 if start and start[-1] in stops else min(max_new_tokens - len(start), lm.context - len(prompt))
        for prompt, start in zip(prompts, given, strict=True)
    ]
    if progress and (whole := sum(room <= 0 for room in rooms)):
        progress(whole)
    decoder = Decoder(lm.model, stops, samples=samples, temperature=temperature, seed=seed)
    each, told, asked = max(1, samples), 0, list[int]()

    def tell() -> None:
        nonlocal told
        if progress:
            progress(decoder.ended // each - told)
            told = decoder.ended // each

    with torch.inference_mode(), reading(lm.model):
        for part, room in _parts(lm, prompts, rooms, each):
            decoder.ask([prompts[i] for i in part], room)
            asked += part
            tell()
        decoder.finish()
        tell()
    for place, i in enumerate(asked):
        said = ([*given[i], *row][:max_new_tokens] for row in decoder.said[place * each : (place + 1) * each])
        answers[i] = [lm.format.text(ids) for ids in said]
    return answers


def _parts(
    lm: LanguageModel, prompts: Sequence[tuple[int, ...]], rooms: Sequence[int], samples: int
) -> Iterator[tuple[list[int], int]]:
    """Which prompts are asked together, and for how many tokens: as many as one of them has room for, if all have."""
    open_ = [i for i, room in enumerate(rooms) if room > 0]
    least = TOKENS * lm.vocabulary // LOGITS  # of an answer, one token at a time has logits
    cost = [max(len(prompts[i]) + rooms[i], least) * samples for i in open_]
    for places in reversed(list(by_length(cost, tokens=TOKENS))):  # the next are as long as the last ones have become
        batch = sorted((open_[place] for place in places), key=lambda i: prompts[i])  # like beginnings side by side
        most = max(rooms[i] for i in batch)
        wide = {i: most if len(prompts[i]) + most <= lm.context else rooms[i] for i in batch}
        for room in sorted(set(wide.values())):  # nearly always one
            yield [i for i in batch if wide[i] == room], room


def start_ids(lm: LanguageModel, dialogue: Dialogue, text: str) -> tuple[int, ...]:
    """Token ids of an answer to the dialogue that begins with `text` and goes on; none for no text.

    Raises:
        InputError: prompt and beginning leave no room in the model's context, or cannot be encoded.
    """
    if dialogue.thinks:
        return lm.format.ids(text)
    return lm.format.encode(dialogue.answered(text)).response[:-1] if text else ()


@contextlib.contextmanager
def reading(model: Any) -> Iterator[None]:
    """In evaluation mode, and without the generation settings kept with the model: `generate` would mix them in."""
    from transformers import GenerationConfig

    training = model.training
    holders = [model, model.get_base_model()] if hasattr(model, "get_base_model") else [model]
    settings = [getattr(holder, "generation_config", None) for holder in holders]
    model.eval()
    for holder in holders:
        holder.generation_config = GenerationConfig()
    try:
        yield
    finally:
        for holder, own in zip(holders, settings, strict=True):
            holder.generation_config = own
        model.train(training)


def think(
    ask: Callable[..., list[list[str]]],
    chat: ChatFormat,
    dialogues: Sequence[Dialogue],
    *,
    room: int,
    length: int,
    samples: int = 0,
) -> list[list[str]]:
    """As `generate`, of a model that is let think first: each text holds the thought as well, see `thought.apart`.

    ask: `generate` of the model, or what does the same. room: tokens of a thought; one that is longer, or leaves no
        room for `length` tokens more, ends there and is answered after (budget forcing, arXiv 2501.19393). samples: as
        there, each with a thought of its own.

    Raises:
        InputError: the chat template knows no thoughts, or as `ask`.
    """
    if not chat.thinking.nothing:
        remedy = "Leave --thinking out, or give a template that writes <think></think> before a response."
        raise InputError("the model's chat template has no place for a thought", remedy=remedy)
    drawn = ask(dialogues, max_new_tokens=room, samples=samples, thinking=True)
    end, fixed = chat.thinking.end.strip(), len(chat.ids(chat.thinking.closing)) + length

    def fitting(dialogue: Dialogue, text: str) -> str:
        ids = chat.ids(text.partition(end)[0].strip())
        return chat.text(ids[: max(0, chat.context - len(chat.encode_prompt(dialogue, thinking=True)) - fixed)])

    thoughts = [[fitting(d, text) for text in texts] for d, texts in zip(dialogues, drawn, strict=True)]
    after = [d.after(thought) for d, texts in zip(dialogues, thoughts, strict=True) for thought in texts]
    said = iter(ask(after, max_new_tokens=length, samples=min(samples, 1)))
    return [[marked(thought, next(said)[0]) for thought in texts] for texts in thoughts]


def greedy(lm: LanguageModel, dialogues: Sequence[Dialogue], *, max_new_tokens: int) -> list[str]:
    """The one greedy answer to each dialogue's prompt."""
    return [answers[0] for answers in generate(lm, dialogues, max_new_tokens=max_new_tokens)]


def answer_length(lm: LanguageModel, responses: Sequence[str]) -> int:
    """Enough new tokens for answers like these: half as long again as the longest, and eight more."""
    longest = max((len(lm.format.tokenizer(r, add_special_tokens=False)["input_ids"]) for r in responses), default=24)
    return int(longest * 1.5) + 8


def token_log_probs(lm: LanguageModel, rows: Sequence[Encoded]) -> list[torch.Tensor]:
    """log p of each response token (end token included) under teacher forcing: one float32 [response] tensor a row."""

    def take(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, ...]:
        picked = logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
        return (picked.float() - logits.float().logsumexp(-1),)

    return [log_p for (log_p,) in _forced(lm, rows, take)]


def leading(right: torch.Tensor) -> int:
    """How many of the first values are true."""
    return int(right.long().cumprod(0).sum())


@dataclass(frozen=True, slots=True)
class TokenScores:
    """What one forward tells of a response's tokens (end token included) under teacher forcing; each is [response].

    log_p: log p of the token. greedy: whether it is the likeliest. mean, deviation: of log p of a token drawn from the
    model's own distribution at that place. All on the CPU; float64, or float32 on devices that have no other.
    """

    log_p: torch.Tensor
    greedy: torch.Tensor
    mean: torch.Tensor
    deviation: torch.Tensor


def token_scores(lm: LanguageModel, rows: Sequence[Encoded]) -> list[TokenScores]:
    """The scores of each row's response: all that likelihood measures are made of, so that a row is read once."""
    return [TokenScores(*found) for found in _forced(lm, rows, _scores)]


def _scores(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The fields of `TokenScores` for logits [tokens, vocabulary] and the tokens that stand there.

    Float64 logits are used up. Moments are taken of log p less that of the likeliest token, so that little cancels.
    """
    top, best = logits.max(-1, keepdim=True)
    below = logits.to(torch.float32 if logits.device.type == "mps" else torch.float64).sub_(top)
    picked = below.gather(-1, targets.unsqueeze(-1))
    weight = below.clamp_(min=-1e4).exp()  # 0 · log 0 is 0 here, not NaN
    total = weight.sum(-1, keepdim=True)
    first = weight.mul_(below).sum(-1, keepdim=True) / total
    second = weight.mul_(below).sum(-1, keepdim=True) / total
    deviation = (second - first.square()).clamp_(min=0).sqrt()
    log_total = total.log()
    found = (picked - log_total, best == targets.unsqueeze(-1), first - log_total, deviation)
    return tuple(column.squeeze(-1) for column in found)


def _forced(
    lm: LanguageModel, rows: Sequence[Encoded], take: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, ...]]
) -> list[tuple[torch.Tensor, ...]]:
    """What `take` makes of logits [tokens, vocabulary] and tokens, under teacher forcing: each row's part, on the CPU.

    Piece by piece, since a batch's logits fill the memory as they are; a piece stays in a CPU's cache.
    """
    tokens = max(1, (2**18 if lm.device.type == "cpu" else 2**23) // lm.vocabulary)
    found: dict[int, tuple[torch.Tensor, ...]] = {}
    with torch.inference_mode(), reading(lm.model):
        for indices in alike([len(r) for r in rows], tokens=batch_tokens(lm)):
            batch = Batch.of([rows[i] for i in indices], lm.device)
            pieces = (torch.split(part, tokens) for part in (batch.logits(lm.model), batch.targets))
            parts = [take(*piece) for piece in zip(*pieces, strict=True)]
            columns = [batch.split(torch.cat(column).cpu()) for column in zip(*parts, strict=True)]
            found.update(zip(indices, zip(*columns, strict=True), strict=True))
    return [found[i] for i in range(len(rows))]


def mean_probability(log_probs: torch.Tensor, mask: Sequence[bool] | None = None) -> float:
    """exp(mean log p) over the (masked) response tokens: the per-token geometric mean of the probability."""
    picked = log_probs if mask is None else log_probs[torch.tensor(mask)]
    return float(picked.mean().exp())
