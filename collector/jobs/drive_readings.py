"""What drives said of themselves, out of the stored windows of the query `drives`: a reading a drive and hour.

Read for some series at a time, metric by metric, as arrays: a fleet has many more drives than there is room for
objects. The names of the query's metrics are turned back into those of the stream `smart`; what the version of that
time did not have, or a drive did not tell, is NULL.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import sqlalchemy as sa

from pipeline.scalar_states import MaxState, MinState
from store.changes import hour_changes
from store.registry import MetricRow
from store.samples import Instants, SeriesCodes, WindowStates, plan, read
from store.snapshot import Snapshot

Int64Array = npt.NDArray[np.int64]

QUERY: Final = "drives"
DAY_NS: Final = 86_400 * 10**9
HOURS_A_DAY: Final = 24
_LABELS: Final = ("host", "rack", "serial", "device", "model", "family", "firmware", "kind")
# Column of the stream -> the metric that holds its extreme of an hour.
_METRICS: Final[Mapping[str, str]] = {
    "uncorrectable_total": "drive_uncorrectable_total",
    "media_errors_total": "drive_media_errors_total",
    "crc_total": "drive_crc_total",
    "realloc_total": "drive_realloc_total",
    "pending_count": "drive_pending_count",
    "program_fail_total": "drive_program_fail_total",
    "erase_fail_total": "drive_erase_fail_total",
    "downshift_total": "drive_downshift_total",
    "e2e_total": "drive_e2e_total",
    "err_log_entries_total": "drive_err_log_entries_total",
    "power_on_h": "drive_power_on_s",
    "power_cycles_total": "drive_power_cycles_total",
    "unsafe_shutdowns_total": "drive_unsafe_shutdowns_total",
    "host_written_bytes": "drive_host_written_bytes",
    "host_read_bytes": "drive_host_read_bytes",
    "nand_written_bytes": "drive_nand_written_bytes",
    "wear_used_pct": "drive_wear_used_percent",
    "spare_pct": "drive_spare_percent",
    "spare_threshold_pct": "drive_spare_threshold_percent",
    "temperature_c": "drive_temperature_celsius",
    "critical_warning": "drive_critical_warning_state",
    "passed": "drive_passed_state",
    "failing": "drive_failing_state",
    "rotation_rpm": "drive_rotation_rpm",
    "no_smart": "drive_no_smart_state",
}
# It has a value in every window that there is, so it says which windows these are.
_ALWAYS: Final = "no_smart"
_SECONDS: Final = {"power_on_h": 3600}

#: What `readings` gives: the columns of the stream, and the agent's rack.
READINGS: Final[dict[str, pl.DataType]] = {
    "ts": pl.Int64(),
    **dict.fromkeys(_LABELS, pl.String()),
    "state": pl.String(),
    **{name: pl.Int64() for name in _METRICS if name != _ALWAYS},
}


@dataclass(frozen=True, slots=True)
class DriveQuery:
    """The query `drives` as the database knows it."""

    query_id: int
    versions: tuple[int, ...]
    metrics: Mapping[str, MetricRow]


def drive_query(seen: Snapshot) -> DriveQuery | None:
    """The query, or None where no collector has made it known, or it is another query of that name."""
    metrics = {column: seen.view.metrics[name] for column, name in _METRICS.items() if name in seen.view.metrics}
    known = metrics.get(_ALWAYS)
    if known is None or known.query != QUERY or not set(_LABELS) <= set(known.labels):
        return None
    versions = {valid.version.version_id for valid in seen.view.ranges(known.query_id)}
    mine = {column: row for column, row in metrics.items() if row.query_id == known.query_id and row.integer}
    return DriveQuery(known.query_id, tuple(sorted(versions)), mine)


def changed_days(connection: sa.Connection, query: DriveQuery, from_day: int, to_day: int) -> dict[int, int]:
    """Day (days since 1970) in [from_day, to_day] -> how often its windows have changed so far; 0 is left out."""
    days: dict[int, int] = {}
    hours = hour_changes(connection, query.versions, from_day * HOURS_A_DAY, (to_day + 1) * HOURS_A_DAY - 1)
    for hour, changes in hours.items():
        days[hour // HOURS_A_DAY] = days.get(hour // HOURS_A_DAY, 0) + changes
    return days


def labels_of(series: Sequence[tuple[int, Mapping[str, str]]]) -> pl.DataFrame:
    """Labels of series as columns of text, empty ones as NULL, beside `series`, their ids.

    Without the zero bytes that firmware pads with: PostgreSQL takes none in a text.
    """
    columns = {
        name: pl.Series(name, [labels.get(name, "").replace("\x00", "") or None for _, labels in series], pl.String)
        for name in _LABELS
    }
    return pl.DataFrame({"series": pl.Series([number for number, _ in series], dtype=pl.Int64), **columns})


def readings(
    seen: Snapshot, query: DriveQuery, labels: pl.DataFrame, day: int, pause: Callable[[], None] = lambda: None
) -> pl.DataFrame:
    """All readings of these series on one UTC day, in the columns of READINGS; `ts` lies within the reading's hour.

    Args:
        labels: as labels_of gives them.
        pause: called between pieces of work; may raise to end the read.
    Raises:
        CorruptPageError: a page is damaged.
    """
    ids = np.sort(labels["series"].to_numpy())
    meant = SeriesCodes(ids, np.arange(ids.size, dtype=np.int64))
    end_ns = (day + 1) * DAY_NS
    asked = Instants(end_ns, end_ns, DAY_NS, DAY_NS)
    always = read(seen.connection, plan(seen, query.metrics[_ALWAYS], meant, asked, False), pause)
    if always is None:
        return pl.DataFrame(schema=READINGS)
    keys = _keys(always, end_ns)
    columns = []
    for column, row in query.metrics.items():
        found = always if column == _ALWAYS else read(seen.connection, plan(seen, row, meant, asked, False), pause)
        if found is not None:
            columns.append(_aligned(column, found, keys, end_ns))
    together = pl.DataFrame([pl.Series("code", always.codes), pl.Series("ends", always.times_ns), *columns])
    named = together.with_columns(series=pl.Series(ids).gather(together["code"]))
    whole = named.join(labels, on="series", how="left", maintain_order="left")
    state = pl.when(pl.col(_ALWAYS) > 0).then(pl.lit("no_smart")).otherwise(pl.lit("ok"))
    # A window's end belongs to the next one.
    whole = whole.with_columns(ts=pl.col("ends") - 1, state=state)
    return whole.select(
        (pl.col(name) if name in whole.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in READINGS.items()
    )


def _keys(found: WindowStates, end_ns: int) -> Int64Array:
    """One number a window, ascending as windows are: by series, then by time within the day."""
    return found.codes * DAY_NS + (found.times_ns - (end_ns - DAY_NS)) - 1


def _aligned(name: str, found: WindowStates, keys: Int64Array, end_ns: int) -> pl.Series:
    """The values of a metric in the rows of `keys`, NULL where it has none."""
    state = found.state
    if not isinstance(state, MaxState | MinState):
        raise TypeError(f"a metric of the query {QUERY} has states of {type(state).__name__}; want a min or a max")
    mine = _keys(found, end_ns)
    places = np.minimum(np.searchsorted(keys, mine), keys.size - 1)
    here = state.present & (keys[places] == mine)
    values, known = np.zeros(keys.size, np.int64), np.zeros(keys.size, np.bool_)
    values[places[here]] = state.values[here] // _SECONDS.get(name, 1)
    known[places[here]] = True
    return pl.Series(name, values) if known.all() else pl.Series(name, values).set(pl.Series(~known), None)
