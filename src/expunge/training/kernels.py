"""Fused kernels on a GPU in place of a layer's own arithmetic."""

from __future__ import annotations

from expunge.errors import InputError, MissingExtraError
from expunge.model import LanguageModel

OURS = {"cross_entropy": False, "fused_linear_cross_entropy": False}
"""What is left to the terms of the loss, which take logits in chunks."""


def fuse(lm: LanguageModel) -> None:
    """Norms, rotary positions and gated layers by the kernels of Liger (arXiv 2410.10989), in place.

    They hold for this architecture in the whole process, from now on.

    Raises:
        MissingExtraError: Liger is not installed. InputError: no GPU, or an architecture that Liger does not have.
    """
    if lm.device.type == "cpu":
        raise InputError("liger = true: its kernels run on a GPU, and this is a CPU", remedy="Leave it out.")
    try:
        from liger_kernel.transformers import monkey_patch
    except ImportError:
        raise MissingExtraError("liger-kernel", "liger", "liger = true") from None
    from transformers.integrations.liger import apply_liger_kernel

    kind = lm.model.config.model_type
    if kind not in monkey_patch.MODEL_TYPE_TO_APPLY_LIGER_FN:
        raise InputError(f"liger = true: Liger has no kernels for {kind!r}", remedy="Leave it out.")
    apply_liger_kernel(lm.model, OURS)
