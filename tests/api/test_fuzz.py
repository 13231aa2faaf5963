"""Every route under generated parameters: zero 5xx, and every refusal a problem document."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

METRICS = [
    "probe_rtt_us",
    "odd_ratio",
    "probes_total",
    "probe_rtt_sum_us",
    "probe_rtt_mean_us",
    "probe_rtt_min_us",
    "no",
]
TEXT = st.text(max_size=40)
TIME = st.sampled_from(["now", "-5m", "-1h30m", "now-10s", "2026-11-22T07:00:30Z", "1795330830.5", "0", "now+1w"]) | (
    st.integers(-(10**22), 10**22).map(str) | TEXT
)
STEP = st.sampled_from(["10s", "1s", "1m", "7s", "0.001", "1w"]) | st.integers(-5, 10**22).map(str) | TEXT
LEVEL = st.floats().map(str) | st.sampled_from(["0", "0.5", "0.99", "1", "99", "0.07"]) | TEXT
LABEL = st.sampled_from(["host", "tor", "hots"]) | TEXT
MATCHER = st.sampled_from(["host:host0", "tor:t:1, a", "tor:"]) | TEXT
RANGE = {
    "metric": st.sampled_from(METRICS) | TEXT,
    "by": st.lists(LABEL, max_size=3),
    "where": st.lists(MATCHER, max_size=2),
    "start": TIME,
    "end": TIME,
    "step": STEP,
}
PAGE = {"limit": st.integers(-(10**20), 10**20).map(str) | TEXT, "cursor": TEXT | st.just("aG9zdA")}
PARAMETERS = {
    "/api/v1/quantiles": {**RANGE, "q": st.lists(LEVEL, max_size=3)},
    "/api/v1/values": RANGE,
    "/api/v1/metrics": PAGE,
    "/api/v1/agents": PAGE,
    "/api/v1/status": {},
    "/healthz": {},
    "/readyz": {},
    "/metrics": {},
    "/docs": {},
    "/openapi.json": {},
}


@st.composite
def questions(draw):
    """A route with some of its parameters, sometimes one it does not have, and headers of any kind."""
    path = draw(st.sampled_from([*list(PARAMETERS)[:4] * 4, *PARAMETERS]))
    asked = draw(st.fixed_dictionaries({}, optional=PARAMETERS[path]))
    if draw(st.integers(0, 9)) == 0:
        asked[draw(TEXT)] = draw(TEXT)
    elif "metric" in PARAMETERS[path] and draw(st.booleans()):
        asked["metric"] = draw(st.sampled_from(METRICS))
    printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
    headers = draw(st.fixed_dictionaries({}, optional={"If-None-Match": printable, "Accept": printable}))
    return path, asked, headers


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(questions())
def test_no_question_breaks_a_route(client, question):
    path, asked, headers = question
    response = client.request("GET", path, params=asked, headers=headers)
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json"
        problem = response.json()
        assert set(problem) >= {"type", "title", "status", "detail"}
        assert len(problem["detail"]) < 1_500


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "QUERY"]),
    path=st.text(st.characters(codec="utf-8", exclude_characters="\\"), max_size=40).map(
        lambda text: "/" + text.lstrip("/")
    ),
    body=st.binary(max_size=200),
)
def test_no_path_or_method_breaks_the_server(client, method, path, body):
    from urllib.parse import quote

    response = client.request(method, quote(path), content=body)
    assert response.status_code < 500, response.text


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.binary(max_size=60))
def test_no_raw_query_string_breaks_a_route(client, query):
    from urllib.parse import quote_from_bytes

    raw = quote_from_bytes(query, safe="=&%+;,:")
    for path in ("/api/v1/quantiles", "/api/v1/agents"):
        response = client.request("GET", f"{path}?metric=probe_rtt_us&{raw}")
        assert response.status_code < 500, response.text
