"""The evaluator beside a real Prometheus, on generated expressions over the same telemetry."""

import math
from pathlib import Path

import pytest

from tests.promql_differential import reference
from tests.promql_differential.agreement import Agreement, Asking, evaluated
from tests.promql_differential.answers import Histogram, Said, difference
from tests.promql_differential.explained import EXPLANATIONS, WIDEST_BUCKET
from tests.promql_differential.expressions import Expression, expressions
from tests.promql_differential.telemetry import END_S, SPACING_S, START_S, MemorySource, Telemetry

pytestmark = pytest.mark.alone

WORDS = """
    sum avg min max count group stddev stdvar quantile topk bottomk by without offset start end bool on
    ignoring and or unless rate increase irate delta deriv avg_over_time min_over_time max_over_time
    sum_over_time count_over_time last_over_time quantile_over_time stddev_over_time present_over_time
    absent_over_time absent abs ceil floor round clamp clamp_min clamp_max scalar vector time sort sort_desc
    label_replace label_join histogram_quantile histogram_count histogram_sum histogram_avg histogram_fraction
    changes resets idelta count_values stdvar_over_time exp ln minute timestamp pi
""".split()  # noqa: SIM905

GOAL = 0.98
DOCUMENTED = Path(__file__).parents[2] / "docs" / "reference" / "promql-differences.md"
AT_S = START_S + 2_000
LEVELS = (-0.1, 0.0, 0.25, 0.4987, 0.5, 0.75, 0.9007, 0.99, 1.0, 1.1)
HISTOGRAMS = (
    "lat",
    "drift",
    "sum(increase(lat[2m]))",
    "sum by (host) (rate(drift[5m]))",
    "sum by (job) (increase(lat[10m])) + sum by (job) (increase(lat[1m]))",
)


def test_generated_expressions_agree_and_every_difference_is_explained(agreement: Agreement) -> None:
    assert agreement.total >= 600
    assert [f"{each.expression.number}: {each.expression.ours}: {each.how}" for each in agreement.unexplained] == []
    assert agreement.share >= GOAL, agreement.line()
    assert agreement.outcomes["with values"] >= 0.7 * agreement.total, agreement.line()


def test_quantiles_follow_the_logarithmic_rule_over_the_buckets_that_prometheus_has(
    prometheus: Asking, telemetry: Telemetry
) -> None:
    for text in HISTOGRAMS:
        for level in LEVELS:
            said = _ours(f"histogram_quantile({level}, {text})", telemetry.source())
            wanted = {
                labels: reference.quantile(level, histogram.buckets, histogram.count)
                for labels, histogram in _histograms(prometheus, text).items()
            }
            assert said == {labels: pytest.approx(value, rel=1e-9, abs=1e-12) for labels, value in wanted.items()}, (
                level,
                text,
            )


@pytest.mark.parametrize(("low", "high"), [(0, 10), (-3, 3), (7.3, 50.1), (-math.inf, 0.2), (20, math.inf), (9, 3)])
def test_fractions_follow_the_logarithmic_rule_over_the_buckets_that_prometheus_has(
    prometheus: Asking, telemetry: Telemetry, low: float, high: float
) -> None:
    for text in HISTOGRAMS:
        said = _ours(f"histogram_fraction({_written(low)}, {_written(high)}, {text})", telemetry.source())
        wanted = {
            labels: reference.fraction(low, high, histogram.buckets, histogram.count)
            for labels, histogram in _histograms(prometheus, text).items()
        }
        assert said == {labels: pytest.approx(value, rel=1e-9, abs=1e-12) for labels, value in wanted.items()}, text


def test_a_left_edge_is_outside_here_and_inside_there(prometheus: Asking, telemetry: Telemetry) -> None:
    text = "count_over_time(temperature[1m])"
    theirs = {labels: value for labels, ((_, value),) in prometheus.instant(text, AT_S).series}
    assert set(theirs.values()) == {7.0}
    source = telemetry.source()
    ours = _ours(text, source)
    assert ours == dict.fromkeys(theirs, 6.0)
    assert source.edges == 2 * len(theirs)  # of the instant and of the range query


@pytest.mark.parametrize("since_s", [15, 23, 41, 58, 97])
def test_a_new_counter_grows_as_in_prometheus_3_here_and_as_in_2_there(
    prometheus: Asking, telemetry: Telemetry, since_s: int
) -> None:
    wanted_labels = {"__name__": "errors_total", "host": "b"}.items()
    (series,) = (each for each in telemetry.floats if wanted_labels <= each.labels.items())
    samples = [(START_S + SPACING_S * step, value) for step, value in series.values.items()]
    at_s, text = samples[0][0] + since_s + 0.25, 'increase(errors_total{host="b"}[2m])'
    wanted = {release: reference.increase(samples, at_s - 120, at_s, release) for release in (2, 3)}
    assert wanted[2] > wanted[3]
    ((_, ((_, theirs),)),) = prometheus.instant(text, at_s).series
    assert theirs == pytest.approx(wanted[2], rel=1e-12)
    ((_, ours),) = _ours(text, telemetry.source(), at_s).items()
    assert ours == pytest.approx(wanted[3], rel=1e-12)


def test_sources_that_merge_beforehand_give_the_same_answers(telemetry: Telemetry) -> None:
    for expression in (each for each in expressions(300, 8) if each.kind in ("histograms", "quantiles")):
        plain, eager = (evaluated(expression, telemetry.source(eager=eager)) for eager in (False, True))
        for one, other in zip(plain, eager, strict=True):
            assert difference(one, other) == "", expression.ours


def test_expressions_are_the_same_in_every_run_and_cover_the_subset() -> None:
    found = expressions(700, 5)
    assert found[:50] == expressions(50, 5)
    assert {each.kind for each in found} == {"numbers", "histograms", "quantiles", "scalar", "mistake"}
    text = " ".join(each.ours for each in found)
    missing = [word for word in WORDS if f"{word}(" not in text and f"{word} " not in text]
    assert missing == []
    assert all(START_S < each.start_s < END_S for each in found)


def test_the_documented_agreement_is_the_measured_one(agreement: Agreement) -> None:
    assert agreement.line() in DOCUMENTED.read_text(), f"write it into {DOCUMENTED.name}: {agreement.line()}"


def test_every_explained_difference_is_documented() -> None:
    documented = DOCUMENTED.read_text()
    for each in EXPLANATIONS:
        assert f"| {each.name} |" in documented
    assert f"{100 * WIDEST_BUCKET:.1f} %" in documented


def _ours(text: str, source: MemorySource, at_s: float = AT_S) -> dict[frozenset[tuple[str, str]], object]:
    said, _ = evaluated(Expression(0, text, text, "", at_s, at_s, at_s, 10), source)
    return _only_values(said)


def _histograms(prometheus: Asking, text: str) -> dict[frozenset[tuple[str, str]], Histogram]:
    """The histograms that Prometheus has for it, without the metric's name, as functions give them."""
    bare = text if "(" in text else f"{text}_each"
    found = {}
    for labels, value in _only_values(prometheus.instant(bare, AT_S)).items():
        assert isinstance(value, Histogram)
        found[frozenset(pair for pair in labels if pair[0] != "__name__")] = value
    return found


def _only_values(said: Said) -> dict[frozenset[tuple[str, str]], object]:
    assert said.series, said
    return {labels: value for labels, ((_, value),) in said.series}


def _written(number: float) -> str:
    return f"{number:+}".replace("inf", "Inf") if math.isinf(number) else str(number)
