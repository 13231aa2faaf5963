"""What a model sees of a drive-day: the name of every feature, what it is made of, and the version of their formulas.

Unknown is NULL in every feature. Names never change their meaning: another formula is a new REVISION, and a model that
was trained on another version is refused. Neither serial number nor host are features.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from analytics.ssd.columns import SYMPTOMS
from analytics.ssd.timeline import LOOKBACK_D

#: Raised with every change of a formula that gives other numbers under the same name.
REVISION: Final = 2
#: "level" what stands there; "growth" since some days; "acceleration"; "rate" per day; "since" days since it grew;
#: "count" of drives, symptoms or days; "flag" 0 or 1; "rank" within the model.
Sort = Literal["level", "growth", "acceleration", "rate", "since", "count", "flag", "rank"]

#: Counters of trouble by the word that begins the names of their features.
STEMS: Final = {name.removesuffix("_total").removesuffix("_count"): name for name in SYMPTOMS}
GROWTH_SPANS: Final = (1, 7, 30)
#: Columns whose place among the drives of the same model is a feature, by the word that begins its name.
RANKED: Final = {
    "realloc": "realloc_total",
    "pending": "pending_count",
    "uncorrectable": "uncorrectable_total",
    "program_fail": "program_fail_total",
    "crc": "crc_total",
    "wear": "wear_used_pct",
    "age": "power_on_h",
    "host_written": "host_written_bytes",
    "nand_written": "nand_written_bytes",
    "temperature": "temperature_c",
    "read_error": "read_error_raw",
}


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature.

    Attributes:
        columns: of the drive-day that it is made of, the one to show first; empty for what is known of the row itself.
        unit: of the number the model sees. "log1p of x": log(1 + x), of -x with the sign turned where x is below 0.
        window_d: how many days it looks back, 0 for the day alone.
    """

    name: str
    columns: tuple[str, ...]
    sort: Sort
    unit: str
    window_d: int


def _of_symptoms() -> Iterator[Feature]:
    for stem, column in STEMS.items():
        yield Feature(f"{stem}_level", (column,), "level", "log1p of the count", 0)
        for span in GROWTH_SPANS:
            yield Feature(f"{stem}_growth_{span}d", (column,), "growth", "log1p of the count", span)
        yield Feature(f"{stem}_growth_known", (column,), "growth", "log1p of the count", 30)
        yield Feature(f"{stem}_acceleration", (column,), "acceleration", "log1p of counts a day", 30)
        yield Feature(f"{stem}_per_power_on_day", (column, "power_on_h"), "rate", "log1p of counts a day", 0)
        yield Feature(f"{stem}_since_growth_d", (column,), "since", "days, 30 for none", 30)


def _of_the_rest() -> Iterator[Feature]:
    yield Feature("symptoms", SYMPTOMS, "count", "symptoms above 0", 0)
    for span in GROWTH_SPANS:
        yield Feature(f"symptoms_grew_{span}d", SYMPTOMS, "count", "symptoms that grew", span)
    yield Feature("symptoms_new_30d", SYMPTOMS, "count", "symptoms that were 0 and are not", 30)
    yield Feature("wear_used_pct", ("wear_used_pct",), "level", "%", 0)
    yield Feature("wear_slope_30d", ("wear_used_pct",), "rate", "% a day", 30)
    yield Feature("spare_pct", ("spare_pct",), "level", "%", 0)
    yield Feature("spare_margin_pct", ("spare_pct", "spare_threshold_pct"), "level", "%", 0)
    yield Feature("spare_lost_30d", ("spare_pct",), "growth", "%", 30)
    yield Feature("write_amplification", ("nand_written_bytes", "host_written_bytes"), "level", "log1p of the ratio", 0)
    yield Feature(
        "write_amplification_30d", ("nand_written_bytes", "host_written_bytes"), "growth", "log1p of the ratio", 30
    )
    for word in ("host_written", "nand_written", "host_read"):
        column = f"{word}_bytes"
        yield Feature(f"{word}_level", (column,), "level", "log1p of GB", 0)
        yield Feature(f"{word}_rate_30d", (column,), "rate", "log1p of GB a day", 30)
        yield Feature(f"{word}_per_power_on_day", (column, "power_on_h"), "rate", "log1p of GB a day", 0)
    yield Feature("age_d", ("power_on_h",), "level", "days powered on", 0)
    yield Feature("infant", ("power_on_h",), "flag", "1 below 90 days powered on", 0)
    yield Feature("read_error_level", ("read_error_raw",), "level", "log1p of the raw value", 0)
    yield Feature("temperature_c", ("temperature_c",), "level", "°C", 0)
    yield Feature("temperature_max_30d", ("temperature_c",), "level", "°C", 30)
    for word in ("unsafe_shutdowns", "power_cycles", "err_log_entries"):
        yield Feature(f"{word}_level", (f"{word}_total",), "level", "log1p of the count", 0)
        yield Feature(f"{word}_growth_30d", (f"{word}_total",), "growth", "log1p of the count", 30)
    yield Feature("warns", ("critical_warning",), "flag", "1 for spare, reliability or read-only", 0)
    yield Feature("verdict_bad", ("passed", "failing"), "flag", "1 where the drive says that it fails", 0)
    for word, column in RANKED.items():
        yield Feature(f"{word}_rank_in_model", (column,), "rank", "0 to 1", 0)
    yield Feature("failures_on_node_30d", ("node",), "count", "drives", 30)
    yield Feature("failures_on_rack_30d", ("rack",), "count", "drives", 30)
    yield Feature("gap_d", (), "since", "days since the row before, 30 for none", 30)
    yield Feature("samples_30d", (), "count", "days with readings", 30)
    yield Feature("history_d", (), "since", f"days since the oldest row, at most {LOOKBACK_D}", LOOKBACK_D)
    yield Feature("resets_30d", (), "count", "days on which a counter fell", 30)
    yield Feature("missing_symptoms", SYMPTOMS, "count", "symptoms that are not told", 0)
    for word, column in {
        "wear": "wear_used_pct",
        "nand_written": "nand_written_bytes",
        "host_written": "host_written_bytes",
        "age": "power_on_h",
        "temperature": "temperature_c",
    }.items():
        yield Feature(f"missing_{word}", (column,), "flag", "1 where it is not told", 0)


DESCRIBED: Final = {feature.name: feature for feature in (*_of_symptoms(), *_of_the_rest())}
#: In the order in which a model gets them.
FEATURES: Final = tuple(DESCRIBED)
#: How long the data are, and no property of a drive: the days of a test have more of it than those of the training.
UNTAUGHT: Final = ("gap_d", "samples_30d", "history_d")
#: What models are told.
TAUGHT: Final = tuple(name for name in FEATURES if name not in UNTAUGHT)


def version_of(revision: int, names: tuple[str, ...]) -> str:
    """What tells features of other names, order or formulas apart: "sha256:" and 16 digits."""
    return "sha256:" + hashlib.sha256("\n".join([str(revision), *names]).encode()).hexdigest()[:16]


FEATURES_VERSION: Final = version_of(REVISION, FEATURES)
