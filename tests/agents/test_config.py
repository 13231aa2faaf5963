"""The agent's configuration: what a YAML file may say, and how a wrong key is answered."""

import msgspec
import pytest

from agents.config import AgentConfig
from agents.sources.configs import DatagramsConfig, HiccupsConfig, HostConfig, ReplayConfig, TailwatchConfig


def decoded(value: object) -> AgentConfig:
    return msgspec.convert(value, AgentConfig)


def test_an_empty_section_gives_an_agent_of_this_host() -> None:
    config = decoded({})
    assert config.agent_id == config.host_name != ""
    assert config.sources == (HiccupsConfig(), HostConfig(interval_s=1.0), TailwatchConfig(targets=()))
    assert (config.policy, config.checkpoint_s, config.metrics_port) == ("adaptive", 2.0, 0)


def test_labels_are_given_one_by_one() -> None:
    config = msgspec.convert({"labels": {"rack": "r12", "dc": "fra1"}}, AgentConfig, strict=True)
    assert config.place == {"rack": "r12", "tor": "", "dc": "fra1"}


def test_each_kind_of_source_is_told_by_its_kind() -> None:
    config = decoded(
        {
            "id": "rack-7",
            "sources": [
                {"kind": "host", "interval_s": 5},
                {"kind": "replay", "stream": "probes", "path": "p.csv", "time_unit": "ms", "rows_per_s": 10},
                {"kind": "datagrams", "stream": "api_requests", "path": "s.sock"},
            ],
        }
    )
    assert config.agent_id == "rack-7"
    assert config.sources == (
        HostConfig(interval_s=5),
        ReplayConfig(stream="probes", path="p.csv", time_unit="ms", rows_per_s=10),
        DatagramsConfig(stream="api_requests", path="s.sock"),
    )


@pytest.mark.parametrize(
    "entry",
    [
        {"kind": "statsd", "listen": "", "socket_path": "s.sock"},
        {"kind": "probes", "listen": "", "peers": ["a:1"]},
        {"kind": "requests", "listen": "", "listen_udp": "127.0.0.1:1"},
        {"kind": "requests", "listen": "[::1]:1", "listen_udp": ""},
    ],
)
def test_a_source_with_another_way_in_need_not_listen(entry: dict[str, object]) -> None:
    (source,) = decoded({"sources": [entry]}).sources
    assert {name: getattr(source, name) for name in entry if name.startswith("listen")} == {
        name: value for name, value in entry.items() if name.startswith("listen")
    }
    for wrong in ("nowhere", "a b:1", ":", "a:1\n"):
        with pytest.raises(msgspec.ValidationError, match="listen"):
            decoded({"sources": [entry | {"listen": wrong}]})


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"chekpoint_s": 2}, "chekpoint_s"),
        ({"policy": "remote"}, r"policy"),
        ({"checkpoint_s": 0}, r"checkpoint_s"),
        ({"spool_max_bytes": 16 * 2**20 - 1}, r"spool_max_bytes"),
        ({"id": "a\x00b"}, r"\.id"),
        ({"host": "a\n"}, r"\.host"),
        ({"sources": [{"kind": "hiccups", "interval": 1}]}, r"sources\[0\]"),
        ({"sources": [{"kind": "syslog"}]}, r"sources\[0\].kind"),
        ({"sources": [{"kind": "replay", "stream": "x"}]}, "path"),
        ({"metrics_port": 70_000}, "metrics_port"),
        ({"plan_url": "api:8080"}, "plan_url is 'api:8080', wanted the address of an API"),
        ({"plan_url": "http://u:p@api:8080"}, "wanted the address"),
        ({"plan_url": "http://api:8080/?x"}, "wanted the address"),
        ({"plan_url": "http://api:8080", "plan_poll_s": 0}, "plan_poll_s"),
        ({"plan_url": "http://api", "api_key": "k", "api_key_path": "f"}, "keep one"),
        ({"api_key": "k"}, "plan_url is not"),
    ],
)
def test_what_is_not_allowed_is_refused_by_name(value: object, named: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=named):
        decoded(value)
