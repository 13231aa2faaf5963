"""The collector's settings (section `collector` of the configuration)."""

from typing import Annotated

import msgspec

from collector.jobs.config import JobsConfig, RetentionConfig

Positive = Annotated[float, msgspec.Meta(gt=0)]


class CollectorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a collector reads, remembers and flushes.

    Attributes:
        id: name under which it claims partitions; empty: host name and process id.
        topic: name of the stream of frames, also in the database.
        flush_interval_s: seconds between two flushes of a partition; answers lag by about this much.
        poll_records: records taken from the transport at once.
        max_pending_bytes: frames held in memory between flushes; beyond it partitions pause.
        spool_age_s: the longest time an agent may hold a frame; gaps and marks older than this are closed.
        quarantine_max_frames: frames of unknown plans kept per partition; when full, the partition pauses.
        valid_from_lead_s: how far ahead a new version of a query becomes valid (three poll intervals of the agents).
        future_max_s: how far ahead of the clock a window may begin; a wrong time zone is at most 14 hours off.
        dead_letters_max_bytes: dead letters kept per partition; beyond it the oldest go.
        series_max: series that one query may have; groups that would make another one are refused and counted.
        metrics_host: address that /metrics listens on; others than loopback for those who scrape from elsewhere.
        metrics_port: /metrics and /healthz on this port of it; 0: off.
    """

    id: str = ""
    topic: str = "tailwatch"
    flush_interval_s: Positive = 1.0
    poll_records: Annotated[int, msgspec.Meta(ge=1)] = 500
    max_pending_bytes: Annotated[int, msgspec.Meta(ge=1_000_000)] = 128 * 2**20
    spool_age_s: Positive = 7 * 86_400.0
    quarantine_max_frames: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 10_000
    valid_from_lead_s: Annotated[float, msgspec.Meta(ge=0)] = 30.0
    future_max_s: Annotated[float, msgspec.Meta(gt=0, le=1e9)] = 86_400.0
    dead_letters_max_bytes: Annotated[int, msgspec.Meta(ge=1_000_000)] = 64 * 2**20
    series_max: Annotated[int, msgspec.Meta(ge=1, le=100_000_000)] = 100_000
    metrics_host: Annotated[str, msgspec.Meta(min_length=1)] = "127.0.0.1"
    metrics_port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    jobs: JobsConfig = msgspec.field(default_factory=JobsConfig)
    retention: RetentionConfig = msgspec.field(default_factory=RetentionConfig)
