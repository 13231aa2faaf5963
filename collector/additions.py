"""What a frame adds: its body read by kind, checked, and only then put into what is pending.

Everything that can fail comes before the first addition, so a frame that turns out unusable has added nothing.
"""

from collections.abc import Mapping

import polars as pl

from collector.errors import UnusableFrameError
from collector.pending import Pending
from collector.plans import Plans
from collector.series_limit import SeriesLimit
from pipeline.manifest import MANIFEST_SCHEMA, Manifest, window_counts
from pipeline.partial import Partial
from pipeline.schema import polars_schema
from store.fleet import AgentReport, VersionProgress
from store.interruptions import UNCLEAN_END, Interruption
from store.registry import RegisteredVersion
from wire.columns import unpack_columns
from wire.frame import Frame, Header
from wire.heartbeat import decode_heartbeat

# No frame of 1 MB speaks of more; sums of such amounts stay within 64 bits.
RECORDS_MAX = 2**40


def add_frame(frame: Frame, plans: Plans, pending: Pending, limit: SeriesLimit) -> None:
    """Add what the frame says, as far as `limit` lets it; its version, where it names one, is usable.

    Raises:
        UnusableFrameError, CorruptFrameError, PipelineError: it does not fit its plan; nothing was added.
    """
    header = frame.header
    if header.kind == "heartbeat":
        _add_heartbeat(frame, plans, pending)
    elif header.kind == "status":
        return
    elif not header.version:
        raise UnusableFrameError(f"a {header.kind} frame of {header.agent} names no query version")
    elif header.kind == "partial":
        _add_partial(frame, plans, pending, limit)
    elif header.kind == "drained":
        _add_drained(frame, plans, pending, limit)
    else:
        manifest = Manifest.from_frame(unpack_columns(frame.body, MANIFEST_SCHEMA))
        _check_amounts(header, manifest.to_frame()["rows"])
        pending.add_manifest(plans.versions[header.version].version_id, header.agent, manifest)


def _add_partial(frame: Frame, plans: Plans, pending: Pending, limit: SeriesLimit) -> None:
    version = plans.versions[frame.header.version]
    partial = Partial.from_frame(version.plan, unpack_columns(frame.body, Partial.schema(version.plan)))
    _check_amounts(frame.header, partial.keys["rows"])
    arrived = partial.record_counts()
    refused = _add_groups(frame.header, version, partial, pending, limit)
    for window_ns, count in arrived.items():
        merged = count - refused.get(window_ns, 0)
        pending.arrived(version.version_id, window_ns, frame.header.agent, got_local=merged)
    pending.count("records", sum(arrived.values()))


def _add_drained(frame: Frame, plans: Plans, pending: Pending, limit: SeriesLimit) -> None:
    header = frame.header
    version, chain = plans.versions[header.version], plans.chain(header.version)
    rows = unpack_columns(frame.body, polars_schema(chain.schema_at(header.cut)))
    if rows["ts"].null_count():
        raise UnusableFrameError(f"drained rows of {header.agent} have no time stamp; agents drop and count such rows")
    windows, counts = window_counts(rows, version.plan.window_ns)
    refused = _add_groups(header, version, chain.finish(rows, after=header.cut), pending, limit)
    for window_ns, count in zip(windows.tolist(), counts.tolist(), strict=True):
        # Rows that a later stage leaves out count as merged: that is what became of them. Stages keep each row's
        # time, so those of a refused group are among the rows of its window.
        merged = count - refused.get(window_ns, 0)
        pending.arrived(version.version_id, window_ns, header.agent, got_drained=merged)
    pending.count("records", rows.height)


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


def _add_heartbeat(frame: Frame, plans: Plans, pending: Pending) -> None:
    header, beat = frame.header, decode_heartbeat(frame.body)
    if beat.agent != header.agent:
        raise UnusableFrameError(f"heartbeat of {beat.agent} in a frame of {header.agent}")
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
        )
    )
    pending.interruptions.extend(
        Interruption(beat.agent, version.version_id, query.interrupted_from_ns, query.interrupted_to_ns, UNCLEAN_END)
        for version, query in known
        if query.interrupted_from_ns is not None and query.interrupted_to_ns is not None
    )


def _check_amounts(header: Header, amounts: pl.Series) -> None:
    most = max(amounts.to_list(), default=0)
    if most > RECORDS_MAX:
        raise UnusableFrameError(
            f"a {header.kind} frame of {header.agent} speaks of {most} records; at most {RECORDS_MAX}"
        )
