"""Methods on the built-in town, scored alike: what is left, what is kept; writes docs/town.md.

python bench/town.py [--method NAME …] [--seeds 3] [--out build/town]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from runs import machine
from tuned import compared

from expunge import demo
from expunge.comparison.entries import entries
from expunge.recipe import read_recipe

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "town.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", action="append")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("build/town"))
    options = parser.parse_args()
    recipe = read_recipe(demo.RECIPE)
    chosen = entries(options.method or [], HERE / "town-methods.toml", recipe.config)
    lines = compared(recipe, chosen, options.out, seeds=options.seeds)
    PAGE.write_text("\n".join([HEAD.format(seeds=options.seeds, machine=machine()), *lines]))


HEAD = """# The town, method by method
Written by `python bench/town.py`: the dialogues that the demo's judges find in the built-in town are forgotten by each
method of the table; median of {seeds} seeds (least–most). `default` is as `expunge demo` has it, the judge in the
loop; the others get as many rows a step (12 to forget, 36 to keep), 200 steps, and the best of three learning rates by
the first seed (settings: `bench/town-methods.toml`). Relearned: 30 AdamW steps on one half of the forgotten dialogues,
asked the other half, and the other way round; no subject is in both. The membership test is against the demo's
`holdout.jsonl`, which no training was told of. Machine: {machine}.
"""

if __name__ == "__main__":
    main()
