"""Every term of the loss, by name, with what it reads."""

from __future__ import annotations

from collections.abc import Mapping

from expunge.objective import negative, normal, positive, sequence
from expunge.objective.term import Kind, Term

_BOTH: tuple[Kind, Kind] = ("forget", "expected")
_ALL = (
    Term("distance", "negative", negative.distance, ("forget",), options={"ignorance": 0.0}),
    Term("match", "negative", negative.match, ("forget",), levels=True, options={"width": 1.0}),
    Term("ascent", "negative", negative.ascent, ("forget",), targets=True),
    Term("wga", "negative", negative.wga, ("forget",), targets=True, options={"beta": 1.0}),
    Term("satimp", "negative", negative.satimp, ("forget",), options={"beta1": 5.0, "beta2": 1.0}),
    Term("undial", "negative", negative.undial, ("forget",), original="vocabulary", options={"beta": 10.0}),
    Term("ceu", "negative", negative.ceu, ("forget",)),
    Term("logit_spread", "negative", negative.logit_spread, ("forget",)),
    Term("jensun", "negative", negative.jensun, ("expected",)),
    Term("rmu", "negative", negative.rmu, ("forget",), hidden=True, options={"coefficient": 2.0}, given=("direction",)),
    Term("npo", "negative", sequence.npo, ("forget",), targets=True, original="targets", options={"beta": 0.1}),
    Term("simnpo", "negative", sequence.simnpo, ("forget",), targets=True, options={"beta": 4.5, "delta": 0.0}),
    Term("dpo", "negative", sequence.dpo, _BOTH, targets=True, original="targets", options={"beta": 0.1}),
    Term("flat", "negative", sequence.flat, _BOTH, targets=True),
    Term("flat_tv", "negative", sequence.flat_tv, _BOTH, targets=True),
    Term("cluster_mean", "positive", positive.cluster_mean, ("expected",), mean=True),
    Term("expected_nll", "positive", positive.nll, ("expected",), targets=True),
    Term("normal_nll", "normal", positive.nll, ("normal",), targets=True),
    Term("rise", "normal", normal.rise, ("normal",), targets=True, original="targets"),
    Term("kl", "normal", normal.kl, ("normal",), original="vocabulary"),
    Term("kl_top", "normal", normal.kl_top, ("normal",), original="top", options={"top": 64.0}),
    Term("jsd", "normal", normal.jsd, ("normal",), original="vocabulary"),
    Term("hidden_mse", "normal", normal.hidden_mse, ("normal",), original="states", hidden=True),
    Term("hidden", "hidden", normal.hidden, ("normal",), original="states", hidden=True),
)
TERMS: Mapping[str, Term] = {term.name: term for term in _ALL}
