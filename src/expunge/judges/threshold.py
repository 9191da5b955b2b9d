"""Another threshold on a judge's score, as calibration chooses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.files import digest
from expunge.judges.verdict import FAULTS, Judge, Label, Verdict


class Threshold:
    """A judge whose verdicts are decided anew: at fault from `threshold` on, clean below; `unknown` stays.

    fault: what to call a fault that the judge itself had called clean.

    Raises:
        InputError: a threshold out of (0, 1], or a label that is no fault.
    """

    def __init__(self, judge: Judge, threshold: float, *, fault: Label = "harmful") -> None:
        if not 0.0 < threshold <= 1.0:
            raise InputError(f"the threshold {threshold} is not in (0, 1]")
        if fault not in FAULTS:
            raise InputError(f"{fault!r} is not a fault", remedy=f"Faults: {', '.join(FAULTS)}.")
        self.inner, self.threshold, self.fault = judge, threshold, fault
        self.name = judge.name
        self.version = digest("threshold 1", judge.version, repr(threshold), fault)[:12]

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        return [self._again(verdict) for verdict in self.inner.judge(dialogues)]

    def _again(self, verdict: Verdict) -> Verdict:
        if verdict.label == "unknown":
            return replace(verdict, version=self.version)
        if verdict.score < self.threshold:
            return replace(verdict, label="clean", version=self.version, spans=(), expected=(), categories=())
        label = verdict.label if verdict.flagged else self.fault
        return replace(verdict, label=label, version=self.version)
