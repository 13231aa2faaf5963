"""What clients of OpenTelemetry are answered, and what becomes of a port when sources change."""

import gzip
import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping

import pytest
from google.protobuf import json_format

from agents.errors import SourceError
from agents.progress import SourceProgress
from agents.reload import SourceChanges
from agents.source_swap import SourceSwap
from agents.sources import otlp as module
from agents.sources.configs import OtlpConfig
from agents.sources.otlp import JSON, PROTOBUF, OtlpSource
from tests.agents.sources.test_otlp import SCHEMA, message, metric, point, request


@pytest.fixture(name="listening")
def _listening() -> Iterator[OtlpSource]:
    source = OtlpSource(OtlpConfig(listen="127.0.0.1:0", max_body_bytes=2**20), SCHEMA)
    source.open(None)
    yield source
    source.close()


def post(
    source: OtlpSource, body: bytes, path: str = "/v1/metrics", **headers: str
) -> tuple[int, bytes, Mapping[str, str]]:
    client = http.client.HTTPConnection("127.0.0.1", source.port, timeout=20)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    client.request("POST", path, body, {"Content-Type": PROTOBUF, **names})
    answer = client.getresponse()
    found = answer.status, answer.read(), dict(answer.headers)
    client.close()
    return found


def test_answers_are_in_the_form_of_the_request(listening: OtlpSource) -> None:
    good, text = request(metric("gauge", {"asInt": 1})), {"Content_Type": f"{JSON}; charset=utf-8"}
    assert post(listening, good)[:2] == (200, b"")
    assert post(listening, gzip.compress(good), Content_Encoding="gzip")[0] == 200
    status, body, headers = post(listening, b'{"resourceMetrics":[]}', **text)
    assert (status, json.loads(body), headers["Content-Type"]) == (200, {}, JSON)
    bad = json_format.MessageToJson(message(metric("summary", point()))).encode()
    assert json.loads(post(listening, bad, **text)[1]) == {
        "partialSuccess": {"rejectedDataPoints": "1", "errorMessage": "points refused: summary: 1"}
    }
    status, body, headers = post(listening, b"\xff\xff")
    assert (status, body[:3], headers["Content-Type"]) == (400, b"\x08\x03\x12", PROTOBUF)
    status, body, headers = post(listening, b"{", **text)
    assert (status, json.loads(body)["code"], headers["Content-Type"]) == (400, 3, JSON)
    assert post(listening, gzip.compress(bytes(2**21)), Content_Encoding="gzip")[0] == 413
    assert post(listening, good, "/v1/traces")[0] == 404
    assert post(listening, good, Content_Type="text/plain")[0] == 415
    assert listening.poll()[0].rows.height == 2


def test_half_a_surrogate_pair_is_refused_like_other_text_that_is_none(listening: OtlpSource) -> None:
    halves = {"name": "m", "gauge": {"dataPoints": [{"asDouble": "\ud800"}]}}
    body = json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [halves]}]}]}).encode()
    status, answer, _ = post(listening, body, Content_Type=JSON)
    assert (status, json.loads(answer)["code"]) == (400, 3)
    assert "failed" not in listening.counters()


def test_a_full_queue_sends_clients_away_until_it_is_polled(
    listening: OtlpSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING_ROWS", 2)
    good = request(metric("gauge", {"asInt": 1}))
    assert [post(listening, good)[0] for _ in range(2)] == [200, 200]
    status, _, headers = post(listening, good)
    assert (status, headers["Retry-After"]) == (503, "2")
    assert listening.poll()[0].rows.height == 2
    assert post(listening, good)[0] == 200
    assert listening.poll()[0].rows.height == 1
    assert listening.counters()["queue_full"] == 1


def test_a_changed_entry_keeps_the_port_and_a_taken_one_is_told(listening: OtlpSource) -> None:
    port = listening.port
    entry = OtlpConfig(listen=f"127.0.0.1:{port}", max_series=7)
    other = OtlpSource(entry, SCHEMA)
    with pytest.raises(SourceError, match=f"cannot listen on 127.0.0.1:{port}"):
        other.open(None)
    good = request(metric("gauge", {"asInt": 1}))
    listening.close()
    running = SourceProgress(OtlpSource(entry, SCHEMA), None, time.time_ns())
    assert running.failure is None
    assert post(running.source, good)[0] == 200  # type: ignore[arg-type]
    taken: list[int] = []
    take_in: Callable[[SourceProgress], object] = lambda one: taken.extend(b.rows.height for b in one.source.poll())  # noqa: E731
    swap = SourceSwap(SourceChanges(changed=[(running, other)]), {}, {"otlp": entry}, {"otlp": entry}, take_in)
    swap.open()
    (now,) = swap.close_old()
    assert now.source is other
    assert taken == [1]
    assert post(other, good)[0] == 200
    other.close()


class Broken(OtlpSource):
    """One that cannot be opened, but only after another one has taken a request."""

    name = "broken"  # type: ignore[misc]
    before: Callable[[], object]

    def open(self, position: bytes | None) -> None:
        del position
        self.before()
        raise SourceError("the port is taken")


def test_what_a_new_source_has_taken_is_kept_when_a_later_one_cannot_be_opened(listening: OtlpSource) -> None:
    entry = OtlpConfig(listen=f"127.0.0.1:{listening.port}")
    listening.close()
    running = SourceProgress(OtlpSource(entry, SCHEMA), None, time.time_ns())
    new, broken = OtlpSource(entry, SCHEMA), Broken(entry, SCHEMA)
    broken.before = lambda: statuses.append(post(new, request(metric("gauge", {"asInt": 1})))[0])
    statuses: list[int] = []
    taken: list[int] = []
    take_in: Callable[[SourceProgress], object] = lambda one: taken.extend(b.rows.height for b in one.source.poll())  # noqa: E731
    changes = SourceChanges(removed=[running], added=[new, broken])
    swap = SourceSwap(
        changes, {}, {"otlp": entry}, {"otlp": entry, "broken": OtlpConfig(listen="127.0.0.1:1")}, take_in
    )
    with pytest.raises(SourceError, match="the port is taken"):
        swap.open()
    assert (statuses, taken) == ([200], [1])
    assert post(running.source, request(metric("gauge", {"asInt": 1})))[0] == 200  # type: ignore[arg-type]
    running.source.close()


def test_nothing_of_protobuf_is_loaded_before_a_source_is_opened() -> None:
    import subprocess
    import sys

    code = (
        "import sys, agents.sources.configured, agents.sources.otlp as otlp, agents.sources.configs as configs; "
        "otlp.OtlpSource(configs.OtlpConfig()); print([m for m in sys.modules if m.startswith('google')])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
