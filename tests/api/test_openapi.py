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
    "/api/v1/metrics": "list_metrics",
    "/api/v1/labels": "list_labels",
    "/api/v1/labels/{label}/values": "list_label_values",
    "/api/v1/series": "list_series",
    "/api/v1/agents": "list_agents",
    "/api/v1/agents/{agent}": "get_agent",
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
}


@pytest.fixture(scope="module")
def document(client):
    return client.get("/openapi.json").json()


@pytest.fixture(scope="module")
def reference():
    return (Path(__file__).parents[2] / "docs" / "reference" / "api.md").read_text()


def test_paths_and_operation_ids_are_stable(document):
    found = {path: methods["get"]["operationId"] for path, methods in document["paths"].items()}
    assert found == OPERATIONS


def test_problems_have_their_own_media_type_and_no_framework_errors_are_promised(document):
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for path in OPERATIONS:
        responses = document["paths"][path]["get"]["responses"]
        assert "422" not in responses
        if path.startswith("/api/"):
            assert list(responses["default"]["content"]) == ["application/problem+json"]


def test_every_parameter_is_described_and_has_a_default_or_is_required(document):
    for path, methods in document["paths"].items():
        for parameter in methods["get"].get("parameters", ()):
            assert parameter["description"], (path, parameter["name"])
            may_be_left_out = {"type": "null"} in parameter["schema"].get("anyOf", ())
            assert parameter["required"] or "default" in parameter["schema"] or may_be_left_out


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
        assert f"GET {path}" in reference
        for parameter in methods["get"].get("parameters", ()):
            assert f"`{parameter['name']}`" in reference
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
