"""What a frame adds: its body read by kind, checked, and only then put into what is pending.

Everything that can fail comes before the first addition, so a frame that turns out unusable has added nothing. Records
of windows too far ahead are left out alone: an agent whose clock is wrong has made frames that are partly right, and
coverage shows what its manifest speaks of and has not arrived.
"""

import re
from collections.abc import Mapping

import numpy as np
import polars as pl

from collector.clock import utc
from collector.errors import UnusableFrameError
from collector.pending import Pending
from collector.plans import Plans
from collector.series_limit import SeriesLimit
from pipeline.coded import Coded
from pipeline.manifest import MANIFEST_SCHEMA, Manifest, window_counts
from pipeline.partial import Partial
from pipeline.ragged import as_series
from pipeline.schema import polars_schema
from store.agent_status import AgentStatus
from store.fleet import AgentReport, VersionProgress
from store.interruptions import NOT_SEEN, UNCLEAN_END, Interruption
from store.levels import Int64Array
from store.registry import RegisteredVersion
from wire.columns import unpack_columns, unpack_ragged
from wire.frame import Frame, Header
from wire.heartbeat import Heartbeat
from wire.status import decode_status, status_text

# No frame of 1 MB speaks of more; sums of such amounts stay within 64 bits.
RECORDS_MAX = 2**40
_INCARNATION = re.compile(r"([0-9a-f]{32})?")


def add_frame(frame: Frame, plans: Plans, pending: Pending, limit: SeriesLimit, newest_ns: int) -> str | None:
    """Add what a frame says that is no heartbeat, as far as `limit` lets it; its version, if it names one, is usable.

    Windows that begin after `newest_ns` are left out and counted; returns what to say of them, if there are any.

    Raises:
        UnusableFrameError, CorruptFrameError, PipelineError: it does not fit its plan; nothing was added.
    """
    header = frame.header
    if header.kind == "status":
        _add_status(frame, pending)
        return None
    if not header.version:
        raise UnusableFrameError(f"a {header.kind} frame of {header.agent} names no query version")
    if header.kind == "partial":
        return _add_partial(frame, plans, pending, limit, newest_ns)
    if header.kind == "drained":
        return _add_drained(frame, plans, pending, limit, newest_ns)
    manifest = Manifest.from_frame(unpack_columns(frame.body, MANIFEST_SCHEMA))
    _check_amounts(header, manifest.to_frame()["rows"])
    pending.add_manifest(plans.versions[header.version].version_id, header.agent, manifest)
    return None


def _add_partial(frame: Frame, plans: Plans, pending: Pending, limit: SeriesLimit, newest_ns: int) -> str | None:
    version = plans.versions[frame.header.version]
    columns = unpack_ragged(frame.body, Partial.schema(version.plan))
    partial = Partial.from_columns(version.plan, columns)
    # A count is no more than its group's records, and would wrap around in a page: bounded as they are. So are bytes.
    amounts = [f"{metric.name}.{part}" for metric in version.plan.metrics for part in ("n", "bytes")]
    for name in ("rows", *(amount for amount in amounts if amount in columns)):
        _check_amounts(frame.header, as_series(name, columns[name], pl.Int64()))
    left_out = None
    windows, rows = partial.keys["window"].to_numpy(), partial.keys["rows"].to_numpy()
    ahead = windows > newest_ns
    if ahead.any():
        partial = partial.take(np.flatnonzero(~ahead))
        left_out = _leave_out(frame.header, windows[ahead], rows[ahead], pending)
    arrived = partial.record_counts()
    refused = _add_groups(frame.header, version, partial, pending, limit)
    for window_ns, count in arrived.items():
        merged = count - refused.get(window_ns, 0)
        pending.arrived(version.version_id, window_ns, frame.header.agent, got_local=merged)
    pending.count("records", sum(arrived.values()))
    return left_out


def _add_drained(frame: Frame, plans: Plans, pending: Pending, limit: SeriesLimit, newest_ns: int) -> str | None:
    header = frame.header
    version, chain = plans.versions[header.version], plans.chain(header.version)
    schema = polars_schema(chain.schema_at(header.cut))
    columns = unpack_ragged(frame.body, schema)
    coded = {name: column for name, column in columns.items() if isinstance(column, Coded)}
    rows = pl.DataFrame([as_series(name, column, schema[name]) for name, column in columns.items()])
    if rows["ts"].null_count():
        raise UnusableFrameError(f"drained rows of {header.agent} have no time stamp; agents drop and count such rows")
    windows, counts = window_counts(rows, version.plan.window_ns)
    ahead = windows > newest_ns
    if ahead.any():
        rows, coded = rows.filter(pl.col("ts") < int(windows[ahead].min())), {}
    refused = _add_groups(header, version, chain.finish(rows, header.cut, coded), pending, limit)
    left_out = _leave_out(header, windows[ahead], counts[ahead], pending) if ahead.any() else None
    windows, counts = windows[~ahead], counts[~ahead]
    for window_ns, count in zip(windows.tolist(), counts.tolist(), strict=True):
        # Rows that a later stage leaves out count as merged: that is what became of them. Stages keep each row's
        # time, so those of a refused group are among the rows of its window.
        merged = count - refused.get(window_ns, 0)
        pending.arrived(version.version_id, window_ns, header.agent, got_drained=merged)
    pending.count("records", rows.height)
    return left_out


def _add_groups(
    header: Header, version: RegisteredVersion, partial: Partial, pending: Pending, limit: SeriesLimit
) -> Mapping[int, int]:
    """Add the groups that the series limit lets through; returns the records of the others, by window."""
    kept, refused = limit.split(version, partial)
    pending.add_partial(header.version, kept)
    if refused is None:
        return {}
    pending.refuse(version, header.agent, refused)
    return refused.records


def add_heartbeat(header: Header, beat: Heartbeat, plans: Plans, pending: Pending, *, restored: bool) -> None:
    """Add what an agent says of itself; `restored` tells that its spool is an older copy.

    Raises:
        UnusableFrameError: it says what cannot be; nothing was added.
    """
    if beat.agent != header.agent:
        raise UnusableFrameError(f"heartbeat of {beat.agent} in a frame of {header.agent}")
    if not _INCARNATION.fullmatch(beat.previous_incarnation) or not 0 <= beat.previous_sequence < 2**63:
        raise UnusableFrameError(
            f"heartbeat of {beat.agent} names {beat.previous_incarnation[:64]!r}, sequence {beat.previous_sequence}, "
            "as its previous incarnation; want 32 hex digits or nothing, and a sequence from 0"
        )
    known = [(plans.versions[query.version], query) for query in beat.queries if query.version in plans.versions]
    pending.add_report(
        AgentReport(
            agent=beat.agent,
            host=beat.host,
            machine_id=beat.machine_id,
            incarnation=header.incarnation,
            started_ns=beat.started_ns,
            sent_ns=beat.sent_ns,
            counters=beat.counters,
            progress=[
                VersionProgress(
                    version.version_id, version.query_id, query.first_ns, query.watermark_ns, query.replayable
                )
                for version, query in known
            ],
            unregistered=[
                (query.query, query.first_ns) for query in beat.queries if query.version not in plans.versions
            ],
            previous=beat.previous_incarnation,
            previous_sequence=beat.previous_sequence,
            restored=restored,
        )
    )
    pending.interruptions.extend(
        Interruption(
            beat.agent,
            version.version_id,
            query.interrupted_from_ns,
            query.interrupted_to_ns,
            NOT_SEEN if query.replayable else UNCLEAN_END,
        )
        for version, query in known
        if query.interrupted_from_ns is not None and query.interrupted_to_ns is not None
    )


def _add_status(frame: Frame, pending: Pending) -> None:
    header, status = frame.header, decode_status(frame.body)
    if status.agent != header.agent:
        raise UnusableFrameError(f"status of {status.agent} in a frame of {header.agent}")
    pending.add_status(
        AgentStatus(
            header.agent, header.incarnation, header.started_ns, header.sequence, status.sent_ns, status_text(status)
        )
    )


def _check_amounts(header: Header, amounts: pl.Series) -> None:
    most = int(amounts.to_numpy().max(initial=0))
    if most > RECORDS_MAX:
        raise UnusableFrameError(
            f"a {header.kind} frame of {header.agent} speaks of {most} records or bytes; at most {RECORDS_MAX}"
        )


def _leave_out(header: Header, windows: Int64Array, amounts: Int64Array, pending: Pending) -> str:
    """Count records whose windows lie too far ahead; returns what to say of them."""
    records = int(amounts.sum())
    pending.count("too_new", records)
    return (
        f"a {header.kind} frame of {header.agent} holds {records} records of windows from {utc(int(windows.min()))} "
        f"to {utc(int(windows.max()))}; the agent's clock said {utc(header.created_ns)} when it made the frame"
    )
