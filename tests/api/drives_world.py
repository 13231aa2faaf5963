"""A few drives in a database, as the scoring job leaves them: identities, days, verdicts, and what changed.

S1  replace: a rule and the probability; S2 watch: wear; S3 good; 1001 good, whose serial number is a number;
host0:/dev/sdb unknown, as it is virtual; odd,"=1+1" good, of no known model. Made-up figures, told as measured.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import msgspec
import polars as pl
import sqlalchemy as sa

from analytics.ssd.columns import DAYS
from analytics.ssd.verdicts import Assessment, FiredRule, Reason, State, WearForecast
from store.drive_days import put_days
from store.drive_models import install
from store.drive_overview import ROUNDS_SCOPE
from store.drive_progress import Progress, write_progress
from store.drives import DriveSeen, DriveVerdict, note_drives, write_verdicts
from tests.api.world import NOW_NS, SECOND_NS

TODAY = datetime.fromtimestamp(NOW_NS // SECOND_NS, UTC).date()
DAY = (TODAY - date(1970, 1, 1)).days
DAY_NS = 86_400 * SECOND_NS
SCORED_NS = NOW_NS - 60 * SECOND_NS
MODEL = "SSD 850 PRO"
VIRTUAL = "host0:/dev/sdb"
ODD = '=1+1,"odd"/x'
CARD = {
    "made": "2026-11-20", "origin": "a fleet of made-up drives", "synthetic": True, "horizons": [7, 30],
    "limits": ["at most 44 % of failures show a symptom before"],
}  # fmt: skip

_NO_WEAR = WearForecast(None, None, None, None, None, 0.9, "the drive does not tell its wear")


def said(drive: str, state: State, **changed: object) -> Assessment:
    """An assessment of today, plainly good but for what is changed."""
    usual: dict[str, object] = {
        "drive": drive, "day": TODAY, "state": state, "since": TODAY - timedelta(days=2), "calm_days": 0, "causes": {},
        "rules": (), "wear": _NO_WEAR, "probabilities": {}, "why_no_probability": "no model is installed",
        "why_unknown": "", "reasons": (),
    }  # fmt: skip
    return Assessment(**{**usual, **changed})  # type: ignore[arg-type]


REPLACE = said(
    "S1", State.REPLACE, causes={"uncorrectable-grew": 12.0, "probability": 0.71},
    rules=(FiredRule("crc-grew", "watch", "crc_total", 9, 4, 7, "interface CRC errors 4 -> 9 in 7 days"),
           FiredRule("uncorrectable-grew", "replace", "uncorrectable_total", 12, 0, 7,
                     "uncorrectable errors 0 -> 12 in 7 days")),
    probabilities={7: 0.4, 30: 0.71}, why_no_probability="",
    reasons=(Reason("realloc_total_d7", "realloc_total", 1.7, "reallocated sectors 4 -> 61 in 7 days"),),
)  # fmt: skip
WATCH = said(
    "S2", State.WATCH, causes={"wear": 93.0},
    wear=WearForecast(93.0, 0.1, TODAY + timedelta(days=70), TODAY + timedelta(days=60), None, 0.9, "", "window"),
    probabilities={7: 0.001, 30: 0.004}, why_no_probability="",
)  # fmt: skip
SEEN = {
    "S1": (DriveSeen("S1", DAY, "host0", "r1", MODEL, "Samsung", kind="ata"), REPLACE),
    "S2": (DriveSeen("S2", DAY, "host1", "r1", MODEL, "Samsung", kind="ata"), WATCH),
    "S3": (DriveSeen("S3", DAY, "host1", "r2", "P4510", "Intel", firmware="VDV10131", kind="nvme"),
           said("S3", State.GOOD)),
    "1001": (DriveSeen("1001", DAY, "host1", "r2", "P4510", "Intel", synthetic=True), said("1001", State.GOOD)),
    VIRTUAL: (DriveSeen(VIRTUAL, DAY, "host0"),
              said(VIRTUAL, State.UNKNOWN, why_unknown="a virtual disk: what it says of itself is made up")),
    ODD: (DriveSeen(ODD, DAY - 40), None),
}  # fmt: skip


def add_drives(connection: sa.Connection, *, model: bool = True) -> Mapping[str, int]:
    """Put them in; drive -> number."""
    numbers = note_drives(connection, [seen for seen, _ in SEEN.values()])
    put_days(connection, days_of("S1", 20), numbers)
    first = [
        _verdict(numbers["S1"], said("S1", State.GOOD, since=TODAY - timedelta(days=9)), "nothing speaks against it")
    ]
    write_verdicts(connection, first, SCORED_NS - 2 * DAY_NS)
    verdicts = [_verdict(numbers[name], one, "as it was") for name, (_, one) in SEEN.items() if one is not None]
    write_verdicts(connection, verdicts, SCORED_NS)
    write_progress(connection, ROUNDS_SCOPE, {0: Progress(SCORED_NS - SECOND_NS)}, SCORED_NS)
    if model:
        install(connection, b"no real model", CARD, "active", SCORED_NS)
    return numbers


def days_of(drive: str, n: int) -> pl.DataFrame:
    """n days up to today, on which reallocated sectors grow by 3 a day and nothing else is known."""
    days = [TODAY - timedelta(days=back) for back in reversed(range(n))]
    known = {"drive": [drive] * n, "day": days, "node": ["host0"] * n, "realloc_total": [4 + 3 * i for i in range(n)]}
    rest = {name: pl.Series([None] * n, dtype=dtype) for name, dtype in DAYS.items() if name not in known}
    return pl.DataFrame({**known, **rest}).select(pl.col(name).cast(dtype) for name, dtype in DAYS.items())


def _verdict(number: int, one: Assessment, why: str) -> DriveVerdict:
    ends, early, late = (
        None if day is None else (day - date(1970, 1, 1)).days
        for day in (one.wear.ends, one.wear.ends_early, one.wear.ends_late)
    )
    since_ns = (one.since - date(1970, 1, 1)).days * DAY_NS
    return DriveVerdict(
        number, int(one.state), since_ns, why, DAY, one.probabilities.get(7), one.probabilities.get(30),
        wear_used_pct=one.wear.used_pct, wear_ends_day=ends, wear_ends_early_day=early, wear_ends_late_day=late,
        model_digest="sha256:0" if one.probabilities else None, verdict=msgspec.json.encode(one).decode(),
    )  # fmt: skip
