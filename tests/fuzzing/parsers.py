"""What the parsers of sources promise of any bytes, for a fuzzer that looks for the bytes which break it.

Each check raises where the promise is broken: an error that no caller expects, or what came in and what came out do
not add up. Texts to begin with are whole and short, so that the fuzzer finds its way behind the first signs.
"""

import gzip
import json
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message

from agents.sources.bad_input import BadInput
from agents.sources.configs import LogsConfig, OtlpConfig
from agents.sources.http_bodies import Refused, unpacked
from agents.sources.http_intake import Request
from agents.sources.logs_lines import lines_of
from agents.sources.logs_patterns import pattern_of
from agents.sources.otlp import JSON, PROTOBUF, OtlpSource
from agents.sources.scrape_page import Page, PageError, text_page
from agents.sources.scrape_protobuf import protobuf_page
from agents.sources.scrape_targets import TargetError, targets_in
from agents.sources.smart_fields import drive_reading
from agents.sources.statsd_lines import taken_apart
from agents.sources.streams import ACCESS_LOG, OTLP, SMART, SYSLOG
from agents.sources.xids import LogLine, XidAssembler
from wire.request_rows import TYPES, rows_of
from wire.request_samples import samples_of

NOW_NS = 1_795_000_000 * 10**9
_UNPACKED_BYTES = 2**16
_OWN_COLUMNS = ("ts", "host", "file")


@dataclass(frozen=True, slots=True)
class Parser:
    """One promise, and bytes to begin with."""

    check: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


def _statsd(data: bytes) -> None:
    records = lines_of(data.replace(b"\r", b"") + b"\n")
    bad, ignored = BadInput("fuzzed"), Counter[str]()
    lines = taken_apart(records, bad, ignored)
    assert lines.names.null_count() == 0
    assert lines.values.is_finite().all()
    assert lines.rates.is_between(0, 1, closed="right").all()
    told = set(lines.which.tolist())
    assert len(told) + sum(bad.counts.values()) + sum(ignored.values()) >= len(records)


def _access(data: bytes) -> None:
    wanted = {name: kind for name, kind in ACCESS_LOG.items() if name not in _OWN_COLUMNS}
    _log_lines(LogsConfig(paths=("x",), pattern="access"), wanted, data)


def _syslog(data: bytes) -> None:
    wanted = {name: kind for name, kind in SYSLOG.items() if name not in _OWN_COLUMNS}
    _log_lines(LogsConfig(paths=("x",), pattern="syslog"), wanted, data)


_TYPED = {"status": "int64", "took_s": "float64", "ok": "bool", "path": "string"}


def _json_lines(data: bytes) -> None:
    _log_lines(LogsConfig(paths=("x",), pattern="json", stream="x", time_column="t"), _TYPED, data)


def _key_values(data: bytes) -> None:
    _log_lines(LogsConfig(paths=("x",), pattern="key_value", stream="x", time_column="t"), _TYPED, data)


def _log_lines(entry: LogsConfig, columns: Mapping[str, str], data: bytes) -> None:
    records = lines_of(data + b"\n")
    if not len(records):
        return
    parsed = pattern_of(entry, columns).parse(records, NOW_NS)  # type: ignore[arg-type]
    assert parsed.fitting.size == len(records)
    assert parsed.rows.height == parsed.fitting.sum()
    assert not parsed.rows.height or set(columns) <= set(parsed.rows.columns)


def _otlp_protobuf(data: bytes) -> None:
    _otlp(data, PROTOBUF)


def _otlp_json(data: bytes) -> None:
    _otlp(data, JSON)


def _otlp(data: bytes, kind: str) -> None:
    source = OtlpSource(OtlpConfig(listen="127.0.0.1:0", max_series=100), OTLP, clock_ns=lambda: NOW_NS)
    source.open(None)
    source.close()
    with suppress(Refused):
        assert source.take(Request("/v1/metrics", kind, data, Message())).status == 200
    for batch in source.poll():
        assert batch.rows["name"].null_count() == 0


def _requests(data: bytes) -> None:
    samples = samples_of(data)
    rows = rows_of(samples.records, [NOW_NS] * len(samples.records))
    assert dict(rows.frame.schema) == TYPES
    assert rows.frame.height + sum(rows.left_out.values()) == len(samples.records)


def _page(data: bytes) -> None:
    _one_of_each(lambda: text_page(data, openmetrics=False))


def _openmetrics_page(data: bytes) -> None:
    _one_of_each(lambda: text_page(data, openmetrics=True))


def _protobuf_page(data: bytes) -> None:
    _one_of_each(lambda: protobuf_page(data))


def _one_of_each(page: Callable[[], Page]) -> None:
    with suppress(PageError):
        found = page()
        assert len(found.keys) == len(found.values) == found.keys.n_unique()


def _targets(data: bytes) -> None:
    for is_json in (False, True):
        with suppress(TargetError):
            targets_in(data, "job", json=is_json)


def _smartctl(data: bytes) -> None:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return
    for name, value in drive_reading(document).record.items():
        assert value is None or isinstance(value, {"int64": int, "string": str}[SMART[name]])


def _xids(data: bytes) -> None:
    assembler = XidAssembler()
    texts = data.decode("utf-8", "surrogateescape").split("\n")
    for number, text in enumerate(texts):
        event = assembler.take(LogLine(NOW_NS + number, text, b"", follows=text.startswith(" ")))
        if event is not None:
            assert event.message.isprintable()
    assembler.flush()


def _bodies(data: bytes) -> None:
    with suppress(Refused):
        assert len(unpacked(data, "gzip", _UNPACKED_BYTES)) <= _UNPACKED_BYTES


_ACCESS_LINE = b'10.0.0.1 - bob [22/Nov/2026:10:00:00 +0000] "GET /a?c=1 HTTP/1.1" 200 53 "-" "curl" 0.125\n'
_PAGE = (
    b'# TYPE c counter\nc_total{a="1"} 3\n# TYPE h histogram\nh_bucket{le="1"} 2\nh_bucket{le="+Inf"} 3\nh_sum 4.5\n'
    b"h_count 3\n"
)
# One gauge, one counter and one histogram of OpenTelemetry, as its own library writes them.
_OTLP = (
    {"name": "g", "gauge": {"dataPoints": [{"timeUnixNano": str(NOW_NS), "asDouble": 1.5}]}},
    {"name": "s", "sum": {"aggregationTemporality": 1, "dataPoints": [{"timeUnixNano": str(NOW_NS), "asInt": "1"}]}},
    {
        "name": "h",
        "exponentialHistogram": {
            "aggregationTemporality": 1,
            "dataPoints": [
                {
                    "timeUnixNano": str(NOW_NS),
                    "count": "3",
                    "scale": 6,
                    "positive": {"offset": 1, "bucketCounts": ["3"]},
                }
            ],
        },
    },
)


def _otlp_seed(*metrics: object) -> bytes:
    return json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": list(metrics)}]}]}).encode()


def _in_protobuf(text: bytes) -> bytes:
    from google.protobuf import json_format
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    found: bytes = json_format.Parse(text, ExportMetricsServiceRequest()).SerializeToString()
    return found


_OTLP_SEEDS = tuple(_otlp_seed(*metrics) for metrics in (*((one,) for one in _OTLP), _OTLP))
_ATA = (
    b'{"smartctl":{"exit_status":0},"device":{"type":"sat","protocol":"ATA"},"ata_smart_attributes":{"table":'
    b'[{"id":5,"name":"x","value":100,"worst":100,"thresh":10,"raw":{"value":3,"string":"3"}}]}}'
)
_NVME = (
    b'{"smartctl":{"exit_status":0},"device":{"protocol":"NVMe"},"nvme_smart_health_information_log":'
    b'{"percentage_used":3,"media_errors":0}}'
)
_COUNTER = b"\x14\n\x01c\x18\x00\x22\x0d\x0a\x00\x1a\x09\x09\x00\x00\x00\x00\x00\x00\x08@"
_TARGETS = (b'[{"targets": ["a:1"], "labels": {"x": "y"}}]', b"- targets: [a:1]\n  labels: {x: y}\n")
_REQUESTS = (
    b'[{"service":"a","wait_us":1.5,"service_us":3,"arrival_s":1795000000,"degree":2}]',
    b'{"service":"a","requests":[{"wait_us":1}]}',
    b"\x91\x81\xa7service\xa1a",
)

PARSERS: Mapping[str, Parser] = {
    "statsd": Parser(_statsd, (b"a.b:1.5:2|ms|@0.5|#k:v,t|c:id|T1795000000", b"_e{1,1}:a|b", b"g:-3|g\nc:1|c")),
    "access": Parser(_access, (_ACCESS_LINE, b'::1 - - [x] "\\"" 200 -')),
    "syslog": Parser(
        _syslog, (b"<13>1 2026-11-22T10:00:00Z host app 1 id - text", b"<13>Nov 22 10:00:00 host app[1]: text")
    ),
    "json_lines": Parser(_json_lines, (b'{"t": "2026-11-22T10:00:00Z", "status": 2, "took_s": 1.5, "ok": true}',)),
    "key_values": Parser(_key_values, (b't=2026-11-22T10:00:00Z status=2 took_s=1.5 ok=true path="a b"',)),
    "otlp_protobuf": Parser(_otlp_protobuf, tuple(_in_protobuf(seed) for seed in _OTLP_SEEDS)),
    "otlp_json": Parser(_otlp_json, _OTLP_SEEDS),
    "requests": Parser(_requests, _REQUESTS),
    "page": Parser(_page, (_PAGE,)),
    "openmetrics_page": Parser(_openmetrics_page, (_PAGE + b"# EOF\n",)),
    "protobuf_page": Parser(
        _protobuf_page, (b"\x14\n\x01c\x18\x00\x22\x0d\x0a\x00\x1a\x09\x09\x00\x00\x00\x00\x00\x00\x08@",)
    ),
    "targets": Parser(
        _targets, (b'[{"targets": ["a:1"], "labels": {"x": "y"}}]', b"- targets: [a:1]\n  labels: {x: y}\n")
    ),
    "smartctl": Parser(_smartctl, (_ATA, _NVME)),
    "xids": Parser(_xids, (b"NVRM: Xid (PCI:0000:3B:00): 31, pid=251, name=python3.10, Ch 00000008\n more",)),
    "bodies": Parser(_bodies, (gzip.compress(b"a" * 100), gzip.compress(b"") * 2)),
}
