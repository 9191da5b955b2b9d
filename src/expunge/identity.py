"""What tells one model from all others: digests of the files that are read of it, or the hub's commit.

Which files count, and how, differs by who asks. It stays so: folders of runs and verdicts hold these values, and a run
under way would be refused for others. Of a model as it is loaded, weights and all: `audit.scores.fingerprint`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from expunge.files import digest, file_digest, folder_digest, read_text

TRAINED = (
    "*.safetensors", "*.bin", "*config.json", "*token*.json", "vocab*", "merges.txt", "*.model", "*.jinja",
    "chat_template*",
)  # fmt: skip
"""What a model's folder holds of weights, config, tokenizer and template; a run's own files may lie beside them."""
COMPARED = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")
"""As comparisons have it: every settings file counts."""
JUDGING = (".json", ".safetensors", ".jinja", ".model")
"""Of a model that judges."""


def weights_digest(folder: Path) -> str:
    """SHA-256 over the names and bytes of the weight files alone, as manifests and audits quote it."""
    return folder_digest(folder, "*.safetensors")


def files_digest(folder: Path, patterns: Sequence[str]) -> str:
    """Of the files that match, pattern by pattern."""
    return digest(*(folder_digest(folder, only) for only in patterns))


def model_digest(folder: Path) -> str:
    """Of all that is read of a model, and of the base that an adapter stands on, where that is a folder too."""
    found = [folder_digest(folder, only) for only in TRAINED]
    base = adapter_base(folder)
    if base and base.is_dir() and base.resolve() != folder.resolve():
        found.append(model_digest(base))
    return digest(*found)


def judge_digest(folder: Path, config: Any) -> str:
    """Of a model that judges, as a part of the judge's version."""
    if not folder.is_dir():
        return on_hub(str(folder), config)
    return digest(*(file_digest(path) for path in sorted(folder.iterdir()) if path.suffix in JUDGING))


def on_hub(name: str, config: Any) -> str:
    """A model of the hub, as loaded: its name and commit."""
    return f"{name} {getattr(config, '_commit_hash', None)}"


def adapter_base(folder: Path) -> Path | None:
    """What an adapter stands on, be it a folder or a name on the hub; None where the folder holds no adapter."""
    from expunge.model import ADAPTER  # takes torch to import, which judges are named without

    path = folder / ADAPTER
    base = json.loads(read_text(path)).get("base_model_name_or_path") if path.exists() else None
    return Path(base) if base else None
