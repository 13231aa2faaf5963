"""The Prometheus routes under text of any kind: 200, 400, 422 or 503, always in Prometheus' envelope."""

import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.config import ApiConfig
from tests.api.world import BEGIN_NS, END_NS, Client, asking, fill
from tests.promql_fuzz.wild import BOMBS, INSTANTS, mutated_expressions, wild_expressions, wild_selectors

ALLOWED = {200, 400, 422, 503}
SECONDS_EACH = 5.0
LONGEST_URL = 60_000  # of the client that asks
LONGEST_TEXT = 200_000  # more is a body that is refused for its size, see below
BEGIN_S, END_S = BEGIN_NS // 10**9, END_NS // 10**9
NAMES = {
    "temperature": "probe_rtt_mean_us",
    "up": "probe_rtt_min_us",
    "depth": "probe_rtt_max_us",
    "requests_total": "probe_rtt_sum_us",
    "hits": "probes_total",
    "lat": "probe_rtt_us",
    "drift": "odd_ratio",
}
RENAMED = re.compile(rf"\b({'|'.join(NAMES)})\b")

TEXT = wild_expressions() | mutated_expressions()
SELECTOR = wild_selectors() | wild_selectors() | TEXT.map(lambda text: text[:9_000])
NOW = st.sampled_from([str(END_S), str(BEGIN_S + 33.5), "2026-11-22T07:00:30Z"])
TIME = NOW | NOW | NOW | st.sampled_from(["", *INSTANTS]) | st.text(max_size=8)
STEP = st.sampled_from(["10", "15s", "1m", "0", "-5", "NaN", "Inf", "1e-9", "1e300", "1y", "", "x"]) | st.text(
    max_size=5
)
QUERY = st.fixed_dictionaries({"query": TEXT}, optional={"time": TIME, "timeout": STEP, "limit": STEP, "stats": TIME})
GOOD_QUERY = st.fixed_dictionaries({"query": TEXT, "time": NOW})
RANGE = st.fixed_dictionaries({"query": TEXT, "start": TIME, "end": TIME, "step": STEP}, optional={"timeout": STEP})
GOOD_RANGE = st.fixed_dictionaries(
    {
        "query": TEXT,
        "start": st.just(str(BEGIN_S)),
        "end": st.just(str(END_S + 60)),
        "step": st.sampled_from(["5", "1m"]),
    }
)
SELECTED = st.fixed_dictionaries({}, optional={"match[]": st.lists(SELECTOR, max_size=2), "start": TIME, "end": TIME})
SERIES = st.fixed_dictionaries({"match[]": st.lists(SELECTOR, min_size=1, max_size=2)})
ASKED = st.one_of(
    st.tuples(st.just("query"), QUERY | GOOD_QUERY),
    st.tuples(st.just("query_range"), RANGE | GOOD_RANGE),
    st.tuples(st.just("format_query"), QUERY),
    st.tuples(st.sampled_from(["series", "labels", "label/host/values", "label/__name__/values"]), SELECTED | SERIES),
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    world = fill(tmp_path_factory.mktemp("fuzz") / "tailwatch.db")
    # What a URL may hold is for the gate before the routes; here they are to see everything.
    with asking(world.url, ApiConfig(max_url_bytes=4 * LONGEST_URL)) as asked:
        yield asked


@settings(max_examples=600, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=ASKED, post=st.booleans())
def test_no_question_gets_anything_but_an_answer_or_a_refusal(
    client: Client, asked: tuple[str, dict[str, Any]], post: bool
) -> None:
    path, parameters = asked
    renamed = {name: _renamed(value) for name, value in parameters.items()}
    if not path.startswith("label/") and (post or len(urlencode(renamed, doseq=True)) > LONGEST_URL):
        check(client, "POST", path, data=renamed)
    else:
        check(client, "GET", path, params=renamed)


@pytest.mark.parametrize("bomb", range(len(BOMBS)))
def test_regular_expressions_are_answered_or_refused(client: Client, bomb: int) -> None:
    for path, name in (("query", "query"), ("series", "match[]")):
        check(client, "POST", path, data={name: f'probe_rtt_us{{host=~"{BOMBS[bomb]}"}}', "time": str(END_S)})


@pytest.mark.parametrize(
    "parameters",
    [
        {"start": "0", "end": "1000000000", "step": "0.001"},
        {"start": "0", "end": "1e300", "step": "1"},
        {"start": "NaN", "end": "NaN", "step": "NaN"},
        {"start": "10", "end": "0", "step": "1"},
        {"start": "0", "end": "10", "step": "-1"},
        {"start": str(BEGIN_S), "end": str(END_S), "step": "1e-12"},
    ],
    ids=str,
)
def test_impossible_ranges_are_refused(client: Client, parameters: dict[str, str]) -> None:
    assert check(client, "POST", "query_range", data={"query": "probe_rtt_us", **parameters}).status_code == 400


@pytest.mark.parametrize("size", [70_000, 10_000_000])
def test_expressions_of_any_size_are_refused(client: Client, size: int) -> None:
    response = client.request("POST", "/prometheus/api/v1/query", data={"query": "1" * size})
    assert response.status_code in (400, 413)
    assert response.json()["status"] == "error"


def check(client: Client, method: str, path: str, **options: Any) -> httpx.Response:
    """Asks; the answer must be one of those allowed, in the envelope, and come in time."""
    before = time.process_time()
    response = client.request(method, f"/prometheus/api/v1/{path}", **options)
    spent_s = time.process_time() - before
    assert response.status_code in ALLOWED, response.text[:500]
    assert spent_s < SECONDS_EACH
    assert response.headers["content-type"].startswith("application/json")
    said = orjson.loads(response.content)  # strict: no NaN, no lone surrogates
    if response.status_code == 200:
        assert said["status"] == "success"
        assert "data" in said
    else:
        assert said["status"] == "error"
        assert said["errorType"]
        assert 0 < len(said["error"]) < 2_000
        assert "Traceback" not in said["error"]
    return response


def _renamed(value: Any) -> Any:
    """The same with names of metrics that this database has."""
    if isinstance(value, list):
        return [_renamed(each) for each in value]
    value = RENAMED.sub(lambda found: NAMES[found[1]], value)
    return value[:LONGEST_TEXT]
