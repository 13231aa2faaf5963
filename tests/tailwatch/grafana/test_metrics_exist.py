"""What dashboards and rules read is what the built-in queries make, with the labels that they group by."""

import pytest

from pipeline.plan import Plan
from tailwatch.grafana.config import GrafanaSettings
from tailwatch.grafana.dashboards import rendered_dashboards
from tailwatch.grafana.prometheus_rules import metric_names
from tailwatch.grafana.wanted import all_groups
from tailwatch.query_set import compiled
from tailwatch.settings import load_settings
from tests.tailwatch.grafana import synthetic
from tests.tailwatch.grafana.chosen import with_choices

PLANS = compiled(load_settings(None, environment={})).plans
BUILT_IN = {metric.name: (plan, metric.function) for plan in PLANS for metric in plan.metrics}
MADE_UP: dict[str, tuple[Plan, str]] = {
    metric.name: (plan, metric.function) for plan in synthetic.plans().values() for metric in plan.metrics
}


def test_every_metric_that_an_expression_reads_is_built_in() -> None:
    read = {
        name for group in all_groups(GrafanaSettings()) for rule in group.rules for name in metric_names(rule.value)
    }
    for board in rendered_dashboards():
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                read |= metric_names(with_choices(target["expr"]))
    assert len(read) > 35
    assert read - set(BUILT_IN) == set()


@pytest.mark.parametrize("name", sorted(MADE_UP))
def test_the_tests_store_has_metrics_as_the_built_in_queries_make_them(name: str) -> None:
    (plan, function), (made_up, its_function) = BUILT_IN[name], MADE_UP[name]
    assert function == its_function
    assert sorted(plan.labels) == sorted(made_up.labels)
    assert plan.window_ns == made_up.window_ns
