"""Targets of the configuration and of a watched file."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.sources.configs import ScrapeConfig
from agents.sources.scrape_targets import TargetError, TargetsFile, target_of, targets_in


@pytest.mark.parametrize(
    ("address", "labels", "url", "instance"),
    [
        ("app:9100", {}, "http://app:9100/metrics", "app:9100"),
        ("app", {}, "http://app/metrics", "app:80"),
        ("https://app/x?y=1", {}, "https://app/x?y=1", "app:443"),
        ("[::1]:9100", {}, "http://[::1]:9100/metrics", "[::1]:9100"),
        (
            "app:1",
            {"__scheme__": "https", "__metrics_path__": "/m", "__param_a": "1 2"},
            "https://app:1/m?a=1+2",
            "app:1",
        ),
    ],
)
def test_an_address_becomes_a_page_and_an_instance(
    address: str, labels: dict[str, str], url: str, instance: str
) -> None:
    target = target_of(address, "shop", labels)
    assert (target.url, dict(target.labels)) == (url, {"job": "shop", "instance": instance})


def test_labels_of_a_target_may_name_job_and_instance_and_hidden_ones_are_left_out() -> None:
    target = target_of("app:1", "shop", {"job": "other", "instance": "me", "zone": "b", "__meta_x": "y"})
    assert dict(target.labels) == {"job": "other", "instance": "me", "zone": "b"}


@pytest.mark.parametrize("address", ["", "a b:1", "ftp://app", "app:port", "app:99999", "http://", "http://u:p@app",
                                     "a\n:1", "café:1"])  # fmt: skip
def test_what_is_no_address_is_refused_with_its_name(address: str) -> None:
    with pytest.raises(TargetError, match="target"):
        target_of(address, "shop")
    with pytest.raises(msgspec.ValidationError, match=r"target|length"):
        msgspec.convert({"targets": [address]}, ScrapeConfig)


YAML = b"- targets: ['a:1', 'b:2']\n  labels: {zone: x}\n- targets: ['c:3', 'c:3']\n"


def test_a_file_is_yaml_or_json() -> None:
    groups = [{"targets": ["a:1", "b:2"], "labels": {"zone": "x"}}, {"targets": ["c:3"]}]
    found = targets_in(YAML, "shop", json=False)
    assert [one.url for one in found] == ["http://a:1/metrics", "http://b:2/metrics", "http://c:3/metrics"]
    assert targets_in(json.dumps(groups).encode(), "shop", json=True) == found
    assert targets_in(b"[]", "shop", json=False) == []


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"a: 1", b"- a", b"- {targets: a}", b"- {targets: [1]}", b"- {targets: [a], labels: {b: 1}}",
        b"\xff\xfe\x00",
        b"- {target: [a]}", b"- {targets: ['a b']}", b"- !!python/object/apply:os.system ['true']", b"[" * 5000,
        b"- {targets: [a], labels: {'a-b': c}}",
    ],
)  # fmt: skip
def test_a_file_that_holds_something_else_is_refused(data: bytes) -> None:
    with pytest.raises(TargetError):
        targets_in(data, "shop", json=False)


def test_a_small_file_that_means_very_many_targets_is_refused() -> None:
    lists = "\n".join(f"- &g{i} {{targets: [{', '.join(f'h{i}x{j}' for j in range(200))}]}}" for i in range(60))
    with pytest.raises(TargetError, match="10000 targets"):
        targets_in(lists.encode(), "shop", json=False)
    with pytest.raises(TargetError, match="bytes"):
        targets_in(b" " * (2**24 + 1), "shop", json=False)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=100), st.booleans())
def test_any_bytes_are_targets_or_refused(data: bytes, json: bool) -> None:
    try:
        targets_in(data, "shop", json=json)
    except TargetError:
        return


def test_a_file_that_breaks_keeps_the_last_good_targets_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "targets.yaml"
    watched = TargetsFile(path, "shop")
    watched.look()
    assert watched.targets == []
    assert "No such file" in watched.trouble
    path.write_bytes(YAML)
    watched.look()
    good = watched.targets
    assert len(good) == 3
    assert watched.trouble == ""
    path.write_bytes(b"- targets: [")
    watched.look()
    watched.look()
    assert watched.targets is good
    assert "no YAML" in watched.trouble
    assert watched.failures == 2
    path.unlink()
    watched.look()
    assert watched.targets is good
    path.write_bytes(b"- targets: ['z:9']\n")
    watched.look()
    assert [one.name for one in watched.targets] == ["z:9"]
    assert watched.trouble == ""
