"""What a drive has been through: wear, writes and write amplification, age, warmth; and how well it is known."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from analytics.ssd.growth import HOURS_PER_DAY, Sheet, days_powered_on, log1p
from analytics.ssd.timeline import WINDOW_D, Block, Column, Int64Array, window_max

Columns = Mapping[str, Column | None]
Float64Array = npt.NDArray[np.float64]

INFANT_D: Final = 90
#: Rates over fewer days than this would be mostly noise.
_LEAST_SPAN_D: Final = 7
_GB: Final = 1e9
#: Bits of critical_warning that speak of the medium: spare, reliability, read-only. Warmth (2) and the backup of
#: volatile memory (16) do not.
_MEDIUM: Final = 1 | 4 | 8
#: Lower than any temperature, for rows where it is unknown.
_COLD: Final = -(10**6)


def workload_features(block: Block, columns: Columns, into: Sheet) -> None:
    """Wear, spare blocks, writes, age, shutdowns, and the drive's own verdict."""
    _wear(block, columns, into)
    _writes(block, columns, into)
    hours = _level(block, columns["power_on_h"])
    into["age_d"][:] = hours / HOURS_PER_DAY
    into["infant"][:] = np.where(np.isnan(hours), np.nan, hours < INFANT_D * HOURS_PER_DAY)
    into["read_error_level"][:] = log1p(_level(block, columns["read_error_raw"]))
    into["temperature_c"][:] = _level(block, columns["temperature_c"])
    for word in ("unsafe_shutdowns", "power_cycles", "err_log_entries"):
        column = columns[f"{word}_total"]
        into[f"{word}_level"][:] = log1p(_level(block, column))
        into[f"{word}_growth_30d"][:] = log1p(_growth(block, column)[0])
    if (warning := columns["critical_warning"]) is not None:
        bits, known = block.now(warning)
        into["warns"][:] = (bits & _MEDIUM) != 0
        if known is not None:
            into["warns"][~known] = np.nan
    passed, failing = _level(block, columns["passed"]), _level(block, columns["failing"])
    into["verdict_bad"][:] = np.where(np.isnan(passed) & np.isnan(failing), np.nan, (passed == 0) | (failing == 1))


def quality_features(block: Block, columns: Columns, resets: Int64Array, into: Sheet) -> None:
    """How much is known of the drive: gaps, samples, history, what is missing.

    Args:
        resets: int64[rows of the timeline + 1], how many rows before each one have a counter that fell.
    """
    keys, rows = block.timeline.keys, block.rows
    gap = np.where(rows > 0, keys[rows] - keys[np.maximum(rows - 1, 0)], WINDOW_D)
    into["gap_d"][:] = np.minimum(gap, WINDOW_D)
    into["samples_30d"][:] = rows - block.month + 1
    into["history_d"][:] = keys[rows] - keys[block.oldest]
    into["resets_30d"][:] = resets[rows + 1] - resets[block.month]
    for word, name in {
        "wear": "wear_used_pct",
        "nand_written": "nand_written_bytes",
        "host_written": "host_written_bytes",
        "age": "power_on_h",
        "temperature": "temperature_c",
    }.items():
        column = columns[name]
        if column is None:
            into[f"missing_{word}"][:] = 1
        else:
            into[f"missing_{word}"][:] = 0 if column.known is None else ~column.known[rows]


def warmest(block: Block, temperature: Column | None, into: Sheet) -> None:
    """The highest temperature of the last 30 days, NaN where none is known."""
    if temperature is None or not block.rows.size:
        return
    # Only the stretch of rows that this block's windows reach into.
    first = int(block.month.min())
    stretch = slice(first, int(block.rows[-1]) + 1)
    values = temperature.values[stretch]
    if temperature.known is not None:
        values = np.where(temperature.known[stretch], values, _COLD)
    highest = window_max(values, block.month - first, block.rows - first)
    into["temperature_max_30d"][:] = np.where(highest == _COLD, np.nan, highest)


def _wear(block: Block, columns: Columns, into: Sheet) -> None:
    wear = columns["wear_used_pct"]
    into["wear_used_pct"][:] = _level(block, wear)
    grown, span = _growth(block, wear)
    into["wear_slope_30d"][:] = grown / span
    spare, threshold = columns["spare_pct"], columns["spare_threshold_pct"]
    left = _level(block, spare)
    into["spare_pct"][:] = left
    into["spare_margin_pct"][:] = left - _level(block, threshold)
    if spare is not None:
        found, there = block.first_known(spare, _LEAST_SPAN_D)
        into["spare_lost_30d"][there] = np.maximum(spare.values[found[there]] - left[there], 0)


def _writes(block: Block, columns: Columns, into: Sheet) -> None:
    power_on_days = days_powered_on(block, columns["power_on_h"])
    levels: dict[str, Float64Array] = {}
    growths: dict[str, Float64Array] = {}
    for word in ("host_written", "nand_written", "host_read"):
        column = columns[f"{word}_bytes"]
        levels[word] = _level(block, column)
        growths[word], span = _growth(block, column)
        if column is not None:
            into[f"{word}_level"][:] = log1p(levels[word] / _GB)
            into[f"{word}_rate_30d"][:] = log1p(growths[word] / span / _GB)
            into[f"{word}_per_power_on_day"][:] = log1p(levels[word] / power_on_days / _GB)
    if columns["host_written_bytes"] is not None and columns["nand_written_bytes"] is not None:
        into["write_amplification"][:] = log1p(_ratio(levels["nand_written"], levels["host_written"]))
        into["write_amplification_30d"][:] = log1p(_ratio(growths["nand_written"], growths["host_written"]))


def _level(block: Block, column: Column | None) -> Float64Array:
    """The values as floats, NaN where unknown."""
    if column is None:
        return np.full(block.rows.size, np.nan)
    values, known = block.now(column)
    levels = values.astype(np.float64)
    if known is not None:
        levels[~known] = np.nan
    return levels


def _growth(block: Block, column: Column | None) -> tuple[Float64Array, Float64Array]:
    """Growth over what is known of the last 30 days, at least 0, and over how many days; NaN where that is below 7."""
    if column is None:
        nothing = np.full(block.rows.size, np.nan)
        return nothing, nothing
    found, there = block.first_known(column, _LEAST_SPAN_D)
    grown = np.maximum(column.values[block.rows] - column.values[found], 0).astype(np.float64)
    grown[~there] = np.nan
    keys = block.timeline.keys
    return grown, np.maximum(keys[block.rows] - keys[found], 1).astype(np.float64)


def _ratio(above: Float64Array, below: Float64Array) -> Float64Array:
    """NaN where either is unknown, or nothing was written."""
    result = np.full(above.size, np.nan)
    np.divide(above, below, out=result, where=below > 0)
    return result
