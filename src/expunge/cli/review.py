"""`expunge review`: verdicts on a page where a person has the last word."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from expunge.cli import options, show


def command(
    verdicts: Annotated[Path, typer.Argument(metavar="VERDICTS", help="What `expunge scan` wrote.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the verdicts with the decisions so far here; opens no page.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0: any free one.")] = 0,
    json: options.Json = False,
) -> None:
    """Confirm, reject or correct verdicts on a local page.

    With --out they are then written for `unlearn`. The page needs the extra `review`.

    \b
    expunge review verdicts.jsonl
    expunge review verdicts.jsonl --out reviewed.jsonl
    """
    if out is None:
        _page(verdicts, port, json)
    else:
        _write(verdicts, out, json)


def _page(verdicts: Path, port: int, json: bool) -> None:
    from expunge.errors import MissingExtraError

    try:
        import starlette
        import uvicorn
    except ImportError as error:
        raise MissingExtraError(error.name or "starlette", "review", "`expunge review`") from None
    del starlette, uvicorn
    from expunge.review import Review
    from expunge.review.server import serve

    progress = show.progress(quiet=json)
    review = Review(verdicts, progress=progress)
    if review.journal.note:
        typer.echo(f"note: {review.journal.note}", err=True)

    def ready(link: str) -> None:
        if json:
            show.print_json({"link": link, "dialogues": len(review.index), "decided": review.done})
        else:
            print(f"{review.done} of {len(review.index)} decided. Open this link, which works once (Ctrl-C to stop):")
            print(link, flush=True)

    try:
        serve(review, port=port, ready=ready)
    except KeyboardInterrupt:  # the way to end it
        pass
    finally:
        review.close()
    if not json:
        print(f"{review.done} of {len(review.index)} decided, all of them saved.")
        print(f"To write them: expunge review {verdicts} --out FILE")


def _write(verdicts: Path, out: Path, json: bool) -> None:
    from expunge.files import check_new
    from expunge.judges.verdict import Judged, write_verdicts
    from expunge.review import reviewed

    check_new(out)
    labels: Counter[str] = Counter()
    done = 0

    def count(decided: bool, judged: Judged) -> Judged:
        nonlocal done
        done += decided
        labels[judged.label] += 1
        return judged

    write_verdicts(out, (count(*pair) for pair in reviewed(verdicts, progress=show.progress(quiet=json))))
    if json:
        show.print_json({"dialogues": labels.total(), "decided": done, "labels": dict(labels), "out": str(out)})
        return
    for label, number in labels.most_common():
        print(f"{label:<14}{number:>8}")
    print(f"{done} of {labels.total()} decided by a person: {out}")
