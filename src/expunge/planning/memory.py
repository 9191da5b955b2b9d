"""Peak memory of an unlearning, term by term, as the trainer has it today. Tested against measured peaks; see
docs/scaling.md for how far it holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from expunge.planning.sizes import Sizes
from expunge.planning.workload import Step, Workload
from expunge.training.config import UnlearnConfig

Method = Literal["full", "lora", "qlora"]

CACHE = 2 * 2**30
"""Bytes up to which the reference's outputs are kept: `training.reference.CACHE_BYTES`, which takes torch to import."""

QUANTIZED = 0.516
"""Bytes of a weight in four bits: 4 bits, and 0.127 for the doubly quantized scales (QLoRA, arXiv 2305.14314)."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to train. cpu: all in float32. checkpointing: activations computed anew, layer by layer."""

    method: Method
    rank: int = 0
    checkpointing: bool = False
    cpu: bool = True

    def __post_init__(self) -> None:
        assert (self.rank > 0) == (self.method != "full")

    def stored(self, sizes: Sizes) -> int:
        """Bytes of a weight outside the quantized matrices."""
        return 4 if self.cpu or self.method == "full" or sizes.dtype == "float32" else 2

    def single(self, sizes: Sizes) -> bool:
        """Whether the layers compute in float32. Full training does, unless the weights came in bfloat16."""
        return self.cpu or sizes.dtype == "float32" or (self.method == "full" and sizes.dtype != "bfloat16")

    def changed(self, sizes: Sizes) -> int:
        """Parameters that are trained."""
        return sizes.trained if self.method == "full" else sizes.adapter(self.rank)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes, term by term.

    weights: of the model, and of the adapter. casts: bfloat16 copies that the forward in mixed precision makes.
    gradients, optimizer: of what is trained; AdamW keeps two float32 moments. activations: what the layers keep for
    the backward pass. logits: copies of the response columns' logits in the losses. layer: one layer's backward pass.
    reference: the original's outputs on normal rows, or a frozen copy of it. judging: keys and values, and logits,
    while the model answers. held: whether gradients are held through the forward (with accumulation). groups: batches
    of like length in a step, which go backward one after the other.
    """

    weights: float
    casts: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    layer: float
    reference: float
    judging: float
    held: bool
    groups: int

    @property
    def peak(self) -> float:
        """The largest sum of terms that are there at once.

        Weights, optimizer and reference, and the largest of: casts, activations and the logits in the losses (or one
        layer's backward pass); all gradients and what the batches not yet gone backward keep; judging.
        """
        kept = self.casts + self.activations
        forward = kept + max(self.logits, self.layer) + (self.gradients if self.held else 0)
        backward = self.gradients + self.layer + kept * (1 - 1 / self.groups)
        return self.weights + self.optimizer + self.reference + max(forward, backward, self.judging)


def memory_of(sizes: Sizes, work: Workload, config: UnlearnConfig, way: Way) -> Memory:
    """Of one way to unlearn. `config.lora_rank` is left aside for that of `way`."""
    step = work.step(config)
    changed = way.changed(sizes)
    cached = cache_bytes(sizes, work, config)
    kept, copied = _reference(sizes, step, way, cached)
    whole = layer_bytes(sizes, step.columns, way) * step.tokens
    passed = (4 if way.single(sizes) or way.method == "full" else 2) * sizes.hidden * step.tokens
    hidden = 8 * sizes.hidden * step.tokens if config.hidden_weight and step.kept else 0
    return Memory(
        weights=_weights(sizes, way),
        casts=_casts(sizes, step, way),
        gradients=4 * changed,
        optimizer=8 * changed,
        activations=hidden + (sizes.layers * passed + whole if way.checkpointing else sizes.layers * whole),
        logits=4 * sizes.vocabulary * (logit_rows(step) + copied) * step.response,
        layer=_backward(sizes, way) * step.tokens,
        reference=kept,
        judging=judging_bytes(sizes, work, way),
        held=config.accumulation > 1,
        groups=step.groups,
    )


def _weights(sizes: Sizes, way: Way) -> float:
    if way.method != "qlora":
        return way.stored(sizes) * sizes.parameters + (4 * sizes.adapter(way.rank) if way.rank else 0)
    return QUANTIZED * sizes.linear + 2 * (sizes.parameters - sizes.linear) + 4 * sizes.adapter(way.rank)


def _casts(sizes: Sizes, step: Step, way: Way) -> float:
    """Autocast keeps a bfloat16 copy of every float32 matrix for the backward pass, anew for each batch of a step."""
    largest = max(m.weights for m in sizes.matrices)
    if way.method == "qlora":
        return 2 * largest  # the one that is just being multiplied with
    if way.single(sizes) or way.method == "lora":
        return 0
    layers = sizes.linear / sizes.layers if way.checkpointing else sizes.linear * step.groups
    return 2 * (layers + sizes.table * step.groups)


def logit_rows(step: Step) -> int:
    """Rows' worth of float32 logits that are there at once, at the height of the normal loss.

    One copy of all rows, from the forward; of those pushed away two more (joined; the true token masked), of those
    taught one (log-softmax), of those kept six: joined, the reference's joined, log-softmax, and three of the KL.
    """
    return step.rows + max(2 * step.pushed + step.taught + 6 * step.kept, 2 * step.rows)


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
    once = 4 * _beside(sizes, columns)
    if way.single(sizes):
        return 4 * (4 * h + 4 * q + branches * i + columns + adapters) + once
    copies = (len(sizes.matrices) - 2) * h + (q if way.method != "full" else 0)  # all but two read a norm's output
    return 4 * 2 * h + 2 * (copies + 4 * q + branches * i + columns + adapters) + once


def _beside(sizes: Sizes, columns: int) -> float:
    """Numbers a token that a layer keeps besides, in float32: statistics of norms and attention, and oddities."""
    found: float = sizes.heads + (2 if sizes.gated else 4)
    if sizes.head_norm:
        found += (sizes.queries + sizes.keys) * (1 + sizes.heads / sizes.queries)
    if sizes.kind == "gpt_neox":
        found += 2 * sizes.hidden  # the values are a view of the matrix's whole output
    if sizes.dropout:  # no fused attention: the scores, what is dropped, and what is left
        found += 3.25 * sizes.heads * columns + sizes.hidden / 2
    return found


def _backward(sizes: Sizes, way: Way) -> float:
    """Bytes a token of gradients inside one layer: the residual's twice, and those of the MLP's branches."""
    return (4 if way.single(sizes) else 2) * (2 * sizes.hidden + (3 if sizes.gated else 2) * sizes.inner)


def cache_bytes(sizes: Sizes, work: Workload, config: UnlearnConfig) -> int:
    """Of the reference's log-probabilities at response tokens, and two layers' hidden states, of the normal rows."""
    layers = 2 if config.hidden_weight else 0
    if not (config.normal_weight or layers):
        return 0
    return 4 * work.kept(config) * (work.response * sizes.vocabulary + layers * sizes.hidden * work.row)


def _reference(sizes: Sizes, step: Step, way: Way, cached: int) -> tuple[float, int]:
    """Bytes held on the device, and rows whose logits are there once more since they are computed at each step."""
    if cached <= CACHE:
        return (cached if way.cpu else 0), 0  # kept in main memory
    return (4 * sizes.parameters if way.method == "full" else 0), step.kept


def judging_bytes(sizes: Sizes, work: Workload, way: Way) -> float:
    """Keys and values of a batch of answers, or its logits with a copy, as `generation.batch_tokens` bounds them."""
    each = 4 if way.single(sizes) else 2
    most = max(256, min(16_384, 2**26 // sizes.vocabulary))
    new = int(1.5 * work.response) + 8
    asked = min(max(most, work.prompt + new), work.forget * (work.prompt + new))
    read = min(max(most, work.row), work.forget * work.row)
    cache = asked * 2 * sizes.keys * sizes.layers * each
    inside = 2 * sizes.hidden + (3 if sizes.gated else 2) * sizes.inner
    forward = read * (each * inside + 4 * sizes.vocabulary * work.response / work.row)
    return max(cache + asked * inside * each * work.prompt / (work.prompt + new), forward)
