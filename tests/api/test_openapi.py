"""The OpenAPI document and the page made from it."""

import re
from pathlib import Path

import pytest

from api.config import ApiConfig
from api.docs_page import render

OPERATIONS = {
    "/api/v1/quantiles": "get_quantiles",
    "/api/v1/values": "get_values",
    "/api/v1/distribution": "get_distribution",
    "/api/v1/lines": "get_lines",
    "/api/v1/metrics": "list_metrics",
    "/api/v1/labels": "list_labels",
    "/api/v1/labels/{label}/values": "list_label_values",
    "/api/v1/series": "list_series",
    "/api/v1/agents": "list_agents",
    "/api/v1/agents/{agent}": "get_agent",
    "/api/v1/drives": "list_drives",
    "/api/v1/drives/summary": "get_drives_summary",
    "/api/v1/drives/model": "get_drives_model",
    "/api/v1/drives/mute": "list_drive_mutes",
    "/api/v1/drives/{drive}": "get_drive",
    "/api/v1/gpu/failures": "list_gpu_failures",
    "/api/v1/gpu/jobs/{job}": "get_gpu_job",
    "/api/v1/gpu/summary": "get_gpu_summary",
    "/api/v1/gpu/nodes": "list_gpu_nodes",
    "/api/v1/gpu/retry-advice": "get_gpu_retry_advice",
    "/api/v1/gpu/retry-models": "list_gpu_retry_models",
    "/api/v1/services": "list_services",
    "/api/v1/services/{service}/objective": "get_service_objective",
    "/api/v1/services/{service}/degree-table": "get_degree_table",
    "/api/v1/services/{service}/target-tables": "list_target_tables",
    "/api/v1/services/{service}/target-tables/{version}": "get_target_table",
    "/api/v1/services/{service}/tail": "get_service_tail",
    "/api/v1/services/{service}/tail/causes": "get_service_tail_causes",
    "/api/v1/services/{service}/speedup-profile": "get_service_speedups",
    "/api/v1/services/{service}/runs": "list_service_runs",
    "/api/v1/services/{service}/runs/{run}": "get_service_run",
    "/api/v1/services/{service}/alerts": "list_service_alerts",
    "/api/v1/services/{service}/alerts/history": "list_service_alert_changes",
    "/api/v1/alerts/services": "list_alerts_of_services",
    "/api/v1/cardinality": "list_cardinality",
    "/api/v1/dead-letters": "list_dead_letters",
    "/api/v1/dead-letters/reasons": "count_dead_letters",
    "/api/v1/quarantine": "list_quarantine",
    "/api/v1/quarantine/reasons": "count_quarantine",
    "/api/v1/status": "get_status",
    "/api/v1/status/retention": "list_retention",
    "/healthz": "get_health",
    "/readyz": "get_readiness",
    "/metrics": "get_own_metrics",
    "/api/v1/agents/{agent}/plan": "get_agent_plan",
    "/api/v1/agents/{agent}/peers": "get_agent_peers",
    "/api/v1/queries": "list_queries",
    "/api/v1/queries/{name}": "get_query",
    "/api/v1/queries/{name}/versions": "list_query_versions",
    "/api/v1/tables": "list_tables",
    "/api/v1/tables/{name}/{content_hash}": "get_table",
}
CHANGES = {
    ("post", "/api/v1/queries"): "post_query",
    ("delete", "/api/v1/queries/{name}"): "retire_query",
    ("put", "/api/v1/tables/{name}"): "put_table",
    ("delete", "/api/v1/agents/{agent}"): "retire_agent",
    ("post", "/api/v1/drives/mute"): "mute_drives",
    ("delete", "/api/v1/drives/mute"): "unmute_drives",
    ("post", "/api/v1/drives/{drive}/acknowledge"): "acknowledge_drive",
    ("delete", "/api/v1/drives/{drive}/acknowledge"): "unacknowledge_drive",
    ("post", "/api/v1/drives/{drive}/mute"): "mute_drive",
    ("delete", "/api/v1/drives/{drive}/mute"): "unmute_drive",
    ("post", "/api/v1/drives/{drive}/outcome"): "record_drive_outcome",
    ("post", "/api/v1/gpu/attempts"): "report_gpu_attempts",
    ("post", "/api/v1/gpu/classify"): "classify_gpu_logs",
    ("post", "/api/v1/gpu/retry-advice"): "advise_gpu_attempts",
    ("post", "/api/v1/gpu/retry-models/{generation}/activate"): "activate_gpu_retry_model",
    ("put", "/api/v1/services/{service}/objective"): "put_service_objective",
    ("post", "/api/v1/services/{service}/requests"): "record_service_requests",
    ("post", "/api/v1/services/{service}/target-tables"): "draft_target_table",
    ("post", "/api/v1/services/{service}/target-tables/{version}/activate"): "activate_target_table",
    ("post", "/api/v1/services/{service}/target-tables/{version}/roll-back"): "roll_back_target_table",
    ("post", "/api/v1/services/{service}/what-if"): "ask_service_what_if",
    ("post", "/api/v1/services/{service}/target-tables/search"): "search_service_target_table",
    ("post", "/api/v1/services/{service}/speedup-profile/learn"): "learn_service_speedups",
    ("delete", "/api/v1/services/{service}/runs/{run}"): "cancel_service_run",
}


@pytest.fixture(scope="module")
def document(client):
    return client.get("/openapi.json").json()


@pytest.fixture(scope="module")
def reference():
    return (Path(__file__).parents[2] / "docs" / "reference" / "api.md").read_text()


def test_paths_and_operation_ids_are_stable(document):
    found = {(m, path): one["operationId"] for path, methods in document["paths"].items() for m, one in methods.items()}
    assert found == {("get", path): one for path, one in OPERATIONS.items()} | CHANGES


def test_problems_have_their_own_media_type_and_no_framework_errors_are_promised(document):
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for path in OPERATIONS:
        responses = document["paths"][path]["get"]["responses"]
        assert "422" not in responses
        if path.startswith("/api/"):
            assert list(responses["default"]["content"]) == ["application/problem+json"]


def test_every_parameter_is_described_and_has_a_default_or_is_required(document):
    for path, methods in document["paths"].items():
        for parameter in (one for operation in methods.values() for one in operation.get("parameters", ())):
            named = (path, parameter["name"])
            assert parameter.get("description") or parameter["in"] == "path", named
            may_be_left_out = {"type": "null"} in parameter["schema"].get("anyOf", ())
            assert parameter["required"] or "default" in parameter["schema"] or may_be_left_out, named


def test_examples_are_there_for_answers(document):
    for name in ("QuantileGroup", "MetricEntry", "Problem"):
        assert any("examples" in field for field in document["components"]["schemas"][name]["properties"].values())


def test_the_docs_page_lists_every_route_and_loads_nothing(client, document):
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    for path, operation_id in OPERATIONS.items():
        assert path in page.text
        assert f'id="{operation_id}"' in page.text
    assert not re.search(r"<script|<link|src=|https?://", page.text)
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_the_docs_page_escapes_what_it_shows(document):
    hostile = {**document, "info": {**document["info"], "title": "<script>alert(1)</script>"}}
    assert "<script>" not in render(hostile)


def test_the_start_page_leads_to_the_docs(client):
    response = client.get("/")
    assert (response.status_code, response.headers["location"]) == (307, "/docs")


def test_the_reference_names_every_route_parameter_and_setting(document, reference):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert f"{method.upper()} {path}" in reference
            for parameter in operation.get("parameters", ()):
                assert f"`{parameter['name']}`" in reference or parameter["in"] == "path"
    for setting in ApiConfig.__struct_fields__:
        assert f"`{setting}`" in reference


def test_the_reference_names_every_problem_type(reference):
    sources = Path(__file__).parents[2] / "api"
    text = (sources / "errors.py").read_text() + (sources / "problems.py").read_text()
    slugs = set(re.findall(r'slug(?:: ClassVar\[str\])? = "([a-z-]+)"', text))
    slugs |= set(re.findall(r'ProblemDocument\(\s*"([a-z-]+)"', text))
    assert len(slugs) >= 12
    assert [slug for slug in sorted(slugs) if f"`{slug}`" not in reference] == []


def test_the_reference_names_every_own_metric(client, reference):
    families = re.findall(r"^# TYPE (\S+)", client.get("/metrics").text, re.MULTILINE)
    named = {family for family in families if not family.endswith("_created")}
    assert len(named) >= 6
    assert [family for family in sorted(named) if family not in reference] == []
