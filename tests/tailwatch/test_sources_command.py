"""`tailwatch agent sources`: what it says of each kind, with an agent that runs and without, disturbing none."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import msgspec
import pytest

from agents.agent import Agent
from agents.config import AgentConfig
from agents.own_metrics import Sample, page_of
from agents.sources import host_offers
from agents.sources.configs import SourceConfig
from agents.sources.host_offers import Offer
from agents.sources.kinds import KINDS
from agents.sources.streams import BUILTIN_STREAMS
from pipeline.sql import compile_query
from tailwatch import source_survey
from tailwatch.cli import main
from tailwatch.running_sources import agent_on
from tests.agents.live import until
from tests.agents.world import MACHINE, publisher_to
from tests.counterparts.choice import free_port

HOME = Path(__file__).parents[2]
SQL = (
    "SELECT service, sketch(wait_us) AS request_wait_us FROM requests "
    "GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), service"
)


def written(folder: Path, *sources: dict[str, Any], **agent: Any) -> str:
    settings = {
        "data_dir": str(folder / "data"),
        "builtin_queries": False,
        "queries": [{"name": "requests", "sql": SQL}],
        "agent": {"id": "a", "host": "h", "sources": list(sources)} | agent,
    }
    path = folder / "tailwatch.yaml"
    path.write_text(json.dumps(settings), encoding="utf-8")
    return str(path)


def listed(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    assert main(["agent", "sources", *arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def states_of(document: Any) -> dict[str, tuple[str, list[str]]]:
    return {one["kind"]: (one["state"], list(one["missing"])) for one in document["sources"]}


def requests_entry(port: int = 0) -> dict[str, Any]:
    return {"kind": "requests", "listen": f"127.0.0.1:{port}", "listen_udp": f"127.0.0.1:{port}", "max_services": 7}


def test_every_kind_of_the_configuration_and_every_built_in_stream_is_in_the_list() -> None:
    configs = {config.__struct_config__.tag: config for config in get_args(SourceConfig)}
    assert {kind.name: kind.config for kind in KINDS.values()} == configs
    fed = [stream for kind in KINDS.values() for stream in kind.streams]
    assert sorted(fed) == sorted(BUILTIN_STREAMS)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_what_an_entry_needs_is_what_it_cannot_do_without(kind: Any) -> None:
    try:
        kind.config()
    except (TypeError, ValueError):
        needs_some = True
    else:
        needs_some = False
    assert bool(kind.needs) is needs_some
    fields = {field.name for field in msgspec.structs.fields(kind.config)}
    assert {name for need in kind.needs for name in need.split(" or ")} <= fields


def test_the_json_holds_what_the_reference_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = listed(capsys, "--config", written(tmp_path, requests_entry(), {"kind": "host"}))
    assert (found["agent"], found["host"]) == ("a", "h")
    assert found["running"] == {"metrics_port": None, "answered": None, "heartbeat_s": None}
    assert {one["kind"] for one in found["sources"]} == set(KINDS)
    (ours,) = [one for one in found["sources"] if one["kind"] == "requests"]
    assert (ours["configured"], ours["name"], ours["state"]) == (True, "requests", "ready")
    assert ours["limits"] == {"max_body_bytes": 4 * 2**20, "max_services": 7}
    (stream,) = ours["streams"]
    assert stream["columns"][2:4] == [{"column": "service", "type": "string"}, {"column": "wait_us", "type": "float64"}]
    assert not (tmp_path / "data").exists(), "nothing is written"
    page = (HOME / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    section = page.partition("## tailwatch agent sources")[2].partition("\n## ")[0]
    assert [key for key in sorted(keys(found)) if f"`{key}`" not in section] == []
    states = {*get_args(host_offers.OfferState), "running", "failed", "idle", "available"}
    assert [state for state in sorted(states) if f"`{state}`" not in section] == []


def keys(value: object) -> set[str]:
    """The names of the document's own fields, not those of limits, events and sensors."""
    if isinstance(value, dict):
        inside = (child for key, child in value.items() if key not in ("limits", "events", "missing"))
        return set(value).union(*(keys(child) for child in inside))
    return set().union(*(keys(child) for child in value)) if isinstance(value, list) else set()


def test_the_text_shows_states_reasons_limits_and_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = {"kind": "logs", "pattern": "syslog", "paths": [str(tmp_path / "none.log")]}
    assert main(["agent", "sources", "--config", written(tmp_path, requests_entry(), logs), "requests", "logs"]) == 0
    said = capsys.readouterr().out
    assert "agent a on host h; it does not run" in said
    assert re.search(r"^  ready     requests  request samples of services$", said, re.MULTILINE)
    assert "max_body_bytes 4194304, max_services 7" in said
    assert re.search(r"^  absent    logs .*none\.log\)$", said, re.MULTILINE)
    assert "files: no file matches" in said
    assert "no query of the configuration reads it" in said
    assert re.search(r"^  requests  service string, wait_us float64", said, re.MULTILINE)
    assert "hiccups" not in said
    assert not [line for line in said.splitlines() if len(line) > 120 and "none.log" not in line]


def test_a_kind_that_nobody_knows_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["agent", "sources", "smrt"])
    assert ended.value.code == 2
    assert "did you mean 'smart'?" in capsys.readouterr().err


def test_an_address_that_somebody_has_is_told_and_a_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        entry = {"kind": "requests", "listen": f"127.0.0.1:{port}"}
        found = listed(capsys, "requests", "--config", written(tmp_path, entry), code=1)
        assert states_of(found) == {"requests": ("taken", [f"tcp 127.0.0.1:{port}"])}
    assert states_of(listed(capsys, "requests", "--config", written(tmp_path, entry))) == {"requests": ("ready", [])}


def test_what_would_keep_an_agent_from_starting_is_unusable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources: list[tuple[dict[str, Any], str]] = [
        ({"kind": "datagrams", "stream": "api_requests", "path": "/no/folder/x.sock"}, "no folder /no/folder"),
        ({"kind": "datagrams", "stream": "unknown", "path": str(tmp_path / "x.sock")}, "has no columns"),
        ({"kind": "replay", "stream": "api_requests", "path": "/no/file.csv"}, "/no/file.csv"),
        ({"kind": "requests", "listen": "127.0.0.1:70000"}, "70000"),
        ({"kind": "requests", "listen": "203.0.113.9:4320"}, "assign"),
    ]
    for entry, reason in sources:
        found = listed(capsys, entry["kind"], "--config", written(tmp_path, entry), code=1)
        (one,) = found["sources"]
        assert (one["state"], reason in str(one["missing"])) == ("unusable", True), (entry, one)
    twice = listed(capsys, "host", "--config", written(tmp_path, {"kind": "host"}, {"kind": "host"}), code=1)
    assert [one["state"] for one in twice["sources"]] == ["unusable", "unusable"]


def test_what_is_not_there_is_absent_and_no_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    smart = {"kind": "smart", "smartctl_path": str(tmp_path / "smartctl")}
    assert states_of(listed(capsys, "smart", "--config", written(tmp_path, smart))) == {
        "smart": ("absent", ["smartctl"])
    }
    gpu = {"kind": "gpu", "kernel_log_path": str(tmp_path / "kern.log")}
    state, missing = states_of(listed(capsys, "gpu", "--config", written(tmp_path, gpu)))["gpu"]
    assert state in ("absent", "partial")
    assert "kernel_log" in missing


def test_drives_that_may_not_be_read_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    smartctl = tmp_path / "smartctl"
    smartctl.write_text('#!/bin/sh\necho \'{"smartctl": {}, "devices": [{"name": "/dev/null", "type": "nvme"}, '
                        '{"name": "/dev/none", "type": "nvme"}]}\'\n')  # fmt: skip
    smartctl.chmod(0o755)
    config = written(tmp_path, {"kind": "smart", "smartctl_path": str(smartctl)})
    (one,) = listed(capsys, "smart", "--config", config)["sources"]
    assert (one["state"], one["found"].split("; ")[0]) == ("partial", "2 drives")
    assert one["missing"] == {"/dev/none": "there is no such device"}


def test_a_look_that_hangs_or_fails_costs_only_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    over = threading.Event()

    class Looking(threading.Thread):
        """One that does not hang is waited for, however busy the machine is."""

        def join(self, timeout: float | None = None) -> None:
            assert until(lambda: self in hanging or not self.is_alive())
            super().join(timeout)

    hanging: list[threading.Thread] = []

    def look(entry: Any, make: Any) -> Offer:
        del make
        if entry.__struct_config__.tag == "host":
            hanging.append(threading.current_thread())
            over.wait(90)
        if entry.__struct_config__.tag == "gpu":
            raise RuntimeError("a driver's fault")
        return Offer("ready")

    monkeypatch.setattr(source_survey, "offer_to", look)
    monkeypatch.setattr(source_survey, "threading", SimpleNamespace(Thread=Looking))
    config = AgentConfig(spool_path=str(tmp_path / "spool.db"))
    try:
        found = source_survey.survey(config, [], ["host", "gpu", "smart"], within_s=0.5)
    finally:
        over.set()
    told = {one.kind.name: (one.state, *one.missing.values()) for one in found.sources}
    assert told["host"] == ("unknown", "no answer within 0.5 s")
    assert told["gpu"] == ("unknown", "it failed: RuntimeError: a driver's fault")
    assert told["smart"] == ("ready",)


@pytest.fixture
def page() -> Iterator[tuple[int, list[str]]]:
    """A port where the pages in the list are handed out, as a running agent's metrics."""
    pages: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages[-1].encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_address[1], pages
        server.shutdown()
        thread.join()


def samples(agent: str = "a") -> list[Sample]:
    source = ("source", "requests")
    return [
        Sample("tailwatch_agents_info", 1, (("agent", agent), ("incarnation", "0"))),
        Sample("tailwatch_agents_source_up", 1, (source,)),
        Sample("tailwatch_agents_series", 7, (source,)),
        Sample("tailwatch_agents_series_max", 7, (source,)),
        Sample("tailwatch_agents_series_refused_total", 12, (source,)),
        Sample("tailwatch_agents_series_offender_rows", 9, (source, ("name", 'a"\\b\nc, {}'))),
        Sample("tailwatch_agents_source_events_total", 3, (source, ("event", "no_unit"))),
        Sample("tailwatch_agents_sensor_missing", 1, (source, ("sensor", "series"))),
    ]


def test_a_running_agent_is_asked_what_its_sources_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], page: tuple[int, list[str]]
) -> None:
    port, pages = page
    pages.append(page_of(samples()))
    with socket.create_server(("127.0.0.1", 0)) as server:  # the agent has it
        entry = {"kind": "requests", "listen": f"127.0.0.1:{server.getsockname()[1]}"}
        config = written(tmp_path, entry, {"kind": "smart"}, metrics_port=port)
        found = listed(capsys, "requests", "smart", "--config", config)
        main(["agent", "sources", "requests", "--config", config])
    assert found["running"]["answered"] == "a"
    assert states_of(found) == {"requests": ("running", ["series"]), "smart": ("idle", states_of(found)["smart"][1])}
    ours = next(one for one in found["sources"] if one["kind"] == "requests")
    assert ours["events"] == {"no_unit": 3}
    offenders = [{"name": 'a"\\b\nc, {}', "rows": 9}]
    assert ours["series"] == {"known": 7, "max": 7, "refused_rows": 12, "offenders": offenders}
    said = capsys.readouterr().out
    assert f"it runs and answers on port {port}" in said
    assert "7 of 7 series known, 12 rows beyond them left out" in said


def test_a_source_that_stopped_is_a_fault_and_another_agent_is_not_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], page: tuple[int, list[str]]
) -> None:
    port, pages = page
    config = written(tmp_path, requests_entry(), metrics_port=port)
    pages.append(page_of([*samples()[:1], Sample("tailwatch_agents_source_up", 0, (("source", "requests"),))]))
    assert states_of(listed(capsys, "requests", "--config", config, code=1)) == {"requests": ("failed", [])}
    pages.append(page_of(samples("b")))
    found = listed(capsys, "requests", "--config", config)
    assert (found["running"]["answered"], states_of(found)) == ("b", {"requests": ("ready", [])})
    pages.append("something else\n\xff{} 1\n")
    assert listed(capsys, "requests", "--config", config)["running"]["answered"] is None


def test_a_page_with_odd_numbers_and_labels_is_read_as_far_as_it_goes() -> None:
    text = page_of(samples()) + 'tailwatch_agents_series{source="x"} NaN\ntailwatch_agents_source_up{source="x} 1\n'
    found = agent_on(text)
    assert found is not None
    assert set(found.sources) == {"requests"}


def test_an_agent_without_metrics_is_known_by_its_heartbeat_and_not_disturbed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    config = written(tmp_path, requests_entry(port))
    spool = tmp_path / "data" / "spool.db"
    spool.parent.mkdir()
    plan = compile_query("requests", SQL, dict(BUILTIN_STREAMS), {})
    sources = (msgspec.convert(requests_entry(port), KINDS["requests"].config),)
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = Agent(
            AgentConfig(id="a", spool_path=str(spool), sources=sources), [plan], {}, publisher, machine=MACHINE
        )  # type: ignore[arg-type]
        agent.checkpoint()
        found = listed(capsys, "requests", "--config", config)
        main(["agent", "sources", "requests", "--config", config])
        agent.turn()
        assert agent.sources[0].failure is None
        agent.close()
    assert 0 <= found["running"]["heartbeat_s"] < 10
    said = capsys.readouterr().out
    assert re.search(r"it was alive \d+ s ago; set agent\.metrics_port to see", said)
    assert "its address is in use, by the agent that runs it seems" in said
    assert states_of(found) == {"requests": ("running", [])}
