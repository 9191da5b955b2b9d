"""Step 7: unlearn. From a model, verdicts and ordinary dialogues to weights that no longer say it; resumable."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from expunge.errors import InputError, OutputError
from expunge.expected import with_expected
from expunge.files import digest, make_folder, read_text
from expunge.four_bits import held
from expunge.identity import model_digest
from expunge.judges.reproduction import ReproductionJudge
from expunge.judges.verdict import Judge
from expunge.model import LanguageModel, quiet_transformers, resolve
from expunge.packing import packable
from expunge.selection import Split
from expunge.sharding import own_part, sharded
from expunge.training.checkpoints import CHECKPOINTS, claim, last_checkpoint, mark_complete, room
from expunge.training.config import UnlearnConfig
from expunge.training.kernels import fuse
from expunge.training.loss import Loss
from expunge.training.material import Material
from expunge.training.noise import add_noise
from expunge.training.processes import join, main_first, wait
from expunge.training.saving import Settings, save
from expunge.training.trained import fixed_digests, made_trainable, spare_activations, still

RESULT = "unlearning.json"


@dataclass(frozen=True, slots=True)
class Unlearned:
    """Where the result is, how it ended (see `ActiveSet.outcome`), and after how many steps, tokens and seconds."""

    path: Path
    outcome: str
    steps: int
    tokens: int
    history: list[dict[str, Any]] = field(repr=False)
    seconds: float = 0.0


def read_unlearned(path: Path) -> Unlearned:
    """What the folder of an unlearned model says of its making."""
    return Unlearned(path, **json.loads(read_text(path / RESULT)))


def unlearn(
    lm: LanguageModel,
    parts: Split,
    out: Path,
    *,
    judges: Sequence[Judge] = (),
    config: UnlearnConfig | None = None,
    on_round: Callable[[dict[str, Any]], None] | None = None,
) -> Unlearned:
    """Train `lm` (in place) away from the forget set and write `out/model` or, with LoRA, `out/adapter`.

    judges: those that decide when a dialogue is forgotten, besides the built-in one that looks for the old response.
    A run that was killed goes on from its last checkpoint and ends with the same weights, bit for bit.

    Raises:
        OutputError: `out` cannot be written, holds a finished result, or a run with other input or settings.
        InputError: a dialogue does not fit the model's context, the settings choose no weights or quantized ones, the
            base is to be in 4 bits and was not loaded so, or the architecture has no checkpointing.
        MissingExtraError: LoRA without PEFT installed, or `liger` without Liger.
    """
    config, started = config or UnlearnConfig(), time.monotonic()
    target = out / config.result
    if target.exists():
        remedy = "Choose another --out, or remove that folder."
        raise OutputError("this folder already holds a finished result", file=target, remedy=remedy)
    if config.base_bits and not held(lm.model):
        remedy = "Load it with load_model(name, bits=4)."
        raise InputError(f"base_bits = {config.base_bits}: the model was not loaded in 4 bits", remedy=remedy)
    if not config.lora_rank and getattr(lm.model, "hf_quantizer", None) is not None:
        remedy = "Train an adapter on it (--lora RANK), or give the model as it was before that."
        raise InputError(f"the weights of {lm.name!r} are quantized, and cannot be trained themselves", remedy=remedy)
    if config.sharded != sharded(lm.model):
        remedy = f"Load it with load_model(name, sharded={config.sharded})."
        raise InputError(f"sharded = {str(config.sharded).lower()}: the model was not loaded so", remedy=remedy)
    if lm.device.type != "cpu" and not config.lora_rank:
        lm.model.float()  # updates are smaller than bfloat16 can add; the forward runs in it all the same
    if config.liger:
        fuse(lm)
    torch.manual_seed(config.seed)
    settings = Settings(lm.model)
    trained = made_trainable(lm, config)
    still(trained.model)
    if config.sharded:
        _check_shared_out(trained)
    parts = dataclasses.replace(parts, forget=with_expected(lm, parts.forget))
    material = Material.of(lm.format, parts)
    join(cpu=lm.device.type == "cpu")
    folder = make_folder(out / CHECKPOINTS)
    with main_first():
        claim(folder, _identity(lm, material, judges, config))
    if config.checkpointing:
        spare_activations(trained.model)
    before = fixed_digests(trained.model)
    trainer, active = _trainer(trained, parts, material, judges, config, folder, on_round)
    active.started = started
    everything = [*material.forget, *material.normal, *(row for rows in material.expected for row in rows)]
    noise = add_noise(trained.model, config.noise, everything) if config.noise else None
    numbers = sum(p.numel() for p in trained.model.parameters() if p.requires_grad)
    with room(folder, numbers):
        _train(trainer, active, folder)
    if noise:
        noise.remove()
    steps = active.history[-1]["step"] if active.history else 0
    if fixed_digests(trained.model) != before:
        raise AssertionError("weights that were not to be trained have changed")
    result = {name: getattr(active, name) for name in ("outcome", "tokens", "seconds", "history")} | {"steps": steps}
    with room(target, numbers):
        save(trained, target, settings, RESULT, result)
    wait()
    return read_unlearned(target)


def _check_shared_out(lm: LanguageModel) -> None:
    """Raises: InputError: processes would not run as many forwards as each other, or would train what stays together
    between forwards."""
    if not packable(lm.model):
        remedy = "Leave it out: each process then holds the whole model."
        raise InputError("sharded: this architecture does not keep rows of one sequence apart", remedy=remedy)
    whole = [n for n, p in lm.model.named_parameters() if p.requires_grad and own_part(p) is p]
    if whole and not hasattr(lm.model, "disable_adapter"):
        remedy = f"Leave it out of `modules`: {whole[0]}."
        raise InputError("sharded: the output layer, and what goes with it, is left as it is", remedy=remedy)


def _trainer(
    lm: LanguageModel,
    parts: Split,
    material: Material,
    judges: Sequence[Judge],
    config: UnlearnConfig,
    folder: Path,
    on_round: Callable[[dict[str, Any]], None] | None,
) -> tuple[Any, Any]:
    from transformers import PrinterCallback, TrainingArguments

    from expunge.training.active import ActiveSet
    from expunge.training.adversary import Adversary
    from expunge.training.displaced import Displaced
    from expunge.training.trainer import UnlearnTrainer

    panel = [ReproductionJudge(parts.forget), *judges]
    loss = Loss(lm, material, config, folder)
    active = ActiveSet(lm, parts.forget, panel, material, loss, config, on_round)
    rate = config.rate(lm.model.config.get_text_config().hidden_size)
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=config.max_steps,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=config.accumulation,
        learning_rate=rate,
        weight_decay=0.0,
        adam_epsilon=config.adam_epsilon(sum(p.numel() for p in lm.model.parameters() if p.requires_grad)),
        seed=config.seed,
        save_strategy="no",  # the active set saves when it has judged
        save_total_limit=2,
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        use_cpu=lm.device.type == "cpu",
        bf16=lm.device.type != "cpu" and lm.stored_dtype == torch.bfloat16,
    )
    arguments._n_gpu = min(1, arguments.n_gpu)  # several GPUs take several processes, not DataParallel
    options = {"model": lm.model, "args": arguments, "processing_class": lm.format.tokenizer}
    with quiet_transformers():
        trainer = UnlearnTrainer(active=active, loss=loss, config=config, **options)
    step = config.adversary_step(adapter=bool(config.lora_rank), levels=loss.to_levels) * rate
    adversary = Adversary(loss, material.forget, step, active, config)
    trainer.add_callback(Displaced(config, adversary))
    trainer.add_callback(mark_complete())
    trainer.remove_callback(PrinterCallback)  # prints its own sums to stdout, where results go
    return trainer, active


def _train(trainer: Any, active: Any, folder: Path) -> None:
    with main_first():
        last = last_checkpoint(folder)
    if last is not None:
        state = json.loads(read_text(last / "trainer_state.json"))
        active.restore(state["stateful_callbacks"]["ActiveSet"])
        if active.outcome in ("forgotten", "budget"):
            trainer._load_from_checkpoint(str(last))
            return
    with quiet_transformers(), _quiet_loggers():
        trainer.train(resume_from_checkpoint=str(last) if last else None)


def _identity(lm: LanguageModel, material: Material, judges: Sequence[Judge], config: UnlearnConfig) -> dict[str, Any]:
    """What makes two trainings the same, for JSON."""
    folder = Path(resolve(lm.name))
    rows = repr((material.forget, material.expected, material.normal, material.neighbours, material.never_seen))
    return {
        "model": model_digest(folder) if folder.is_dir() else [lm.name, getattr(lm.model.config, "_commit_hash", None)],
        "rows": digest(rows),
        "judges": [[j.name, j.version] for j in judges],
        "config": dataclasses.asdict(config),
    }


@contextlib.contextmanager
def _quiet_loggers() -> Any:
    """Trainer and accelerate warn about choices that are deliberate here."""
    loggers = [logging.getLogger(name) for name in ("accelerate", "transformers.trainer")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
