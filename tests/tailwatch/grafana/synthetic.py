"""A store with every metric that dashboards and rules read, filled through the real pipeline with made-up values.

Nothing here was measured: values are chosen so that the fleet is well, or so that everything that has an alert is
wrong with it. Each family of metrics is a query over a stream of its own with the columns of its labels and one column
for each metric, and goes the usual way: compiled, run by a chain, flushed, read through the API.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.chain import Chain
from pipeline.plan import Plan
from pipeline.sql import compile_query
from store.claims import Counts, claim
from store.connect import open_engine, upgrade
from store.flush import Flush, write_flush
from store.registry import load_versions, register_queries
from store.series import SeriesIds

SECOND_NS = 1_000_000_000
WINDOW_NS = 10 * SECOND_NS
WINDOWS = 42
#: A whole hour.
BEGIN_NS = 1_795_330_800 * SECOND_NS
END_NS = BEGIN_NS + WINDOWS * WINDOW_NS
#: When dashboards and rules are evaluated: the last window ended as long ago as it takes to come through.
NOW_NS = END_NS + 15 * SECOND_NS
#: Values of each series of a sketch in a window.
OF_A_SKETCH = 120
HOSTS = ("web-1", "web-2")
#: Rules on which a sick fleet is well: its figures still come.
NOT_OF_THE_SICK = ("dead-man", "fleet-unseen")

Values = Mapping[str, float | Sequence[float]]


@dataclass(frozen=True)
class Family:
    """Metrics with the same labels.

    Attributes:
        metrics: aggregate function by metric.
        healthy, sick: values of each series in every window, (labels, metrics); a pair is (median, slow share) of
            a sketch.
        window: as SQL has it; the records come every ten seconds all the same.
    """

    labels: tuple[str, ...]
    metrics: Mapping[str, str]
    healthy: Sequence[tuple[tuple[str, ...], Values]]
    sick: Sequence[tuple[tuple[str, ...], Values]]
    window: str = "'10' SECOND"


def _agent(**changed: float) -> Values:
    usual = {
        "agent_budget_cores": 1.0, "agent_cpu_cores": 0.2, "agent_sampled_ratio": 1.0, "agent_spool_bytes": 1e6,
        "agent_spool_max_bytes": 2.7e8, "agent_spool_oldest_age_s": 1.0, "agent_uplink_up_ratio": 1.0,
        "agent_held_bytes": 1e5, "agent_resident_bytes": 9e7, "agent_breaker_open_ratio": 0.0,
        "agent_series_refused_count": 0.0,
    }  # fmt: skip
    assert set(changed) <= set(usual)
    return {**usual, **changed}


def _collector(**changed: float) -> Values:
    usual: dict[str, float | Sequence[float]] = {
        "collector_pending_bytes": 1e5, "collector_partitions_held_count": 4.0, "collector_frames_count": 100.0,
        "collector_frame_bytes": 1e6, "collector_missing_frames_count": 0.0, "dead_letters_new_count": 0.0,
        "collector_flush_s": (0.02, 0.0),
    }  # fmt: skip
    assert set(changed) <= set(usual)
    return {**usual, **changed}


def _drive(drive: str, origin: str = "measured") -> tuple[str, ...]:
    return (drive, "web-1", "r7", "SSD 850 PRO", "ata", origin)


_DRIVE_LABELS = ("drive", "node", "rack", "model", "kind", "origin")
_DRIVE_METRICS = ("drive_failure_probability", "drive_failure_7d_probability", "drive_state", "drive_wear_used_ratio")


def _said(probability: float, state: float, wear: float) -> Values:
    return dict(zip(_DRIVE_METRICS, (probability, probability / 3, state, wear), strict=True))


def _counted(failures: float, lost_h: float) -> Values:
    """Of each window; a job's first failures of all are in them, too."""
    return {"gpu_job_failures_total": failures, "gpu_lost_seconds_total": lost_h * 3600}


_SERVICE_METRICS = {
    "service_requests_total": "sum", "service_slow_requests_total": "sum", "service_corrected_requests_total": "sum",
    "service_long_requests_total": "sum", "service_long_missed_total": "sum", "service_latency_us_total": "sum",
    "service_p99_us": "max", "service_load_ratio": "avg", "service_share_ratio": "avg", "service_objective_us": "max",
    "service_promise_ratio": "max",
}  # fmt: skip
_SERVICE_ALERTS = (
    ("tail_burn", "page"), ("tail_burn_slow", "ticket"), ("objective_unreachable", "ticket"),
    ("predictor_drift", "ticket"), ("over_parallel", "ticket"), ("table_out_of_range", "ticket"),
    ("under_parallel_idle", "info"), ("profile_stale", "info"), ("advice_ready", "info"), ("advice_blocked", "info"),
)  # fmt: skip


def _minute(slow: float, corrected: float, missed: float, p99_us: float, load: float, share: float) -> Values:
    """Of 1,000 requests, 40 of them long."""
    figures = (1_000.0, slow, corrected, 40.0, missed, 9e6, p99_us, load, share, 80_000.0, 0.99)
    return dict(zip(_SERVICE_METRICS, figures, strict=True))


def _alerts(service: str, origin: str, firing: float) -> list[tuple[tuple[str, ...], Values]]:
    return [
        ((service, alert, severity, origin), {"service_alert_state": firing}) for alert, severity in _SERVICE_ALERTS
    ]


def _node(node: str) -> tuple[str, ...]:
    return (node, "measured")


_SICK_AGENT = _agent(
    agent_cpu_cores=1.3, agent_sampled_ratio=0.5, agent_spool_bytes=2.6e8, agent_spool_oldest_age_s=900.0,
    agent_uplink_up_ratio=0.0, agent_breaker_open_ratio=1.0, agent_series_refused_count=5.0,
)  # fmt: skip
_STATES = [(host, state) for host in HOSTS for state in ("probe", "adapt")]
_WELL = {"alive": 8.0, "silent": 0.0, "retired": 1.0}
_ILL = {"alive": 5.0, "silent": 3.0, "retired": 1.0}
_FLUSH_FAILURES = ("fenced", "database", "refused")
_REQUESTS = (("web-1", "/api/v1/quantiles", "2xx"), ("web-1", "/api/v1/quantiles", "4xx"))
_CRASHES = ("web-1", "/api/v1/quantiles", "5xx")

FAMILIES: Mapping[str, Family] = {
    "hiccups": Family(
        ("host",), {"hiccup_us": "sketch"},
        [((host,), {"hiccup_us": (80.0, 0.0)}) for host in HOSTS],
        [((host,), {"hiccup_us": (80.0, 0.4)}) for host in HOSTS],
    ),
    "requests": Family(
        ("host", "route", "status_class"), {"api_request_us": "sketch", "api_requests_total": "count"},
        [(key, {"api_request_us": (5_000.0, 0.0)}) for key in _REQUESTS],
        [(key, {"api_request_us": (5_000.0, 0.5)}) for key in (*_REQUESTS, _CRASHES)],
    ),
    "agents": Family(
        ("host",),
        {
            "agent_budget_cores": "avg", "agent_cpu_cores": "avg", "agent_sampled_ratio": "min",
            "agent_spool_bytes": "max", "agent_spool_max_bytes": "max", "agent_spool_oldest_age_s": "max",
            "agent_uplink_up_ratio": "min", "agent_held_bytes": "max", "agent_resident_bytes": "max",
            "agent_breaker_open_ratio": "max", "agent_series_refused_count": "sum",
        },
        [((host,), _agent()) for host in HOSTS],
        [(("web-1",), _SICK_AGENT), (("web-2",), _agent())],
    ),
    "drops": Family(
        ("host", "reason"), {"agent_dropped_count": "sum"},
        [((host, "spool_full"), {"agent_dropped_count": 0.0}) for host in HOSTS],
        [((host, "spool_full"), {"agent_dropped_count": 12.0}) for host in HOSTS],
    ),
    "shares": Family(
        ("host", "query", "proxy", "operator"), {"agent_share_ratio": "min"},
        [((host, "hiccups", "0", "aggregate"), {"agent_share_ratio": 1.0}) for host in HOSTS],
        [((host, "hiccups", "0", "aggregate"), {"agent_share_ratio": 0.3}) for host in HOSTS],
    ),
    "states": Family(
        ("host", "state"), {"agent_state_ratio": "avg"},
        [(key, {"agent_state_ratio": float(key[1] == "probe")}) for key in _STATES],
        [(key, {"agent_state_ratio": float(key[1] == "adapt")}) for key in _STATES],
    ),
    "targets": Family(
        ("host", "instance"), {"target_up_ratio": "min"},
        [(("web-1", instance), {"target_up_ratio": 1.0}) for instance in ("collector:9464", "api:8080")],
        [(("web-1", "collector:9464"), {"target_up_ratio": 0.0}), (("web-1", "api:8080"), {"target_up_ratio": 1.0})],
    ),
    "collectors": Family(
        ("host", "instance"),
        {
            "collector_pending_bytes": "max", "collector_partitions_held_count": "max", "collector_frames_count": "sum",
            "collector_frame_bytes": "sum", "collector_missing_frames_count": "sum", "dead_letters_new_count": "sum",
            "collector_flush_s": "sketch",
        },
        # Two agents read the same collector: what it counts must not count twice.
        [((host, "collector:9464"), _collector()) for host in HOSTS],
        [((host, "collector:9464"), _collector(collector_missing_frames_count=3.0, dead_letters_new_count=2.0))
         for host in HOSTS],
    ),
    "flush_failures": Family(
        ("host", "instance", "reason"), {"collector_flush_failures_count": "sum"},
        # A partition that moves to another collector is no fault.
        [(("web-1", "collector:9464", reason), {"collector_flush_failures_count": float(reason == "fenced")})
         for reason in _FLUSH_FAILURES],
        [(("web-1", "collector:9464", reason), {"collector_flush_failures_count": 4.0}) for reason in _FLUSH_FAILURES],
    ),
    "partitions": Family(
        ("host", "instance", "partition"), {"collector_lag_count": "max", "collector_flush_age_s": "max"},
        [(("web-1", "collector:9464", str(number)), {"collector_lag_count": 12.0, "collector_flush_age_s": 1.0})
         for number in range(2)],
        [(("web-1", "collector:9464", str(number)), {"collector_lag_count": 9e6, "collector_flush_age_s": 400.0})
         for number in range(2)],
    ),
    "collector_series": Family(
        ("host", "instance", "query"), {"series_refused_count": "sum"},
        [(("web-1", "collector:9464", "requests"), {"series_refused_count": 0.0})],
        [(("web-1", "collector:9464", "requests"), {"series_refused_count": 9.0})],
    ),
    "fleet": Family(
        (),
        {"fleet_coverage_ratio": "min", "quarantined_frames_count": "max", "database_bytes": "max",
         "database_max_bytes": "max"},
        [((), {"fleet_coverage_ratio": 0.9995, "quarantined_frames_count": 0.0, "database_bytes": 1e9,
               "database_max_bytes": 1e10})],
        [((), {"fleet_coverage_ratio": 0.5, "quarantined_frames_count": 7.0, "database_bytes": 9.5e9,
               "database_max_bytes": 1e10})],
    ),
    "fleet_queries": Family(
        ("query",), {"query_coverage_ratio": "min", "series_used_ratio": "max"},
        [(("requests",), {"query_coverage_ratio": 1.0, "series_used_ratio": 0.1})],
        [(("requests",), {"query_coverage_ratio": 0.5, "series_used_ratio": 0.99})],
    ),
    "fleet_hosts": Family(
        ("covered",), {"host_coverage_ratio": "min"}, [], [(("web-1",), {"host_coverage_ratio": 0.5})]
    ),
    "fleet_states": Family(
        ("state",), {"fleet_agents_count": "max"},
        [((state,), {"fleet_agents_count": count}) for state, count in _WELL.items()],
        [((state,), {"fleet_agents_count": count}) for state, count in _ILL.items()],
    ),
    "silent_agents": Family(("agent",), {"agent_silent_s": "max"}, [], [(("web-9",), {"agent_silent_s": 600.0})]),
    "clocks": Family(
        ("agent",), {"agent_clock_ahead_s": "max"},
        [((host,), {"agent_clock_ahead_s": 0.01}) for host in HOSTS],
        [(("web-1",), {"agent_clock_ahead_s": 40.0}), (("web-2",), {"agent_clock_ahead_s": -500.0})],
    ),
    "drive_verdicts": Family(
        _DRIVE_LABELS, dict.fromkeys(_DRIVE_METRICS, "max"),
        [(_drive(f"S{number}"), _said(0.001, 0.0, 0.1)) for number in range(4)],
        [(_drive("S0"), _said(0.7, 2.0, 1.04)), (_drive("S1"), _said(0.05, 1.0, 0.93)),
         (_drive("S2", "synthetic"), _said(0.001, 0.0, 0.6)), (_drive("S3"), _said(0.001, -1.0, 0.1))],
        "'5' MINUTE",
    ),
    "drive_counts": Family(
        ("state", "model", "origin"), {"drives_count": "max"},
        [((state, "SSD 850 PRO", "measured"), {"drives_count": count})
         for state, count in (("good", 90.0), ("watch", 2.0), ("replace", 0.0), ("unknown", 3.0))],
        [((state, "SSD 850 PRO", origin), {"drives_count": count})
         for state, origin, count in (("good", "synthetic", 9.0), ("watch", "measured", 2.0),
                                      ("replace", "measured", 1.0), ("unknown", "measured", 50.0))],
        "'5' MINUTE",
    ),
    "collector_drives": Family(
        ("host", "instance"), {"collector_drives_lag_s": "max"},
        [(("web-1", "collector:9464"), {"collector_drives_lag_s": 400.0})],
        [(("web-1", "collector:9464"), {"collector_drives_lag_s": 40_000.0})],
    ),
    "gpu_job_failures": Family(
        ("category", "reason", "origin"), {"gpu_job_failures_total": "sum", "gpu_lost_seconds_total": "sum"},
        # Records come every ten seconds, thirty of them in a window.
        [(("user", "config_error", "measured"), _counted(0.02, 0.001)),
         (("infrastructure", "gpu_ecc", "measured"), _counted(0.01, 0.002))],
        [(("infrastructure", "gpu_ecc", "measured"), _counted(1.0, 8.0)),
         (("infrastructure", "nvlink_error", "synthetic"), _counted(0.01, 0.001)),
         (("user", "config_error", "measured"), _counted(0.1, 0.01))],
        "'5' MINUTE",
    ),
    "gpu_nodes": Family(
        ("node", "origin"), {"gpu_node_failures_ratio": "max", "gpu_node_anomaly_state": "max"},
        [(_node(f"gpu-{number}"), {"gpu_node_failures_ratio": 1.1, "gpu_node_anomaly_state": 0.0})
         for number in range(3)],
        [(_node("gpu-0"), {"gpu_node_failures_ratio": 9.0, "gpu_node_anomaly_state": 1.0}),
         (_node("gpu-1"), {"gpu_node_failures_ratio": 0.9, "gpu_node_anomaly_state": 0.0})],
        "'5' MINUTE",
    ),
    "gpu_explained": Family(
        ("origin",), {"gpu_jobs_unexplained_ratio": "max"},
        [(("measured",), {"gpu_jobs_unexplained_ratio": 0.05})],
        [(("measured",), {"gpu_jobs_unexplained_ratio": 0.6})],
        "'5' MINUTE",
    ),
    "collector_gpu": Family(
        ("host", "instance"), {"collector_gpu_lag_s": "max"},
        [(("web-1", "collector:9464"), {"collector_gpu_lag_s": 90.0})],
        [(("web-1", "collector:9464"), {"collector_gpu_lag_s": 9_000.0})],
    ),
    "collector_gpu_failures": Family(
        ("host", "instance", "reason"), {"collector_gpu_failures_count": "sum"},
        [((host, "collector:9464", "database"), {"collector_gpu_failures_count": 0.0}) for host in HOSTS],
        [((host, "collector:9464", "database"), {"collector_gpu_failures_count": 0.2}) for host in HOSTS],
    ),
    "service_minutes": Family(
        ("service", "origin"), _SERVICE_METRICS,
        [(("search", "measured"), _minute(4, 50, 6, 70_000, 0.4, 0.99))],
        [(("search", "measured"), _minute(300, 200, 16, 260_000, 0.95, 0.7)),
         (("demo", "synthetic"), _minute(4, 50, 6, 70_000, 0.4, 0.99))],
        "'1' MINUTE",
    ),
    "service_causes": Family(
        ("service", "cause", "origin"), {"service_slow_cause_requests_total": "sum"},
        [(("search", cause, "measured"), {"service_slow_cause_requests_total": 2.0})
         for cause in ("mispredicted", "under_parallel")],
        [(("search", cause, "measured"), {"service_slow_cause_requests_total": 100.0})
         for cause in ("queueing", "contention", "mispredicted")],
        "'1' MINUTE",
    ),
    "service_alerts": Family(
        ("service", "alert", "severity", "origin"), {"service_alert_state": "max"},
        _alerts("search", "measured", 0.0),
        [*_alerts("search", "measured", 1.0), *_alerts("demo", "synthetic", 0.0)],
        "'5' MINUTE",
    ),
    "collector_tail": Family(
        ("host", "instance"), {"collector_tail_lag_s": "max"},
        [(("web-1", "collector:9464"), {"collector_tail_lag_s": 60.0})],
        [(("web-1", "collector:9464"), {"collector_tail_lag_s": 9_000.0})],
    ),
    "collector_tail_failures": Family(
        ("host", "instance", "reason"), {"collector_tail_failures_count": "sum"},
        [((host, "collector:9464", "database"), {"collector_tail_failures_count": 0.0}) for host in HOSTS],
        [((host, "collector:9464", "database"), {"collector_tail_failures_count": 0.2}) for host in HOSTS],
    ),
    "dead_letters": Family(
        ("reason",), {"dead_letters_count": "max"}, [], [(("checksum",), {"dead_letters_count": 2.0})]
    ),
}  # fmt: skip


def plans() -> dict[str, Plan]:
    """The compiled query of each family, by its name."""
    found = {}
    for name, family in FAMILIES.items():
        schema = {"ts": "int64", "host": "string"}
        schema |= dict.fromkeys(family.labels, "string") | {f"raw_{metric}": "float64" for metric in family.metrics}
        chosen = [
            *family.labels,
            *("count(*)" if how == "count" else f"{how}(raw_{metric})" for metric, how in family.metrics.items()),
        ]
        aliases = ["", *(f" AS {metric}" for metric in family.metrics)]
        select = ", ".join(
            part + (aliases[max(place - len(family.labels) + 1, 0)]) for place, part in enumerate(chosen)
        )
        keys = ", ".join([f"TUMBLE(ts, INTERVAL {family.window})", *family.labels])
        stream = f"synthetic_{name}"
        sql = f"SELECT {select} FROM {stream} GROUP BY {keys}"
        found[name] = compile_query(stream, sql, {stream: schema}, {})
    return found


def fill(path: Path, *, sick: bool) -> str:
    """A SQLite store at `path` with WINDOWS windows of a healthy or a sick fleet; its address."""
    url = f"sqlite:///{path}"
    upgrade(url)
    engine = open_engine(url)
    compiled = plans()
    with engine.begin() as connection:
        register_queries(connection, list(compiled.values()), BEGIN_NS - SECOND_NS)
        held = claim(connection, "tailwatch", 0, "collector-1")
        versions = load_versions(connection)
    source = np.random.default_rng(8)
    partials = {}
    for name, family in FAMILIES.items():
        records = _records(family, family.sick if sick else family.healthy, source)
        if records is not None:
            partials[compiled[name].version] = Chain(compiled[name], {}).finish(records, 0)
    flush = Flush(
        held.next_offset + 1, NOW_NS, counts=Counts(frames=1, bytes=1, records=1, groups=1), partials=partials
    )
    write_flush(engine, held, flush, versions, SeriesIds())
    engine.dispose()
    return url


def _records(
    family: Family, series: Sequence[tuple[tuple[str, ...], Values]], source: np.random.Generator
) -> pl.DataFrame | None:
    """One record of each series in every window; as many as a sketch has values where there is a sketch."""
    frames = []
    many = "sketch" in family.metrics.values()
    rows = WINDOWS * (OF_A_SKETCH if many else 1)
    spacing = WINDOW_NS // (OF_A_SKETCH if many else 1)
    for key, values in series:
        columns: dict[str, object] = {"ts": BEGIN_NS + np.arange(rows) * spacing, "host": ["synthetic"] * rows}
        columns |= {label: [text] * rows for label, text in zip(family.labels, key, strict=True)}
        for metric, how in family.metrics.items():
            if how == "count":
                column = np.zeros(rows)
            elif how == "sketch":
                column = _tail(values[metric], rows, source)
            else:
                # What a window counts stands in its first record, so that a sum is the value also among a sketch's.
                column = np.full(rows, values[metric])
                if how == "sum" and many:
                    column[np.arange(rows) % OF_A_SKETCH != 0] = 0.0
            columns[f"raw_{metric}"] = column
        frames.append(pl.DataFrame(columns))
    return pl.concat(frames) if frames else None


def _tail(shape: float | Sequence[float], rows: int, source: np.random.Generator) -> np.ndarray:
    """Lognormal values about a median, of which a share is a thousand times slower."""
    assert isinstance(shape, Sequence)
    median, slow = shape
    values = median * source.lognormal(0.0, 0.3, rows)
    return np.where(source.random(rows) < slow, values * 1_000.0, values)
