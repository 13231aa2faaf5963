"""Exchanges recorded from a real Prometheus 2.42, replayed against the same samples in a store.

The recording's `lat` is cumulative; a sketch metric here tells of its own window only, so where the recording asks for
`lat` itself the replay asks for its increase over all of the data. Every other difference is in EXPLAINED.
"""

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.plan import Aggregate, AggregateStage, Plan
from store.connect import open_engine, upgrade
from store.registry import register_queries
from tests.api.world import SECOND_NS, Client, add, asking

T = 1_795_324_920
T_OF_X = 1_795_325_460  # the recordings named x_* were made later
SCALE = 5
# One bucket: 2.42 interpolates inside it linearly, Prometheus 3 and this server exponentially.
BUCKET = 2 ** (2**-SCALE) - 1
LAT = "increase(lat[21m])"
REPLACED = {
    "native_vector": f"sum({LAT})",
    "x_cmp": f"histogram_quantile(0.99, {LAT}) > 5",
    "x_hist_count": f"histogram_count(sum({LAT}))",
}
EXPLAINED = {
    "instant_matrix": "ranges are open on the left, as in Prometheus 3: the sample at the edge is not in it",
    "subquery": "subqueries are not supported, and the answer says so",
    "rules": "no rules are evaluated here",
    "quantile_over_time_native": "the quantile of the merged window, where Prometheus 2.42 answers a wrong 0",
    "exec_error": "the two series in the text come in another order",
}
FOLDER = Path(os.environ.get("TAILWATCH_TEST_DATA", "")) / "prometheus_goldens"
GOLDENS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
pytestmark = pytest.mark.skipif(
    not os.environ.get("TAILWATCH_TEST_DATA") or not GOLDENS,
    reason="TAILWATCH_TEST_DATA names no folder with prometheus_goldens",
)
AS_RECORDED = sorted(GOLDENS.keys() - EXPLAINED.keys())


def filled(path: Path, at: int) -> str:
    """A database with the recording's samples: windows of a minute that end at `at`, `at` - 60 s and so on."""
    source = random.Random(1)
    rows: list[tuple[int, str, float, int]] = []
    for host, mu in (("a", 0), ("b", 1)):
        for i in range(20, -1, -1):
            rows += [((at - 60 * i) * SECOND_NS - 1, host, source.lognormvariate(mu, 0.5), i) for _ in range(200)]
    records = pl.DataFrame(rows, schema=["ts", "host", "lat", "i"], orient="row")
    aggregates = [Aggregate("lat", "sketch", "lat", False), Aggregate("gauge", "max", "i", True)]
    schema = {"ts": "int64", "host": "string", "lat": "float64", "i": "int64"}
    plan = Plan("recorded", "recorded", schema, SCALE, {}, [AggregateStage(60 * SECOND_NS, ["host"], aggregates)])
    url = f"sqlite:///{path}"
    upgrade(url)
    engine = open_engine(url)
    with engine.begin() as connection:
        register_queries(connection, [plan], 0)
    for partition, host in enumerate("ab"):
        add(engine, plan, records.filter(pl.col("host") == host), partition, f"agent-{host}")
    engine.dispose()
    return url


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Client]]:
    folder = tmp_path_factory.mktemp("goldens")
    urls = {at: filled(folder / f"{at}.db", at) for at in (T, T_OF_X)}
    with asking(urls[T]) as one, asking(urls[T_OF_X]) as other:
        yield {T: one, T_OF_X: other}


def replay(clients: dict[int, Client], name: str) -> tuple[int, str, Any]:
    """(status, content type, body) of the same request here."""
    golden = GOLDENS[name]
    given = {**golden["params"], **({"query": REPLACED[name]} if name in REPLACED else {})}
    client = clients[T_OF_X if name.startswith("x_") else T]
    sent = {"data": given} if golden["method"] == "POST" else {"params": given}
    response = client.request(golden["method"], f"/prometheus{golden['path']}", **sent)
    kind = response.headers["content-type"]
    return response.status_code, kind, response.json() if kind == "application/json" else response.text


def recorded(name: str) -> tuple[int, str, Any]:
    golden = GOLDENS[name]
    kind, body = golden["content_type"], golden["body"]
    return golden["status"], kind, json.loads(body) if kind == "application/json" else body


def test_the_recordings_are_all_there() -> None:
    assert len(AS_RECORDED) >= 20
    assert EXPLAINED.keys() | REPLACED.keys() <= GOLDENS.keys()


@pytest.mark.parametrize("name", AS_RECORDED)
def test_a_request_is_answered_as_it_was_recorded(clients: dict[int, Client], name: str) -> None:
    (status, kind, body), wanted = replay(clients, name), recorded(name)
    assert (status, kind) == wanted[:2]
    assert shaped(body) == shaped(wanted[2], tolerance=BUCKET if "quantile" in json.dumps(GOLDENS[name]) else 1e-12)
    if isinstance(body, dict) and "resultType" in body.get("data", {}):
        assert list(body["data"]) == ["resultType", "result"]  # in this order Grafana need not hold all of it


def shaped(value: Any, tolerance: float = 0.0) -> Any:
    """The same with numbers in strings as numbers, which may be off by the tolerance."""
    if isinstance(value, dict):
        return {name: shaped(inner, tolerance) for name, inner in value.items()}
    if isinstance(value, list):
        return [shaped(inner, tolerance) for inner in value]
    try:
        number = float(value)
    except ValueError:
        return value
    return pytest.approx(number, rel=tolerance, nan_ok=True) if tolerance else number


def test_a_range_does_not_hold_the_sample_at_its_left_edge(clients: dict[int, Client]) -> None:
    (_, _, body), (_, _, wanted) = replay(clients, "instant_matrix"), recorded("instant_matrix")
    for series in wanted["data"]["result"]:
        assert series["values"].pop(0)[0] == T - 120
    assert body == wanted


def test_subqueries_are_refused_with_what_to_write(clients: dict[int, Client]) -> None:
    status, _, body = replay(clients, "subquery")
    assert (status, body["status"], body["errorType"]) == (422, "error", "execution")
    assert "subquery" in body["error"]


def test_there_are_no_rules(clients: dict[int, Client]) -> None:
    assert replay(clients, "rules") == (200, "application/json", {"status": "success", "data": {"groups": []}})


def test_quantile_over_time_of_sketches_is_that_of_the_merged_window(clients: dict[int, Client]) -> None:
    _, _, body = replay(clients, "quantile_over_time_native")
    found = {one["metric"]["host"]: float(one["value"][1]) for one in body["data"]["result"]}
    merged = (
        clients[T]
        .get("/prometheus/api/v1/query", query="histogram_quantile(0.99, increase(lat[10m]))", time=str(T))
        .json()
    )
    for one in merged["data"]["result"]:
        assert found.pop(one["metric"]["host"]) == pytest.approx(float(one["value"][1]), rel=BUCKET)
    assert found == {}


def test_an_ambiguous_match_is_refused_in_the_same_words(clients: dict[int, Client]) -> None:
    (status, kind, body), wanted = replay(clients, "exec_error"), recorded("exec_error")
    assert (status, kind, body["errorType"]) == (*wanted[:2], "execution")
    assert sorted(body["error"]) == sorted(wanted[2]["error"])
