"""Every operation of the OpenAPI document under generated requests: no 5xx, and answers as the document describes them.

Schemathesis makes the requests, valid and invalid by the document, for every route that the app has: a new one is
tested by being described. In a second round, texts that mean something here take the place of random ones, by parameter
name, because random ones hardly ever get past the reading of times and names.
"""

from urllib.parse import quote, quote_from_bytes

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from api.app import create_app
from api.config import ApiConfig
from store.connect import open_engine
from tests.api.drives_world import ODD, VIRTUAL, add_drives
from tests.api.gpu_world import ODD_JOB, SLASHED, add_gpu_jobs, scanner
from tests.api.lines_world import add_lines
from tests.api.recorded_world import add_services
from tests.api.services_world import DONE_RUN, add_watched_services
from tests.api.world import INCARNATION, asking, fill, probe_records

#: Operations that are described but not asked here, and why.
EXCLUDED: dict[str, str] = {}
_LEFT_OUT = {
    "positive_data_acceptance": "times, matchers and names are texts with a grammar of their own: most are refused",
    "ignored_auth": "needs keys; tests of the keys do that",
    "object_level_authorization": "there are no users who own things",
    "use_after_free": "needs stateful runs",
    "ensure_resource_availability": "needs stateful runs",
}
TEXT = st.text(max_size=40)
TIME = st.sampled_from(
    ["now", "-5m", "-1h30m", "now-10s", "2026-11-22T07:00:30Z", "1795330830.5", "0", "now+1w", "NaN"]
)
LABEL = st.sampled_from(["host", "tor", "host,tor", "hots", ""])
MATCHERS = [
    "host:host0", "tor:t:1, a", "tor=~t:[01].*", "host!=host1", "tor!~(a+)+$", "host=~(", "tor:", "x=1",
    "tor=~(((a{99}){99}){99})", "host=~" + ".*" * 400,
]  # fmt: skip
#: What some parameters hold, whatever route they belong to.
MEANT = {
    "metric": st.sampled_from(
        ["probe_rtt_us", "odd_ratio", "probes_total", "probe_rtt_mean_us", "job_first_lines", "job_last_lines"]
    ),
    "q": st.lists(st.sampled_from(["0", "0.5", "0.99", "1", "99", "NaN", "0.1,0.2", "1e-400"]), min_size=1, max_size=3),
    "by": st.lists(LABEL, max_size=3) | st.just([",".join(f"l{i}" for i in range(200))]),
    "where": st.lists(st.sampled_from(MATCHERS), max_size=3) | st.just(["host!=a"] * 200),
    "start": TIME | st.integers(-(10**22), 10**22).map(str),
    "end": TIME,
    "step": st.sampled_from(["10s", "1s", "1m", "7s", "0.001", "1w", "-10s", "0", "1e9", "NaN"]),
    "below": st.lists(st.sampled_from(["200", "500,1e6", "-1", "NaN", "1e308"]), max_size=3),
    "max_lines": st.sampled_from(["1", "20", "1000", "0"]),
    "format": st.sampled_from(["json", "csv"]),
    "cursor": st.sampled_from(["aG9zdA", "NQ", "_w", "c3RhdGUfMx92HzIuMw", "d2Vhch8zH24f", "c2luY2UfMx92HzllOTk"]),
    "agent": st.sampled_from(["agent-host0", "agent-host1", "nobody"]),
    "label": st.sampled_from(["host", "tor", "disk"]),
    "incarnation": st.just(INCARNATION),
    "choose": st.sampled_from(["all", "same_rack,each_rack", "same_tor", "same_rack,nobody"]),
    "per_group": st.sampled_from(["1", "16", "17", "-1"]),
    "most": st.sampled_from(["1", "10000", "1e4"]),
    "drive": st.sampled_from(["S1", VIRTUAL, ODD, "1001", "3", "nobody"]),
    "state": st.sampled_from(["alive", "silent", "replace", "good,watch", "unknown,", "bad"]),
    "sort": st.sampled_from(["state", "probability", "wear", "since", "drive", "age"]),
    "order": st.sampled_from(["asc", "desc", "up"]),
    "min_probability": st.sampled_from(["0", "0.5", "1", "50", "1e-400", "NaN", ""]),
    "acknowledged": st.sampled_from(["true", "false", "yes"]),
    "synthetic": st.sampled_from(["true", "false", "1"]),
    "days": st.sampled_from(["0", "1", "400", "401", "1e3"]),
    "changes": st.sampled_from(["0", "1000", "1001"]),
    "cause": st.sampled_from(["probability", "wear", "nothing"]),
    "column": st.sampled_from(["crc_total", "wear", "crc"]),
    "job": st.sampled_from(["train-7", ODD_JOB, SLASHED, "log-only", "running", "nobody"]),
    "number": st.sampled_from(["1", "2", "0", "99999999999"]),
    "fresh": st.sampled_from(["true", "false", "1"]),
    "keep": st.sampled_from(["true", "false", "yes"]),
    "category": st.sampled_from(["infrastructure", "ai_engine", "users"]),
    "status": st.sampled_from(["answered", "abstained", "no_failure"]),
    "stands_out": st.sampled_from(["true", "false", ""]),
    "generation": st.sampled_from(["1", "2", "3", "-1", "x"]),
    "source": st.sampled_from(["stderr", "kernel", "kernal"]),
    "rank": st.sampled_from(["0", "7", "-1", "1e3"]),
    "exit_code": st.sampled_from(["0", "1", "137", "-1", "x"]),
    "signal": st.sampled_from(["9", "0", "256"]),
    "nodes": st.sampled_from(["gpu-1,gpu-2", "gpu-3", "a,,b", ""]),
    "service": st.sampled_from(["shop", "quiet", "new", "search", "ads", "serach", "a/b"]),
    "instance": st.sampled_from(["a", "b", "10.0.0.7", ""]),
    "batch": st.sampled_from(["1", "1795330810-42", ""]),
    "version": st.sampled_from(["1", "2", "3", "0", "x", "99999999999"]),
    "run": st.sampled_from([DONE_RUN, "nothing"]),
    "kind": st.sampled_from(["what_if", "learn", "whatif"]),
    "firing": st.sampled_from(["true", "false", "1"]),
    "severity": st.sampled_from(["page", "ticket", "pages"]),
    "slowest": st.sampled_from(["0", "3", "1001", "x"]),
}


#: The same for one route, where few of the above mean something to it.
MEANT_BY = {
    "GET /api/v1/lines": {"metric": st.sampled_from(["job_first_lines", "job_last_lines", "probe_rtt_us"])},
    "GET /api/v1/distribution": {"metric": st.sampled_from(["probe_rtt_us", "odd_ratio", "probes_total"])},
    "GET /api/v1/services/{service}/tail": {
        "service": st.just("shop"),
        "by": st.sampled_from([[], ["load"], ["load", "time"]]),
    },
    "GET /api/v1/services/{service}/tail/causes": {"service": st.just("shop")},
    "GET /api/v1/services/{service}/runs": {"state": st.sampled_from(["waiting", "done", "ended"])},
    "GET /api/v1/quantiles": {"metric": st.sampled_from(["probe_rtt_us", "odd_ratio", "probes_total"])},
}


def _operations():
    engine = open_engine("sqlite://")
    try:
        document = create_app(ApiConfig(), engine).openapi()
    finally:
        engine.dispose()
    schema = schemathesis.openapi.from_dict(document)
    found = {}
    for result in schema.get_all_operations():
        operation = result.ok()
        found[f"{operation.method.upper()} {operation.path}"] = operation
    return found


def meant(operation):
    """Parameter -> where it stands, of those that MEANT has texts for."""
    return {
        parameter.name: parameter.location.value
        for parameter in operation.iter_parameters()
        if parameter.name in MEANT and parameter.location.value in ("query", "path")
    }


def required(operation):
    """The names of parameters without which a question is refused."""
    return {parameter.name for parameter in operation.iter_parameters() if parameter.is_required}


OPERATIONS = _operations()
ASKED = sorted(set(OPERATIONS) - set(EXCLUDED))
load_all_checks()
CHECKS_MADE = [check for check in CHECKS.get_all() if check.__name__ not in _LEFT_OUT]
#: What holds of any answer, whatever the request was made from.
DESCRIBED = [check for check in CHECKS_MADE if check.__name__ != "negative_data_rejection"]
#: Where a body is text of any kind, so that nothing is wrong with one that was made to be wrong.
ANY_TEXT = {"POST /api/v1/gpu/classify", "POST /api/v1/services/{service}/requests"}
BOUNDED = settings(
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A client of its own, because some operations change things."""
    world = fill(tmp_path_factory.mktemp("fuzz") / "tailwatch.db", probe_records(n=600))
    engine = open_engine(world.url)
    with engine.begin() as connection:
        add_drives(connection)
    add_lines(engine)
    with engine.begin() as connection:
        add_gpu_jobs(connection)
        add_services(connection)
    add_watched_services(engine)
    engine.dispose()
    with asking(world.url) as asked:
        asked.app.state.log_classifier._scanner = scanner()
        yield asked


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["valid", "invalid"])
@pytest.mark.parametrize("name", ASKED)
def test_every_operation_answers_what_its_description_says(client, name, mode):
    operation = OPERATIONS[name]
    if mode is GenerationMode.NEGATIVE and not takes_anything(operation):
        return

    @settings(BOUNDED, max_examples=30)
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case):
        response = send(client, case)
        # What is too large is refused before anyone looks at what it says.
        unread = response.status_code in (413, 414, 431)
        case.validate_response(response, checks=DESCRIBED if unread or name in ANY_TEXT else CHECKS_MADE)

    try:
        ask()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE  # any text is a valid name in a path


@pytest.mark.parametrize("name", [name for name in ASKED if meant(OPERATIONS[name])])
def test_no_question_that_means_something_breaks_an_operation(client, name):
    statuses = set()

    @settings(BOUNDED, max_examples=80 if "metric" in meant(OPERATIONS[name]) else 25)
    @given(OPERATIONS[name].as_strategy(generation_mode=GenerationMode.POSITIVE), st.data())
    def ask(case, data):
        parameters = meant(OPERATIONS[name])
        added = {parameter for parameter in parameters if data.draw(st.integers(0, 3)) == 0}
        if data.draw(st.booleans()):  # one wrong text hides the others, so half of the questions say little
            added = set(sorted(added)[:1])
            case.query = {key: text for key, text in (case.query or {}).items() if key in required(OPERATIONS[name])}
        for parameter, place in parameters.items():
            container = case.query if place == "query" else case.path_parameters
            if parameter in container or parameter in added:
                container[parameter] = data.draw(MEANT_BY.get(name, {}).get(parameter, MEANT[parameter]))
        response = send(client, case)
        statuses.add(response.status_code)
        case.validate_response(response, checks=DESCRIBED)
        if response.status_code >= 400:
            assert len(response.json()["detail"]) < 1_500

    ask()
    assert 200 in statuses or not name.startswith("GET ")  # else the questions above mean nothing


def test_what_is_left_out_exists():
    assert set(EXCLUDED) <= set(OPERATIONS)
    assert set(_LEFT_OUT) <= {check.__name__ for check in CHECKS.get_all()}
    assert set(ANY_TEXT) <= set(ASKED)
    assert len(ASKED) > 15


def takes_anything(operation):
    return any(True for _ in operation.iter_parameters()) or bool(operation.body)


def send(client, case):
    """The case through the app, as schemathesis would send it."""
    sent = case.as_transport_kwargs(base_url="http://api")
    query = [
        (name, text)
        for name, value in (sent.get("params") or {}).items()
        for text in (value if isinstance(value, list) else [value])
    ]
    body = {name: sent[name] for name in ("json", "data", "files") if sent.get(name) is not None}
    if isinstance(body.get("data"), str | bytes):
        body["content"] = body.pop("data")
    try:
        request = httpx.Request(
            sent["method"],
            sent["url"],
            params=[(name, text if isinstance(text, str) else str(text)) for name, text in query] or None,
            headers={name: value for name, value in sent["headers"].items() if isinstance(value, str | bytes)},
            **body,
        )
    except httpx.InvalidURL:
        reject()  # above 64 KiB, which no server takes in a request line
    return client.portal.call(client.http.send, request)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "QUERY"]),
    path=st.text(st.characters(codec="utf-8", exclude_characters="\\"), max_size=40).map(
        lambda text: "/" + text.lstrip("/")
    ),
    body=st.binary(max_size=200),
)
def test_no_path_or_method_breaks_the_server(client, method, path, body):
    response = client.request(method, quote(path), content=body)
    assert response.status_code < 500, response.text


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.binary(max_size=60))
def test_no_raw_query_string_breaks_a_route(client, query):
    raw = quote_from_bytes(query, safe="=&%+;,:")
    for path in ("/api/v1/quantiles", "/api/v1/agents", "/api/v1/dead-letters"):
        response = client.request("GET", f"{path}?metric=probe_rtt_us&{raw}")
        assert response.status_code < 500, response.text


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    headers=st.fixed_dictionaries(
        {},
        optional={
            name: st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
            | st.sampled_from(["text/csv", "text/csv;q=0.3,*/*", "gzip", "gzip;q=0", "*", "W/", '"a"', 'W/"0-0", *'])
            for name in ("If-None-Match", "Accept", "Accept-Encoding", "Origin", "Range", "Content-Type")
        },
    )
)
def test_no_header_breaks_a_route(client, headers):
    for path in ("/api/v1/quantiles?metric=probe_rtt_us&start=0", "/api/v1/metrics", "/metrics"):
        assert client.request("GET", path, headers=headers).status_code in (200, 304)


def test_a_large_body_on_a_route_that_takes_none_is_not_read(client):
    response = client.request("POST", "/api/v1/quantiles", content=b"x" * 10_000_000)
    assert response.status_code in (405, 413)


@pytest.mark.parametrize("steps", [{"start": "0", "step": "0.001"}, {"start": "0", "step": "1"}])
def test_a_thousand_million_steps_are_refused_at_once(client, steps):
    for path in ("/api/v1/quantiles", "/api/v1/distribution"):
        response = client.get(path, metric="probe_rtt_us", **steps)
        assert (response.status_code, response.json()["parameter"]) == (400, "step")
