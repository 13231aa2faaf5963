"""The demo's file of targets: whoever listens is in it, nobody before that, and after half a minute all."""

import socket
from pathlib import Path

import pytest

from agents.sources.scrape_targets import TargetsFile
from tailwatch.demo_parts import PartsFile


def listed(path: Path) -> dict[str, str]:
    """Address by instance, as an agent reads the file."""
    file = TargetsFile(path, "tailwatch")
    file.look()
    assert file.trouble == ""
    return {dict(target.labels)["instance"]: target.url for target in file.targets}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "parts.yaml"


def test_a_part_is_a_target_from_when_it_listens(path: Path) -> None:
    path.write_text('- {targets: ["127.0.0.1:1"], labels: {instance: api}}\n', encoding="utf-8")
    with socket.socket() as api, socket.socket() as collector:
        api.bind(("127.0.0.1", 0))
        collector.bind(("127.0.0.1", 0))
        places = {name: f"127.0.0.1:{part.getsockname()[1]}" for name, part in (("api", api), ("collector", collector))}
        parts = PartsFile(path, places)
        assert listed(path) == {}  # also not what an earlier run left
        parts.look()
        assert listed(path) == {}
        collector.listen()
        parts.look()
        assert listed(path) == {"collector": f"http://{places['collector']}/metrics"}
        api.listen()
        parts.look()
    # One that was there and is no more is down, and stays listed.
    parts.look()
    assert listed(path) == {name: f"http://{place}/metrics" for name, place in places.items()}
    assert [each.name for each in path.parent.iterdir()] == ["parts.yaml"]


def test_a_part_that_never_comes_is_listed_and_so_seen_to_be_down(path: Path) -> None:
    now_s = 100.0
    with socket.socket() as api:
        api.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{api.getsockname()[1]}"
        parts = PartsFile(path, {"api": place}, lambda: now_s)
        now_s += 29.9
        parts.look()
        assert listed(path) == {}
        now_s += 0.1
        parts.look()
    assert listed(path) == {"api": f"http://{place}/metrics"}


def test_a_part_on_ipv6_is_found_too(path: Path) -> None:
    with socket.socket(socket.AF_INET6) as api:
        try:
            api.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 on this host")
        api.listen()
        place = f"[::1]:{api.getsockname()[1]}"
        PartsFile(path, {"api": place}).look()
    assert listed(path) == {"api": f"http://{place}/metrics"}
