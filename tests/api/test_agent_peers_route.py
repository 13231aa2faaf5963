"""GET /api/v1/agents/{agent}/peers: from what agents announce in their statuses to lists that agents can use."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agents.sources.probes_peers import chosen_of
from api.fleet_models import AgentsPage, PeersAnswer
from api.peer_directory import SILENT_S, PeerDirectory
from api.scopes import scopes_wanted
from store.agent_status import AgentStatus, write_statuses
from store.connect import open_engine, upgrade
from store.fleet import AgentReport, retire_agent, write_reports
from tests.api.world import Client, asking
from tests.fleet import SECOND_NS, START_NS
from wire.status import Labels, Status, status_text

NOW_NS = START_NS + 60 * SECOND_NS
#: name, machine, address, labels
Told = tuple[str, str, str, Labels]
FLEET: Sequence[Told] = (
    ("a1", "m1", "10.0.0.1:7946", Labels("r1", "t1", "d")),
    ("a2", "m2", "10.0.0.2:7946", Labels("r1", "t1", "d")),
    ("b/1", "m3", "[fd00::1]:7946", Labels("r2", "t1", "d")),
    ("c1", "m1", "127.0.0.1:7946", Labels("r3", "t2", "d")),
    ("quiet", "m4", "", Labels("r2", "t2", "d")),
)


def status_of(agent: str, address: str, labels: Labels) -> str:
    told: dict[str, Any] = {"probes": address} if address else {}
    return status_text(
        Status(
            agent, START_NS, "adaptive", "adapt", 1, 1.0, 0.5, "cores", 0.1, "closed", 1.0, [], labels=labels, **told
        )
    )


@contextmanager
def api_about(folder: Path, fleet: Sequence[Told] = FLEET, now_ns: int = NOW_NS) -> Iterator[tuple[Client, Any]]:
    url = f"sqlite:///{folder}/fleet.db"
    upgrade(url)
    engine = open_engine(url)
    with engine.begin() as connection:
        reports = [
            AgentReport(name, name, machine, f"{i:032x}", START_NS, START_NS, {}, [], [])
            for i, (name, machine, *_) in enumerate(fleet)
        ]
        write_reports(connection, reports, {(one.agent, one.incarnation): START_NS for one in reports}, START_NS)
        statuses = [
            AgentStatus(name, f"{i:032x}", START_NS, 1, START_NS, status_of(name, address, labels))
            for i, (name, _, address, labels) in enumerate(fleet)
        ]
        write_statuses(connection, statuses, START_NS)
    with asking(url, now_ns=lambda: now_ns) as client:
        yield client, engine
    engine.dispose()


def names(client: Client, agent: str, **parameters: str) -> list[str]:
    answer = client.get(f"/api/v1/agents/{agent}/peers", **parameters)
    assert answer.status_code == 200, answer.text
    return [peer.agent for peer in PeersAnswer.model_validate(answer.json()).peers]


def test_an_agent_is_told_whom_to_probe_in_a_form_that_it_reads(tmp_path: Path) -> None:
    with api_about(tmp_path) as (client, _):
        answer = client.get("/api/v1/agents/a1/peers", choose="same_rack,each_rack")
        assert answer.json() == {
            "agent": "a1",
            "peers": [
                {"agent": "a2", "address": "10.0.0.2:7946", "rack": "r1", "tor": "t1", "dc": "d"},
                {"agent": "b/1", "address": "[fd00::1]:7946", "rack": "r2", "tor": "t1", "dc": "d"},
                {"agent": "c1", "address": "127.0.0.1:7946", "rack": "r3", "tor": "t2", "dc": "d"},
            ],
        }
        chosen = chosen_of(answer.content, "tcp", [7946])
        assert [(peer.name, peer.host, peer.rack) for peer in chosen.peers][1] == ("b/1", "fd00::1", "r2")
        again = client.request("GET", str(answer.request.url), headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert names(client, "b%2F1", choose="same_tor") == ["a1", "a2"]
        assert names(client, "nobody", choose="all", most="1") == ["a1"]


def test_an_address_of_the_machine_itself_is_told_on_that_machine_only(tmp_path: Path) -> None:
    with api_about(tmp_path) as (client, _):
        assert "c1" in names(client, "a1", choose="all")
        assert "c1" not in names(client, "a2", choose="all")
        assert "c1" not in names(client, "nobody", choose="all")


def test_retired_agents_and_those_long_silent_are_nobodys_peers(tmp_path: Path) -> None:
    with api_about(tmp_path) as (client, engine):
        with engine.begin() as connection:
            retire_agent(connection, "a2", NOW_NS)
        assert names(client, "a1", choose="same_rack") == []
    (tmp_path / "later").mkdir()
    with api_about(tmp_path / "later", now_ns=START_NS + (SILENT_S + 1) * SECOND_NS) as (client, _):
        assert names(client, "a1", choose="all") == []


def test_a_status_of_another_release_costs_nobody_else_their_peers(tmp_path: Path) -> None:
    with api_about(tmp_path) as (client, engine):
        with engine.begin() as connection:
            odd = AgentStatus("a2", f"{1:032x}", START_NS, 2, START_NS, '{"probes": 7}')
            older = AgentStatus("b/1", f"{2:032x}", START_NS, 2, START_NS, '{"agent": "b/1"}')
            write_statuses(connection, [odd, older], START_NS)
        assert names(client, "a1", choose="all") == ["c1"]


def test_the_fleet_is_read_once_for_all_who_ask_within_half_a_minute(tmp_path: Path) -> None:
    now_s = [0.0]
    directory = PeerDirectory(clock=lambda: now_s[0])
    with api_about(tmp_path) as (_, engine), engine.begin() as connection:
        assert len(directory.fleet(connection, NOW_NS)[1]) == 5
        retire_agent(connection, "a2", NOW_NS)
        now_s[0] = 29.9
        assert len(directory.fleet(connection, NOW_NS)[1]) == 5
        now_s[0] = 30.0
        assert len(directory.fleet(connection, NOW_NS)[1]) == 4


def test_parameters_that_cannot_be_are_refused(tmp_path: Path) -> None:
    refused: list[tuple[dict[str, str], str]] = [
        ({"choose": "racks"}, "'racks' is no rule; want some of all, same_rack"),
        ({"choose": ""}, "'' is no rule"),
        ({"choose": "all", "most": "0"}, "want a whole number from 1 to 10000"),
        ({"choose": "all", "most": "1e3"}, "from 1 to 10000"),
        ({"choose": "all", "per_group": "17"}, "from 1 to 16"),
        ({"choose": "all", "per_group": "-1"}, "from 1 to 16"),
    ]
    with api_about(tmp_path) as (client, _):
        for parameters, told in refused:
            answer = client.get("/api/v1/agents/a1/peers", **parameters)
            assert answer.status_code == 400
            assert told in answer.json()["detail"]


def test_lists_show_where_agents_may_be_probed(tmp_path: Path) -> None:
    with api_about(tmp_path) as (client, _):
        page = AgentsPage.model_validate(client.get("/api/v1/agents").json())
    assert {entry.agent: entry.probe_address for entry in page.agents} == {
        name: address or None for name, _, address, _ in FLEET
    }


def test_an_agents_key_may_ask() -> None:
    assert scopes_wanted("/api/v1/agents/a/b/peers", "GET") == ("read", "agent")
    assert scopes_wanted("/api/v1/agents/a/peers", "DELETE") == ("admin",)
