"""Alert rules: how they are declared, what Grafana gets, and the traps between both."""

import copy
import re
from typing import Any

import pytest

from api.promql.parsing import parse
from tailwatch.config_check import checked
from tailwatch.config_tree import Place
from tailwatch.errors import ConfigError, DeclarationError
from tailwatch.grafana import declared
from tailwatch.grafana.config import DEFAULT_OBJECTIVES, TAKEN_LABELS, GrafanaSettings, ObjectiveConfig
from tailwatch.grafana.declared import RuleFile, RuleGroup, interval_of, seconds_of, short_uid
from tailwatch.grafana.objectives import amount
from tailwatch.grafana.soundness import check
from tailwatch.grafana.wanted import all_groups, wanted
from tailwatch.yaml_tree import parse as parse_yaml
from tests.tailwatch.grafana.shapes import faults

GROUPS = all_groups(GrafanaSettings())
RULES = [rule for group in GROUPS for rule in group.rules]
SENT = {rule["uid"]: rule for group in wanted(GrafanaSettings()).rule_groups for rule in group.rules}

RULE = """
interval: 30s
rules:
  - {id: one, title: One, severity: info, value: up, above: 1, federated: same, summary: S, meaning: M, todo: T}
"""


def declaration(text: str) -> RuleFile:
    return checked(parse_yaml(text, Place("file.yaml")), RuleFile)  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", SENT.values(), ids=list(SENT))
def test_a_rule_is_what_the_provisioning_api_documents(rule: dict[str, Any]) -> None:
    assert faults("alert_rule", rule) == []


@pytest.mark.parametrize(
    "fault",
    [
        lambda rule: rule.update(uid="x" * 41),
        lambda rule: rule.update(title="x" * 191),
        lambda rule: rule.update(noDataState="Ok"),
        lambda rule: rule["labels"].pop("managed_by"),
        lambda rule: rule["data"][0].update(datasourceUid="other"),
        lambda rule: rule["data"][2]["model"]["conditions"].append({"evaluator": {"type": "gt", "params": [1]}}),
        lambda rule: rule.pop("folderUID"),
        lambda rule: rule["annotations"].pop("__panelId__"),
    ],
)
def test_the_schema_sees_what_is_wrong(fault: Any) -> None:
    rule = copy.deepcopy(SENT["tailwatch-agent-silent"])
    fault(rule)
    assert faults("alert_rule", rule)


def test_what_the_issue_asks_for_has_a_rule() -> None:
    assert {
        "slo-hiccup_us-fast", "slo-hiccup_us-slow", "coverage-low", "agent-silent", "clock-ahead", "collector-lag",
        "dead-letters", "cardinality-limit", "database-nearly-full", "dead-man",
    } <= {rule.id for rule in RULES}  # fmt: skip


def test_no_data_is_an_alarm_for_the_dead_man_alone() -> None:
    assert [rule.id for rule in RULES if rule.no_data == "Alerting" or rule.on_error == "Alerting"] == ["dead-man"]


def test_deltas_are_read_only_where_windows_are_complete() -> None:
    """Sums over the windows that are still filling would dip, and `below` would fire on it."""
    seen = 0
    for rule in RULES:
        for function, rest in re.findall(
            r"\b(rate|increase|sum_over_time|count_over_time)\([^\[]*\[\w+\]([^)]*)\)", rule.value
        ):
            assert rest == " offset 30s", f"{rule.id}: {function} without offset"
            seen += 1
    assert seen > 15


def test_an_agent_that_is_back_raises_no_alert_of_its_silence() -> None:
    """The metric ends with the silence: what is still seen of it has to be over before it has waited long enough."""
    silent = [rule for rule in RULES if "agent_silent_s" in rule.value]
    assert [rule.id for rule in silent] == ["agent-silent"]
    for rule in silent:
        (seen,) = re.findall(r"agent_silent_s\[(\w+)\]", rule.value)
        assert seconds_of(seen) <= rule.wait_s


@pytest.mark.parametrize("settle_s", [0, 7, 120])
def test_settle_s_says_how_long_a_window_has_to_be_over(settle_s: int) -> None:
    for group in all_groups(GrafanaSettings(settle_s=settle_s)):
        for rule in group.rules:
            assert "$" not in rule.value
            parse(rule.value)
            offsets = set(re.findall(r"offset (\d+s)", rule.value))  # a day back is another question
            assert offsets <= ({f"{settle_s}s"} if settle_s else set()), rule.id


def test_labels_of_the_settings_stand_on_every_rule_beside_ours() -> None:
    found = wanted(GrafanaSettings(labels={"team": "infra"}, runbook_url="https://wiki.example/tailwatch"))
    rules = [rule for group in found.rule_groups for rule in group.rules]
    assert len(rules) == len(SENT)
    for rule in rules:
        assert rule["labels"]["team"] == "infra"
        assert rule["labels"]["managed_by"] == "tailwatch"
        assert rule["annotations"]["runbook_url"].startswith("https://wiki.example/tailwatch#")
        assert "runbook" not in rule["annotations"]


def test_no_label_of_the_settings_can_hide_one_by_which_alerts_are_told_apart() -> None:
    chosen = {label for objective in DEFAULT_OBJECTIVES for label in objective.by}
    outermost = [re.search(r"\bby \(([^)]*)\)", rule.value) for rule in RULES]
    by = {label.strip() for found in outermost if found for label in found[1].split(",")}
    assert by - chosen - {"state"} <= TAKEN_LABELS  # states are added up
    assert len(by) > 5


def test_templates_name_only_labels_that_their_series_have() -> None:
    """A label that a sum took away would read as "<no value>" in the middle of the night."""
    seen = 0
    for rule in RULES:
        kept = {label.strip() for found in re.findall(r"\bby \(([^)]*)\)", rule.value) for label in found.split(",")}
        used = set(re.findall(r"\$labels\.(\w+)", f"{rule.summary} {rule.meaning} {rule.todo}"))
        assert used <= kept, rule.id
        seen += len(used)
    assert seen > 10


def test_texts_use_the_value_as_grafana_calls_it() -> None:
    for rule in SENT.values():
        for text in rule["annotations"].values():
            assert not re.search(r"\$value\b", text), rule["title"]
    assert "{{ $values.B.Value | humanizeDuration }}" in SENT["tailwatch-agent-silent"]["annotations"]["summary"]


def test_a_rule_leads_to_the_panel_that_shows_its_value() -> None:
    dashboards = {board["uid"]: board for board in wanted(GrafanaSettings()).dashboards}
    for rule in SENT.values():
        board = dashboards[rule["annotations"]["__dashboardUid__"]]
        (panel,) = [each for each in board["panels"] if each["id"] == int(rule["annotations"]["__panelId__"])]
        assert panel["type"] != "row"
    shown = SENT["tailwatch-collector-lag"]["annotations"]
    (lag,) = [each for each in dashboards["tailwatch-collector"]["panels"] if each["id"] == int(shown["__panelId__"])]
    assert "collector_flush_age_s" in lag["targets"][0]["expr"]


def test_the_same_settings_give_the_same_rules_and_others_do_not() -> None:
    assert wanted(GrafanaSettings()) == wanted(GrafanaSettings())
    assert wanted(GrafanaSettings()) != wanted(GrafanaSettings(settle_s=31))


def test_objectives_of_long_names_keep_uids_apart() -> None:
    long = "a_metric_with_a_name_that_nobody_would_type_twice"
    objectives = tuple(
        ObjectiveConfig(metric=f"{long}_us", threshold=5.0, name=f"{long}_{end}") for end in ("one", "two")
    )
    uids = [rule.uid for group in all_groups(GrafanaSettings(objectives=objectives)) for rule in group.rules]
    assert len(set(uids)) == len(uids)
    assert all(len(uid) <= 40 for uid in uids)


def test_a_short_uid_is_left_alone_and_a_long_one_is_the_same_every_time() -> None:
    assert short_uid("tailwatch-dead-man") == "tailwatch-dead-man"
    assert short_uid("x" * 40) == "x" * 40
    assert short_uid("x" * 41) == short_uid("x" * 41) != short_uid("x" * 42)
    assert len(short_uid("x" * 99)) == 40


def test_a_large_target_is_written_out_in_full() -> None:
    objective = ObjectiveConfig(metric="sent_bytes", threshold=123_456_789_012_345.0, objective=0.99999)
    rule = all_groups(GrafanaSettings(objectives=(objective,)))[0].rules[0]
    assert "histogram_fraction(-Inf, 123456789012345, " in rule.value
    assert "/ 0.00001 <" in rule.value


def test_no_objectives_are_no_groups() -> None:
    names = [group.name for group in all_groups(GrafanaSettings(objectives=()))]
    assert names
    assert not any(name.startswith("objectives") for name in names)


@pytest.mark.parametrize(
    ("metric", "value", "said"),
    [
        ("hiccup_us", 10_000.0, "10 ms"),
        ("api_request_us", 500_000.0, "500 ms"),
        ("hiccup_us", 2.5, "2.5 us"),
        ("x_ns", 40.0, "40 ns"),
        ("collector_flush_s", 90.0, "90 s"),
        ("sent_bytes", 5.0, "5 bytes"),
        ("cpu_busy_ratio", 0.9, "0.9"),
    ],
)
def test_limits_are_said_in_units_that_people_use(metric: str, value: float, said: str) -> None:
    assert amount(metric, value) == said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("above: 1", "above: 1, below: 2"), "exactly one of above and below"),
        (("above: 1, ", ""), "exactly one of above and below"),
        (("federated: same", "federated: same, not_federated: why"), "either federated or not_federated"),
        (("federated: same, ", ""), "either federated or not_federated"),
        (("severity: info", "severity: page"), "severity: no such value"),
        (("title: One", "titel: One"), "did you mean title"),
        (("title: One", f"title: {'x' * 191}"), "190"),
        (("id: one", "id: One"), "id: expected"),
        (("above: 1", "above: 1, for: soon"), "for: expected"),
        (("above: 1", "above: 1, no_data: ok"), "did you mean|known here"),
    ],
)
def test_a_wrong_declaration_is_refused_with_its_place(change: tuple[str, str], said: str) -> None:
    assert declaration(RULE).rules[0].id == "one"
    with pytest.raises(ConfigError, match=f"(?s)file.yaml:.*({said})"):
        declaration(RULE.replace(*change))


@pytest.mark.parametrize("interval", ["15s", "0s", "61s"])
def test_an_interval_that_grafana_does_not_take_is_refused(interval: str) -> None:
    with pytest.raises(DeclarationError, match="multiple of 10 s"):
        interval_of("fleet", interval)
    assert interval_of("fleet", "2m") == 120


def test_durations_have_one_unit() -> None:
    assert [seconds_of(text) for text in ("30s", "5m", "2h", "1d")] == [30, 300, 7_200, 86_400]
    with pytest.raises(DeclarationError, match="no duration"):
        seconds_of("5m30s")


def test_names_that_clash_and_links_to_nowhere_are_all_named() -> None:
    group = GROUPS[-1]
    twice = RuleGroup(group.name, group.interval_s, group.rules)
    with pytest.raises(DeclarationError) as caught:
        check([group, twice], set())
    for said in (f"two groups are called {group.name}", f"uid {group.rules[0].uid}", "title", "no panel"):
        assert said in str(caught.value)


def test_a_file_in_the_folder_is_a_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "ssd.yaml").write_text(RULE)
    monkeypatch.setattr(declared, "RULES_FOLDER", tmp_path)
    declared._files.cache_clear()
    try:
        (group,) = declared.declared_groups(30)
    finally:
        declared._files.cache_clear()
    assert (group.name, group.interval_s, [rule.uid for rule in group.rules]) == ("ssd", 30, ["tailwatch-one"])
