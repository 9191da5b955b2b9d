"""The loss of a step: the method's terms, from one pass of its rows through the model."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from expunge.batches import Output, forward_rows
from expunge.encoding import Encoded
from expunge.errors import InputError
from expunge.model import LanguageModel
from expunge.objective.chunks import Unsaid, value
from expunge.objective.negative import unit_direction
from expunge.objective.term import Kind, Option, Original, Slot, Term
from expunge.objective.terms import TERMS
from expunge.output_layer import OutputLayer
from expunge.training.config import UnlearnConfig, method_of
from expunge.training.gather import gather
from expunge.training.levels import Levels
from expunge.training.material import Material, Step, reachable_normal
from expunge.training.reference import Recalled, Reference


class Loss:
    """L = w⁻ L⁻ + w⁺ L⁺ + w° L° of a method on the rows of a step, each term a mean over the rows of its kind.

    Raises:
        InputError: a term needs dialogues that were never seen, and there are none.
    """

    def __init__(self, lm: LanguageModel, material: Material, config: UnlearnConfig, folder: Path) -> None:
        """folder: of this run; what the original makes of the rows is kept there."""
        self._material, self._device, self._vocabulary = material, lm.device, lm.vocabulary
        self._original = OutputLayer(lm.model).frozen()
        self._half = lm.device.type != "cpu" and lm.stored_dtype == torch.bfloat16
        self.terms = terms_of(config, material)
        self._level_source: Levels | None = None
        self.levels: Sequence[torch.Tensor] = ()
        self.to_levels = any(term.levels for term in self.terms)
        if self.to_levels:
            if not material.never_seen:
                remedy = "Give them with `never_seen` in [unlearn], or --never-seen FILE."
                raise InputError("the term `match` needs dialogues that were never seen", remedy=remedy)
            self._level_source = Levels(material.forget, material.normal, material.never_seen, lm.vocabulary)
        self._layers = kept_layers(lm.model) if any(term.hidden for term in self.terms) else ()
        self._options: dict[str, Option] = {
            **method_of(config.method).options,
            **config.options,
            "ignorance": config.ignorance,
        }
        if any("direction" in term.given for term in self.terms):
            width = lm.model.config.get_text_config().hidden_size
            self._options["direction"] = unit_direction(width, config.seed).to(lm.device)
        rows: dict[Kind, Sequence[Encoded]] = {
            "forget": material.forget,
            "expected": [row for rows in material.expected for row in rows],
            "normal": [material.normal[i] for i in sorted(reachable_normal(material, config))],
        }
        needs = needs_of(self.terms)
        top = top_of(self.terms, self._options, lm.vocabulary)
        self._reference = None
        if needs:
            self._reference = Reference(lm, rows, needs, folder, layers=self._layers, top=top, half=self._half)

    def tokens(self, step: Step, without: Collection[Slot] = ()) -> int:
        """Tokens of a step that go through the model; see `values`."""
        return sum(len(row) for rows in self._rows(step, self._but(without)).values() for row in rows)

    def refresh(self, lm: LanguageModel) -> None:
        """Take note of how the model has changed: before the first step, and after each judging."""
        if self._level_source is not None:
            self.levels = self._level_source.now(lm)

    def values(self, model: Any, part: Step, step: Step, without: Collection[Slot] = ()) -> dict[Slot, torch.Tensor]:
        """Each term on one part of a step, but those in some slots; what these alone would read is not read.

        A part may be without rows of some kind, and then lacks the term. Means are over the rows of the whole step.
        """
        terms = self._but(without)
        rows = {kind: rows for kind, rows in self._rows(part, terms).items() if rows}
        terms = [term for term in terms if set(term.reads) <= set(rows)]
        layers = self._layers if any(term.hidden for term in terms) else ()
        everything = [row for of_kind in rows.values() for row in of_kind]
        outputs = iter(forward_rows(model, everything, self._device, layers))
        found = {kind: list(islice(outputs, len(of_kind))) for kind, of_kind in rows.items()}
        return dict(self._each(model, terms, rows, found, part, step))

    def nothing(self, model: Any) -> torch.Tensor:
        """0, by a forward like any other: where weights are shared out, processes must run as many as each other."""
        (found,) = forward_rows(model, self._material.forget[:1], self._device)
        return 0.0 * found.last.sum()

    def likelihood(self, model: Any, rows: Sequence[Encoded]) -> torch.Tensor:
        """What fine-tuning on `rows` would go down: the mean over rows of the NLL a token of their responses."""
        found = forward_rows(model, rows, self._device)
        kinds: dict[Kind, Unsaid] = {"normal": gather(rows, found, [Recalled()] * len(rows), len(rows))}
        with self._cast():
            return value(
                TERMS["normal_nll"], kinds, self._options, OutputLayer(model), self._original, self._vocabulary
            )

    def _but(self, without: Collection[Slot]) -> list[Term]:
        return [term for term in self.terms if term.slot not in without]

    def _each(
        self,
        model: Any,
        terms: Sequence[Term],
        rows: dict[Kind, list[Encoded]],
        found: dict[Kind, list[Output]],
        part: Step,
        step: Step,
    ) -> Iterator[tuple[Slot, torch.Tensor]]:
        kinds: dict[Kind, Unsaid] = {}
        layer = OutputLayer(model)
        for i, term in enumerate(terms):
            for kind in term.reads:
                if kind not in kinds:
                    kinds[kind] = self._unsaid(model, kind, rows[kind], found[kind], part, step)
            with self._cast():
                loss = value(term, kinds, self._options, layer, self._original, self._vocabulary)
            yield term.slot, loss
            later = {kind for other in terms[i + 1 :] for kind in other.reads}
            kinds = {kind: unsaid for kind, unsaid in kinds.items() if kind in later}  # its joined states can go

    def _cast(self) -> torch.autocast:
        """As `Trainer` casts the model's own forward."""
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._half)

    def _rows(self, part: Step, terms: Sequence[Term]) -> dict[Kind, list[Encoded]]:
        material, read = self._material, {kind for term in terms for kind in term.reads}
        rows: dict[Kind, list[Encoded]] = {
            "forget": [material.forget[i] for i in part.pushed],
            "expected": [material.expected[i][m] for i, m in zip(part.forget, part.members, strict=True)],
            "normal": [material.normal[i] for i in part.normal],
        }
        return {kind: of_kind for kind, of_kind in rows.items() if kind in read}

    def _unsaid(
        self, model: Any, kind: Kind, rows: Sequence[Encoded], found: Sequence[Output], part: Step, step: Step
    ) -> Unsaid:
        if not any(term.hidden and kind in term.reads for term in self.terms):
            found = [Output(output.last, None) for output in found]
        recalled = self._reference.recall(model, kind, rows) if self._reference else [Recalled()] * len(rows)
        if kind == "forget":
            levels = [self.levels[i] for i in part.pushed] if self.levels else []
            return gather(rows, found, recalled, len(step.forget), at_fault=True, levels=levels)
        if kind == "expected":
            pairs = zip(part.forget, part.members, strict=True)
            means = [self._material.means[i][m] for i, m in pairs]
            return gather(rows, found, recalled, len(step.forget), means=means)
        return gather(rows, found, recalled, len(step.normal))


def terms_of(config: UnlearnConfig, material: Material) -> tuple[Term, ...]:
    """The terms that have a weight."""
    names = config.named_terms(never_seen=bool(material.never_seen))
    return tuple(term for name in names if config.weights[(term := TERMS[name]).slot])


def needs_of(terms: Sequence[Term]) -> dict[Kind, set[Original]]:
    """What the terms ask of the original model, at the rows of each kind."""
    needs: dict[Kind, set[Original]] = {}
    for term in terms:
        if term.original is not None:
            for kind in term.reads:
                needs.setdefault(kind, set()).add(term.original)
    return needs


def top_of(terms: Sequence[Term], options: Mapping[str, Option], vocabulary: int) -> int:
    """How many of the original's likeliest tokens a term asks for, and 0 where none does.

    Raises:
        InputError: no whole number from 1 on.
    """
    asked = [float({**term.options, **options}["top"]) for term in terms if term.original == "top"]
    for top in asked:
        if top < 1 or not top.is_integer():
            raise InputError(f"top = {top:g}: must be a whole number from 1 on", remedy="The option's default is 64.")
    return min([vocabulary - 1, *map(int, asked)]) if asked else 0


def kept_layers(model: Any) -> tuple[int, ...]:
    """After which layers the hidden states are held: the middle and the last one; the last alone, where the one in the
    middle is several streams that are joined at the end.

    Raises:
        InputError: the last one is as wide as the embeddings, and the middle is not (some OPT).
    """
    config = model.config.get_text_config()
    if getattr(config, "word_embed_proj_dim", config.hidden_size) != config.hidden_size:
        remedy = "Set hidden_weight = 0, or choose a method that reads none."
        raise InputError("the hidden states of this model have no common width", remedy=remedy)
    with torch.no_grad():
        ids = torch.zeros(1, 1, dtype=torch.long, device=model.device)
        shapes = [s.shape for s in model(input_ids=ids, output_hidden_states=True, use_cache=False).hidden_states]
    last = len(shapes) - 1
    return (last // 2, last) if shapes[last // 2] == shapes[last] else (last,)
