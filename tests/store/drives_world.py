"""Drive-days and drives to put into a database; seeded, so every run sees the same."""

import datetime as dt

import numpy as np
import polars as pl
import sqlalchemy as sa

from analytics.ssd.columns import DAYS, FLAGS, SYMPTOMS
from store.drives import DriveSeen, DriveVerdict, note_drives

NOW_NS = 1_795_330_800 * 10**9
DAY = dt.date(2026, 11, 20)
DAY_NUMBER = (DAY - dt.date(1970, 1, 1)).days
SCHEMA: dict[str, pl.DataType] = {
    "drive": pl.String(),
    "day": pl.Date(),
    "node": pl.String(),
    "model": pl.String(),
    "realloc_total": pl.Int64(),
    "host_written_bytes": pl.Int64(),
    "moved": pl.Boolean(),
}


def days_of(names: list[str], day: dt.date = DAY, seed: int = 1) -> pl.DataFrame:
    """One drive-day each, every fourth of them with values that are not known."""
    random = np.random.default_rng(seed)
    n = len(names)
    known = pl.Series(np.arange(n) % 4 != 3)
    frame = pl.DataFrame(
        {
            "drive": names,
            "day": [day] * n,
            "node": [f"node-{i // 8}" for i in range(n)],
            "model": [["A1", "B2", None][i % 3] for i in range(n)],
            "realloc_total": random.integers(0, 5, n),
            "host_written_bytes": random.integers(0, 2**50, n) * 512,
            "moved": random.random(n) < 0.1,
        },
        schema=SCHEMA,
    )
    return frame.with_columns(pl.when(known).then(pl.col("host_written_bytes", "moved")))


def noted(engine: sa.Engine, names: list[str], day: int = DAY_NUMBER, **identity: object) -> dict[str, int]:
    """Numbers of these drives, made where they are new."""
    with engine.begin() as connection:
        return note_drives(connection, [DriveSeen(name, day, **identity) for name in names])  # type: ignore[arg-type]


def verdict(drive_id: int, state: int = 0, **said: object) -> DriveVerdict:
    """What is said of a drive on DAY."""
    values = {"since_ns": NOW_NS, "why": "as told", "scored_day": DAY_NUMBER} | said
    return DriveVerdict(drive_id, state, **values)  # type: ignore[arg-type]


def healthy_fleet(n: int, day: dt.date) -> pl.DataFrame:
    """A day of a fleet like those of data centres: three models, few symptoms, everybody writes his own bytes."""
    random = np.random.default_rng(3)
    model = random.integers(0, 3, n)
    age_h = random.integers(1_000, 30_000, n)
    unit = np.array([32 * 2**20, 512, 512_000])[model]  # what counters of bytes count in
    written = random.lognormal(0, 0.8, n) * 1e10 * age_h
    has_symptom = random.random((len(SYMPTOMS), n)) < 0.012
    nvme = pl.Series(model == 2)
    columns: dict[str, object] = {
        "drive": [f"S4F2NY0M{i:06d}" for i in range(n)],
        "day": [day] * n,
        "node": [f"r{i // 320:03d}-n{i // 8:04d}" for i in range(n)],
        "rack": [f"r{i // 320:03d}" for i in range(n)],
        "model": [
            ("INTEL SSDSC2KB038T8", "SAMSUNG MZ7L33T8HBLT-00A07", "SAMSUNG MZQL23T8HCLS-00A07")[m] for m in model
        ],
        "vendor": [("Intel", "Samsung", "Samsung")[m] for m in model],
        "family": [("Intel S4510/S4610/S4500/S4600 Series SSDs", "Samsung based SSDs", None)[m] for m in model],
        "firmware": [("XCV10132", "JXTC104Q", "GDC5602Q")[m] for m in model],
        "kind": [("ata", "ata", "nvme")[m] for m in model],
        "power_on_h": age_h,
        "power_cycles_total": random.integers(5, 80, n),
        "unsafe_shutdowns_total": random.integers(0, 40, n),
        "host_written_bytes": written // unit * unit,
        "host_read_bytes": written * random.lognormal(0, 0.5, n) // unit * unit,
        "nand_written_bytes": written * random.uniform(1.2, 3, n) // unit * unit,
        "err_log_entries_total": random.integers(0, 9_000, n),
        "wear_used_pct": age_h // 1_500,
        "temperature_c": random.normal(35, 4, n),
        "spare_pct": [100] * n,
        "spare_threshold_pct": [10] * n,
        "critical_warning": [0] * n,
        "passed": [1] * n,
        "failing": [0] * n,
        "readings": np.where(random.random(n) < 0.02, 23, 24),
    }
    columns |= {
        name: np.where(has, random.lognormal(1, 1.5, n), 0) for name, has in zip(SYMPTOMS, has_symptom, strict=True)
    }
    columns |= dict.fromkeys(FLAGS, [False] * n)
    frame = pl.DataFrame({name: pl.Series(name, columns.get(name, [None] * n), strict=False) for name in DAYS}).cast(
        dict(DAYS)
    )
    of_nvme = ("media_errors_total", "err_log_entries_total", "spare_pct", "spare_threshold_pct", "critical_warning")
    of_ata = ("nand_written_bytes", *(name for name in SYMPTOMS if name != "media_errors_total"))
    return frame.with_columns(pl.when(nvme).then(pl.col(of_nvme)), pl.when(~nvme).then(pl.col(of_ata)))
