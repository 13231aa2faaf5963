"""`tailwatch grafana apply|diff` against the fake, and against a real Grafana where there is one: the same tests."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tailwatch.grafana.config import GrafanaSettings
from tailwatch.grafana.recorded import ANNOTATION, rule_form
from tailwatch.grafana.wanted import wanted
from tests.counterparts.choice import Counterparts
from tests.counterparts.fake_grafana import serving
from tests.tailwatch.grafana.world import DASHBOARD, FOLDER, World, login_of, organisation

WANTED = wanted(GrafanaSettings())
RULES = {rule["uid"]: rule for group in WANTED.rule_groups for rule in group.rules}
UID, OTHER_UID = list(RULES)[:2]


@pytest.fixture(params=["fake", "real"])
def world(request: pytest.FixtureRequest, tmp_path: Path, counterparts: Counterparts) -> Iterator[World]:
    if request.param == "real":
        with organisation(counterparts.address("grafana"), tmp_path, None) as real:
            yield real
        return
    with serving() as fake, organisation(login_of(fake), tmp_path, fake) as there:
        fake.asked.clear()
        yield there


@pytest.fixture
def applied(world: World, capsys: pytest.CaptureFixture[str]) -> World:
    assert world.run("apply", "--yes") == 0
    capsys.readouterr()
    if world.fake is not None:
        world.fake.asked.clear()
    return world


def test_everything_wanted_is_there_after_apply_and_means_what_was_wanted(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert world.run("apply", "--yes") == 0
    said = capsys.readouterr().out
    assert f'+ dashboard "Fleet tails" ({DASHBOARD})' in said
    assert f'written: dashboard "Fleet tails" ({DASHBOARD})' in said
    source = world.ask("GET", "/api/datasources/uid/tailwatch")
    assert (source["type"], source["url"]) == ("prometheus", "http://127.0.0.1:8080/prometheus")
    assert WANTED.datasource["jsonData"].items() <= source["jsonData"].items()
    assert world.ask("GET", f"/api/folders/{FOLDER}")["title"] == "Tailwatch"
    for model in WANTED.dashboards:
        there = world.ask("GET", f"/api/dashboards/uid/{model['uid']}")
        assert there["meta"]["folderUid"] == FOLDER
        assert [panel["title"] for panel in there["dashboard"]["panels"]] == [p["title"] for p in model["panels"]]
    rules = world.rules()
    assert {uid: rule_form(rule) for uid, rule in rules.items()} == {
        uid: rule_form(rule) for uid, rule in RULES.items()
    }
    assert not any(rule.get("provenance") for rule in rules.values())  # can be edited in Grafana's pages
    for group in WANTED.rule_groups:
        there = world.ask("GET", f"/api/v1/provisioning/folder/{FOLDER}/rule-groups/{group.name}")
        assert there["interval"] == group.interval_s


def test_a_second_apply_has_nothing_to_do_and_writes_nothing(
    applied: World, capsys: pytest.CaptureFixture[str]
) -> None:
    before = applied.rules()
    assert applied.run("apply", "--yes") == 0
    assert "nothing to do: all" in capsys.readouterr().out
    assert applied.run("diff") == 0
    assert applied.rules() == before
    if applied.fake is not None:
        assert applied.fake.writes() == []


def test_diff_and_dry_run_show_everything_and_write_nothing(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert world.run("diff") == 1
    first = capsys.readouterr().out
    assert world.run("apply", "--dry-run") == 0
    assert capsys.readouterr().out == first
    assert '+ data source "Tailwatch" (tailwatch)' in first
    assert f"({UID})" in first
    assert world.rules() == {}
    if world.fake is not None:
        assert world.fake.writes() == []


def test_without_a_yes_nothing_is_written(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert world.run("apply") == 1
    assert "nothing was written; say y, or --yes" in capsys.readouterr().err
    assert world.rules() == {}


def test_a_changed_setting_changes_what_depends_on_it_and_shows_the_lines(
    applied: World, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = {"interval_s": 30, "labels": {"team": "storage"}}
    assert applied.run("diff", **changed) == 1
    said = capsys.readouterr().out
    assert "-  timeInterval: 10s" in said
    assert "+  timeInterval: 30s" in said
    assert "+  team: storage" in said
    assert applied.run("apply", "--yes", **changed) == 0
    assert applied.ask("GET", "/api/datasources/uid/tailwatch")["jsonData"]["timeInterval"] == "30s"
    assert {rule["labels"]["team"] for rule in applied.rules().values()} == {"storage"}
    assert applied.run("diff", **changed) == 0


def test_a_rule_edited_by_hand_is_shown_and_left_alone_until_forced(
    applied: World, capsys: pytest.CaptureFixture[str]
) -> None:
    applied.edit_rule(UID, **{"for": "1h"}, labels={**RULES[UID]["labels"], "mine": "yes"})
    for settings in ({}, {"labels": {"team": "storage"}}):  # also when ours changes, too
        assert applied.run("apply", "--yes", **settings) == 1
        said = capsys.readouterr()
        title = RULES[UID]["title"]
        assert f'! alert rule "{title}" ({UID}): edited by hand since: --force overwrites it' in said.out
        assert "-  mine: 'yes'" in said.out
        assert "left as it is: alert rule" in said.err
        assert applied.rules()[UID]["for"] == "1h"
    assert applied.rules()[OTHER_UID]["labels"]["team"] == "storage"
    assert applied.run("apply", "--yes", "--force", labels={"team": "storage"}) == 0
    assert rule_form(applied.rules()[UID])["for"] == rule_form(RULES[UID])["for"]
    assert "mine" not in applied.rules()[UID]["labels"]
    assert applied.run("diff", labels={"team": "storage"}) == 0


def test_a_paused_rule_stays_paused_and_counts_as_no_edit(applied: World) -> None:
    applied.edit_rule(UID, isPaused=True)
    assert applied.run("diff") == 0
    assert applied.run("apply", "--yes", labels={"team": "storage"}) == 0
    assert applied.rules()[UID]["isPaused"] is True
    assert applied.rules()[UID]["labels"]["team"] == "storage"


def test_a_dashboard_edited_by_hand_is_shown_and_left_alone_until_forced(
    applied: World, capsys: pytest.CaptureFixture[str]
) -> None:
    panels = next(model["panels"] for model in WANTED.dashboards if model["uid"] == DASHBOARD)
    applied.edit_dashboard("less to look at", panels=panels[:-1])
    assert applied.run("apply", "--yes") == 1
    assert f'! dashboard "Fleet tails" ({DASHBOARD}): edited by hand since' in capsys.readouterr().out
    assert len(applied.ask("GET", f"/api/dashboards/uid/{DASHBOARD}")["dashboard"]["panels"]) == len(panels) - 1
    assert applied.run("apply", "--yes", "--force") == 0
    assert len(applied.ask("GET", f"/api/dashboards/uid/{DASHBOARD}")["dashboard"]["panels"]) == len(panels)
    assert applied.run("diff") == 0


def test_a_data_source_edited_by_hand_is_left_alone_until_forced_and_stays_the_default(applied: World) -> None:
    applied.edit_source(url="http://elsewhere:1/prometheus", isDefault=True)
    assert applied.run("apply", "--yes") == 1
    assert applied.ask("GET", "/api/datasources/uid/tailwatch")["url"] == "http://elsewhere:1/prometheus"
    assert applied.run("apply", "--yes", "--force") == 0
    source = applied.ask("GET", "/api/datasources/uid/tailwatch")
    assert (source["url"], source["isDefault"]) == ("http://127.0.0.1:8080/prometheus", True)
    assert applied.run("diff") == 0


def test_a_group_of_another_pace_and_a_renamed_folder_are_edits_by_hand(
    applied: World, capsys: pytest.CaptureFixture[str]
) -> None:
    group = WANTED.rule_groups[0]
    path = f"/api/v1/provisioning/folder/{FOLDER}/rule-groups/{group.name}"
    applied.ask("PUT", path, {"title": group.name, "folderUid": FOLDER, "interval": 120})
    folder = applied.ask("GET", f"/api/folders/{FOLDER}")
    applied.ask("PUT", f"/api/folders/{FOLDER}", {"title": "Tails", "version": folder["version"]})
    assert applied.run("apply", "--yes") == 1
    said = capsys.readouterr().out
    assert f'! rule group "{group.name}": edited by hand since' in said
    assert "-title: Tails" in said
    assert applied.run("apply", "--yes", "--force") == 0
    assert applied.ask("GET", path)["interval"] == group.interval_s
    assert applied.ask("GET", f"/api/folders/{FOLDER}")["title"] == "Tailwatch"


def test_rules_of_others_are_never_touched_not_even_in_our_folder_and_groups(applied: World) -> None:
    group = RULES[UID]["ruleGroup"]
    applied.add_rule(UID, uid="theirs", title="theirs", ruleGroup=group, labels={"team": "web"})
    # A copy by Duplicate looks like ours, label and note and all.
    applied.add_rule(UID, uid="copied", title="copied", ruleGroup=group)
    applied.add_rule(UID, uid="elsewhere", title="elsewhere", ruleGroup="own", labels={"team": "web"})
    before = applied.rules()
    assert applied.run("apply", "--yes", "--force", labels={"team": "storage"}) == 0
    after = applied.rules()
    for uid in ("theirs", "copied", "elsewhere"):
        assert rule_form(after[uid]) == rule_form(before[uid])
        assert after[uid].get("updated") == before[uid].get("updated")


def test_rules_that_are_wanted_no_more_go_unless_they_were_edited(
    applied: World, capsys: pytest.CaptureFixture[str]
) -> None:
    none: dict[str, Any] = {"objectives": []}
    objectives = [uid for uid in RULES if "-slo-" in uid]
    assert len(objectives) >= 2
    applied.edit_rule(objectives[0], **{"for": "1h"})
    assert applied.run("apply", "--yes", **none) == 1
    said = capsys.readouterr().out
    assert f"({objectives[0]}): edited by hand since, and wanted no more" in said
    assert f"({objectives[1]}): no longer among the rules" in said
    assert set(applied.rules()) == set(RULES) - set(objectives[1:])
    assert applied.run("apply", "--yes", "--force", **none) == 0
    assert set(applied.rules()) == set(RULES) - set(objectives)
    assert applied.run("apply", "--yes") == 0  # and they come again
    assert set(applied.rules()) == set(RULES)


def test_what_is_deleted_by_hand_comes_again(applied: World) -> None:
    applied.ask("DELETE", f"/api/v1/provisioning/alert-rules/{UID}")
    assert applied.run("apply", "--yes") == 0
    assert set(applied.rules()) == set(RULES)
    group = RULES[UID]["ruleGroup"]
    interval_s = next(each.interval_s for each in WANTED.rule_groups if each.name == group)
    path = f"/api/v1/provisioning/folder/{FOLDER}/rule-groups/{group}"
    assert applied.ask("GET", path)["interval"] == interval_s
    assert applied.run("diff") == 0


def test_a_rule_that_was_moved_away_by_hand_is_an_edit(applied: World) -> None:
    applied.ask("POST", "/api/folders", {"uid": "mine", "title": "Mine"})
    applied.edit_rule(UID, folderUID="mine", ruleGroup="mine")
    path = "/api/v1/provisioning/folder/{}/rule-groups/{}"
    applied.ask("PUT", path.format("mine", "mine"), {"title": "mine", "folderUid": "mine", "interval": 120})
    assert applied.run("apply", "--yes") == 1
    assert applied.rules()[UID]["folderUID"] == "mine"
    assert applied.run("apply", "--yes", "--force") == 0
    assert applied.rules()[UID]["folderUID"] == FOLDER
    # It does not bring along how often it was evaluated there.
    group = next(each for each in WANTED.rule_groups if each.name == RULES[UID]["ruleGroup"])
    assert applied.ask("GET", path.format(FOLDER, group.name))["interval"] == group.interval_s
    assert applied.run("diff") == 0


def test_a_key_for_the_api_is_sent_shown_to_nobody_and_renewed(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    key = world.folder / "key"
    key.write_text("tw_first_one\n")
    assert world.run("apply", "--yes", "--log-level", "debug", api_key_path="key") == 0
    assert world.ask("GET", "/api/datasources/uid/tailwatch")["secureJsonFields"] == {"httpHeaderValue1": True}
    assert world.run("diff", api_key_path="key") == 0
    key.write_text("tw_second_one\n")
    assert world.run("diff", api_key_path="key") == 1
    said = capsys.readouterr()
    assert '~ data source "Tailwatch" (tailwatch): the API key is another one' in said.out
    assert world.run("apply", "--yes", api_key_path="key") == 0
    if world.fake is not None:
        secret = world.fake.orgs[world.org_id].sources["tailwatch"]["secureJsonData"]
        assert secret == {"httpHeaderValue1": "Bearer tw_second_one"}
    everything = said.out + said.err + "".join(capsys.readouterr()) + json.dumps(world.ask("GET", "/api/datasources"))
    for hidden in ("tw_first_one", "tw_second_one", "swordfish"):
        assert hidden not in everything


def test_notes_of_ours_stay_out_of_notifications_and_dollars_are_sent_once(applied: World) -> None:
    # Grafana leaves annotations out of notifications whose names stand between double underscores.
    for uid, rule in applied.rules().items():
        assert {name for name in rule["annotations"] if name not in RULES[uid]["annotations"]} == {ANNOTATION}
        assert ANNOTATION.startswith("__")
        assert ANNOTATION.endswith("__")
        assert "$$" not in json.dumps(rule)


def test_every_org_has_its_own(applied: World, tmp_path: Path) -> None:
    with organisation(applied.address, tmp_path, applied.fake) as other:
        assert other.run("diff") == 1
        assert other.run("apply", "--yes") == 0
        assert set(other.rules()) == set(RULES)
        assert {rule["orgID"] for rule in other.rules().values()} == {other.org_id}
    assert {rule["orgID"] for rule in applied.rules().values()} == {applied.org_id}
