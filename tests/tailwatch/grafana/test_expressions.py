"""Every expression of dashboards and rules, parsed and run by the real API on a store that has what it reads."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from benchmarks.targets import Target
from tailwatch.grafana.config import GrafanaSettings, ObjectiveConfig
from tailwatch.grafana.dashboards import rendered_dashboards
from tailwatch.grafana.declared import Rule
from tailwatch.grafana.prometheus_rules import expression
from tailwatch.grafana.wanted import all_groups, wanted
from tests.api.world import Client, asking
from tests.tailwatch.grafana import synthetic
from tests.tailwatch.grafana.chosen import with_choices

V1 = "/prometheus/api/v1/"
NOW = synthetic.NOW_NS / synthetic.SECOND_NS
RULES = {rule.id: rule for group in all_groups(GrafanaSettings()) for rule in group.rules}
TARGET = Target("grafana.expressions_with_data", 1.0, ">=")


@dataclass(frozen=True)
class Stores:
    """Three fleets: one that is well, one that is not, and one of which nothing is known."""

    healthy: Client
    sick: Client
    empty: Client


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    folder = tmp_path_factory.mktemp("stores")
    healthy = synthetic.fill(folder / "healthy.db", sick=False)
    sick = synthetic.fill(folder / "sick.db", sick=True)
    with asked(healthy) as first, asked(sick) as second, asked(healthy, later_s=86_400) as third:
        yield Stores(first, second, third)


def asked(url: str, later_s: int = 0) -> Any:
    return asking(url, now_ns=lambda: synthetic.NOW_NS + later_s * synthetic.SECOND_NS)


def instant(client: Client, text: str, later_s: int = 0) -> dict[str, Any]:
    return answer(client.get(V1 + "query", query=text, time=str(NOW + later_s)), text)


def over_time(client: Client, text: str) -> dict[str, Any]:
    return answer(client.get(V1 + "query_range", query=text, start=str(NOW - 300), end=str(NOW), step="10"), text)


def answer(response: Any, text: str) -> dict[str, Any]:
    found = response.json()
    assert found["status"] == "success", f"{text}: {found}"
    return found


def numbers(found: dict[str, Any]) -> list[float]:
    return [float(each["value"][1]) for each in found["data"]["result"]]


def fires(rule: Rule, values: list[float]) -> bool:
    """What Grafana makes of the values: no data as the rule says, else the threshold on each."""
    if not values:
        return rule.no_data == "Alerting"
    return any(value > rule.limit if rule.sign == ">" else value < rule.limit for value in values)


def test_every_expression_shipped_is_parsed_and_returns_data(
    stores: Stores, show_target: Callable[[str], None]
) -> None:
    without_data, count = [], 0
    for board in rendered_dashboards():
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                text = with_choices(target["expr"])
                found = (instant if target["instant"] else over_time)(stores.sick, text)
                kind = "histogram" if panel["type"] == "heatmap" else "value"
                has = [each for each in found["data"]["result"] if kind in each or f"{kind}s" in each]
                count += 1
                if not has:
                    without_data.append(f"{board['uid']}/{panel['title']}: {text}")
                assert not found.get("infos"), f"{panel['title']}: {found['infos']}"
                assert not found.get("warnings"), f"{panel['title']}: {found['warnings']}"
    for rule in RULES.values():
        found = instant(stores.sick, rule.value)
        count += 1
        if not found["data"]["result"]:
            without_data.append(f"{rule.id}: {rule.value}")
        assert not found.get("infos"), f"{rule.id}: {found['infos']}"
    assert count >= 80
    show_target(TARGET.line((count - len(without_data)) / count))
    assert without_data == []


def test_the_rules_sent_to_grafana_ask_what_was_tested() -> None:
    sent = {rule["uid"]: rule for group in wanted(GrafanaSettings()).rule_groups for rule in group.rules}
    for rule in RULES.values():
        query, _, threshold = sent[rule.uid]["data"]
        assert query["model"]["expr"] == rule.value
        (condition,) = threshold["model"]["conditions"]
        assert condition["evaluator"] == {"type": {">": "gt", "<": "lt"}[rule.sign], "params": [rule.limit]}


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_a_rule_is_quiet_while_all_is_well_and_fires_when_it_is_not(stores: Stores, rule: Rule) -> None:
    well, ill = numbers(instant(stores.healthy, rule.value)), numbers(instant(stores.sick, rule.value))
    assert not fires(rule, well), f"on a healthy fleet {rule.value} is {well}"
    assert instant(stores.healthy, expression(rule))["data"]["result"] == []
    if rule.id in synthetic.NOT_OF_THE_SICK:
        assert not fires(rule, ill)
        return
    assert fires(rule, ill), f"on a sick fleet {rule.value} is {ill}"
    assert instant(stores.sick, expression(rule))["data"]["result"] != []


def test_only_the_dead_man_fires_when_nothing_is_known(stores: Stores) -> None:
    fired = {rule.id for rule in RULES.values() if fires(rule, numbers(instant(stores.empty, rule.value, 86_400)))}
    compared = {rule.id for rule in RULES.values() if instant(stores.empty, expression(rule), 86_400)["data"]["result"]}
    assert fired == compared == {"dead-man"}


def test_agents_without_the_figures_of_the_fleet_are_an_alarm(stores: Stores) -> None:
    """Without it the one agent that reads the API could go, and with it all rules about the fleet, without a word."""
    rule = RULES["fleet-unseen"]
    assert numbers(instant(stores.healthy, rule.value)) == [1.0]
    without = rule.value.replace("fleet_coverage_ratio", "fleet_gone_ratio")
    assert numbers(instant(stores.healthy, without)) == [0.0]
    assert fires(rule, [0.0])
    assert not fires(rule, numbers(instant(stores.empty, without, 86_400))), "then it is the dead man"


def test_a_drive_that_was_watched_yesterday_is_no_news(stores: Stores) -> None:
    text = RULES["drives-newly-watched"].value
    assert numbers(instant(stores.sick, text)) == [1.0]
    assert " offset 1d" in text
    assert numbers(instant(stores.sick, text.replace(" offset 1d", ""))) == []


def test_alerts_of_drives_say_where_their_data_comes_from(stores: Stores) -> None:
    for name in ("drive-replace", "drives-newly-watched", "drive-likely-fails", "drive-wear-high", "drive-worn-out"):
        assert "$labels.origin" in RULES[name].summary
        for found in instant(stores.sick, RULES[name].value)["data"]["result"]:
            assert found["metric"]["origin"] in ("measured", "synthetic")


def test_alerts_of_gpu_jobs_say_where_their_data_comes_from(stores: Stores) -> None:
    names = ("gpu-infrastructure-failures", "gpu-node-stands-out", "gpu-failures-unexplained", "gpu-time-lost")
    for name in names:
        assert "$labels.origin" in RULES[name].summary
        for found in instant(stores.sick, RULES[name].value)["data"]["result"]:
            assert found["metric"]["origin"] in ("measured", "synthetic")


def test_alerts_of_services_say_whose_they_are_and_where_their_data_comes_from(stores: Stores) -> None:
    of_services = [rule for name, rule in RULES.items() if "service_alert_state" in rule.value]
    assert len(of_services) == 9
    for rule in of_services:
        assert "$labels.service" in rule.summary
        assert "$labels.origin" in rule.summary
        found = instant(stores.sick, rule.value)["data"]["result"]
        fired = [one["metric"] for one in found if float(one["value"][1]) > rule.limit]
        assert fired == [{"service": "search", "origin": "measured"}], "the made-up service is well"


@pytest.mark.parametrize(
    ("name", "metric", "lately", "week", "expected"),
    [
        ("gpu-infrastructure-failures", 'gpu_job_failures_total{category="infrastructure"}[1h]', 4, 4, []),
        ("gpu-infrastructure-failures", 'gpu_job_failures_total{category="infrastructure"}[1h]', 5, 5, [5.0]),
        # Where ten an hour are usual, thirty are, and thirty-one are not.
        ("gpu-infrastructure-failures", 'gpu_job_failures_total{category="infrastructure"}[1h]', 31, 1_680, [3.1]),
        ("gpu-time-lost", "gpu_lost_seconds_total[6h]", 86_000, 86_000, []),
        ("gpu-time-lost", "gpu_lost_seconds_total[6h]", 86_400, 86_400, [3.0]),
        ("gpu-time-lost", "gpu_lost_seconds_total[6h]", 400_000, 2_800_000, [4.0]),
    ],
)
def test_a_surge_is_much_against_the_week_and_more_than_a_few(
    stores: Stores, name: str, metric: str, lately: float, week: float, expected: list[float]
) -> None:
    text = RULES[name].value
    for range_, value in ((metric, lately), (re.sub(r"\[\w+\]", "[7d]", metric), week)):
        summed = f"sum by (origin) (sum_over_time({range_} offset 30s))"
        assert text.count(summed) == 1
        text = text.replace(summed, f"vector({value})")
    assert numbers(instant(stores.healthy, text)) == pytest.approx(expected)


@pytest.mark.parametrize(("silent", "known", "expected"), [(1, 2, []), (2, 10, [0.2]), (0, 9, [0.0]), (1, 100, [])])
def test_one_silent_agent_is_not_many_also_where_there_are_few(
    stores: Stores, silent: int, known: int, expected: list[float]
) -> None:
    text = RULES["many-agents-silent"].value
    counted = 'max(last_over_time(fleet_agents_count{state="silent"}[2m]))'
    total = 'sum(max by (state) (last_over_time(fleet_agents_count{state=~"alive|silent"}[2m])))'
    assert (text.count(counted), text.count(total)) == (2, 1)
    text = text.replace(counted, f"vector({silent})").replace(total, f"vector({known})")
    assert numbers(instant(stores.healthy, text)) == expected


def test_what_two_agents_read_of_one_collector_counts_once(stores: Stores) -> None:
    (missing,) = numbers(instant(stores.sick, RULES["frames-missing"].value))
    # The windows of ten minutes that ended half a minute ago, three frames each.
    windows = synthetic.WINDOWS - 1
    assert missing == 3.0 * windows


def test_a_few_slow_requests_in_an_idle_night_are_no_trend(stores: Stores) -> None:
    def burns(least: int) -> list[float]:
        objective = ObjectiveConfig(metric="hiccup_us", threshold=10_000.0, by=("host",), min_count=least)
        (rule,) = next(iter(all_groups(GrafanaSettings(objectives=(objective,))))).rules
        return numbers(instant(stores.sick, rule.value))

    of_five_minutes = 30 * synthetic.OF_A_SKETCH
    assert len(burns(of_five_minutes)) == 2
    assert burns(of_five_minutes + 1) == []


@pytest.mark.parametrize("by", [(), ("host",), ("host", "status_class")])
def test_a_burn_rate_is_the_share_of_slow_values_over_the_budget(stores: Stores, by: tuple[str, ...]) -> None:
    objective = ObjectiveConfig(
        metric="api_request_us", threshold=500_000.0, objective=0.999, by=by, selector='route=~"/api.*"'
    )
    (rule,) = next(iter(all_groups(GrafanaSettings(objectives=(objective,))))).rules
    selector = 'api_request_us{route=~"/api.*"}'
    grouped = f" by ({', '.join(by)})" if by else ""
    slow = f"1 - histogram_fraction(-Inf, 500000, sum{grouped} (increase({selector}[%s] offset 30s)))"
    rates = [
        min(pair) / 0.001
        for pair in zip(*(numbers(instant(stores.sick, slow % window)) for window in ("1h", "5m")), strict=True)
    ]
    assert numbers(instant(stores.sick, rule.value)) == pytest.approx(rates)
    assert all(rate > 100 for rate in rates)


def test_every_choice_of_a_dashboard_has_something_to_choose(stores: Stores) -> None:
    seen = 0
    for board in rendered_dashboards():
        for variable in board["templating"]["list"]:
            if variable["type"] != "query":
                continue
            function, _, rest = with_choices(variable["definition"]).partition("(")
            if function == "metrics":  # Grafana lists names and filters them itself
                found = answer(stores.sick.get(V1 + "label/__name__/values"), rest)
                listed = [name for name in found["data"] if re.search(rest.removesuffix(")"), name)]
                assert all(name.endswith("_us") for name in listed)
                assert variable["current"]["value"] in listed
            else:
                metric, label = (part.strip() for part in rest.removesuffix(")").split(","))
                found = answer(stores.sick.get(V1 + f"label/{label}/values", **{"match[]": metric}), rest)
                listed = found["data"]
            assert listed, variable["definition"]
            seen += 1
    assert seen >= 5
