"""Loading models that judge: one way for classifiers, taggers, entailment models and guards."""

from __future__ import annotations

from typing import Any, Literal

from expunge import hub
from expunge.errors import InputError

Task = Literal["SequenceClassification", "TokenClassification", "CausalLM"]
WHAT: dict[Task, tuple[str, str, str]] = {
    "SequenceClassification": ("classifier", "trained classifier", "sequence-classification model"),
    "TokenClassification": ("tagger", "trained tagger", "token-classification model"),
    "CausalLM": ("guard model", "whole causal model", "causal model"),
}


def load(name: str, task: Task) -> tuple[Any, Any]:
    """The tokenizer and the model, in evaluation mode, of a hub id or a folder; weights in safetensors only.

    Raises:
        InputError: it cannot be loaded, or lacks weights that the task needs.
    """
    import transformers

    from expunge.model import quiet_transformers

    called, trained, kind = WHAT[task]
    options: dict[str, Any] = {"dtype": "auto"} if task == "CausalLM" else {}
    hub.ready(name)
    try:
        with quiet_transformers():
            tokenizer = transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False)
            model, found = getattr(transformers, f"AutoModelFor{task}").from_pretrained(
                name, trust_remote_code=False, use_safetensors=True, output_loading_info=True, **options
            )
    except Exception as error:  # hub, network, file and format faults have no common class
        raise InputError(
            f"cannot load the {called} {name!r} ({hub.lack(name) or type(error).__name__})",
            remedy=f"Give a folder, or a hub id that can be reached, of a {kind} in safetensors.",
        ) from None
    if found["missing_keys"]:
        raise InputError(
            f"the model {name!r} is no {trained}: {len(found['missing_keys'])} of its weights are missing",
            remedy=f"Give a {kind} whose weights are all there.",
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    return tokenizer, model.eval()


def place(model: Any, device: str | None) -> str:
    """Move a model to `device`, or to the first accelerator; on the CPU weights are float32. Returns the device."""
    import torch

    from expunge.model import usable_device

    chosen = usable_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        model.to(chosen)
    except torch.OutOfMemoryError:
        fault = f"the model does not fit into the memory of {str(chosen)!r}"
        raise InputError(fault, remedy="Give --device cpu, or a smaller model.") from None
    if chosen.type == "cpu":
        model.float()
    return str(chosen)


def longest_input(tokenizer: Any, config: Any) -> int:
    """The longest sequence, special tokens included, that tokenizer and model both take."""
    config = config.get_text_config()
    positions = getattr(config, "max_position_embeddings", None) or 512
    if "roberta" in config.model_type or config.model_type == "camembert":
        positions -= config.pad_token_id + 1  # these models count positions from the padding's on
    return int(min(tokenizer.model_max_length, positions))


def check_threshold(threshold: float) -> None:
    """Raise InputError unless the threshold is in (0, 1]."""
    if not 0.0 < threshold <= 1.0:
        raise InputError(f"the threshold {threshold} is not in (0, 1]", remedy="0.5 is the default.")
