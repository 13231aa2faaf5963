"""One assessment a drive: rules fired, forecast of wear, probability with its reasons, and the state of it all.

Nearly all drives are plainly good. So everything that can be said of all is said in columns (`Assessments.frame`), and
an object is only made for a drive against which something speaks, or did lately (`Assessments.notable`); any other is
made when it is asked for. States and what enters them: states.py. What is refused, and why: refusals.py.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import numpy as np
import polars as pl

from analytics.errors import DataError
from analytics.ssd.columns import DAYS
from analytics.ssd.days import is_in_order, merged_days
from analytics.ssd.evidence import HOLD_SHARE, PROBABILITY, WEAR, WEAR_ENDS_WITHIN_D, evidence_of, forgotten_causes
from analytics.ssd.hard_rules import fired, fired_rules, newest_rows
from analytics.ssd.reasons import History, reasons
from analytics.ssd.refusals import STALE_AFTER_D, refusals
from analytics.ssd.states import Memory, next_memory, without_reading
from analytics.ssd.verdicts import Acknowledgement, Assessment, FiredRule, Reason, Scorer, State
from analytics.ssd.wear import wear_forecast, wear_forecasts

__all__ = [
    "FRAME",
    "LOOKBACK_D",
    "NO_MODEL",
    "PROBABILITY",
    "STALE_AFTER_D",
    "STANDING",
    "WEAR",
    "Assessments",
    "assess",
]

#: How many days of `days` an assessment can use.
LOOKBACK_D: Final = 90
NO_MODEL: Final = "no model"
#: Columns of `Assessments.frame` beside one "p<horizon>" (Float64) for each horizon of the model.
FRAME: Final[dict[str, pl.DataType]] = {
    "drive": pl.String(),
    "day": pl.Date(),
    "state": pl.Int8(),
    "since": pl.Date(),
    "calm_days": pl.Int32(),
    "why_unknown": pl.String(),
    "why_no_probability": pl.String(),
    "used_pct": pl.Float64(),
    "pct_per_day": pl.Float64(),
    "ends": pl.Date(),
    "ends_early": pl.Date(),
    "ends_late": pl.Date(),
    "wear_why_not": pl.String(),
    "wear_basis": pl.String(),
}
#: What `standing` holds: what was said of drives last, for those without a memory.
STANDING: Final[dict[str, pl.DataType]] = {"drive": pl.String(), "state": pl.Int8(), "since": pl.Date()}


@dataclass(frozen=True, slots=True)
class Assessments:
    """What is said of some drives on one day, by drive name.

    Attributes:
        frame: FRAME and one column a horizon; one row a drive, sorted by drive.
        notable: those against which something speaks, or spoke lately, acknowledged or not.
        memories: what has to be given back as `previous` next time, for the notable ones; the others have none.
    """

    frame: pl.DataFrame
    notable: Mapping[str, Assessment]
    memories: Mapping[str, Memory]
    horizons: tuple[int, ...]

    def __len__(self) -> int:
        """How many drives."""
        return self.frame.height

    def __iter__(self) -> Iterator[Assessment]:
        """All of them, sorted by drive; those that are plainly good are made on the way."""
        for row in self.frame.iter_rows(named=True):
            yield self.notable.get(row["drive"]) or _plain(row, self.horizons)

    def of(self, drive: str) -> Assessment:
        """One drive's. KeyError when it is none of them."""
        if drive in self.notable:
            return self.notable[drive]
        rows = self.frame.filter(pl.col("drive") == drive)
        if rows.is_empty():
            raise KeyError(drive)
        return _plain(rows.row(0, named=True), self.horizons)


def assess(
    days: pl.DataFrame,
    features: pl.DataFrame | None,
    model: Scorer | None,
    previous: Mapping[str, Memory],
    acknowledged: Mapping[str, Sequence[Acknowledgement]],
    muted: Mapping[str, Collection[str]],
    day: date,
    *,
    standing: pl.DataFrame | None = None,
    first_days: Mapping[str, date] | None = None,
    explained: Collection[str] = (),
) -> Assessments:
    """What is to be said on `day` of every drive that stands in `days`.

    Args:
        days: columns.DAYS of the last LOOKBACK_D days; later ones are left out, and the order does not matter.
        features: of the drives' newest days, as features.features gives them; only needed with a model.
        model: None: rules and wear alone, and no probability.
        previous: drive -> its memory of the last time; drives that had none are left out.
        acknowledged: drive -> what operators acknowledged.
        muted: drive, or "" for all -> columns, or "probability" or "wear", that count no more.
        standing: STANDING: what was said last of drives without a memory, so that `since` goes on.
        first_days: drive -> its first day ever, where `days` does not go back as far.
        explained: drives whose probability gets its reasons however low it is.
    Raises:
        DataError: `days` has not the columns of columns.DAYS.
    Cost: columns for all drives, objects for notable ones; benchmarks/ssd measures it.
    """
    missing = [name for name in DAYS if name not in days.columns]
    if missing:
        raise DataError(f"drive-days without {', '.join(missing)}; want the columns of analytics.ssd.columns.DAYS")
    horizons = () if model is None else tuple(model.horizons)
    days = days.filter(pl.col("day") <= day)
    if not is_in_order(days):
        days = merged_days(days)
    newest = newest_rows(days)
    frame = refusals(newest, days, day, first_days, LOOKBACK_D)
    frame = _with_probabilities(frame, newest, features, model)
    frame = _with_wear(frame, days)
    judged = newest.filter(frame["_judged"])
    found = fired(days, judged, muted)
    frame = _with_standing(frame, standing, day)
    notable = _notable_names(frame, found, model, previous, muted) | set(explained)
    writer = _Writer(frame, days, features, model, previous, acknowledged, muted, day, found, notable, explained)
    assessments, memories = writer.written()
    frame = _with_objects(frame, assessments).select(*FRAME, *(f"p{horizon}" for horizon in horizons))
    return Assessments(frame, assessments, memories, horizons)


def _with_probabilities(
    frame: pl.DataFrame, newest: pl.DataFrame, features: pl.DataFrame | None, model: Scorer | None
) -> pl.DataFrame:
    """Columns p<horizon>, why_no_probability, and why_unknown where the model knows no such drive."""
    if model is None:
        return frame.with_columns(
            _knows=pl.lit(value=False),
            why_no_probability=pl.when(pl.col("_judged")).then(pl.lit(NO_MODEL)).otherwise(pl.col("why_unknown")),
        )
    why = pl.col("why_unknown")
    knows = pl.Series("_knows", np.asarray(model.knows(newest), np.bool_))
    unlike = pl.format(
        "the model was not trained on drives like it (kind {}, vendor {})",
        newest["kind"].fill_null("not told"),
        newest["vendor"].fill_null("not told"),
    )
    frame = frame.with_columns(knows, _unlike=newest.select(unlike).to_series())
    frame = frame.with_columns(
        why_unknown=pl.when((why == "") & ~pl.col("_knows")).then(pl.col("_unlike")).otherwise(why)
    )
    scored = pl.DataFrame(schema={"drive": pl.String()})
    if features is not None:
        wanted = frame.filter(pl.col("why_unknown") == "").select("drive")
        rows = newest_rows(features).join(wanted, on="drive", how="semi", maintain_order="left")
        probabilities = model.probabilities(rows) if rows.height else dict.fromkeys(model.horizons, np.empty(0))
        scored = rows.select("drive").with_columns(
            pl.Series(f"p{horizon}", probabilities[horizon], pl.Float64) for horizon in model.horizons
        )
    for horizon in model.horizons:
        if f"p{horizon}" not in scored.columns:
            scored = scored.with_columns(pl.lit(None, pl.Float64).alias(f"p{horizon}"))
    frame = frame.join(scored, on="drive", how="left", maintain_order="left")
    unscored = pl.col(f"p{model.horizons[0]}").is_null()
    return frame.with_columns(
        why_no_probability=pl.when(unscored & (why == "")).then(pl.lit("no features of that day")).otherwise(why)
    ).drop("_unlike")


def _with_wear(frame: pl.DataFrame, days: pl.DataFrame) -> pl.DataFrame:
    """`wear_forecasts` has the same drives in the same order."""
    forecasts = wear_forecasts(days).drop("drive").rename({"why_not": "wear_why_not", "basis": "wear_basis"})
    virtual = pl.col("_no_smart")
    blank = [
        pl.when(~virtual).then(name).alias(name)
        for name in ("used_pct", "pct_per_day", "ends", "ends_early", "ends_late")
    ]
    words = {"wear_why_not": "a virtual disk has no wear of its own", "wear_basis": ""}
    said = [pl.when(virtual).then(pl.lit(text)).otherwise(name).alias(name) for name, text in words.items()]
    return frame.hstack(forecasts).with_columns(*blank, *said)


def _with_standing(frame: pl.DataFrame, standing: pl.DataFrame | None, day: date) -> pl.DataFrame:
    """state and since of drives against which nothing speaks: GOOD or UNKNOWN, since then if that is no news."""
    state = pl.when(pl.col("why_unknown") == "").then(State.GOOD.value).otherwise(State.UNKNOWN.value).cast(pl.Int8)
    frame = frame.with_columns(state=state, calm_days=pl.lit(0, pl.Int32), since=pl.lit(day))
    if standing is None:
        return frame
    last = standing.select("drive", _state=pl.col("state").cast(pl.Int8), _since=pl.col("since"))
    return (
        frame.join(last, on="drive", how="left", maintain_order="left")
        .with_columns(
            since=pl.when(pl.col("_state") == pl.col("state"))
            .then(pl.coalesce("_since", "since"))
            .otherwise(pl.col("since"))
        )
        .drop("_state", "_since")
    )


def _notable_names(
    frame: pl.DataFrame,
    found: pl.DataFrame,
    model: Scorer | None,
    previous: Mapping[str, Memory],
    muted: Mapping[str, Collection[str]],
) -> set[str]:
    """Drives of which more than columns has to be said."""
    names = set(found["drive"])
    everywhere = muted.get("", ())
    speaks = pl.lit(value=False)
    if model is not None and PROBABILITY not in everywhere:
        for horizon in model.horizons:
            speaks |= (pl.col(f"p{horizon}") >= model.thresholds[horizon][0]).fill_null(value=False)
    if WEAR not in everywhere:
        left_d = (pl.col("ends") - pl.col("day")).dt.total_days()
        speaks |= (left_d <= WEAR_ENDS_WITHIN_D).fill_null(value=False) & pl.col("_judged")
    names.update(frame.filter(speaks)["drive"])
    if previous:
        names.update(frame.filter(pl.col("drive").is_in(list(previous)))["drive"])
    return names


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes the notable drives' assessments, one object each."""

    frame: pl.DataFrame
    days: pl.DataFrame
    features: pl.DataFrame | None
    model: Scorer | None
    previous: Mapping[str, Memory]
    acknowledged: Mapping[str, Sequence[Acknowledgement]]
    muted: Mapping[str, Collection[str]]
    day: date
    found: pl.DataFrame
    names: Collection[str]
    explained: Collection[str]

    def written(self) -> tuple[dict[str, Assessment], dict[str, Memory]]:
        """Assessments and memories of the drives named; a memory that holds nothing is left out."""
        wanted = pl.Series("drive", sorted(self.names), pl.String)
        rows = self.frame.filter(pl.col("drive").is_in(wanted.implode()))
        rules = fired_rules(self.found)
        why = self._reasons(rows)
        assessments: dict[str, Assessment] = {}
        memories: dict[str, Memory] = {}
        for row in rows.iter_rows(named=True):
            drive = row["drive"]
            one, memory = self._one(row, rules.get(drive, ()), why.get(drive, ()))
            if memory.causes or memory.today or (memory.before is not None and memory.before.causes):
                memories[drive] = memory
            if memory.causes or one.rules or one.reasons or memory.since != row["since"]:
                assessments[drive] = one
        return assessments, memories

    def _one(
        self, row: Mapping[str, Any], rules: tuple[FiredRule, ...], why: tuple[Reason, ...]
    ) -> tuple[Assessment, Memory]:
        drive = row["drive"]
        previous = self.previous.get(drive)
        known = self.acknowledged.get(drive, ())
        silent = {*self.muted.get("", ()), *self.muted.get(drive, ())}
        probabilities = {} if self.model is None else _probabilities(row, self.model.horizons)
        if row["_judged"]:
            evidence = evidence_of(row, rules, probabilities, self.model, silent)
            memory = next_memory(
                previous,
                evidence,
                self.day,
                acknowledged=known,
                forgotten=forgotten_causes(previous, silent, has_model=row["_knows"]),
                frozen=(PROBABILITY,),  # on a day without one nothing is known of it, neither good nor bad
                unknown=row["why_unknown"] != "",
            )
        else:
            memory = without_reading(previous, self.day)
        shown = memory.shown(known) if memory.state > State.GOOD else {}
        holding = [cause for cause in shown.values() if cause.state == memory.state]
        unknown = row["why_unknown"] if memory.state == State.UNKNOWN or not probabilities else ""
        assessment = Assessment(
            drive=drive,
            day=self.day,
            state=memory.state,
            since=_since(memory, previous, row),
            calm_days=min((cause.calm_days for cause in holding), default=0),
            causes={name: cause.level for name, cause in memory.causes.items()},
            rules=rules,
            wear=wear_forecast({**row, "why_not": row["wear_why_not"], "basis": row["wear_basis"]}),
            probabilities=probabilities,
            why_no_probability="" if probabilities else row["why_no_probability"],
            why_unknown=unknown,
            reasons=why,
        )
        return assessment, memory

    def _reasons(self, rows: pl.DataFrame) -> dict[str, tuple[Reason, ...]]:
        """By drive, of those whose probability is at least what would hold a state."""
        if self.model is None or self.features is None:
            return {}
        likely = [
            pl.col(f"p{horizon}") >= self.model.thresholds[horizon][0] * HOLD_SHARE for horizon in self.model.horizons
        ]
        asked = pl.col("drive").is_in(list(self.explained)) & pl.col(f"p{self.model.horizons[0]}").is_not_null()
        flagged = rows.filter(pl.any_horizontal(*likely, asked)).select("drive")
        if flagged.is_empty():
            return {}
        features = newest_rows(self.features).join(flagged, on="drive", how="semi", maintain_order="left")
        contributions = self.model.contributions(features, self.model.horizons[-1])
        names = self.model.features
        histories = self.days.join(flagged, on="drive", how="semi", maintain_order="left").partition_by(
            "drive", as_dict=True, maintain_order=True
        )
        return {
            row["drive"]: reasons(names, contributions[place], row, History(histories[(row["drive"],)]))
            for place, row in enumerate(features.iter_rows(named=True))
        }


def _probabilities(row: Mapping[str, Any], horizons: Sequence[int]) -> dict[int, float]:
    return {horizon: row[f"p{horizon}"] for horizon in horizons if row[f"p{horizon}"] is not None}


def _since(memory: Memory, previous: Memory | None, row: Mapping[str, Any]) -> date:
    """A drive without a memory may have stood so for long: then `standing` knew it."""
    since: date = row["since"]
    return since if previous is None and memory.state == row["state"] else memory.since


def _with_objects(frame: pl.DataFrame, assessments: Mapping[str, Assessment]) -> pl.DataFrame:
    """The frame with what the objects say in place of what was said of drives in general."""
    if not assessments:
        return frame
    said = pl.DataFrame(
        [(one.drive, int(one.state), one.since, one.calm_days, one.why_unknown) for one in assessments.values()],
        schema={
            "drive": pl.String,
            "state": pl.Int8,
            "since": pl.Date,
            "calm_days": pl.Int32,
            "why_unknown": pl.String,
        },
        orient="row",
    )
    return frame.update(said, on="drive", how="left", maintain_order="left")


def _plain(row: Mapping[str, Any], horizons: Sequence[int]) -> Assessment:
    """A drive against which nothing speaks."""
    probabilities = _probabilities(row, horizons)
    return Assessment(
        drive=row["drive"],
        day=row["day"],
        state=State(row["state"]),
        since=row["since"],
        calm_days=row["calm_days"],
        causes={},
        rules=(),
        wear=wear_forecast({**row, "why_not": row["wear_why_not"], "basis": row["wear_basis"]}),
        probabilities=probabilities,
        why_no_probability="" if probabilities else row["why_no_probability"],
        why_unknown=row["why_unknown"],
        reasons=(),
    )
