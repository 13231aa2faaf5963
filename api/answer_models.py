"""The shapes of answers about measured data: quantiles, distributions, values, and how complete they are."""

from typing import Literal

from pydantic import Field

from api.models import Model, Number, Time, TimeNs
from pipeline.plan import Function


class CoverageModel(Model):
    """How complete the answer is."""

    ratio: float = Field(description="Share of the expected data that is in the answer; 1 is all.", examples=[1.0])
    agents_reported: int = Field(description="Agents whose data for the range has arrived.")
    agents_expected: int = Field(description="Agents seen in the last 24 h and not retired.")
    records_known: int = Field(description="Records that agents say they took in.")
    records_merged: int = Field(description="Of those, the ones in the answer or filtered out by the query.")
    interrupted: bool = Field(
        description="Some agent's records of the range are in doubt: it ended uncleanly, was away, frames of it are "
        "missing, or its query came when a file was half read."
    )
    sampled_out: int = Field(
        description="Of the records known, those that agents left out on purpose to stay within their CPU budget."
    )
    sampled_share: float = Field(
        description="Share of the records known that sampling let through; 1 where none was sampled out.",
        examples=[1.0],
    )


class QuantileValue(Model):
    """One quantile."""

    q: float = Field(description="The level, as asked.", examples=[0.99])
    value: Number


class _Group(Model):
    labels: dict[str, str] = Field(description="Values of the labels in `by`.", examples=[{"src_tor": "7"}])
    start: Time
    end: Time
    start_ns: TimeNs
    end_ns: TimeNs


class QuantileGroup(_Group):
    """The distribution of one group in one window."""

    values: list[QuantileValue]
    error_bound: float = Field(
        description="Each value is within this relative distance of the exact quantile.", examples=[0.005415]
    )
    count: int = Field(description="Values in the window, NaN not counted.")
    nan_count: int = Field(description="NaN among the values; they have no rank and are counted apart.")
    min: Number
    max: Number
    mean: Number
    coverage: CoverageModel


class BelowLimit(Model):
    """How many values lie at or below a limit. The exact count and fraction lie between low and high."""

    below: float = Field(description="The limit, as asked.", examples=[200.0])
    count: int = Field(description="Values at or below it, exact for a limit within `error_bound` of it.")
    count_low: int = Field(description="So many are certainly at or below it.")
    count_high: int = Field(description="Not more than so many are.")
    fraction: float | None = Field(description="count / all values of the group; null when it has none.")
    fraction_low: float | None
    fraction_high: float | None


class DistributionGroup(_Group):
    """All values of one group in one window, by bucket."""

    buckets: list[tuple[Number, Number, int]] = Field(
        description="[low end, high end, count] of each bucket that holds anything, ascending. Above zero a bucket "
        "holds low < x <= high, below zero low <= x < high; [0, 0, n] counts zeros.",
        examples=[[[90.50966799187809, 92.0, 12], [1.7976931348623157e308, "Infinity", 1]]],
    )
    below: list[BelowLimit] = Field(description="One entry per limit in `below`, in that order.")
    error_bound: float = Field(
        description="Relative distance of a bucket's middle, at the metric's own scale, from any value in it.",
        examples=[0.005415],
    )
    count: int = Field(description="Values in the window, NaN not counted: the sum over all buckets.")
    nan_count: int
    min: Number
    max: Number
    mean: Number
    coverage: CoverageModel


class ValueGroup(_Group):
    """One aggregate of one group in one window."""

    value: Number
    count: int | None = Field(description="How many values an avg is the mean of; null for other aggregates.")
    coverage: CoverageModel


class LineModel(Model):
    """One kept line."""

    time: Time
    time_ns: TimeNs
    place: int = Field(
        description="Orders lines of one time, as the query says: where in its file it begins, say; 0 where it says "
        "nothing.",
        examples=[40_961],
    )
    text: str = Field(description="Cut after 4,080 bytes.", examples=["RuntimeError: CUDA error: out of memory"])


class LinesGroup(_Group):
    """Kept lines of one group in one window, oldest first."""

    lines: list[LineModel]
    lines_seen: int = Field(description="How many lines there were; those that are not here are not kept.")
    bytes_seen: int = Field(description="Their bytes, before any was cut.")
    all_kept: bool = Field(description="Whether `lines` is all there were.")
    coverage: CoverageModel


class _Answer(Model):
    metric: str = Field(examples=["hiccup_us"])
    query: str = Field(description="The query that produces the metric.", examples=["hiccups"])
    function: Function
    unit: str = Field(description="Unit of the values, named by the metric's suffix.", examples=["us"])
    by: list[str]
    start: Time
    end: Time
    start_ns: TimeNs
    end_ns: TimeNs
    window_ns: int = Field(description="The metric's own window: start and end are whole multiples of it.")
    step_ns: int | None = Field(description="The step answered with: as asked, rounded up to whole windows.")
    coverage: CoverageModel


class QuantilesAnswer(_Answer):
    """Quantiles of merged sketches, by group and step."""

    rule: Literal["nearest-rank"] = Field(description="The value at rank max(1, ceil(q * count)).")
    groups: list[QuantileGroup]


class DistributionAnswer(_Answer):
    """Buckets of merged sketches, by group and step."""

    scale: int = Field(description="Bins per octave of these buckets are 2**scale, in all groups.", examples=[6])
    groups: list[DistributionGroup]


class LinesAnswer(_Answer):
    """Kept lines, by group and step."""

    groups: list[LinesGroup]


class ValuesAnswer(_Answer):
    """Merged counts, sums, minima, maxima or averages, by group and step."""

    groups: list[ValueGroup]
