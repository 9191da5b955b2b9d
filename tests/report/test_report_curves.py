from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from madeup import share

from expunge.audit.result import Audit, Estimate, Measure
from expunge.report.bars import charts
from expunge.report.curves import drawn, layers, relearning
from expunge.report.html import page

Fake = Callable[..., Audit]


def point(key: str, after: float, before: float | None = None, oracle: float | None = None) -> Measure:
    known = (None if x is None else share(x, 100) for x in (before, oracle))
    return Measure(key, key, "", "robustness", "share", "lower", share(after, 100), *known)


RELEARNED = [point(f"relearn_forget{steps}", x, oracle=0.0) for steps, x in ((30, 0.4), (10, 0.1), (20, 0.25))]
HALF = replace(point("relearn_forget_half", 0.5), unit="steps", better="higher")
LAYERS = [point(f"depth_layer{i}", 0.2 + i / 10, before=0.9, oracle=0.2) for i in range(1, 5)]


def test_steps_run_from_zero_in_order(fake: Fake) -> None:
    """Steps 10, 20, 30 of 0 to 30; 0.1, 0.25, 0.4 from the top of 0 to 1."""
    (plot,) = relearning(fake(measures=(*RELEARNED, HALF)))
    oracle, after = plot.series
    assert (plot.title, oracle.model, after.model) == ("Fine-tuned on other forgotten dialogues", "oracle", "after")
    assert [p.x for p in after.points] == ["33.33%", "66.67%", "100.00%"]
    assert [p.y for p in after.points] == ["90.00%", "75.00%", "60.00%"]
    assert [label for _, label in plot.x_ticks] == ["0", "10", "20", "30"]
    assert plot.y_ticks[0] == ("100.00%", "0%") and plot.y_ticks[-1] == ("0.00%", "100%")
    assert "After: steps of fine-tuning 10, 10.0%; steps of fine-tuning 20, 25.0%;" in plot.description


def test_layers_run_from_the_first_one_there_is(fake: Fake) -> None:
    (plot,) = layers(fake(measures=tuple(LAYERS)))
    assert [s.model for s in plot.series] == ["before", "oracle", "after"]
    assert [p.x for p in plot.series[2].points] == ["0.00%", "33.33%", "66.67%", "100.00%"]
    assert [p.y for p in plot.series[2].points] == ["70.00%", "60.00%", "50.00%", "40.00%"]


@pytest.mark.parametrize(
    ("key", "title"),
    [
        ("depth3", "Read from the hidden states"),
        ("depth_layer3", "Read from the hidden states"),
        ("depth_last_token_layer3", "Read from the hidden states: last token"),
        ("depth_privacy_3", "Read from the hidden states: privacy"),
    ],
)
def test_layers_are_found_by_the_end_of_their_key(fake: Fake, key: str, title: str) -> None:
    (plot,) = layers(fake(measures=(point(key, 0.5),)))
    assert plot.title == title and [label for _, label in plot.x_ticks] == ["3"]
    assert plot.series[0].points[0].x == "0.00%"


def test_probabilities_are_told_as_such(fake: Fake) -> None:
    (plot,) = layers(fake(measures=tuple(replace(m, unit="probability") for m in LAYERS)))
    assert [label for _, label in plot.y_ticks] == ["0", "0.25", "0.5", "0.75", "1"]
    assert "layer 1, 0.300" in plot.description


def test_many_layers_have_few_ticks(fake: Fake) -> None:
    (plot,) = layers(fake(measures=tuple(point(f"depth_layer{i}", 0.5) for i in range(80))))
    assert len(plot.x_ticks) == 9 and len(plot.series[0].points) == 80


def test_what_has_no_place_is_left_out_and_nothing_leaves_the_picture(fake: Fake) -> None:
    odd = replace(LAYERS[0], after=Estimate(math.nan, math.nan, math.nan, 3))
    wide = replace(LAYERS[1], after=Estimate(0.5, -math.inf, math.inf, 3))
    (plot,) = layers(fake(measures=(odd, wide, *LAYERS[2:])))
    assert [len(s.points) for s in plot.series] == [4, 4, 3]
    places = [float(x.rstrip("%")) for s in plot.series for p in s.points for x in (p.x, p.y, p.low, p.high)]
    assert all(0 <= place <= 100 for place in places)


def test_an_audit_without_them_draws_none(fake: Fake) -> None:
    assert relearning(fake()) == layers(fake()) == []
    assert "<figure" not in page(fake(3))


def test_what_is_a_curve_is_no_bar_and_attacks_stand_with_the_worst_first(fake: Fake) -> None:
    attacks = [point("prompts_lower", 0.1), point("prompts", 0.6), point("quantized4_unseen", 0.3)]
    found = list(charts(fake(measures=(*attacks, *RELEARNED, *LAYERS, HALF))))
    assert [[row.measure.key for row in chart.rows] for chart in found] == [
        ["prompts", "quantized4_unseen", "prompts_lower"],
        ["relearn_forget_half"],
    ]
    assert all(map(drawn, (*RELEARNED, *LAYERS))) and not drawn(HALF)


class Pictures(HTMLParser):
    """The pictures of curves, and what is drawn in them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.figures, self.circles, self.curve = 0, 0, False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.figures += tag == "figure"
        self.circles += tag == "circle"


def test_curves_are_on_the_page(fake: Fake) -> None:
    shown = Pictures(page(fake(3, measures=(*fake().measures, *RELEARNED, *LAYERS))))
    legends = 2 + 3
    assert (shown.figures, shown.circles) == (2, 2 * 3 + 3 * 4 + legends)
