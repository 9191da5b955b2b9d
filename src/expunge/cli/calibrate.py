"""`expunge calibrate`: the score from which a judge's word is to be taken, chosen on labelled dialogues."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expunge.cli import options, show

if TYPE_CHECKING:
    from expunge.judges.calibration import Calibration, Goal


def command(
    judge: Annotated[str, typer.Argument(metavar="JUDGE", help="As for `scan --judge`: NAME=SOURCE or FILE.toml.")],
    gold: Annotated[str, typer.Option("--gold", help="Dialogues with a `label` each, or verdicts as reviewed.")],
    out: Annotated[Path, typer.Option("--out", help="Judge file to write: the judge with the threshold.")],
    precision: Annotated[
        float | None, typer.Option(help="The precision wanted, with the best recall. This, or --recall.")
    ] = None,
    recall: Annotated[float | None, typer.Option(help="The recall wanted, with the best precision.")] = None,
    fault: Annotated[str | None, typer.Option(help="Label that counts; default: the one fault of the sample.")] = None,
    allow_remote: options.AllowRemote = False,
    json: options.Json = False,
) -> None:
    """Choose a judge's threshold on labelled dialogues.

    Prints precision, recall, ROC and reliability; exits 1, and writes nothing, where no threshold will do.

    \b
    expunge calibrate harm=org/classifier --gold labelled.jsonl --precision 0.95 --out judge.toml
    expunge scan org/model logged.jsonl --judge judge.toml --out verdicts.jsonl
    """
    from expunge.errors import ExpungeError, InputError
    from expunge.files import check_new, write_json, write_text
    from expunge.judges.calibration import calibrate, read_gold
    from expunge.judges.judge_file import calibrated
    from expunge.judges.names import load_judge
    from expunge.recipe import check_label

    goals: tuple[tuple[Goal, float | None], ...] = (("precision", precision), ("recall", recall))
    asked = [(goal, share) for goal, share in goals if share is not None]
    if len(asked) != 1:
        raise InputError("either a precision or a recall is wanted", remedy="Give --precision 0.95, or --recall 0.9.")
    check_new(out)
    label = check_label(fault) if fault else None
    rows = read_gold(gold)
    made = load_judge(judge, allow_remote=allow_remote)
    goal, wanted = asked[0]
    found = calibrate(made, rows, goal=goal, wanted=wanted, fault=label)
    if json:
        show.print_json(found.row())
    else:
        _print(found)
    if found.threshold is None:
        remedy = "Ask for less, or take another judge: the table says what this one can do."
        raise ExpungeError(f"no threshold gives the {goal} of {wanted}; nothing was written", remedy=remedy)
    write_text(out, calibrated(judge, found, folder=out.parent))
    write_json(out.with_name(out.name + ".calibration.json"), found.row())  # with the curves
    if not json:
        print(f"Judge file: {out}")


def _print(found: Calibration) -> None:
    print(f"{found.judge} on {found.count} dialogues, {found.at_fault} of them {found.fault}")
    if found.unknown:
        print(f"unknown       {found.unknown} (counted as not flagged)")
    print(f"AUC           {'–' if found.auc is None else f'{found.auc:.3f}'}")
    print(f"calibration   error {found.error:.3f}")
    if found.threshold is not None:
        print(f"threshold     {found.threshold:.6g}, for a {found.goal} of {found.wanted}")
        print(f"precision     {found.precision}")
        print(f"recall        {found.recall}")
    print("\n  threshold  hits   false alarms")
    for false, hits, threshold in _some(found.roc):
        print(f"  {threshold:9.4f}  {hits:.3f}  {false:.3f}")
    print("\n  scores       n    mean   at fault")
    for b in found.reliability:
        print(f"  {b.low:.1f}–{b.high:.1f}  {b.count:6d}  {b.score:.3f}  {b.at_fault:.3f}")


def _some(points: tuple[tuple[float, float, float], ...]) -> list[tuple[float, float, float]]:
    """At most a dozen points of a curve, evenly."""
    step = max(1, -(-len(points) // 12))
    return [*points[:-1:step], points[-1]] if points else []
