"""What makes two scans the same, but for the content of their sources; and by what they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expunge.differences import differences
from expunge.judges.verdict import Judge
from expunge.scan.asking import ASKED, Asking
from expunge.scan.block import SIZE

if TYPE_CHECKING:
    from expunge.scan.run import Shard


def identity_of(
    sources: Sequence[str | Path], judges: Sequence[Judge], asking: Asking | None, shard: Shard
) -> dict[str, Any]:
    """Of a scan, for JSON."""
    return {
        "sources": [str(source) for source in sources],
        "judges": [[j.name, j.version] for j in judges],
        "asking": [getattr(asking, name) for name in ASKED] if asking else None,
        "shard": [shard.number, shard.count],
        "block": SIZE,
    }


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two identities or receipts, in words; of what only one of them has, nothing is said."""
    try:
        one, other = _named(old), _named(new)
    except (AttributeError, KeyError, TypeError, ValueError):
        return ["it is of another version, or no scan's"]
    both = {name: value for name, value in one.items() if name in other}
    return [*differences(both, {name: other[name] for name in both}).values()]


def _named(identity: Mapping[str, Any]) -> dict[str, Any]:
    """By the names that a user knows. The model's ends with a digest of its files and its template."""
    asking = dict(zip(ASKED.values(), identity["asking"] or (), strict=False))
    name, _, known = asking.get("model", "").rpartition(", ")
    asking |= {"model": name, "a file of the model, or its template,": known} if name else {}
    digests = dict(zip(identity["sources"], identity.get("digests", ()), strict=False))
    return {
        "DIALOGUES": identity["sources"],
        "the judges": [name for name, _ in identity["judges"]],
        "--workers": not identity["asking"],
        "--shard": identity.get("shard"),
        "rows in a block": identity["block"],
        **{f"the judge {name}, or what it reads,": version for name, version in identity["judges"]},
        **digests,
        **asking,
    }
