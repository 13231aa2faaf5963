"""The rules for Prometheus' own evaluators: checked by promtool, and asked of a real Prometheus that has scraped."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from api.promql.parsing import parse
from api.promql.tree import Node, Selector
from tailwatch.grafana.config import GrafanaSettings, ObjectiveConfig
from tailwatch.grafana.declared import Rule
from tailwatch.grafana.exporting import rendered_files
from tailwatch.grafana.prometheus_rules import alert_name, expression, left_out, metric_names
from tailwatch.grafana.wanted import all_groups
from tests.api.world import asking
from tests.counterparts import prometheus
from tests.counterparts.programs import program
from tests.tailwatch.grafana import synthetic
from tests.tailwatch.grafana.test_dashboards import nodes

FILES = rendered_files(GrafanaSettings())
ON_TAILWATCH, ON_FEDERATED = "prometheus/rules-on-tailwatch.yaml", "prometheus/rules-on-federated.yaml"
RULES = {rule.id: rule for group in all_groups(GrafanaSettings()) for rule in group.rules}
#: Scrapes of the page of each fleet: enough values for every objective, fewer windows than there are.
SCRAPES = 14
LATER_NS = 7_200 * synthetic.SECOND_NS


def rules_of(name: str, files: dict[str, str] = FILES) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(files[name])["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("name", [ON_TAILWATCH, ON_FEDERATED])
def test_promtool_takes_the_rules(name: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(FILES[name])
    done = subprocess.run(
        [program("promtool"), "check", "rules", path], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules_of(name))} rules found" in done.stdout
    path.write_text(FILES[name].replace("by (agent)", "by agent", 1))
    done = subprocess.run([program("promtool"), "check", "rules", path], capture_output=True, check=False, timeout=60)
    assert done.returncode != 0, "promtool looks at expressions"


def test_promtool_takes_the_scrape_job(tmp_path: Path) -> None:
    path = tmp_path / "prometheus.yml"
    rules = tmp_path / "rules.yaml"
    rules.write_text(FILES[ON_FEDERATED])
    path.write_text(f"rule_files: [{rules}]\n" + FILES["prometheus/scrape-federate.yaml"])
    done = subprocess.run(
        [program("promtool"), "check", "config", path], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_our_own_parser_takes_what_evaluators_ask_of_tailwatch() -> None:
    for rule in rules_of(ON_TAILWATCH):
        parse(rule["expr"])
    assert len(rules_of(ON_TAILWATCH)) == len(RULES)


def test_alerts_have_names_labels_and_texts_of_their_own() -> None:
    for name in (ON_TAILWATCH, ON_FEDERATED):
        rules = rules_of(name)
        assert len({rule["alert"] for rule in rules}) == len(rules)
        for rule in rules:
            assert rule["labels"]["managed_by"] == "tailwatch"
            assert {"title", "summary", "description"} < set(rule["annotations"])
            assert "$values" not in str(rule["annotations"]), "that is Grafana's"
    assert alert_name(RULES["agent-silent"]) == "TailwatchAgentSilent"
    assert alert_name(RULES["slo-hiccup_us-fast"]) == "TailwatchSloHiccupUsFast"


def test_no_telemetry_at_all_is_an_alarm_also_without_grafana() -> None:
    for name in (ON_TAILWATCH, ON_FEDERATED):
        (rule,) = [rule for rule in rules_of(name) if rule["alert"] == "TailwatchDeadMan"]
        assert " or absent(" in rule["expr"]
        assert sum("absent(" in rule["expr"] for rule in rules_of(name)) == 1


def test_rules_that_gauges_cannot_answer_are_left_out_and_named() -> None:
    odd = ObjectiveConfig(metric="hiccup_us", threshold=5_000.0, objective=0.95)
    settings = GrafanaSettings(objectives=(odd,))
    files = rendered_files(settings)
    named = left_out(all_groups(settings))
    assert [name for name, _ in named] == ["TailwatchSloHiccupUsFast", "TailwatchSloHiccupUsSlow"]
    head = files[ON_FEDERATED].split("groups:")[0]
    assert "Left out: TailwatchSloHiccupUsFast, for /prometheus/federate has no quantile 0.95." in head
    assert not any(rule["alert"].startswith("TailwatchSlo") for rule in rules_of(ON_FEDERATED, files))
    assert "Left out" not in FILES[ON_FEDERATED]


def selected(node: Node) -> set[str]:
    found = set()
    for each in nodes(node):
        if isinstance(each, Selector):
            found |= {matcher.value for matcher in each.matchers if matcher.label == "__name__"}
    return found


def test_metrics_are_found_in_expressions_as_the_parser_finds_them() -> None:
    for rule in RULES.values():
        assert metric_names(rule.value) == selected(parse(rule.value)), rule.value
    assert metric_names("") == set()


def test_everything_that_federated_rules_read_is_scraped() -> None:
    (job,) = yaml.safe_load(FILES["prometheus/scrape-federate.yaml"])["scrape_configs"]
    scraped = set(job["params"]["match[]"])
    assert scraped <= {metric for family in synthetic.FAMILIES.values() for metric in family.metrics}
    shown = scraped | {f"{name}_count" for name in scraped}
    assert {name for rule in RULES.values() for name in metric_names(rule.federated)} <= shown
    assert job["honor_labels"]
    assert job["honor_timestamps"]


@pytest.fixture(scope="module")
def federated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A Prometheus that has scraped a healthy fleet first, and two hours later a sick one."""
    (job,) = yaml.safe_load(FILES["prometheus/scrape-federate.yaml"])["scrape_configs"]
    matches = [("match[]", text) for text in job["params"]["match[]"]]
    folder = tmp_path_factory.mktemp("federated")
    with prometheus.running(program("prometheus")) as address, httpx.Client(base_url=address, timeout=30) as client:
        for name, later_ns in (("healthy", 0), ("sick", LATER_NS)):
            url = synthetic.fill(folder / f"{name}.db", sick=name == "sick")
            prometheus.write(address, list(scraped_series(url, matches, later_ns // 1_000_000)))
        yield client


def scraped_series(url: str, matches: list[tuple[str, str]], later_ms: int) -> Iterator[prometheus.WrittenSeries]:
    """What a Prometheus has of the page after SCRAPES scrapes, one a window."""
    now_ns = [0]
    series: dict[tuple[tuple[str, str], ...], list[tuple[int, float]]] = {}
    with asking(url, now_ns=lambda: now_ns[0]) as client:
        for back in reversed(range(SCRAPES)):
            now_ns[0] = synthetic.NOW_NS - back * synthetic.WINDOW_NS
            text = client.request("GET", "/prometheus/federate", params=matches).text
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    key = tuple(sorted({"__name__": sample.name, **sample.labels}.items()))
                    samples = series.setdefault(key, [])
                    at_ms = round(sample.timestamp * 1_000) + later_ms
                    if not samples or samples[-1][0] < at_ms:
                        samples.append((at_ms, sample.value))
    assert series
    for key, samples in series.items():
        yield prometheus.WrittenSeries(dict(key), samples)


def answered(client: httpx.Client, text: str, at_ns: int) -> list[Any]:
    at = str(at_ns / synthetic.SECOND_NS)
    found = client.post("/api/v1/query", data={"query": text, "time": at}).json()
    assert found["status"] == "success", f"{text}: {found}"
    return found["data"]["result"]


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_a_federated_rule_fires_in_a_real_prometheus_when_it_should(federated: httpx.Client, rule: Rule) -> None:
    """The gauges that it reads are those of the page /prometheus/federate, scrape by scrape."""
    text = expression(rule, federated=True)
    assert answered(federated, text, synthetic.NOW_NS) == [], "on a healthy fleet"
    ill = answered(federated, text, synthetic.NOW_NS + LATER_NS)
    assert bool(ill) == (rule.id not in synthetic.NOT_OF_THE_SICK), "on a sick fleet"
    slower = answered(federated, text, synthetic.NOW_NS + LATER_NS + 20 * synthetic.SECOND_NS)
    assert bool(slower) == bool(ill), "where windows come 35 s after their end"
    nothing = answered(federated, text, synthetic.NOW_NS + LATER_NS // 2)
    assert bool(nothing) == (rule.id == "dead-man"), "when nothing is scraped"
