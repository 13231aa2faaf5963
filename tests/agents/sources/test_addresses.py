"""Where sources listen: which of them cannot be open at once, and what is in the way."""

from pathlib import Path

import pytest

from agents.sources.addresses import places_of
from agents.sources.configs import (
    DatagramsConfig,
    HiccupsConfig,
    OtlpConfig,
    RequestsConfig,
    SourceConfig,
    StatsdConfig,
)


@pytest.mark.parametrize(
    ("entry", "places"),
    [
        (HiccupsConfig(), set()),
        (StatsdConfig(listen="127.0.0.1:0"), set()),
        (StatsdConfig(listen="0.0.0.0:8125", socket_path="/run/s"), {"udp :8125", "/run/s"}),
        (StatsdConfig(listen="[::1]:8125"), {"udp :8125"}),
        (OtlpConfig(listen=":4318"), {"tcp :4318"}),
        (RequestsConfig(listen="127.0.0.1:4320", listen_udp="127.0.0.1:4320"), {"tcp :4320", "udp :4320"}),
    ],
)
def test_a_place_is_a_port_of_any_address_or_a_path(entry: SourceConfig, places: set[str]) -> None:
    assert places_of(entry) == places


def test_a_path_is_the_same_place_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    whole = {places_of(DatagramsConfig(stream="s", path=path)) for path in ("x/s", "./x/s", f"{Path.cwd()}/x/s")}
    assert whole == {places_of(StatsdConfig(listen="", socket_path=str(tmp_path / "x" / "s")))}
