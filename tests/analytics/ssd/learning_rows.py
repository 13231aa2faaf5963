"""A small fleet from which something can be learnt: drives whose reallocations grow for two weeks before they fail."""

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache

import numpy as np
import polars as pl

from analytics.ssd.evaluation import Protocol
from analytics.ssd.fitting import train
from analytics.ssd.model import Model
from analytics.ssd.training import Recipe

FIRST = date(2026, 1, 1)
NAMES = ("realloc_level", "realloc_growth_7d", "age_d", "temperature_c")
QUICK = Recipe(trees=25, side_by_side=1, depth=3, learning_rate=0.15, keep_1_in=3, least_child_weight=1.0)
PROTOCOL = Protocol(seeds=1, folds=3, recipe=QUICK, drive_draws=30, row_draws=10)


@dataclass(frozen=True)
class Rows:
    """What training takes."""

    days: pl.DataFrame
    features: pl.DataFrame
    failures: pl.DataFrame


@cache
def learnable(drives: int = 400, span_d: int = 48, seed: int = 0, failing: float = 0.35) -> Rows:
    """Every second day a row; half of what fails shows nothing before."""
    rng = np.random.default_rng(seed)
    frames, failures = [], []
    for number in range(drives):
        fails = int(rng.integers(4, span_d)) if rng.random() < failing else None
        shows = rng.random() < 0.7
        days = np.arange(0, fails if fails is not None else span_d, 2)
        lead = np.clip(days - ((fails if fails is not None else 10**6) - 14), 0, None)
        realloc = np.where(shows, lead * 3, 0) + int(rng.random() < 0.05)
        week_ago = np.clip(lead - 7, 0, None) * 3 * shows
        frames.append(
            pl.DataFrame(
                {
                    "drive": [f"D{number}"] * days.size,
                    "day": [FIRST + timedelta(days=int(day)) for day in days],
                    "node": [f"n{number // 2}"] * days.size,
                    "model": [f"M{number % 3}"] * days.size,
                    "vendor": ["V" if number % 3 else None] * days.size,
                    "kind": ["ata"] * days.size,
                    "realloc_total": realloc.astype(np.int64),
                    "realloc_level": np.log1p(realloc),
                    "realloc_growth_7d": np.log1p(np.clip(realloc - week_ago, 0, None)),
                    "age_d": (days + 100.0 + number % 7),
                    "temperature_c": rng.normal(40, 3, days.size),
                },
                schema_overrides={**dict.fromkeys(NAMES, pl.Float32), "vendor": pl.String},
            )
        )
        if fails is not None:
            failures.append((f"D{number}", FIRST + timedelta(days=fails)))
    rows = pl.concat(frames)
    failed = pl.DataFrame(failures, schema={"drive": pl.String, "day": pl.Date}, orient="row")
    days_only = rows.select("drive", "day", "node", "model", "vendor", "kind", "realloc_total")
    return Rows(days_only, rows.select("drive", "day", "model", "vendor", "kind", *NAMES), failed)


@cache
def quick_model() -> Model:
    """A model of these rows for 5 and 10 days."""
    rows = learnable()
    return train(rows.days, rows.features, rows.failures, horizons=(5, 10), names=NAMES, recipe=QUICK, origin="a test")
