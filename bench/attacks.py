"""The table of docs/audit-attacks.md: every attack on runs of the town, and on the town untouched.

    expunge demo --out town-0 --seed 0
    expunge demo --out town-1 --seed 1
    python bench/attacks.py town-0 town-1

Each run is attacked with its own seed, into RUN/attacked; what is there is not attacked again.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path

from runs import spread

from expunge.audit.result import Audit, read_audit
from expunge.pipeline import audit_run
from expunge.questions import recipe_of

PROBES = ("prompts", "quantization", "relearning", "depth")


def attacked(model: str, out: Path, seed: int, cache: Path) -> Audit:
    if not (out / "audit.json").exists():
        recipe = recipe_of(model, "town", None, {"probes": PROBES, "oracle": "town-oracle"}, samples=0, seed=seed)
        audit_run(model, recipe, out, cache=cache)
    return read_audit(out)


def seed_of(run: Path) -> int:
    return int(json.loads((run / "manifest.json").read_text())["recipe"]["seed"])


def table(untouched: Audit, runs: Sequence[Audit]) -> list[str]:
    lines = ["| key | original | unlearned | worst upper bound | oracle |", "|---|---|---|---|---|"]
    for measure in untouched.measures:
        if measure.key.startswith(("prompts", "quantized", "relearn_", "depth_")) and "_layer" not in measure.key:
            found = [audit.measure(measure.key) for audit in runs]
            digits = 1 if measure.unit == "steps" else 3
            after = spread([m.after.value for m in found], digits)
            ideal = [m.oracle.value for m in found if m.oracle]
            oracle = spread(ideal, digits) if ideal else ""
            worst = "" if measure.unit == "steps" else f"{max(m.after.high for m in found):.3f}"
            lines.append(f"| `{measure.key}` | {measure.after.value:.{digits}f} | {after} | {worst} | {oracle} |")
    lines += ["", "| claim | untouched | " + " | ".join(f"seed {i}" for i in range(len(runs))) + " |"]
    lines.append("|---|---|" + "---|" * len(runs))
    for claim in untouched.claims:
        ends = [next(c.outcome for c in audit.claims if c.name == claim.name) for audit in runs]
        lines.append(f"| `{claim.name}` | {claim.outcome} | {' | '.join(ends)} |")
    seconds = [audit.facts["audit"]["seconds"] for audit in runs]
    return [*lines, "", f"Seconds of an audit: {statistics.median(seconds):.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    runs = parser.parse_args().runs
    place = runs[0].parent
    untouched = attacked("town", place / "untouched", 0, place / "kept")
    found = [attacked(str(run / "model"), run / "attacked", seed_of(run), place / "kept") for run in runs]
    print("\n".join(table(untouched, found)))


if __name__ == "__main__":
    main()
