"""Hard rules: what is wrong with a drive whatever a model thinks of it, as data in hard_rules.yaml.

A rule looks at one column of a drive-day: a level, a bit, a verdict, or growth over 1, 7 or 30 days. What is unknown
(NULL) fires nothing. Growth is the plain difference to the newest value that is at least so many days old, and at most
as many again (14 at most); a history shorter than that is compared with its oldest day, since what grew in 3 days grew
in 7. The text says how many days they really are. A count that fell (reset) has not grown. Pure but for that one file.

Cost: levels are expressions over the newest row of each drive; growth is only looked for where the newest value could
have grown by so much, which healthy drives' could not.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, get_args

import polars as pl
import yaml

from analytics.ssd.columns import DAYS, WORDS
from analytics.ssd.verdicts import FiredRule, Severity

Kind = Literal["ssd", "hdd", "nvme"]
Test = Literal["at_least", "at_most", "equals", "bit", "at_or_below", "grew"]

RULES_FILE: Final = Path(__file__).with_name("hard_rules.yaml")
#: How much older than asked for a value may be at most that growth is counted from: drives are not seen every day.
SLACK_D: Final = 14
#: Days back that rules look at most.
LOOKBACK_D: Final = 30 + SLACK_D
#: Columns of `fired`.
FIRED: Final[dict[str, pl.DataType]] = {
    "drive": pl.String(),
    "rule": pl.Int64(),
    "value": pl.Int64(),
    "before": pl.Int64(),
    "days": pl.Int64(),
}
# Only solid-state drives tell these; where the protocol alone is known they say which kind it is.
_FLASH_ONLY: Final = ("wear_used_pct", "spare_pct", "program_fail_total", "erase_fail_total", "nand_written_bytes")


@dataclass(frozen=True, slots=True)
class HardRule:
    """One rule of the file, whose head says what each part means."""

    id: str
    column: str
    kinds: tuple[Kind, ...]
    test: Test
    limit: int
    other: str
    days: int
    severity: Severity
    news: int
    words: str
    why: str
    action: str
    examples: tuple[Mapping[str, Any], ...]

    def level(self, value: int) -> float:
        """How bad a value is: what acknowledgements are compared with, higher is worse."""
        if self.test in ("at_most", "at_or_below"):
            return float(100 - value)
        return 1.0 if self.test in ("equals", "bit") else float(value)

    def text(self, value: int, before: int | None, days: int | None, limit: int | None) -> str:
        """The rule in words with the figures that stand in the data."""
        name = WORDS[self.column]
        match self.test:
            case "equals":
                return self.words
            case "bit":
                return f"{self.words} (critical warning {value}, bit {self.limit})"
            case "grew":
                return f"{self.words}: {name} {before} -> {value} in {days} day{'' if days == 1 else 's'}"
            case _:
                unit = " %" if self.column.endswith("_pct") else ""
                what = "threshold" if self.test == "at_or_below" else "limit"
                return f"{self.words} ({name} {value}{unit}, {what} {limit}{unit})"


@cache
def hard_rules() -> tuple[HardRule, ...]:
    """The rules of the file in its order, read once."""
    document = yaml.safe_load(RULES_FILE.read_text(encoding="utf-8"))
    return tuple(_rule(one) for one in document["rules"])


@cache
def rules_by_id() -> Mapping[str, HardRule]:
    """Rule id -> rule."""
    return {rule.id: rule for rule in hard_rules()}


def kind_of(frame_columns: Collection[str] = DAYS) -> pl.Expr:
    """ssd, hdd or nvme. A protocol (ata, scsi) says neither: then a drive that does not rotate is an SSD.

    One that tells nothing of that is an SSD where it tells of flash; many a SATA SSD does not, in a way that is known.
    """
    told = [pl.col(name).is_not_null() for name in _FLASH_ONLY if name in frame_columns]
    flash = pl.any_horizontal(told) if told else pl.lit(value=False)
    rotation = pl.col("rotation_rpm") if "rotation_rpm" in frame_columns else pl.lit(None, pl.Int64)
    kind = pl.col("kind").str.to_lowercase()
    return (
        pl.when(kind.is_in(get_args(Kind)))
        .then(kind)
        .when((rotation == 0).fill_null(flash))
        .then(pl.lit("ssd"))
        .otherwise(pl.lit("hdd"))
    )


def newest_rows(days: pl.DataFrame) -> pl.DataFrame:
    """The newest row of each drive; `days` is sorted by drive and day, as drive_days gives it."""
    drive = pl.col("drive")
    return days.filter(drive.ne_missing(drive.shift(-1)))


def fired(days: pl.DataFrame, newest: pl.DataFrame, muted: Mapping[str, Collection[str]]) -> pl.DataFrame:
    """Which rules each drive meets on its newest day.

    Args:
        days: columns.DAYS, sorted by drive and day, nothing after the day that is judged.
        newest: `newest_rows(days)`, or some of them: only these drives are judged.
        muted: drive, or "" for all -> columns that no rule looks at.
    Returns:
        FIRED, sorted by drive and rule; `rule` is the place in `hard_rules()`. `before` holds the older value of
        growth, or the threshold that a value was compared with.
    """
    newest = newest.with_columns(kind_of(newest.columns).alias("_kind"))
    everywhere = frozenset(muted.get("", ()))
    rules = [(place, rule) for place, rule in enumerate(hard_rules()) if rule.column not in everywhere]
    parts = _levels(newest, [(place, rule) for place, rule in rules if rule.test != "grew"])
    parts += _growth(days, newest, [(place, rule) for place, rule in rules if rule.test == "grew"])
    found = pl.concat([pl.DataFrame(schema=FIRED), *parts]).sort("drive", "rule")
    return _without_muted(found, muted)


def fired_rules(found: pl.DataFrame) -> dict[str, tuple[FiredRule, ...]]:
    """The rows of `fired` in words, by drive."""
    rules = hard_rules()
    by_drive: dict[str, list[FiredRule]] = {}
    for drive, place, value, before, days in found.iter_rows():
        rule = rules[place]
        limit = before if rule.test == "at_or_below" else rule.limit
        older = before if rule.test == "grew" else None
        by_drive.setdefault(drive, []).append(
            FiredRule(rule.id, rule.severity, rule.column, value, older, days, rule.text(value, before, days, limit))
        )
    return {drive: tuple(them) for drive, them in by_drive.items()}


def _rule(document: Mapping[str, Any]) -> HardRule:
    condition: dict[Any, Any] = dict(document["if"])
    days = condition.pop("days", 0)
    ((test, limit),) = condition.items()
    compared = test == "at_or_below"
    return HardRule(
        id=document["id"],
        column=document["column"],
        kinds=tuple(document["kinds"]),
        test=test,
        limit=0 if compared else limit,
        other=limit if compared else "",
        days=days,
        severity=document["severity"],
        news=document.get("news", 1),
        words=document["words"],
        why=document["why"],
        action=document["do"],
        examples=tuple(document["examples"]),
    )


def _levels(newest: pl.DataFrame, rules: Sequence[tuple[int, HardRule]]) -> list[pl.DataFrame]:
    """All rules are asked in one pass over the drives; rows are only made of those that fire."""
    met = newest.select(
        (_meets(rule) & pl.col("_kind").is_in(rule.kinds)).fill_null(value=False).alias(str(place))
        for place, rule in rules
    )
    return [
        newest.filter(met[str(place)]).select(
            "drive",
            rule=pl.lit(place, pl.Int64()),
            value=pl.col(rule.column),
            before=pl.col(rule.other) if rule.other else pl.lit(None, pl.Int64()),
            days=pl.lit(None, pl.Int64()),
        )
        for place, rule in rules
        if met[str(place)].any()
    ]


def _meets(rule: HardRule) -> pl.Expr:
    value = pl.col(rule.column)
    match rule.test:
        case "at_least":
            return value >= rule.limit
        case "at_most":
            return value <= rule.limit
        case "equals":
            return value == rule.limit
        case "bit":
            return (value & rule.limit) != 0
        case _:
            return (value <= pl.col(rule.other)) & (value < 100)


def _growth(days: pl.DataFrame, newest: pl.DataFrame, rules: Sequence[tuple[int, HardRule]]) -> list[pl.DataFrame]:
    parts = []
    columns = dict.fromkeys(rule.column for _, rule in rules)
    least = {column: min(rule.limit for _, rule in rules if rule.column == column) for column in columns}
    enough = newest.select((pl.col(column) >= limit).fill_null(value=False) for column, limit in least.items())
    for column in columns:
        if not enough[column].any():
            continue
        could = newest.filter(enough[column]).select("drive", "_kind", value=pl.col(column), newest=pl.col("day"))
        history = (
            days.lazy()
            .select("drive", "day", "hours_back", before=pl.col(column))
            .join(could.lazy(), on="drive", how="inner", maintain_order="left")
            .with_columns(days=(pl.col("newest") - pl.col("day")).dt.total_days())
            .filter((pl.col("days") <= LOOKBACK_D) & ~_before_a_stranger().over("drive"))
            .filter((pl.col("days") >= 1) & pl.col("before").is_not_null())
            .collect()
        )
        parts += [_grown(history, place, rule) for place, rule in rules if rule.column == column]
    return parts


def _before_a_stranger() -> pl.Expr:
    """Days before the newest on which the hours powered on fell: perhaps another drive's."""
    fell = pl.col("hours_back").fill_null(value=False).cast(pl.Int32)
    return fell.cum_sum(reverse=True) - fell > 0


def _grown(history: pl.DataFrame, place: int, rule: HardRule) -> pl.DataFrame:
    """Rows of `history` are sorted by drive and day: of each drive, the newest that is old enough, else the oldest."""
    back = history.filter(pl.col("_kind").is_in(rule.kinds) & (pl.col("days") <= rule.days + min(rule.days, SLACK_D)))
    old_enough = back.filter(pl.col("days") >= rule.days).group_by("drive").last()
    shorter = back.join(old_enough, on="drive", how="anti").group_by("drive").first()
    # group_by keeps no order of groups, but the order of rows within each.
    columns = ["drive", "value", "before", "days"]
    return (
        pl.concat([old_enough.select(columns), shorter.select(columns)])
        .filter(pl.col("value") - pl.col("before") >= rule.limit)
        .select("drive", rule=pl.lit(place, pl.Int64()), value="value", before="before", days="days")
    )


def _without_muted(found: pl.DataFrame, muted: Mapping[str, Collection[str]]) -> pl.DataFrame:
    """Mutes of single drives: few, and looked at only where something fired."""
    columns = [rule.column for rule in hard_rules()]
    silent = [
        (drive, place)
        for drive, names in muted.items()
        if drive
        for place, column in enumerate(columns)
        if column in names
    ]
    if not silent or found.is_empty():
        return found
    left_out = pl.DataFrame(silent, schema={"drive": pl.String(), "rule": pl.Int64()}, orient="row")
    return found.join(left_out, on=["drive", "rule"], how="anti", maintain_order="left")
