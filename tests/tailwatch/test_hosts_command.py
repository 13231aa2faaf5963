"""`tailwatch hosts` against a stand-in API."""

import json

import pytest

from tailwatch.cli import main
from tests.tailwatch.stand_in import StandIn

AGENT = {
    "agent": "web-1", "host": "web-1.example", "shared_by": [], "state": "alive", "silent_s": 0.512, "lag_s": 4.2,
    "spool_oldest_age_s": 0, "clock_ahead_s": -0.12,
}  # fmt: skip
SILENT = {
    **AGENT, "agent": "web-22", "shared_by": ["a", "b"], "state": "silent", "silent_s": 86400.4, "lag_s": None,
    "spool_oldest_age_s": None, "clock_ahead_s": None,
}  # fmt: skip


def test_agents_are_a_table(api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    api.put("/api/v1/agents", {"agents": [AGENT, SILENT], "next_cursor": None})
    assert main(["hosts", "--url", api.url]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "agent   host           state     silent    lag  oldest frame  clock ahead",
        "web-1   web-1.example  alive      0.5 s  4.2 s         0.0 s       -0.1 s",
        "web-22  a = b          silent  86,400 s      -             -            -",
    ]


def test_all_pages_are_asked_for_with_what_narrows_them(
    api: StandIn, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [{"agents": [AGENT], "next_cursor": "x"}, {"agents": [SILENT], "next_cursor": None}]
    pages = iter(given)
    asked = []
    monkeypatch.setattr("tailwatch.commands.hosts.get", lambda *question: asked.append(question) or next(pages))
    assert main(["hosts", "--state", "silent", "--prefix", "web", "--output", "json", "--url", api.url]) == 0
    assert json.loads(capsys.readouterr().out) == {"agents": [AGENT, SILENT]}
    narrowed = [("state", "silent"), ("prefix", "web")]
    assert asked == [
        (api.url, "/api/v1/agents", narrowed),
        (api.url, "/api/v1/agents", [*narrowed, ("cursor", "x")]),
    ]


@pytest.mark.parametrize(("flags", "said"), [([], "no agents yet"), (["--state", "silent"], "no agents like that")])
def test_no_agent_is_said_in_words(
    api: StandIn, capsys: pytest.CaptureFixture[str], flags: list[str], said: str
) -> None:
    api.put("/api/v1/agents", {"agents": [], "next_cursor": None})
    assert main(["hosts", *flags, "--url", api.url]) == 0
    assert capsys.readouterr().out == f"{said}\n"


def test_an_unreachable_api_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hosts", "--url", "http://127.0.0.1:1"]) == 1
    assert "no API answers at http://127.0.0.1:1" in capsys.readouterr().err
