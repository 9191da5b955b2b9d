"""The answer at the top of the report: what the claims come to, in a title and a few sentences."""

from __future__ import annotations

import math

from expunge.audit.result import Audit, Claim, Measure
from expunge.report.wording import claimed, figure, gained

ATTACKS = ("prompts", "quantization", "relearning", "depth", "others")
"""The claims about attacks."""
KEPT = ("ability", "neighbours")


def title(audit: Audit) -> str:
    """What the outcome concerns, in a line."""
    found = [claim for claim in audit.claims if claim.outcome == audit.outcome]
    concerned = found[0].of or found[0].title if len(found) == 1 else ", ".join(claim.name for claim in found)
    if audit.outcome == "FAIL":
        return f"Not within limits: {concerned}"
    if audit.outcome == "NOT SHOWN":
        measured = any(claim.name == "flagged" and claim.found for claim in audit.claims)
        return f"Neither shown nor refuted: {concerned}" if measured else "Forgetting was not measured"
    return "Forgotten, and the rest is kept" if any(c.name in KEPT for c in audit.claims) else "Forgotten"


def sentence(audit: Audit) -> str:
    """The key figures in words."""
    measured = {claim.name: claim for claim in audit.claims if claim.found}
    attacks = [claim for name, claim in measured.items() if name in ATTACKS]
    ends = {claim: claim.found.high for claim in attacks if claim.found}
    worst = max(ends, key=lambda claim: (math.isnan(ends[claim]), ends[claim]), default=None)
    attacked = f"under the worst attack ({worst.of}): {_claimed(worst)}" if worst else ""
    lost = [_lost(measured[name]) for name in KEPT if name in measured]
    refusals = measured.get("refusals")
    refused = f"harmless prompts refused, beyond the original's share: {_claimed(refusals)}" if refusals else ""
    sentences = ("; ".join(_forgetting(audit)), attacked, " and ".join(lost), refused)
    return " ".join(f"{s[0].upper()}{s[1:]}." for s in sentences if s) or "The audit holds none of the key figures."


def _forgetting(audit: Audit) -> list[str]:
    known = {m.key: m for m in audit.measures}
    found = []
    if trained := known.get("flagged_trained"):
        labels = sorted({s.label for s in audit.samples if s.kind == "trained" and s.label})
        what = f" ({', '.join(labels)})" if labels else ""
        asked = f"asked the {trained.after.count:,} prompts it was trained to forget{what}"
        found.append(f"{asked}, the model still gives a flagged response to {_bounded(trained)}")
    if unseen := known.get("flagged_unseen"):
        found.append(f"asked in {unseen.after.count:,} unseen phrasings, to {_bounded(unseen)}")
    return found


def _bounded(measure: Measure) -> str:
    before = f"; before: {figure(measure.before.value, measure.unit)}" if measure.before else ""
    value, most = (figure(x, measure.unit) for x in (measure.after.value, measure.after.high))
    return f"{value} (at most {most}{before})"


def _lost(claim: Claim) -> str:
    """Of right answers; a loss below zero is a gain."""
    assert claim.found is not None
    if gained(claim):
        more, least = (figure(-x, "share") for x in (claim.found.value, claim.found.high))
        bound = f"at least {least}" if claim.found.high < 0 else f"at most {claimed(claim, 'high')} lost"
        return f"{claim.name} gained {more} ({bound})"
    return f"{claim.name} lost {_claimed(claim)}"


def _claimed(claim: Claim) -> str:
    return f"{claimed(claim, 'value')} (at most {claimed(claim, 'high')})"
