"""What `tailwatch grafana` says and leaves undone when Grafana is away, refuses, fails or holds what is not ours."""

import json
import re
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import niquests
import pytest
import trustme

from tailwatch.grafana import server as grafana_server
from tailwatch.grafana.config import GrafanaSettings
from tailwatch.grafana.recorded import hash_of, holds, rule_form
from tailwatch.grafana.wanted import Wanted, wanted
from tests.counterparts.choice import free_port
from tests.counterparts.fake_grafana import FakeGrafana, Fault, serving
from tests.counterparts.fake_grafana_objects import Organisation
from tests.tailwatch.grafana.world import DASHBOARD, World, login_of
from tests.tailwatch.stand_in import serving as serving_stand_in


def few(settings: GrafanaSettings) -> Wanted:
    """One dashboard and three groups of rules: enough for everything that can go wrong."""
    full = wanted(settings)
    dashboards = tuple(each for each in full.dashboards if each["uid"] == DASHBOARD)
    groups = tuple(group for group in full.rule_groups if group.name in ("objectives-fast", "objectives-slow", "fleet"))
    return replace(full, dashboards=dashboards, rule_groups=groups)


WANTED = few(GrafanaSettings())
RULES = {rule["uid"]: rule for group in WANTED.rule_groups for rule in group.rules}
UID, OTHER_UID = list(RULES)[:2]
SOURCE = "/api/datasources/uid/tailwatch"


@pytest.fixture(autouse=True)
def _few_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailwatch.grafana.wanted.wanted", few)


@pytest.fixture
def fake() -> Iterator[FakeGrafana]:
    with serving() as there:
        yield there


@pytest.fixture
def world(fake: FakeGrafana, tmp_path: Path) -> World:
    return World(login_of(fake), tmp_path, fake, 1)


@pytest.fixture
def applied(world: World, fake: FakeGrafana, capsys: pytest.CaptureFixture[str]) -> World:
    assert world.run("apply", "--yes") == 0
    capsys.readouterr()
    fake.asked.clear()
    return world


def refusal(world: World, capsys: pytest.CaptureFixture[str], *flags: str, **settings: Any) -> str:
    """What an apply that fails says to stderr, in one line."""
    assert world.run("apply", "--yes", *flags, **settings) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "swordfish" not in line
    return line


def test_nobody_there_is_said_with_the_address(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    said = refusal(world, capsys, url=url)
    assert re.search(rf"no Grafana answers at {url} \(.*Connection refused\); start it, or set grafana.url", said)
    assert "object at 0x" not in said


def test_plain_http_behind_an_address_with_https_is_no_matter_of_certificates(
    world: World, fake: FakeGrafana, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refusal(world, capsys, url=fake.url.replace("http://", "https://"))
    assert "does not speak TLS" in said
    assert "write http:// in grafana.url" in said
    assert "certificate" not in said


def test_a_program_that_is_no_grafana_is_not_written_to(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    with serving_stand_in() as other:
        other.put("/api/health", {"status": "ok"})
        assert f"{other.url} answers, but not as a Grafana does" in refusal(world, capsys, url=other.url)
        other.media_type = "text/html"
        other.put("/api/health", b"<html>login</html>")
        assert "answers, but not as a Grafana does" in refusal(world, capsys, url=other.url)
        other.media_type = "application/json"
        other.put("/api/health", b"no json")
        assert "answers, but not with JSON" in refusal(world, capsys, url=other.url)
        other.put("/api/health", {"message": "no such thing"}, 404)
        assert "finds nothing to read: its health (no such thing)" in refusal(world, capsys, url=other.url)


def test_a_redirect_is_not_followed_but_named(
    world: World, fake: FakeGrafana, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.faults.append(Fault("GET", "/api/health", 301, b"", location="https://grafana.example/api/health?x=1"))
    line = refusal(world, capsys)
    assert "sends us elsewhere, to https://grafana.example/api/health; set grafana.url" in line


def test_a_grafana_below_a_path_is_reached_and_missed_without_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving("/grafana") as fake:
        world = World(login_of(fake), tmp_path, fake, 1)
        assert world.run("apply", "--yes") == 0
        assert world.run("diff", url=world.url + "/") == 0
        capsys.readouterr()
        assert "sends us elsewhere" in refusal(world, capsys, url=world.url.removesuffix("/grafana"))


def test_a_certificate_that_nobody_vouches_for_is_refused_until_its_authority_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with serving(tls=context) as fake:
        world = World(login_of(fake), tmp_path, fake, 1)
        assert f"the certificate of {fake.url} is not trusted" in refusal(world, capsys)
        assert fake.asked == []
        authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        assert world.run("apply", "--yes") == 0


@pytest.mark.parametrize("version", ["9.5.21", "8.0.0-beta1"])
def test_a_version_too_old_is_refused(
    world: World, fake: FakeGrafana, capsys: pytest.CaptureFixture[str], version: str
) -> None:
    fake.version = version
    assert f"is {version}; 10.0 or newer is wanted: upgrade it" in refusal(world, capsys)
    assert fake.writes() == []


@pytest.mark.parametrize("version", ["10.0.0", "11.6.1+security-01", "12.0.0-86114security-01"])
@pytest.mark.parametrize("hidden", [False, True])
def test_newer_versions_are_fine_also_where_strangers_do_not_see_them(
    world: World, fake: FakeGrafana, capsys: pytest.CaptureFixture[str], version: str, hidden: bool
) -> None:
    fake.version, fake.hides_version, fake.wraps_versions = version, hidden, version.startswith("12")
    assert world.run("apply", "--yes") == 0
    assert world.run("diff") == 0
    assert f"Grafana {version} at {world.url}, organisation Main Org." in capsys.readouterr().out


def test_trouble_with_its_own_database_is_told_apart(
    world: World, fake: FakeGrafana, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.database = "failing"
    assert "has trouble with its own database" in refusal(world, capsys)


def test_credentials_come_from_a_file_or_the_environment_and_stand_in_no_message(
    world: World, fake: FakeGrafana, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = {"username": "", "password_path": "", "org_id": 0}
    assert "no credentials for Grafana" in refusal(world, capsys, **nobody)
    token = world.folder / "token"
    token.write_text("glsa_wrong\n")
    line = refusal(world, capsys, **nobody, token_path="token")
    assert f"does not know the token in {token} (Invalid API key)" in line
    assert "glsa_wrong" not in line
    token.write_text("glsa_admin\n")
    assert world.run("diff", **nobody, token_path="token") == 1
    monkeypatch.setenv("TAILWATCH_GRAFANA_TOKEN", "glsa_wrong")
    capsys.readouterr()
    assert "does not know the token in TAILWATCH_GRAFANA_TOKEN" in refusal(world, capsys, **nobody)
    monkeypatch.setenv("TAILWATCH_GRAFANA_TOKEN", "glsa_admin and more")
    assert "TAILWATCH_GRAFANA_TOKEN holds more than a token" in refusal(world, capsys, **nobody)
    monkeypatch.setenv("TAILWATCH_GRAFANA_TOKEN", "glsa_admin")
    assert world.run("apply", "--yes", **nobody) == 0
    capsys.readouterr()
    token.write_text("two\nlines\n")
    assert "holds several lines; want one secret on one line" in refusal(world, capsys, **nobody, token_path="token")
    assert "cannot be read (No such file" in refusal(world, capsys, **nobody, token_path="nowhere")
    assert "grafana.api_key_path" in refusal(world, capsys, api_key_path="nowhere")


def test_a_token_of_another_organisation_is_refused(
    world: World, fake: FakeGrafana, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAILWATCH_GRAFANA_TOKEN", "glsa_admin")
    line = refusal(world, capsys, username="", password_path="", org_id=7)
    assert "belongs to organisation 1 (Main Org.), but grafana.org_id is 7" in line


@pytest.mark.parametrize("role", ["Viewer", "Editor"])
def test_a_token_that_may_not_write_is_told_which_role_it_needs(
    world: World, fake: FakeGrafana, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    fake.tokens["glsa_less"] = (1, role)
    monkeypatch.setenv("TAILWATCH_GRAFANA_TOKEN", "glsa_less")
    line = refusal(world, capsys, username="", password_path="", org_id=0)
    assert "may not read data source tailwatch" in line
    assert "data sources want the role Admin, dashboards and alert rules Editor" in line
    assert fake.writes() == []


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("POST", "/api/datasources", 409, "did not create data source Tailwatch (because): somebody else changed it"),
        ("POST", "/api/folders", 403, "may not create folder Tailwatch (because)"),
        ("POST", "/api/folders", 412, "did not create folder Tailwatch (because)"),
        ("POST", "/api/dashboards/db", 404, "finds nothing to save: dashboard"),
        (
            "POST",
            "/api/dashboards/db",
            412,
            "run `tailwatch grafana diff`, rename what is in the way, and run this again",
        ),
        ("POST", "/api/dashboards/db", 422, "refused to save dashboard Fleet tails with status 422 (because)"),
        (
            "PUT",
            "/api/v1/provisioning/.*",
            400,
            "refused to write rule group objectives-fast with status 400 (because)",
        ),
        ("PUT", "/api/v1/provisioning/.*", 500, "failed to write rule group objectives-fast with status 500 (because)"),
        ("GET", "/api/v1/provisioning/alert-rules", 401, "does not know the user admin (because)"),
        ("GET", "/api/v1/provisioning/alert-rules", 503, "look at its log, then run this again: it goes on"),
    ],
)
def test_every_refusal_says_of_what_why_and_what_to_do_and_the_next_run_goes_on(
    world: World,
    fake: FakeGrafana,
    capsys: pytest.CaptureFixture[str],
    method: str,
    path: str,
    status: int,
    said: str,
) -> None:
    fake.faults.append(Fault(method, path, status, b'{"message": "because"}', times=1))
    assert said in refusal(world, capsys)
    assert world.run("apply", "--yes") == 0
    assert set(world.rules()) == set(RULES)
    assert world.run("diff") == 0


def test_answers_that_are_no_json_or_none_at_all_are_refusals_too(
    world: World, fake: FakeGrafana, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.faults.append(Fault("GET", "/api/v1/provisioning/alert-rules", 502, b"<html>\n Bad   Gateway</html>", times=1))
    assert "with status 502 (<html> Bad Gateway</html>)" in refusal(world, capsys)
    fake.faults.append(Fault("GET", "/api/v1/provisioning/alert-rules", 200, b'{"rules": []}', times=1))
    assert "something that is no list of objects" in refusal(world, capsys)
    fake.faults.append(Fault("GET", "/api/folders/tailwatch", 200, b"[]", times=1))
    assert "something that is no JSON object" in refusal(world, capsys)
    assert fake.writes() == []


def test_a_server_that_does_not_answer_is_not_waited_for(
    world: World, fake: FakeGrafana, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    send = niquests.Session.send

    def hurried(session: Any, request: Any, **more: Any) -> Any:
        """Only that question: a busy machine may take longer over another one."""
        return send(session, request, **more | {"timeout": 0.2 if request.path_url.endswith("/tailwatch") else 20.0})

    monkeypatch.setattr(niquests.Session, "send", hurried)
    monkeypatch.setattr(grafana_server, "_TIMEOUT_S", 0.2)
    fake.faults.append(Fault("GET", "/api/folders/tailwatch", delay_s=30.0))
    assert "did not answer within 0 s (read folder tailwatch)" in refusal(world, capsys)


def foreign_source(fake: FakeGrafana, **changes: Any) -> None:
    made = {
        "uid": "tailwatch",
        "name": "Tailwatch",
        "type": "prometheus",
        "access": "proxy",
        "url": "http://x/prometheus",
    }
    fake.org.create_source({**made, "jsonData": {}, **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"uid": "other"}, "a data source of this name has the uid other; rename it, or delete it"),
        ({"type": "loki"}, "a data source of type loki has this uid"),
    ],
)
def test_a_data_source_in_our_way_stops_everything(
    world: World, fake: FakeGrafana, capsys: pytest.CaptureFixture[str], changes: dict[str, str], said: str
) -> None:
    foreign_source(fake, **changes)
    line = refusal(world, capsys, "--force")
    assert 'nothing was written, for something is in the way of data source "Tailwatch" (tailwatch)' in line
    assert said in line
    assert fake.writes() == []


def test_a_data_source_made_by_hand_is_used_and_left_as_it_is(
    world: World, fake: FakeGrafana, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign_source(fake)
    assert world.run("apply", "--yes", "--force") == 1
    said = capsys.readouterr()
    assert '! data source "Tailwatch" (tailwatch): made by hand; delete it to have it made' in said.out
    assert "left as it is: data source" in said.err
    assert fake.org.sources["tailwatch"]["url"] == "http://x/prometheus"
    assert set(fake.org.rules) == set(RULES)


def test_what_a_file_provisioned_is_left_to_the_file_unless_it_is_the_same(
    applied: World, fake: FakeGrafana, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.org.sources["tailwatch"]["readOnly"] = True
    fake.org.dashboards[DASHBOARD]["provisioned"] = True
    for rule in fake.org.rules.values():
        rule["provenance"] = "file"
    assert applied.run("apply", "--yes") == 0
    assert "nothing to do" in capsys.readouterr().out
    fake.org.dashboards[DASHBOARD]["model"] = {**fake.org.dashboards[DASHBOARD]["model"], "panels": []}
    assert applied.run("apply", "--yes", "--force", interval_s=20, labels={"team": "web"}) == 1
    said = capsys.readouterr().out
    locked = re.findall(
        r'^! (.*?) ".*: comes from a file of Grafana.s provisioning; change it there', said, re.MULTILINE
    )
    assert sorted(locked) == ["alert rule"] * len(RULES) + ["dashboard", "data source"]
    assert fake.writes() == []


def test_rules_that_others_made_read_only_over_the_api_are_still_kept_up_to_date(
    applied: World, fake: FakeGrafana
) -> None:
    for rule in fake.org.rules.values():
        rule["provenance"] = "api"
    assert applied.run("apply", "--yes", labels={"team": "web"}) == 0
    assert {rule["labels"]["team"] for rule in fake.org.rules.values()} == {"web"}
    assert applied.run("apply", "--yes", objectives=[], labels={"team": "web"}) == 0
    assert not any("-slo-" in uid for uid in fake.org.rules)


def test_a_folder_of_our_name_is_a_clash(world: World, fake: FakeGrafana, capsys: pytest.CaptureFixture[str]) -> None:
    fake.org.create_folder({"uid": "abc", "title": "Tailwatch"})
    assert "a folder of this name has the uid abc; rename that one" in refusal(world, capsys)
    assert fake.writes() == []


def test_rules_of_others_with_our_uid_or_title_are_clashes_and_all_of_them_are_shown(
    applied: World, fake: FakeGrafana, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.org.rules[UID]["labels"] = {"team": "web"}
    del fake.org.rules[OTHER_UID]
    applied.ask("POST", "/api/v1/provisioning/alert-rules", {**RULES[OTHER_UID], "uid": "theirs", "labels": {}})
    fake.asked.clear()
    assert applied.run("apply", "--yes", "--force") == 1
    said = capsys.readouterr()
    assert f"a rule without the label managed_by=tailwatch has the uid {UID}: not ours" in said.out
    assert "another rule in the folder has this title, uid theirs; rename it, or move it elsewhere" in said.out
    assert "(and 1 more, see above)" in said.err
    assert fake.writes() == []


def test_a_dashboard_of_others_with_our_uid_is_a_clash(
    world: World, fake: FakeGrafana, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.org.save_dashboard({"dashboard": {"uid": DASHBOARD, "title": "Mine", "tags": []}})
    assert "'Mine' has this uid and lacks the tag managed_by=tailwatch: not ours" in refusal(world, capsys, "--force")


def test_an_imported_dashboard_that_is_the_same_needs_nothing_and_else_counts_as_edited(
    world: World, fake: FakeGrafana, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.org.create_folder({"uid": "tailwatch", "title": "Tailwatch"})
    model = {**WANTED.dashboards[0], "id": None}
    fake.org.save_dashboard({"dashboard": model, "folderUid": "tailwatch", "message": "imported"})
    assert world.run("apply", "--yes") == 0
    applied_version = fake.org.dashboards[DASHBOARD]["model"]["version"]
    assert applied_version == 1
    world.edit_dashboard(title="Tails of the fleet")
    assert world.run("apply", "--yes") == 1


def test_where_versions_cannot_be_read_the_content_decides(applied: World, fake: FakeGrafana) -> None:
    fake.faults.append(Fault("GET", f"/api/dashboards/uid/{DASHBOARD}/versions", 403, b"{}"))
    assert applied.run("apply", "--yes") == 0
    applied.edit_dashboard(title="Tails of the fleet")
    assert applied.run("apply", "--yes") == 1


def test_a_dashboard_saved_by_somebody_else_while_we_write_is_not_overwritten(
    applied: World, fake: FakeGrafana, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    applied.edit_dashboard(title="Tails of the fleet")
    seen = fake.org.dashboard

    def saved_just_after(uid: str) -> Any:
        answer = seen(uid)
        stale = json.loads(json.dumps(answer))
        fake.org.dashboards[uid]["model"]["version"] += 1
        return stale

    monkeypatch.setattr(fake.org, "dashboard", saved_just_after)
    assert "changed by someone else): somebody else changed it just now" in refusal(applied, capsys, "--force")
    assert fake.org.dashboards[DASHBOARD]["model"]["title"] == "Tails of the fleet"


def test_what_grafana_makes_of_rules_is_no_edit_by_hand(
    world: World, fake: FakeGrafana, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fake.org.store_rule

    def with_a_new_default(rule: Any, *place: Any) -> Any:
        stored = store(rule, *place)
        stored["data"][0]["model"]["legendFormat"] = "__auto"
        return stored

    monkeypatch.setattr(fake.org, "store_rule", with_a_new_default)
    assert world.run("apply", "--yes") == 0
    fake.asked.clear()
    assert world.run("apply", "--yes") == 0
    assert fake.writes() == []
    world.edit_rule(UID, title="renamed")
    assert world.run("apply", "--yes") == 1


def test_an_apply_that_is_broken_off_at_any_write_is_finished_by_the_next(
    world: World, fake: FakeGrafana, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {"interval_s": 20, "labels": {"team": "web"}, "objectives": [{"metric": "rtt_us", "threshold": 5.0}]}
    n_writes = 0
    while True:
        fake.orgs[1] = Organisation(1, "Main Org.")
        fake.faults[:] = [Fault("POST|PUT|DELETE", ".*", 503, after=n_writes, times=1)]
        n_refused = sum(world.run("apply", "--yes", **settings) for settings in ({}, other, other))
        assert n_refused <= 1
        assert world.run("diff", **other) == 0
        assert len(fake.org.rules) == len(RULES) - 2
        if not n_refused:
            break
        n_writes += 1 if n_writes < 4 else 5  # most of them change a rule, each like the one before
    assert n_writes > 10


def test_only_routes_of_what_is_ours_are_ever_asked_for(applied: World, fake: FakeGrafana) -> None:
    applied.run("apply", "--yes", "--force", interval_s=20, labels={"team": "web"}, objectives=[])
    known = (
        r"/api/(health|org|datasources|folders|dashboards/(db|uid/)|v1/provisioning/(alert-rules|folder/tailwatch/))"
    )
    assert fake.writes() != []
    assert [path for _, path, _ in fake.asked if not re.match(known, path)] == []
    # Notification policies, contact points and mute timings are below v1/provisioning, too.
    assert not any(word in path for _, path, _ in fake.asked for word in ("polic", "contact", "mute", "template"))


def test_the_same_duration_and_number_in_another_spelling_is_the_same() -> None:
    rule = RULES[UID]
    same = json.loads(json.dumps(rule)) | {"for": "0s", "id": 7, "updated": "now", "provenance": "api", "record": None}
    assert rule_form(rule | {"for": "90s"}) == rule_form(same | {"for": "1m30s"})
    assert rule_form(rule | {"for": "5m"}) != rule_form(same | {"for": "6m"})
    assert rule_form(rule | {"for": "soon"})["for"] == "soon"
    assert hash_of({"a": [30.0]}) == hash_of({"a": [30]})
    assert hash_of({"a": [30.5]}) != hash_of({"a": [30]})


def test_content_holds_what_is_wanted_also_with_more_keys_but_not_with_more_items() -> None:
    assert holds({"a": 1, "b": [{"c": 2, "d": 3}]}, {"b": [{"c": 2}]})
    assert not holds({"a": 1}, {"b": 1})
    assert not holds({"a": [1, 2]}, {"a": [1]})
    assert not holds({"a": {"b": 2}}, {"a": {"b": 3}})
