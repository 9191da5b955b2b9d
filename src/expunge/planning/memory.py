"""Peak memory of an unlearning, term by term, as the trainer has it today. Tested against measured peaks; see
docs/scaling.md for how far it holds."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from expunge.planning.mirror import BATCH_LOGITS, BATCH_TOKENS, CHUNK, CPU_TOKENS
from expunge.planning.original import is_kept, needs_of
from expunge.planning.sizes import Sizes
from expunge.planning.workload import Step, Workload
from expunge.training.config import UnlearnConfig

Method = Literal["full", "lora", "qlora"]

LOGITS, LOGITS_WHOLE = 4, 6
"""Copies of a chunk: the logits, their log-probabilities, and two between them; in a KL also what the original says."""

TOGETHER = 2
"""Layers whose weights, and gradients, a process holds whole where they are shared out: at work, and next or last."""

QUANTIZED = 0.516
"""Bytes of a weight in four bits: 4 bits, and 0.127 for the doubly quantized scales (QLoRA, arXiv 2305.14314)."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to train. cpu: all in float32; on a GPU, what QLoRA does not quantize is in bfloat16.

    checkpointing: activations computed anew, layer by layer. processes: that share weights and work out, each with a
    machine of its own. modules: what is trained, as in `UnlearnConfig`.
    """

    method: Method
    rank: int = 0
    checkpointing: bool = False
    cpu: bool = True
    processes: int = 1
    modules: str = "matrices"

    def __post_init__(self) -> None:
        assert (self.rank > 0) == (self.method != "full")

    def stored(self, sizes: Sizes) -> int:
        """Bytes of a weight outside the quantized matrices."""
        return 4 if self.cpu or self.method == "full" or (self.method == "lora" and sizes.dtype == "float32") else 2

    def single(self, sizes: Sizes) -> bool:
        """Whether the layers compute in float32. Full training does, unless the weights came in bfloat16."""
        if self.cpu or self.method == "qlora":
            return self.cpu
        return sizes.dtype == "float32" or (self.method == "full" and sizes.dtype != "bfloat16")

    def changed(self, sizes: Sizes) -> int:
        """Parameters that are trained."""
        return sizes.trained(self.modules) if self.method == "full" else sizes.adapter(self.rank, self.modules)

    @property
    def changes_shares(self) -> bool:
        """Whether what is trained is shared out; an adapter is not."""
        return self.processes > 1 and self.method == "full"

    def held(self, sizes: Sizes) -> float:
        """Of these as many as one process holds."""
        return self.changed(sizes) / (self.processes if self.changes_shares else 1)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes in one process, term by term.

    weights: of the model, and of the adapter. casts: bfloat16 copies that the forward in mixed precision makes.
    gradients, optimizer: of what is trained; AdamW keeps two float32 moments. displaced: where the weights were while
    gradients are taken elsewhere, or how far an adversary has got. activations: what the layers keep for
    the backward pass, and what the terms read. logits: copies of one chunk of them in a term. layer: one layer's
    backward pass. reference: a frozen copy of the original, where what it makes of the rows is not kept.
    judging: keys and values, and logits, while the model answers. held: whether gradients are held through the forward
    (with accumulation). adversary: what layers and the loss keep in a pass of its own, which spares none.
    """

    weights: float
    casts: float
    gradients: float
    optimizer: float
    displaced: float
    activations: float
    logits: float
    layer: float
    reference: float
    judging: float
    held: bool
    adversary: float = 0

    @property
    def terms(self) -> dict[str, float]:
        """Bytes by name."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "held"}

    @property
    def peak(self) -> float:
        """The largest sum of terms that are there at once.

        Weights, optimizer, displaced and reference, and the largest of: casts, activations and the logits in the losses
        (or one layer's backward pass), or those of an adversary's pass; all gradients and the first layer's backward
        pass; judging.
        """
        forward = self.casts + self.activations + max(self.logits, self.layer) + (self.gradients if self.held else 0)
        always = self.weights + self.optimizer + self.displaced + self.reference
        attack = self.casts + self.adversary if self.adversary else 0
        return always + max(forward, attack, self.gradients + self.layer, self.judging)


def memory_of(sizes: Sizes, work: Workload, config: UnlearnConfig, way: Way) -> Memory:
    """Of one way to unlearn. `config.lora_rank` is left aside for that of `way`."""
    step = work.step(config, way.processes)
    copies = LOGITS_WHOLE if _whole(step, config) else LOGITS
    changed = way.held(sizes)
    whole = layer_bytes(sizes, step.columns, way) * step.tokens
    passed = (4 if way.single(sizes) or way.method == "full" else 2) * sizes.hidden * step.tokens
    read = read_bytes(sizes, step, config)
    attacked = config.adversary_step(adapter=way.rank > 0) > 0
    return Memory(
        weights=_weights(sizes, way),
        casts=_casts(sizes, way),
        gradients=4 * (changed + (TOGETHER * _layer(sizes) if way.changes_shares else 0)),
        optimizer=8 * changed,
        displaced=4 * changed * (attacked + bool(config.sharpness or config.bits)),
        # what is read has gone when a layer that was spared is computed anew
        activations=sizes.layers * passed + max(whole, read) if way.checkpointing else sizes.layers * whole + read,
        logits=4 * copies * min(CHUNK, sizes.vocabulary * step.response * max(step.pushed, step.taught, step.kept)),
        layer=_backward(sizes, way) * step.tokens,
        reference=_reference(sizes, work, config, way),
        judging=judging_bytes(sizes, work, way) if config.judged else 0,
        held=config.accumulation > 1,
        adversary=_attack(sizes, work.attack(), way) if attacked else 0,
    )


def _attack(sizes: Sizes, step: Step, way: Way) -> float:
    """A forward and backward of old responses, each layer's activations kept."""
    logits = 4 * LOGITS * min(CHUNK, sizes.vocabulary * step.response * step.pushed)
    kept = sizes.layers * layer_bytes(sizes, step.columns, way) * step.tokens
    kept += 12 * sizes.hidden * step.response * step.rows
    return kept + max(logits, _backward(sizes, way) * step.tokens)


def _weights(sizes: Sizes, way: Way) -> float:
    adapter = 4 * way.changed(sizes) if way.rank else 0
    if way.method != "qlora":
        together = TOGETHER * _layer(sizes) + sizes.table if way.processes > 1 else 0
        return way.stored(sizes) * (sizes.parameters / way.processes + together) + adapter
    return QUANTIZED * sizes.linear + way.stored(sizes) * (sizes.parameters - sizes.linear) + adapter


def _layer(sizes: Sizes) -> float:
    """Weights of one layer."""
    return sizes.linear / sizes.layers


def _casts(sizes: Sizes, way: Way) -> float:
    """Autocast keeps a bfloat16 copy of every float32 matrix for the backward pass."""
    largest = max(m.weights for m in sizes.matrices)
    if way.method == "qlora":
        return way.stored(sizes) * largest  # the one that is just being multiplied with
    if way.single(sizes) or way.method == "lora":
        return 0
    return 2 * (sizes.linear / (sizes.layers if way.checkpointing else 1) + sizes.table)


def read_bytes(sizes: Sizes, step: Step, config: UnlearnConfig) -> float:
    """What the terms read, in float32, besides what layers keep.

    At response tokens what the output layer reads: as the model gives it, joined by kind, and its slope; the original's
    too, where a term needs it. With hidden states, two layers' of every token, and of kept rows joined,
    the original's, and what is between them.
    """
    found = step.response * (3 * step.rows + _whole(step, config))
    if "states" in needs_of(config).get("normal", ()):
        found += 2 * step.row * (step.rows + 3 * step.kept)
    return 4 * sizes.hidden * found


def layer_bytes(sizes: Sizes, columns: int, way: Way) -> float:
    """What one layer keeps of one token for the backward pass, in bytes.

    In float32: the inputs and outputs of both norms 4 h; queries, keys and values (repeated for all heads) and what
    attention makes of them 4 q; in a gated MLP both branches, the activation and the product 4 i; the attention mask
    in floating point, one number a column. In bfloat16 the norms work in float32, and each matrix that is trained, or
    adapted, keeps its own copy of its input: three of the norm before attention, two of the one before the MLP.
    """
    h, q, i = sizes.hidden, sizes.queries, sizes.inner
    branches = 4 if sizes.gated else 5 if sizes.kind == "gpt2" else 2  # GPT-2's activation is made of five operations
    adapters = way.rank * len(sizes.matrices)
    once = 4 * _beside(sizes)
    if way.single(sizes):
        return 4 * (4 * h + 4 * q + branches * i + columns + adapters) + once
    copies = (len(sizes.matrices) - 2) * h + (q if way.method != "full" else 0)  # all but two read a norm's output
    return 4 * 2 * h + 2 * (copies + 4 * q + branches * i + columns + adapters) + once


def _beside(sizes: Sizes) -> float:
    """Numbers a token that a layer keeps besides, in float32: statistics of norms and attention, and oddities."""
    found: float = sizes.heads + (2 if sizes.gated else 4)
    if sizes.head_norm:
        found += (sizes.queries + sizes.keys) * (1 + sizes.heads / sizes.queries)
    if sizes.kind == "gpt_neox":
        found += 2 * sizes.hidden  # the values are a view of the matrix's whole output
    return found


def _backward(sizes: Sizes, way: Way) -> float:
    """Bytes a token of gradients inside one layer: the residual's twice, and those of the MLP's branches."""
    return (4 if way.single(sizes) else 2) * (2 * sizes.hidden + (3 if sizes.gated else 2) * sizes.inner)


def _whole(step: Step, config: UnlearnConfig) -> int:
    """Rows of a step of which all is needed that the original says."""
    rows = {"forget": step.pushed, "normal": step.kept}
    return sum(rows[kind] for kind, needs in needs_of(config).items() if "vocabulary" in needs)


def _reference(sizes: Sizes, work: Workload, config: UnlearnConfig, way: Way) -> float:
    """Bytes held on the device: what is kept is in a file."""
    copied = way.method == "full" and not is_kept(sizes, work, config, way.processes)
    return 4 * sizes.parameters if copied else 0


def judging_bytes(sizes: Sizes, work: Workload, way: Way) -> float:
    """Keys and values of a batch of answers, and of half of the one before, its prompts' forward and logits; or old
    responses read, with logits.
    """
    each = 4 if way.single(sizes) else 2
    inside = 2 * sizes.hidden + (3 if sizes.gated else 2) * sizes.inner
    asked = asked_at_once(sizes, work)
    cache = min(work.forget, asked + asked // 2) * (work.prompt + work.new) * 2 * sizes.keys * sizes.layers * each
    begun = min(asked, max(1, CPU_TOKENS // work.prompt)) if way.cpu else asked
    answering = cache + max(begun * work.prompt * inside * each, asked * 8 * sizes.vocabulary)
    read = min(max(batch_tokens(sizes, way), work.row), work.forget * work.row)
    return max(answering, read * (each * inside + 4 * sizes.vocabulary * work.response / work.row))


def batch_tokens(sizes: Sizes, way: Way) -> int:
    """Tokens read in one batch: `generation.batch_tokens`."""
    return max(256, min(CPU_TOKENS if way.cpu else BATCH_TOKENS, BATCH_LOGITS // sizes.vocabulary))


def asked_at_once(sizes: Sizes, work: Workload) -> int:
    """Prompts in one batch: as many tokens as it may have, answers and one token's logits each counted."""
    cost = max(work.prompt + work.new, BATCH_TOKENS * sizes.vocabulary // BATCH_LOGITS)
    return min(work.forget, max(1, BATCH_TOKENS // cost))
