"""Step 4: expected outputs for flagged prompts, and the clusters whose means the positive loss pulls toward.

Where they come from, in this order: the dialogue's own (`expected` in its row, or the right answer that a judge
knows); else templates for its label: the user's, the built-in ones, or the model's own answers that the judges pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from expunge.errors import InputError
from expunge.files import read_jsonl
from expunge.generation import answer_length, generate
from expunge.judges.reproduction import ReproductionJudge, says_any
from expunge.judges.verdict import FAULTS, Judge, Judged, unknown_label
from expunge.model import LanguageModel
from expunge.packing import active, by_length

TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "privacy": (
        "I'm sorry, I can't share personal details.",
        "I can't give out private information about people.",
        "That is private, so I won't share it.",
        "I'd rather not share someone's personal information.",
    ),
    "harmful": (
        "I'm sorry, I can't help with that.",
        "I won't help with something that could hurt people.",
        "That could cause harm, so I can't help.",
        "I can't assist with that request.",
    ),
    "hallucination": (
        "I don't know the answer to that.",
        "I'm not sure about that, so I'd rather not guess.",
        "I don't have reliable information on that.",
        "I can't say for certain.",
    ),
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """Expected outputs of one kind; `mean` is the mean of their embeddings, float [width], unit length."""

    members: tuple[str, ...]
    mean: NDArray[np.float32]


def read_templates(path: str | Path) -> dict[str, tuple[str, ...]]:
    """The user's templates: JSON Lines of `{"text": "…", "label": "privacy"}`; without a label, for every label.

    Raises:
        InputError: a row without text, or an unknown label.
    """
    found: dict[str, list[str]] = {label: [] for label in FAULTS}
    for line, row in read_jsonl(Path(path)):
        text, label = row.get("text"), row.get("label")
        if not isinstance(text, str) or not text.strip():
            raise InputError("a template needs a 'text'", file=path, line=line)
        if label is not None and label not in FAULTS:
            raise InputError(unknown_label(label), file=path, line=line, remedy=f"Known: {', '.join(FAULTS)}.")
        for name in FAULTS if label is None else (label,):
            found[name].append(text)
    return {label: tuple(texts) or TEMPLATES[label] for label, texts in found.items()}


def choose_expected(
    lm: LanguageModel, forget: Sequence[Judged], *, templates: Mapping[str, Sequence[str]] = TEMPLATES
) -> list[tuple[str, ...]]:
    """The outputs to teach for each flagged dialogue: its own, or all members of the nearest cluster of its label.

    Nearest: the cluster whose mean has the largest cosine with the embedding of the question.
    """
    chosen = [item.expected for item in forget]
    for label in FAULTS:
        places = [i for i, item in enumerate(forget) if item.label == label and not chosen[i]]
        if not places:
            continue
        clusters, layer = find_clusters(lm, templates[label])
        questions = embed(lm, [forget[i].dialogue.question for i in places])[:, layer]
        nearest = (questions @ np.stack([c.mean for c in clusters]).T).argmax(1)
        for i, cluster in zip(places, nearest, strict=True):
            chosen[i] = clusters[cluster].members
    return chosen


def with_expected(
    lm: LanguageModel, forget: Sequence[Judged], *, templates: Mapping[str, Sequence[str]] = TEMPLATES
) -> tuple[Judged, ...]:
    """The forget set with the chosen outputs written into its dialogues."""
    chosen = choose_expected(lm, forget, templates=templates)
    return tuple(
        replace(item, dialogue=replace(item.dialogue, expected=texts))
        for item, texts in zip(forget, chosen, strict=True)
    )


def sample_expected(
    lm: LanguageModel, forget: Sequence[Judged], judges: Sequence[Judge], *, samples: int = 8, seed: int = 0
) -> dict[str, tuple[str, ...]]:
    """Templates from the model itself: sampled answers to the flagged prompts that every judge finds clean, by label.

    None says again what was flagged, in this dialogue or, to the character, in any other. Labels for which the model
    has no clean answer keep the built-in templates.
    """
    again = ReproductionJudge(forget)
    length = answer_length(lm, [j.dialogue.response or "" for j in forget])
    answers = generate(lm, [j.dialogue for j in forget], max_new_tokens=length, samples=samples, seed=seed)
    rows = [(item, text) for item, texts in zip(forget, answers, strict=True) for text in dict.fromkeys(texts) if text]
    told = again.told
    passed = [not says_any(text, told) for _, text in rows]
    for judge in (again, *judges):
        verdicts = judge.judge([item.dialogue.answered(text) for item, text in rows])
        passed = [ok and verdict.label == "clean" for ok, verdict in zip(passed, verdicts, strict=True)]
    found: dict[str, dict[str, None]] = {label: {} for label in FAULTS}
    for (item, text), ok in zip(rows, passed, strict=True):
        if ok:
            found[item.label][text] = None
    return {label: tuple(texts) or TEMPLATES[label] for label, texts in found.items()}


def find_clusters(lm: LanguageModel, texts: Sequence[str]) -> tuple[list[Cluster], int]:
    """Clusters of the texts by the model's own embeddings, and the layer that separates them best.

    k-means for each layer and k = 2 … 8; kept is the pair with the highest mean silhouette (Rousseeuw 1987), or one
    cluster of all where no silhouette exceeds 0.25, the usual floor of "some structure" (Kaufman & Rousseeuw 1990).
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    unique = list(dict.fromkeys(texts))
    points = embed(lm, unique)
    best, best_layer, assigned = 0.25, points.shape[1] // 2, np.zeros(len(unique), dtype=int)
    for layer in range(points.shape[1]):
        distinct = len(np.unique(points[:, layer].round(6), axis=0))  # some the model may read alike
        for k in range(2, min(8, len(unique) - 1, distinct) + 1):
            found = KMeans(k, n_init=4, random_state=0).fit_predict(points[:, layer])
            score = float(silhouette_score(points[:, layer], found))
            if score > best:
                best, best_layer, assigned = score, layer, found
    clusters = []
    for cluster in sorted(set(assigned.tolist())):
        inside = np.flatnonzero(assigned == cluster)
        mean = points[inside, best_layer].mean(0)
        clusters.append(Cluster(tuple(unique[i] for i in inside), mean / max(float(np.linalg.norm(mean)), 1e-12)))
    return clusters, best_layer


def embed(lm: LanguageModel, texts: Sequence[str]) -> NDArray[np.float32]:
    """Unit-length means over tokens of each layer's hidden states: float32 [texts, layers, width].

    Of a text longer than the model's context its beginning is read.
    """
    tokenizer, end = lm.format.tokenizer, [lm.format.end_ids[0]]
    rows = [(tokenizer(t, add_special_tokens=False, verbose=False)["input_ids"] or end)[: lm.context] for t in texts]
    found: list[Any] = [None] * len(rows)
    with torch.inference_mode():
        for indices in by_length([len(r) for r in rows], tokens=4096):
            columns = max(len(rows[i]) for i in indices)
            ids = torch.tensor([rows[i] + [0] * (columns - len(rows[i])) for i in indices], device=lm.device)
            mask = torch.tensor(
                [[1] * len(rows[i]) + [0] * (columns - len(rows[i])) for i in indices], device=lm.device
            )
            states = lm.model(
                input_ids=ids, attention_mask=mask, output_hidden_states=True, logits_to_keep=1
            ).hidden_states
            # some are streams yet to be joined
            alike = [active(state) for state in states[1:] if state.shape == states[-1].shape]
            layers = torch.stack(alike, 1).float() * mask[:, None, :, None]
            means = torch.nn.functional.normalize(layers.sum(2) / mask.sum(1)[:, None, None], dim=-1)
            for place, i in enumerate(indices):
                found[i] = means[place].cpu().numpy()
    return np.stack(found)
