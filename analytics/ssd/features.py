"""Features of drive-days, all at once in columns: what a model sees of a drive on a day.

The law: a feature of day d depends on nothing before d - LOOKBACK_D. So what is computed day after day from the last
LOOKBACK_D + 1 days is, bit for bit, what a batch over years gives; and the order of rows does not matter.
Names and version: feature_names.py. How far back: timeline.py.
"""

from datetime import date
from typing import Final

import numpy as np
import polars as pl

from analytics.ssd.columns import COUNTERS, DAYS, GAUGES, SYMPTOMS
from analytics.ssd.days import canonical_days, is_in_order
from analytics.ssd.feature_names import FEATURES, FEATURES_VERSION, GROWTH_SPANS
from analytics.ssd.fleet_reference import FleetReference, Models, rank_features
from analytics.ssd.growth import Symptom, symptom_features
from analytics.ssd.neighbours import Neighbourhood, located_failures
from analytics.ssd.timeline import LOOKBACK_D, Block, Column, Timeline
from analytics.ssd.workload import quality_features, warmest, workload_features

__all__ = ["FEATURES", "FEATURES_VERSION", "LOOKBACK_D", "features"]

#: What stands beside the features in their frame.
KEPT: Final = ("drive", "day", "model", "vendor", "kind")
#: Rows at a time: their arrays fit into a core's cache.
_BLOCK: Final = 16_384
#: Rows whose features are held twice while they become a frame: pages of memory are used again, not asked for anew.
_PART: Final = 131_072


def features(
    days: pl.DataFrame,
    first_day: date | None = None,
    last_day: date | None = None,
    failures: pl.DataFrame | None = None,
    reference: FleetReference | None = None,
) -> pl.DataFrame:
    """Features of the drive-days from `first_day` to `last_day`, both included; of all where they are None.

    Args:
        days: columns of DAYS; rows that are not in order, or come twice, are put right first. Wanted are the days from
            first_day - LOOKBACK_D on; older ones change nothing.
        failures: drive and day, and node and rack if known; None: the features of neighbours are NULL.
        reference: of the whole fleet; None: ranks within the model are NULL.
    Returns:
        drive, day, model, vendor, kind and FEATURES as Float32, NULL for unknown; one row a drive and day, in order.
    Raises:
        DataError: `days` or `failures` lack what is needed, or hold values of wrong types.
    """
    if dict(days.schema) != DAYS or not is_in_order(days):
        days = canonical_days(days)
    timeline = Timeline.of(days)
    rows = timeline.within(first_day, last_day)
    columns = {name: Column.of(days[name]) for name in (*SYMPTOMS, *COUNTERS, *GAUGES)}
    symptoms = {name: Symptom.of(column, timeline) for name in SYMPTOMS if (column := columns[name]) is not None}
    resets = np.concatenate([[0], np.cumsum(days["counter_reset"].fill_null(False).to_numpy(), dtype=np.int64)])
    near = None if failures is None else Neighbourhood.of(days, located_failures(failures, days))
    models = Models.of(days)

    parts = []
    sheet = np.empty((len(FEATURES), min(_PART, rows.size)), np.float32)
    for first in range(0, max(rows.size, 1), _PART):
        wanted = rows[first : first + _PART]
        sheet.fill(np.nan)
        for start in range(0, wanted.size, _BLOCK):
            block = Block.of(timeline, wanted[start : start + _BLOCK], GROWTH_SPANS)
            into = {name: sheet[number, start : start + block.rows.size] for number, name in enumerate(FEATURES)}
            symptom_features(block, symptoms, columns["power_on_h"], into)
            workload_features(block, columns, into)
            warmest(block, columns["temperature_c"], into)
            quality_features(block, columns, resets, into)
        whole = {name: sheet[number, : wanted.size] for number, name in enumerate(FEATURES)}
        if near is not None:
            near.count(wanted, whole)
        if reference is not None:
            rank_features(models, wanted, columns, reference, whole)
        # A copy: where there is no NaN, a series is a view of the array it is made of, and the sheet is used again.
        parts.append(pl.DataFrame([pl.Series(name, values.copy(), nan_to_null=True) for name, values in whole.items()]))
    kept = days.select(KEPT) if rows.size == days.height else days.select(KEPT)[rows]
    return pl.concat([kept, pl.concat(parts, rechunk=False)], how="horizontal")
