"""Features of one drive-day the slow way, row by row, as their definitions read: what the columns are compared with."""

import math
from itertools import pairwise
from typing import Any

from analytics.ssd.columns import SYMPTOMS

Row = dict[str, Any]


def log1p(value: float) -> float:
    """Shortened on both sides of 0."""
    return math.copysign(math.log1p(abs(value)), value)


def plain_features(history: list[Row], at: int) -> dict[str, float | None]:
    """Of row `at` of one drive's rows in order of day; neighbours and ranks aside."""
    now = history[at]
    past = [row for row in history[: at + 1] if (now["day"] - row["day"]).days <= 44]
    found: dict[str, float | None] = {}
    for column in SYMPTOMS:
        _symptom(column, now, past, found)
    _counts(now, past, found)
    _work(now, past, found)
    days = [(now["day"] - row["day"]).days for row in past]
    month = [row for row, age in zip(past, days, strict=True) if age <= 29]
    found["gap_d"] = min(days[-2], 30) if len(days) > 1 else 30
    found["samples_30d"] = len(month)
    found["history_d"] = max(days)
    found["resets_30d"] = sum(row["counter_reset"] for row in month)
    warm = [row["temperature_c"] for row in month if row["temperature_c"] is not None]
    found["temperature_max_30d"] = max(warm) if warm else None
    return found


def _before(column: str, now: Row, past: list[Row], span: int) -> int | None:
    ages = [((now["day"] - row["day"]).days, row[column]) for row in past if row[column] is not None]
    fitting = [(age, value) for age, value in ages if span <= age <= span + 14]
    return min(fitting)[1] if fitting else None


def _first(column: str, now: Row, past: list[Row], least: int) -> tuple[int, int] | None:
    ages = [((now["day"] - row["day"]).days, row[column]) for row in past if row[column] is not None]
    fitting = [(age, value) for age, value in ages if least <= age <= 30]
    return max(fitting) if fitting and now[column] is not None else None


def _growth(column: str, now: Row, past: list[Row], span: int) -> int | None:
    before = _before(column, now, past, span)
    return None if before is None or now[column] is None else max(now[column] - before, 0)


def _grown_known(column: str, now: Row, past: list[Row]) -> int | None:
    first = _first(column, now, past, 1)
    return None if first is None else max(now[column] - first[1], 0)


def _symptom(column: str, now: Row, past: list[Row], found: dict[str, float | None]) -> None:
    stem = column.removesuffix("_total").removesuffix("_count")
    value, hours = now[column], now["power_on_h"]
    growth = {span: _growth(column, now, past, span) for span in (1, 7, 30)}
    found[f"{stem}_level"] = None if value is None else log1p(value)
    for span, grown in growth.items():
        found[f"{stem}_growth_{span}d"] = None if grown is None else log1p(grown)
    known = _grown_known(column, now, past)
    found[f"{stem}_growth_known"] = None if known is None else log1p(known)
    week, month = growth[7], growth[30]
    found[f"{stem}_acceleration"] = None if week is None or month is None else log1p(week / 7 - month / 30)
    per_day = None if value is None or hours is None else log1p(value / max(hours / 24, 1))
    found[f"{stem}_per_power_on_day"] = per_day
    found[f"{stem}_since_growth_d"] = None if value is None else _since_growth(column, now, past)


def _since_growth(column: str, now: Row, past: list[Row]) -> int:
    told = [row for row in past if row[column] is not None]
    since = 30
    for before, row in pairwise(told):
        if row[column] > before[column] and (row["day"] - before["day"]).days <= 14:
            since = min(30, (now["day"] - row["day"]).days)
    return since


def _counts(now: Row, past: list[Row], found: dict[str, float | None]) -> None:
    counted = [c for c in SYMPTOMS if now[c] is not None]
    found["missing_symptoms"] = len(SYMPTOMS) - len(counted)
    if now["uncorrectable_total"] is not None:
        counted = [c for c in counted if c != "media_errors_total"]
    found["symptoms"] = sum(now[c] > 0 for c in counted) if counted else None
    for span in (1, 7):
        grown = [g for c in counted if (g := _growth(c, now, past, span)) is not None]
        found[f"symptoms_grew_{span}d"] = sum(g > 0 for g in grown) if grown else None
    known = [c for c in counted if _first(c, now, past, 1) is not None]
    found["symptoms_grew_30d"] = sum((_grown_known(c, now, past) or 0) > 0 for c in known) if known else None
    new = sum(now[c] > 0 and (_first(c, now, past, 1) or (0, 1))[1] == 0 for c in known)
    found["symptoms_new_30d"] = new if known else None


def _work(now: Row, past: list[Row], found: dict[str, float | None]) -> None:
    def rate(column: str) -> tuple[int, int] | None:
        first = _first(column, now, past, 7)
        return None if first is None else (max(now[column] - first[1], 0), first[0])

    def level(column: str) -> float | None:
        return None if now[column] is None else log1p(now[column])

    hours = now["power_on_h"]
    wear = rate("wear_used_pct")
    found["wear_used_pct"] = now["wear_used_pct"]
    found["wear_slope_30d"] = None if wear is None else wear[0] / wear[1]
    spare, threshold = now["spare_pct"], now["spare_threshold_pct"]
    found["spare_pct"] = spare
    found["spare_margin_pct"] = None if spare is None or threshold is None else spare - threshold
    first = _first("spare_pct", now, past, 7)
    found["spare_lost_30d"] = None if first is None else max(first[1] - spare, 0)
    for word in ("host_written", "nand_written", "host_read"):
        value, grown = now[f"{word}_bytes"], rate(f"{word}_bytes")
        found[f"{word}_level"] = None if value is None else log1p(value / 1e9)
        found[f"{word}_rate_30d"] = None if grown is None else log1p(grown[0] / grown[1] / 1e9)
        both = value is not None and hours is not None
        found[f"{word}_per_power_on_day"] = log1p(value / max(hours / 24, 1) / 1e9) if both else None
    nand, host = now["nand_written_bytes"], now["host_written_bytes"]
    found["write_amplification"] = log1p(nand / host) if nand is not None and host else None
    nand_30d, host_30d = rate("nand_written_bytes"), rate("host_written_bytes")
    written = nand_30d is not None and host_30d is not None and host_30d[0] > 0
    found["write_amplification_30d"] = log1p(nand_30d[0] / host_30d[0]) if written and nand_30d and host_30d else None
    found["age_d"] = None if hours is None else hours / 24
    found["infant"] = None if hours is None else float(hours < 90 * 24)
    found["temperature_c"] = now["temperature_c"]
    raw = now["read_error_raw"]
    found["read_error_level"] = None if raw is None else log1p(raw)
    for word in ("unsafe_shutdowns", "power_cycles", "err_log_entries"):
        found[f"{word}_level"] = level(f"{word}_total")
        grown = rate(f"{word}_total")
        found[f"{word}_growth_30d"] = None if grown is None else log1p(grown[0])
    bits = now["critical_warning"]
    found["warns"] = None if bits is None else float(bits & 0b1101 != 0)
    verdicts = now["passed"], now["failing"]
    found["verdict_bad"] = None if verdicts == (None, None) else float(verdicts[0] == 0 or verdicts[1] == 1)
    for word, column in {"age": "power_on_h", "temperature": "temperature_c", "wear": "wear_used_pct"}.items():
        found[f"missing_{word}"] = float(now[column] is None)
    for word in ("nand_written", "host_written"):
        found[f"missing_{word}"] = float(now[f"{word}_bytes"] is None)
