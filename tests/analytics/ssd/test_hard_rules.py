"""Hard rules: every example of the YAML, and the laws that keep them from crying wolf."""

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.ssd.columns import DAYS, FLAGS
from analytics.ssd.hard_rules import (
    RULES_FILE,
    HardRule,
    fired,
    fired_rules,
    hard_rules,
    kind_of,
    newest_rows,
    rules_by_id,
)
from analytics.ssd.verdicts import FiredRule
from tests.analytics.ssd.drive_tables import TODAY, history, seen, table

DOCUMENT = yaml.safe_load(RULES_FILE.read_text(encoding="utf-8"))


def fires(days: pl.DataFrame, muted: Mapping[str, Any] | None = None) -> dict[str, tuple[FiredRule, ...]]:
    return fired_rules(fired(days, newest_rows(days), muted or {}))


def ids(days: pl.DataFrame, muted: Mapping[str, Any] | None = None, drive: str = "S1") -> list[str]:
    return [one.rule for one in fires(days, muted).get(drive, ())]


@pytest.mark.parametrize(
    ("rule", "example"),
    [
        pytest.param(rule, example, id=f"{rule.id}-{place}")
        for rule in hard_rules()
        for place, example in enumerate(rule.examples)
    ],
)
def test_the_examples_of_every_rule_hold(rule: HardRule, example: Mapping[str, Any]) -> None:
    rows = {ago: {rule.column: value} for ago, value in example.get("ago", {}).items()}
    days = seen({**rows, 0: {rule.column: example["today"], **example.get("also", {})}}, kind=example["kind"])
    assert [one.text for one in fires(days).get("S1", ()) if one.rule == rule.id] == (
        [] if example["says"] is None else [example["says"]]
    )


def test_every_rule_has_an_example_that_fires_and_one_that_does_not() -> None:
    poor = [
        rule.id
        for rule in hard_rules()
        if not any(example["says"] for example in rule.examples)
        or not any(example["says"] is None for example in rule.examples)
    ]
    assert poor == []


def test_rules_say_everything_and_look_at_columns_that_exist() -> None:
    ids_seen = [rule.id for rule in hard_rules()]
    assert len(ids_seen) == len(set(ids_seen))
    for rule in hard_rules():
        assert rule.column in DAYS
        assert rule.words
        assert rule.why
        assert rule.action
        assert rule.severity in ("watch", "replace")
        assert rule.kinds
        assert set(rule.kinds) <= {"ssd", "hdd", "nvme"}
        assert rule.days in (0, 1, 7, 30)


def test_entries_of_the_error_log_are_not_media_errors() -> None:
    assert DOCUMENT["never"] == ["err_log_entries_total"]
    assert {rule.column for rule in hard_rules()}.isdisjoint(DOCUMENT["never"])
    days = history(kind="nvme", media_errors_total=[0] * 40, err_log_entries_total=list(range(0, 8400, 210)))
    assert fires(days) == {}


@pytest.mark.parametrize(
    ("warning", "worst"), [(1, "replace"), (2, "watch"), (4, "replace"), (8, "replace"), (16, "watch"), (18, "watch")]
)
def test_each_warning_bit_is_as_grave_as_it_is(warning: int, worst: str) -> None:
    # As NVMe drives do: with any bit set, the verdict is bad and smartctl's exit status says failing.
    days = history(kind="nvme", critical_warning=[warning], passed=[0], failing=[1])
    severities = {one.severity for one in fires(days)["S1"]}
    assert ("replace" in severities) == (worst == "replace")
    assert {one.rule for one in fires(days)["S1"]} >= {"nvme_verdict_failed", "nvme_failing"}


def test_what_is_unknown_fires_nothing() -> None:
    for kind in ("ssd", "hdd", "nvme", "ata", "scsi", None):
        assert fires(seen({30: {}, 7: {}, 1: {}, 0: {}}, kind=kind)) == {}


def test_growth_is_counted_from_the_newest_value_that_is_old_enough() -> None:
    days = seen({ago: {"realloc_total": value} for ago, value in {12: 0, 9: 4, 8: None, 3: 60, 0: 61}.items()})
    (one,) = (one for one in fires(days)["S1"] if one.rule == "realloc_grew_7d")
    assert (one.before, one.value, one.days) == (4, 61, 9)


def test_a_short_history_is_compared_with_its_oldest_day_and_says_how_old_that_is() -> None:
    days = seen({3: {"realloc_total": 4}, 0: {"realloc_total": 61}})
    assert [one.text for one in fires(days)["S1"]] == ["sectors break: reallocated sectors 4 -> 61 in 3 days"]


def test_growth_of_a_day_is_not_made_of_a_week() -> None:
    assert ids(seen({7: {"realloc_total": 0}, 0: {"realloc_total": 200}})) == ["realloc_grew_7d"]
    assert ids(seen({1: {"realloc_total": 0}, 0: {"realloc_total": 200}})) == ["realloc_grew_1d", "realloc_grew_7d"]


def test_growth_is_not_counted_from_what_is_too_old() -> None:
    assert ids(seen({15: {"realloc_total": 0}, 0: {"realloc_total": 200}})) == []
    assert ids(seen({45: {"uncorrectable_total": 0}, 0: {"uncorrectable_total": 2}})) == []


def test_a_counter_that_was_reset_has_not_grown() -> None:
    assert ids(history(realloc_total=[100, 100, 0, 3])) == []


def test_growth_is_not_counted_across_a_day_on_which_hours_fell() -> None:
    rows = {5: {"realloc_total": 0}, 1: {"realloc_total": 50, "hours_back": True}, 0: {"realloc_total": 51}}
    assert ids(seen(rows)) == []
    rows[1]["hours_back"] = False
    assert ids(seen(rows)) == ["realloc_grew_7d"]


def test_muted_columns_fire_nothing_for_one_drive_or_for_all() -> None:
    days = pl.concat([history("A", failing=[1], crc_total=[0, 9]), history("B", failing=[1], crc_total=[0, 9])])
    assert ids(days, {"A": {"crc_total"}}, "A") == ["failing"]
    assert ids(days, {"A": {"crc_total"}}, "B") == ["failing", "crc_grew_7d"]
    assert ids(days, {"": {"crc_total"}}, "B") == ["failing"]


@pytest.mark.parametrize(
    ("kind", "told", "wanted"),
    [
        ("nvme", {}, "nvme"),
        ("ata", {}, "hdd"),
        ("ata", {"wear_used_pct": 3}, "ssd"),
        ("scsi", {"wear_used_pct": 0}, "ssd"),
        ("hdd", {"wear_used_pct": 0}, "hdd"),
        ("SSD", {}, "ssd"),
        (None, {"program_fail_total": 0}, "ssd"),
        (None, {}, "hdd"),
        ("ata", {"rotation_rpm": 0}, "ssd"),
        ("ata", {"rotation_rpm": 7200}, "hdd"),
        ("scsi", {"rotation_rpm": 5400, "wear_used_pct": 3}, "hdd"),
        ("hdd", {"rotation_rpm": 0}, "hdd"),
    ],
)
def test_the_kind_of_a_drive_is_what_it_says_or_what_it_tells_of(kind: str, told: dict[str, int], wanted: str) -> None:
    assert seen({0: told}, kind=kind).select(kind_of().alias("kind"))["kind"].to_list() == [wanted]


NUMBERS = [name for name, dtype in DAYS.items() if dtype == pl.Int64() and name != "readings"]
ROWS = st.fixed_dictionaries(
    {"kind": st.sampled_from(["ssd", "hdd", "nvme", "ata", None])}
    | {name: st.none() | st.sampled_from([0, 1, 2, 5, 10, 100, 3000, 2**63 - 1]) for name in NUMBERS}
)


@settings(max_examples=30)
@given(rows=st.lists(ROWS, min_size=1, max_size=5), other=ROWS)
def test_drives_are_judged_apart_and_every_figure_said_stands_in_the_data(
    rows: list[dict[str, Any]], other: Any
) -> None:
    mine = [{"drive": "S1", "day": TODAY - timedelta(days=5 * place), **row} for place, row in enumerate(rows)]
    alone, beside = table(mine), table([*mine, {"drive": "S0", "day": TODAY, **other}])
    told = fires(alone).get("S1", ())
    assert fires(beside).get("S1", ()) == told
    known = {str(value) for row in rows for value in row.values()} | {str(5 * place) for place in range(len(rows))}
    for one in told:
        rule = rules_by_id()[one.rule]
        assert {str(one.value), str(one.before if one.before is not None else one.value)} <= known
        assert set(re.findall(r"\d+", one.text.replace(rule.words, ""))) <= known | {str(rule.limit)}


def test_flags_alone_fire_nothing() -> None:
    assert fires(seen({0: dict.fromkeys(FLAGS, True)})) == {}


def test_every_rule_stands_in_the_documentation_with_its_state() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "analytics.md").read_text(encoding="utf-8")
    described = dict(re.findall(r"^\| `(\w+)` \| [a-z ]+ \| .* \| (watch|replace) \|$", page, re.MULTILINE))
    assert described == {rule.id: rule.severity for rule in hard_rules()}
