"""Settings under grafana: what is refused, and what the check of a file says about objectives."""

from pathlib import Path

import pytest

from tailwatch.cli import main
from tailwatch.errors import ConfigError
from tailwatch.settings import load_settings


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "tailwatch.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("grafana: {url: localhost:3000}", "url 'localhost:3000' is no address; want http"),
        ("grafana: {api_url: ''}", "api_url '' is no address"),
        ("grafana: {url: 'http://admin:pw@g:3000'}", "holds a user or password"),
        ("grafana: {username: admin}", "has no password_path"),
        ("grafana: {password_path: pw}", "without username"),
        ("grafana: {interval_s: 0}", "interval_s"),
        ("grafana: {objectives: [{metric: hiccup_us}]}", "threshold: is required"),
        ("grafana: {objectives: [{metric: hiccup_us, threshold: 0}]}", "threshold"),
        ("grafana: {objectives: [{metric: hiccup_us, threshold: 5, objective: 99}]}", "objective"),
        ("grafana: {objectives: [{metric: hiccup_us, threshold: 5, selector: '{a=\"b\"}'}]}", "has braces"),
        (
            "grafana: {objectives: [{metric: a_us, threshold: 5}, {metric: a_us, threshold: 9}]}",
            "two objectives are called a_us",
        ),
        ("grafana: {url: 'http://g:99999'}", "no port between 1 and 65535"),
        ("grafana: {labels: {severity: x}}", "given by the rules"),
        ("grafana: {labels: {alertname: x}}", "alertname would hide what alerts are about"),
        ("grafana: {labels: {host: x, team: y}}", "host would hide what alerts are about"),
        (
            "grafana: {labels: {route: x}, objectives: [{metric: a_us, threshold: 5, by: [route]}]}",
            "route would hide what alerts are about",
        ),
        ("grafana: {labels: {a-b: x}}", "the key"),
        ("grafana: {flush_s: 10}", "unknown key"),
    ],
)
def test_what_would_only_fail_in_grafana_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(written(tmp_path, text), environment={})
    assert said in str(caught.value)
    assert "tailwatch.yaml:1" in str(caught.value)


def test_the_address_of_the_api_gets_its_path_once(tmp_path: Path) -> None:
    for given in ("http://api:8080", "http://api:8080/", "http://api:8080/prometheus", "http://api:8080/prometheus/"):
        loaded = load_settings(written(tmp_path, f"grafana: {{api_url: '{given}'}}"), environment={})
        assert loaded.settings.grafana.source_url == "http://api:8080/prometheus"


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        (
            "{metric: hiccup_us, threshold: 5, selector: 'host='}",
            "grafana.objectives[0].selector: 'host=' are no matchers",
        ),
        ("{metric: hiccup_us, threshold: 5, by: [rack]}", "hiccup_us has no label rack; it has host"),
        ("{metric: api_requests_total, threshold: 5}", "api_requests_total is a count; an objective needs"),
    ],
)
def test_config_check_names_objectives_that_would_never_fire(
    tmp_path: Path, objective: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, f"grafana:\n  objectives:\n    - {objective}\n")
    assert main(["config", "check", str(path)]) == 78
    error = capsys.readouterr().err
    assert said in error
    assert "tailwatch.yaml:3" in error


def test_an_objective_on_a_metric_of_nobody_is_a_note_since_queries_can_be_posted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "grafana: {objectives: [{metric: posted_us, threshold: 5}]}")
    assert main(["config", "check", str(path)]) == 0
    found = capsys.readouterr()
    assert "no query here makes posted_us" in found.err
    assert ": ok (" in found.out
    assert main(["config", "check", str(written(tmp_path, "{}"))]) == 0
    assert capsys.readouterr().err == ""
