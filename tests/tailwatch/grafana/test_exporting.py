"""`tailwatch grafana export`: the files, the folder of this checkout, and what is said about differences."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tailwatch.cli import main
from tailwatch.grafana.config import GrafanaSettings
from tailwatch.grafana.exporting import difference, rendered_files
from tailwatch.grafana.provisioning import doubled
from tailwatch.settings_flags import loaded_from
from tests.architecture.project import ROOT
from tests.tailwatch.grafana.shapes import faults

FILES = rendered_files(GrafanaSettings())


def read(name: str, files: dict[str, str] = FILES) -> Any:
    return json.loads(files[name]) if name.endswith(".json") else yaml.safe_load(files[name])


def test_the_folder_grafana_of_this_checkout_is_what_its_settings_render() -> None:
    """After a change of rules or dashboards: `make grafana`."""
    settings = loaded_from(_arguments(config=str(ROOT / "grafana" / "export.yaml"))).settings.grafana
    found = difference(ROOT / "grafana", rendered_files(settings))
    assert not found, f"{found}; run `make grafana`"


def _arguments(**given: Any) -> Any:
    from argparse import Namespace

    return Namespace(**{"assignments": [], "data": None, "log_level": None, **given})


def test_files_of_provisioning_are_what_grafana_documents() -> None:
    assert faults("datasources", read("provisioning/datasources/tailwatch.yaml")) == []
    assert faults("providers", read("provisioning/dashboards/tailwatch.yaml")) == []
    rules = read("provisioning/alerting/rules.yaml")
    assert faults("rules_file", rules) == []
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert faults("alert_rule", rule) == [], rule["title"]


def test_every_rule_of_the_file_has_the_uid_it_has_over_http() -> None:
    from tailwatch.grafana.wanted import wanted

    sent = {rule["uid"]: rule for group in wanted(GrafanaSettings()).rule_groups for rule in group.rules}
    filed = {
        rule["uid"]: rule for group in read("provisioning/alerting/rules.yaml")["groups"] for rule in group["rules"]
    }
    assert filed.keys() == sent.keys()
    for uid, rule in filed.items():
        for key in ("data", "annotations", "for", "noDataState", "execErrState"):
            assert rule[key] == sent[uid][key], (uid, key)
        assert rule["panelId"] == int(sent[uid]["annotations"]["__panelId__"])


def test_dollars_are_doubled_where_grafana_replaces_variables_and_nowhere_else() -> None:
    files = rendered_files(GrafanaSettings(labels={"cost": "$5 ${HOME}"}))
    rules = read("provisioning/alerting/rules.yaml", files)
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["cost"] == "$$5 $${HOME}"
            assert "$$" not in json.dumps(rule["annotations"])
            assert "$$" not in json.dumps(rule["data"])
    assert read("prometheus/rules-on-tailwatch.yaml", files)["groups"][0]["rules"][0]["labels"]["cost"] == "$5 ${HOME}"
    # What Grafana's replacement leaves of it: each part between doubled dollars expanded, joined by one.
    part = doubled("a $HOME ${X} $$ b")
    assert "$".join(os.path.expandvars(each) for each in part.split("$$")) == "a $HOME ${X} $$ b"


def test_nothing_that_replaces_a_notification_tree_is_read_by_itself() -> None:
    read_by_grafana = [name for name in FILES if name.startswith("provisioning/") and name.endswith((".yaml", ".yml"))]
    assert len(read_by_grafana) == 3
    for name in read_by_grafana:
        assert not {"policies", "contactPoints", "resetPolicies"} & set(read(name)), name
    example = FILES["provisioning/alerting/policies.yaml.example"]
    assert "REPLACES" in example.split("apiVersion")[0]
    (policy,) = yaml.safe_load(example)["policies"]
    point = yaml.safe_load(FILES["provisioning/alerting/contact-points.yaml.example"])["contactPoints"][0]
    assert policy["routes"][0]["receiver"] == point["name"]
    assert policy["routes"][0]["object_matchers"] == [["managed_by", "=", "tailwatch"]]


def test_a_key_is_read_from_its_file_by_grafana_and_written_nowhere(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("tw_secret")
    files = rendered_files(GrafanaSettings(api_url="https://tw.example/base/", api_key_path=str(key)))
    (source,) = read("provisioning/datasources/tailwatch.yaml", files)["datasources"]
    assert source["url"] == "https://tw.example/base/prometheus"
    assert source["jsonData"]["httpHeaderName1"] == "Authorization"
    assert source["secureJsonData"]["httpHeaderValue1"] == f"Bearer $__file{{{key}}}"
    assert not any("tw_secret" in text for text in files.values())
    (job,) = read("prometheus/scrape-federate.yaml", files)["scrape_configs"]
    assert job["authorization"] == {"credentials_file": str(key)}
    assert (job["scheme"], job["metrics_path"]) == ("https", "/base/prometheus/federate")
    assert job["static_configs"] == [{"targets": ["tw.example"]}]
    (plain,) = read("provisioning/datasources/tailwatch.yaml")["datasources"]
    assert "httpHeaderName1" not in plain["jsonData"]


def test_the_source_and_the_folder_are_those_that_rules_and_dashboards_name() -> None:
    (source,) = read("provisioning/datasources/tailwatch.yaml")["datasources"]
    (provider,) = read("provisioning/dashboards/tailwatch.yaml")["providers"]
    assert (source["uid"], provider["folderUid"]) == ("tailwatch", "tailwatch")
    assert {group["folder"] for group in read("provisioning/alerting/rules.yaml")["groups"]} == {provider["folder"]}
    assert source["jsonData"]["timeInterval"] == "10s"


def test_an_export_writes_what_differs_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "out"
    export = ["grafana", "export", str(folder)]
    assert main([*export, "--check"]) == 1
    assert not folder.exists(), "a check writes nothing"
    assert "run `tailwatch grafana export" in capsys.readouterr().out
    assert main(export) == 0
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == sorted(FILES)
    assert f"{len(FILES)} files, {len(FILES)} changed" in capsys.readouterr().out
    assert main([*export, "--check"]) == 0

    stamp = (folder / "README.md").stat().st_mtime_ns
    board = folder / "dashboards" / "tailwatch-fleet.json"
    board.write_text("{}")
    left = folder / "dashboards" / "tailwatch-old.json"
    left.write_text("{}")
    own = folder / "dashboards" / "mine.json"
    own.write_text("{}")
    (folder / "prometheus" / "scrape-federate.yaml").unlink()
    capsys.readouterr()
    assert main([*export, "--check"]) == 1
    said = capsys.readouterr().out
    assert f"{board}: different" in said
    assert f"{left}: not rendered any more" in said
    assert "scrape-federate.yaml: missing" in said
    assert "mine.json" not in said
    assert main(export) == 0
    said = capsys.readouterr().out
    assert f"{board}: written anew" in said
    assert f"{left}: removed" in said
    assert not left.exists()
    assert own.exists()
    assert (folder / "README.md").stat().st_mtime_ns == stamp, "what is right is not touched"
    assert main([*export, "--check"]) == 0
    assert main([*export, "--check", "--set", "grafana.settle_s=40"]) == 1


def test_a_folder_that_is_a_file_is_a_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["grafana", "export", str(tmp_path / "file")]) == 1
    assert f"{tmp_path / 'file'}" in capsys.readouterr().err
