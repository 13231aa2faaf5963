"""Dashboards: what Grafana can read, and what no operator should have to put up with."""

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest

from analytics.tail.causes import CAUSES
from api.promql.parsing import parse
from api.promql.tree import Aggregate, Binary, Call, Node
from tailwatch.config_check import checked
from tailwatch.config_tree import Place
from tailwatch.errors import ConfigError, DeclarationError
from tailwatch.grafana import dashboards
from tailwatch.grafana.dashboards import DashboardFile, panel_places, rendered_dashboards
from tailwatch.yaml_tree import parse as parse_yaml
from tests.tailwatch.grafana.chosen import with_choices
from tests.tailwatch.grafana.shapes import faults

BOARDS = {board["uid"]: board for board in rendered_dashboards()}


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (panel for panel in board["panels"] if panel["type"] != "row")


def targets() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for board in BOARDS.values():
        for panel in panels(board):
            for target in panel["targets"]:
                yield panel, target


def nodes(node: Node) -> Iterator[Node]:
    yield node
    if isinstance(node, Call):
        below = [argument for argument in node.arguments if not isinstance(argument, str)]
    elif isinstance(node, Binary):
        below = [node.left, node.right]
    else:
        below = [node.operand] if hasattr(node, "operand") else []
    for child in below:
        yield from nodes(child)


@pytest.mark.parametrize("uid", BOARDS)
def test_a_dashboard_is_what_grafana_documents(uid: str) -> None:
    assert faults("dashboard", BOARDS[uid]) == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (lambda board: board["panels"][1].pop("datasource"), "datasource"),
        (lambda board: board["panels"][1]["targets"][0]["datasource"].update(uid="other"), "tailwatch"),
        (lambda board: board["panels"][1].update(description=""), "description"),
        (lambda board: board["panels"][1]["gridPos"].update(w=25), "25"),
        (lambda board: board.update(tags=["tailwatch"]), "tailwatch"),
        (lambda board: board.update(id=7), "'id'"),
        (lambda board: board["panels"][1]["fieldConfig"]["defaults"].pop("unit"), "unit"),
    ],
)
def test_the_schema_sees_what_is_wrong(fault: Any, said: str) -> None:
    board = copy.deepcopy(BOARDS["tailwatch-fleet"])
    fault(board)
    assert said in " ".join(faults("dashboard", board))


def test_there_is_one_for_tails_one_for_agents_and_one_for_collectors() -> None:
    assert {"tailwatch-fleet", "tailwatch-agents", "tailwatch-collector"} <= set(BOARDS)
    kinds = {panel["type"] for panel in panels(BOARDS["tailwatch-fleet"])}
    assert "heatmap" in kinds


@pytest.mark.parametrize("uid", BOARDS)
def test_panels_have_identifiers_of_their_own_and_do_not_overlap(uid: str) -> None:
    board = BOARDS[uid]
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(set(numbers)) == len(numbers)
    taken: dict[tuple[int, int], str] = {}
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies on {taken.get((x, y))}"
                taken[x, y] = panel["title"]


@pytest.mark.parametrize("uid", BOARDS)
def test_a_row_begins_where_the_one_above_it_ends(uid: str) -> None:
    below = 0
    for panel in BOARDS[uid]["panels"]:
        place = panel["gridPos"]
        if panel["type"] == "row":
            assert place["y"] == below
        below = max(below, place["y"] + place["h"])


def test_no_percentile_is_averaged_or_added() -> None:
    percentiles = {"histogram_quantile", "quantile_over_time"}
    seen = 0
    for panel, target in targets():
        for node in nodes(parse(with_choices(target["expr"]))):
            if isinstance(node, Aggregate) and node.operator in ("avg", "sum", "quantile", "stddev"):
                inside = {each.function for each in nodes(node.operand) if isinstance(each, Call)}
                assert not inside & percentiles, f"{panel['title']}: {target['expr']}"
                seen += 1
    assert seen > 5


def test_sketches_are_merged_before_a_percentile_is_taken() -> None:
    for panel, target in targets():
        for node in nodes(parse(with_choices(target["expr"]))):
            if isinstance(node, Call) and node.function == "histogram_quantile":
                merged = node.arguments[1]
                assert isinstance(merged, Aggregate), panel["title"]
                assert merged.operator == "sum", panel["title"]


def test_heat_maps_ask_for_native_histograms_and_count_nothing_themselves() -> None:
    found = [(panel, target) for panel, target in targets() if panel["type"] == "heatmap"]
    assert len(found) >= 2
    for panel, target in found:
        assert target["format"] == "time_series", "the format heatmap is for buckets with le"
        assert panel["options"]["calculate"] is False
        assert "histogram_quantile" not in target["expr"]
        assert "[$__interval]" in target["expr"], "a column is an interval, or values would count twice"
        assert target["interval"] == "20s", "of 15 s, columns would have one window and two by turns"


def test_tables_do_not_show_what_is_over() -> None:
    """These metrics end when all is well; an instant query alone would see their last sample for five minutes."""
    tables = [target["expr"] for panel, target in targets() if panel["type"] == "table"]
    for metric in ("agent_silent_s", "host_coverage_ratio"):
        assert [text for text in tables if metric in text and f"last_over_time({metric}[1m])" not in text] == []
        assert any(metric in text for text in tables)


def test_every_choice_is_used_and_every_variable_exists() -> None:
    builtin = {"__interval", "__rate_interval", "__all"}
    for board in BOARDS.values():
        names = {variable["name"] for variable in board["templating"]["list"]}
        asked = [target["expr"] for panel in panels(board) for target in panel["targets"]]
        asked += [str(variable["query"]) for variable in board["templating"]["list"]]
        used = {name for text in asked for name in re.findall(r"\$(\w+)", text)}
        assert used - builtin <= names, board["uid"]
        assert names <= used, board["uid"]


def test_words_stand_beside_the_drives_that_say_where_reasons_are() -> None:
    (words,) = [panel for panel in panels(BOARDS["tailwatch-drives"]) if panel["type"] == "text"]
    assert words["targets"] == []
    for said in ("GET /api/v1/drives/SERIAL", "synthetic", "Without a model there is no probability"):
        assert said in words["options"]["content"]


def test_no_drive_is_shown_without_the_origin_of_its_data() -> None:
    """Made-up drives are for trying things out; whoever pulls a real one for them has been let down."""
    board = BOARDS["tailwatch-drives"]
    assert "$origin" in next(panel["title"] for panel in board["panels"] if panel["type"] == "row")
    tables = [target["expr"] for panel in panels(board) if panel["type"] == "table" for target in panel["targets"]]
    assert len(tables) == 3
    assert all("by (drive, node, rack, model, origin)" in text for text in tables)


def test_words_stand_beside_failures_of_gpu_jobs_that_say_where_the_evidence_is() -> None:
    (words,) = [panel for panel in panels(BOARDS["tailwatch-gpu-jobs"]) if panel["type"] == "text"]
    for said in ("GET /api/v1/gpu/jobs/JOB", "tailwatch gpu failures", "synthetic"):
        assert said in words["options"]["content"]


def test_no_figure_of_gpu_jobs_is_without_the_origin_of_its_data() -> None:
    board = BOARDS["tailwatch-gpu-jobs"]
    assert "$origin" in next(panel["title"] for panel in board["panels"] if panel["type"] == "row")
    asked = [target["expr"] for panel in panels(board) for target in panel["targets"]]
    selectors = [selector for text in asked for selector in re.findall(r"\bgpu_\w+(?:\{[^}]*\})?", text)]
    assert len(selectors) > 12
    assert [selector for selector in selectors if 'origin=~"$origin"' not in selector] == []
    tables = [target["expr"] for panel in panels(board) if panel["type"] == "table" for target in panel["targets"]]
    assert len(tables) == 3
    assert all("origin) (" in text for text in tables)


def test_words_stand_beside_slow_requests_that_say_what_causes_mean_and_where_the_evidence_is() -> None:
    (words,) = [panel for panel in panels(BOARDS["tailwatch-services"]) if panel["type"] == "text"]
    for said in ("GET /api/v1/services/SERVICE/tail/causes", "synthetic", *(f"**{cause}**" for cause in CAUSES)):
        assert said in words["options"]["content"]


def test_no_figure_of_services_is_without_the_origin_of_its_data() -> None:
    board = BOARDS["tailwatch-services"]
    assert "$origin" in next(panel["title"] for panel in board["panels"] if panel["type"] == "row")
    asked = [target["expr"] for panel in panels(board) for target in panel["targets"]]
    selectors = [selector for text in asked for selector in re.findall(r"\bservice_\w+(?:\{[^}]*\})?", text)]
    assert len(selectors) > 20
    assert [selector for selector in selectors if 'origin=~"$origin"' not in selector] == []


def test_several_chosen_hosts_need_a_regular_expression() -> None:
    for board in BOARDS.values():
        for variable in board["templating"]["list"]:
            if variable.get("multi"):
                for panel in panels(board):
                    for target in panel["targets"]:
                        used = re.findall(rf'(\S)"\${variable["name"]}"', target["expr"])
                        assert set(used) <= {"~"}, target["expr"]


def test_every_dashboard_leads_to_the_others() -> None:
    for board in BOARDS.values():
        (link,) = board["links"]
        assert link["type"] == "dashboards"
        assert set(link["tags"]) <= set(board["tags"])
        assert link["includeVars"]
        assert link["keepTime"]


def test_units_fit_what_is_asked() -> None:
    for panel, target in targets():
        unit = panel["fieldConfig"]["defaults"].get("unit") or panel["options"]["yAxis"]["unit"]
        text = target["expr"]
        if "_ratio" in text and "rate(" not in text and "sum(" not in text and "sum by" not in text:
            assert unit in ("percentunit", "short"), panel["title"]
        if re.search(r"_bytes\b", text) and "/" not in text:
            assert unit == ("Bps" if "rate(" in text else "bytes"), panel["title"]
        if re.search(r"\$metric|_us\b", text) and re.match(r"(topk\(10, )?(histogram_quantile|max)", text):
            assert unit == "µs", panel["title"]


def test_a_panel_is_found_by_its_name() -> None:
    places = panel_places()
    for board in BOARDS.values():
        for panel in panels(board):
            assert places[f"{board['uid']}/{panel['title']}"] == (board["uid"], panel["id"])


def test_two_panels_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = dashboards.declared_dashboards()
    uid, board = declared[0]
    row = board.rows[0]
    twice = type(row)(title="again", panels=(row.panels[0],))
    changed = DashboardFile(title=board.title, description=board.description, rows=(row, twice))
    monkeypatch.setattr(dashboards, "declared_dashboards", lambda: ((uid, changed),))
    with pytest.raises(DeclarationError, match=row.panels[0].title):
        panel_places()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title: A\ndescription: B\nrow: []", "did you mean rows"),
        ("title: A\ndescription: B\nrows:\n - title: R\n   panels:\n    - {title: P, unit: s, queries: [{expr: x}]}",
         "description"),
        ("title: A\ndescription: B\nrows: [{title: R, panels: [{title: P, description: D, unit: s, queries: []}]}]",
         r"rows\[0\].panels\[0\]: expected array of length >= 1"),
        ("title: A\ndescription: B\nrows: [{title: R, panels: [{title: P, description: D, kind: text}]}]",
         "panel P: a text has text"),
        ("title: A\ndescription: B\nrows: [{title: R, panels: [{title: P, description: D, queries: [{expr: x}]}]}]",
         "panel P: want queries and a unit"),
        ("title: A\ndescription: B\nvariables: [{name: host, label: H, description: D}]\nrows: []", "variable host"),
    ],
)  # fmt: skip
def test_a_wrong_declaration_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        checked(parse_yaml(text, Place("file.yaml")), DashboardFile)  # type: ignore[arg-type]
