"""Load any Hugging Face causal model, with its tokenizer and chat format."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from expunge import adapters, checkpoint, four_bits, hub, sharding
from expunge.encoding import ChatFormat, context_of
from expunge.errors import InputError, MissingExtraError
from expunge.files import exists

BUILT_IN = {"town": "model", "town-oracle": "oracle"}
"""Names of the packaged demo models, and their folders."""

ADAPTER = "adapter_config.json"


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A causal model, its chat format, and the dtype its weights were stored in.

    adapted: it was an adapter on a base, and is the two in one. apart: dtypes of weights and buffers, by name, that
    were stored in another one. beside: files that say how it reads images and sounds, if it does.
    """

    name: str
    model: Any
    format: ChatFormat
    stored_dtype: torch.dtype
    adapted: bool = False
    apart: Mapping[str, torch.dtype] = field(default_factory=dict, compare=False)
    beside: tuple[Path, ...] = ()

    @property
    def device(self) -> torch.device:
        device: torch.device = next(self.model.parameters()).device
        return device

    @property
    def context(self) -> int:
        """The longest sequence the model takes, in tokens."""
        return context_of(self.model)

    @property
    def vocabulary(self) -> int:
        return int(self.model.config.get_text_config().vocab_size)

    def tokenized_as(self, other: LanguageModel) -> LanguageModel:
        """The same model; what the other's format has encoded need not be encoded again for it."""
        return replace(self, format=self.format.shared(other.format))


def resolve(name: str | Path) -> str:
    """The folder of a built-in name; any other name unchanged."""
    from expunge import demo

    return str(demo.path(BUILT_IN[str(name)])) if str(name) in BUILT_IN else str(name)


def _found(name: str | Path) -> str:
    """As `resolve`; what can only be a path must be there, before the hub is asked for it, and be no run's folder."""
    path = resolve(name)
    if (path.startswith((".", "/", "~")) or path.count("/") > 1) and not exists(Path(path)):
        raise InputError(f"cannot load the model {str(name)!r}: there is no such folder", remedy=_REMEDY)
    folder = Path(path)
    inside = (folder / "model" / "config.json", folder / "adapter" / ADAPTER)
    itself = (folder / "config.json", folder / ADAPTER)
    if not any(map(exists, itself)) and (of_run := next(filter(exists, inside), None)):
        remedy = f"Give the model in it: {of_run.parent}"
        raise InputError(f"cannot load the model {str(name)!r}: it is the folder of a run", remedy=remedy)
    return path


def load_model(
    name: str | Path,
    *,
    template: str | None = None,
    device: str | None = None,
    bits: int = 0,
    sharded: bool = False,
    trust_remote_code: bool = False,
) -> LanguageModel:
    """Load a model by hub name or folder, for reading: evaluation mode, no gradients kept. An adapter of PEFT's is put
    into the weights of its base.

    template: a Jinja chat template, or the path of a file that holds one; `plain` is the built-in question/answer
        template, which is also taken where the tokenizer has none.
    device: default: the first accelerator, else the CPU. On the CPU weights are float32; elsewhere as stored. On `meta`
        they are not read, but must be there.
    bits: 4 holds linear layers in NF4, for an adapter to be trained on them; 0: as above.
    sharded: share the weights out among the launcher's processes (FSDP2), all of which must load it together.

    Raises:
        InputError: no such model, no safetensors weights, not a causal model, a template that cannot be used, layers
            that cannot be held in 4 bits, or one process or an architecture that cannot share them out.
        MissingExtraError: an adapter folder without PEFT installed, or 4 bits without bitsandbytes.
    """
    import transformers

    path = _found(name)
    if exists(Path(path) / ADAPTER):
        _need_peft(f"loading the adapter {name}")
    place = usable_device(device)
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    held: dict[str, Any] = {"dtype": "auto"} | ({"device_map": "meta"} if place.type == "meta" else {})
    if bits or sharded:
        held = four_bits.loading(bits, place) if bits else sharding.loading()
    with quiet_transformers(), _told(name):
        model, info = checkpoint.reader(path, **options).from_pretrained(
            path, use_safetensors=True, output_loading_info=True, **held, **options
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(path, **options)
    if info["missing_keys"]:  # transformers fills these at random
        lacking = sorted(info["missing_keys"])
        remedy = "Give the folder or name of the whole causal model."
        message = f"the model {str(name)!r} lacks weights: {lacking[0]}"
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise InputError(message + more, remedy=remedy)
    stored, apart = _dtypes(model)
    adapted = bool(getattr(model, "_hf_peft_config_loaded", False))
    if adapted and (bits or sharded):
        raise _adapter_refused(name, "held in 4 bits" if bits else "shared out")
    if bits:
        four_bits.prepare(model, place)
    elif sharded:
        sharding.prepare(model, place)
    else:
        model = (model.float() if place.type == "cpu" else model).to(place)
    if adapted:
        model = adapters.merged(model)
    model.eval()
    if getattr(model.config, "rescale_every", 0):  # RWKV would halve its weights for reading, and be saved so
        model.config.rescale_every = 0
    if place.type != "meta" and not sharded:  # where a forward takes all processes
        _try_out(model, name)
    beside = tuple(checkpoint.beside(path, model.config))
    checkpoint.take_template(tokenizer, beside)
    return LanguageModel(str(name), model, ChatFormat.of(tokenizer, template, model), stored, adapted, apart, beside)


def _dtypes(model: Any) -> tuple[torch.dtype, dict[str, torch.dtype]]:
    """That of most weights, and which are of another: some stay in float32 where all else is halved."""
    count: Counter[torch.dtype] = Counter()
    for weight in model.parameters():
        count[weight.dtype] += weight.numel() if weight.is_floating_point() else 0
    (stored, _), *_ = count.most_common(1)
    apart = {n: w.dtype for n, w in model.state_dict().items() if w.is_floating_point() and w.dtype != stored}
    return stored, {name.replace(".base_layer", ""): dtype for name, dtype in apart.items()}


def _try_out(model: Any, name: str | Path) -> None:
    """Raises: InputError: the model cannot be run on text alone, or looks at what comes after a token."""
    import transformers

    last = model.config.get_text_config().vocab_size - 1
    ids = torch.tensor([[0, 0], [0, last]], device=model.device)
    try:
        with torch.no_grad():
            one, other = model(input_ids=ids, use_cache=False).logits[:, 0].float()
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        told = f"{type(error).__name__}: {_first_line(error)}"
        message = f"transformers {transformers.__version__} cannot run the model {str(name)!r} on text alone ({told})"
        raise InputError(message, remedy="Install another version of transformers, or give another model.") from None
    near = max(1e-3, 16 * torch.finfo(model.dtype).eps)  # experts with other rows give other last bits
    if float((one - other).abs().max()) > near * float(one.abs().max()):
        message = f"the model {str(name)!r} is not causal: what it says changes with what comes after"
        raise InputError(message, remedy=_REMEDY)


def check_model(name: str | Path, *, device: str | None = None, lora: bool = False) -> None:
    """Make sure that there is such a model, and such a device, without loading its weights.

    lora: an adapter is to be trained on it.

    Raises:
        InputError: there is none, or it is an adapter itself.
    """
    if device:
        usable_device(device)
    path = _found(name)
    if exists(Path(path) / ADAPTER):
        if lora:
            raise second_adapter(name)
        return
    with quiet_transformers(), _told(name):
        checkpoint.reader(path)


def second_adapter(name: str | Path) -> InputError:
    """An adapter is asked for on top of an adapter: it would be read on the first one's base, without that one."""
    return _adapter_refused(name, "trained with another adapter on top")


def _adapter_refused(name: str | Path, what: str) -> InputError:
    remedy = "Merge it into its base first (merge_and_unload of PEFT) and give that folder; or train all weights."
    return InputError(f"the model {str(name)!r} is an adapter, which cannot be {what}", remedy=remedy)


@contextlib.contextmanager
def _told(name: str | Path) -> Iterator[None]:
    """Whatever transformers says about a model that does not load, as one message."""
    from safetensors import SafetensorError

    hub.ready(resolve(name))
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        why = hub.lack(resolve(name)) if isinstance(error, OSError) else ""
        raise InputError(f"cannot load the model {str(name)!r}: {why or _first_line(error)}", remedy=_REMEDY) from None


def usable_device(device: str | torch.device | None) -> torch.device:
    """The device; default: the first accelerator, else the CPU. Of several processes each has an accelerator.

    Raises:
        InputError: this machine has none of that name.
    """
    if device is None:
        device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
        if device.type != "cpu" and "LOCAL_RANK" in os.environ:
            device = torch.device(device.type, int(os.environ["LOCAL_RANK"]))
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError):
        remedy = "Give cpu, cuda or another device of this machine; without --device the first accelerator is taken."
        raise InputError(f"cannot use the device {str(device)!r}", remedy=remedy) from None


_REMEDY = (
    "Give the name of a causal model on the Hugging Face hub, a folder with config.json, safetensors weights and a "
    f"tokenizer, or a built-in one ({', '.join(BUILT_IN)})."
)


def _need_peft(purpose: str) -> None:
    try:
        import peft  # noqa: F401
    except ImportError:
        raise MissingExtraError("peft", "lora", purpose) from None


def _first_line(error: Exception) -> str:
    text = str(error).strip().split("\n")[0]
    return text if len(text) < 200 else text[:197] + "…"


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars or advice from transformers while it loads; its errors still raise."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
