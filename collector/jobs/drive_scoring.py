"""From drive-days to verdicts: features, rules, wear, probabilities and states of every drive, chunk by chunk.

A chunk is judged again when something that its verdicts depend on has changed: its days, the date, the models, what
operators said, the tables of the fleet. What that was is noted as a fingerprint in the transaction that writes the
verdicts, so a round that was cut short goes on with the chunks that are not done, and a chunk that is judged again
without need gets the same verdicts. The shadow model's probabilities stand in the verdict, apart, and decide nothing.
"""

import json
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final

import msgspec
import polars as pl
import sqlalchemy as sa

from analytics.errors import DataError
from analytics.ssd.assessment import LOOKBACK_D as ASSESSED_D
from analytics.ssd.assessment import NO_MODEL, STANDING, Assessments, assess
from analytics.ssd.columns import DAYS
from analytics.ssd.features import FEATURES_VERSION, features
from analytics.ssd.features import LOOKBACK_D as FEATURES_D
from analytics.ssd.fleet_reference import FleetReference
from analytics.ssd.refusals import STALE_AFTER_D
from analytics.ssd.states import Memory, dump_memory, load_memory
from analytics.ssd.verdicts import Acknowledgement, Assessment, State
from collector import own_metrics
from collector.jobs.config import DrivesConfig
from collector.jobs.drive_fleet import kept_reference, known_failures
from collector.jobs.drive_intake import CHUNKS_SCOPE, EPOCH, day_of
from collector.jobs.drive_scorers import Loaded, Scorers, ScorerShelf
from collector.jobs.pace import Pace
from store.drive_actions import DriveAction, acknowledged_in, fleet_mutes, muted_in
from store.drive_days import read_days
from store.drive_features import put_features
from store.drive_models import in_role
from store.drive_progress import Progress, read_progress, write_progress
from store.drive_tables import drive_actions
from store.drives import DriveRow, DriveVerdict, chunk_rows, chunks, write_verdicts
from store.errors import LeaseLostError

log = logging.getLogger(__name__)

#: Fingerprints of what each chunk was judged by.
SCORED_SCOPE: Final = "drives scored"
_LOOKBACK_D: Final = max(ASSESSED_D, FEATURES_D)
_DAY_NS: Final = 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class _Fleet:
    """What all chunks of a round have in common."""

    today: int
    scorers: Scorers
    mutes: Sequence[DriveAction]
    failures: pl.DataFrame | None
    reference: FleetReference

    def stamp(self) -> str:
        """What of it verdicts depend on."""
        models = [(one.digest, one.why_not) for one in (self.scorers.active, self.scorers.shadow)]
        failed = None if self.failures is None else self.failures.rows()
        made = self.reference.tables["day"].max()
        return repr((self.today, models, [one.id for one in self.mutes], failed, made, FEATURES_VERSION))


@dataclass(frozen=True, slots=True)
class _Chunk:
    """What is known of one chunk's drives."""

    number: int
    rows: Mapping[str, DriveRow]
    days: pl.DataFrame
    acknowledged: Mapping[int, Sequence[DriveAction]]
    muted: Mapping[int, Sequence[DriveAction]]


class DriveScoring:
    """Judges drives; keeps loaded models between rounds."""

    def __init__(self, engine: sa.Engine, config: DrivesConfig) -> None:
        self._engine = engine
        self._config = config
        self._shelf = ScorerShelf()
        self._news: object = None

    def has_news(self, connection: sa.Connection) -> bool:
        """Whether an operator said something, or another model was installed, since the last round looked."""
        return self._news is not None and _news(connection) != self._news

    def score(self, today: int, now_ns: int, pace: Pace) -> int:
        """Judge all drives as of `today` (days since 1970); returns how many chunks there are.

        Raises:
            LeaseLostError, StoreError, sqlalchemy.exc.SQLAlchemyError: what was written stays, the rest is due.
        """
        with self._engine.connect() as connection:
            self._news = _news(connection)
            known = chunks(connection)
            scorers = self._shelf.scorers(connection)
            mutes = fleet_mutes(connection, now_ns)
            failures = known_failures(connection, today)
        if not known:
            return 0
        reference = kept_reference(self._engine, known, today - 1, now_ns, pace)
        fleet = _Fleet(today, scorers, mutes, failures, reference)
        for number in known:
            fleet = replace(fleet, scorers=self._shelf.as_they_are(fleet.scorers))
            try:
                self._score_chunk(number, fleet, now_ns, pace)
            except (LeaseLostError, sa.exc.SQLAlchemyError):
                raise
            # Damaged data, or a fault of ours: whatever it is about these drives, the others are judged.
            except Exception as error:  # noqa: BLE001
                pace.spare(f"judging chunk {number}", error)
            pace.rest()
        return len(known)

    def _score_chunk(self, number: int, fleet: _Fleet, now_ns: int, pace: Pace) -> None:
        with self._engine.connect() as connection:
            acknowledged = acknowledged_in(connection, number, now_ns)
            muted = muted_in(connection, number, now_ns)
            changes = read_progress(connection, CHUNKS_SCOPE).get(number, Progress(0)).value
            before = read_progress(connection, SCORED_SCOPE).get(number)
            fingerprint = _fingerprint(fleet.stamp(), changes, acknowledged, muted)
            if before is not None and before.value == fingerprint:
                return
            rows = {row.drive: row for row in chunk_rows(connection, number)}
            first = day_of(fleet.today - _LOOKBACK_D)
            days = read_days(connection, number, first, day_of(fleet.today), DAYS)
        chunk = _Chunk(number, rows, days, acknowledged, muted)
        verdicts, newest = self._verdicts(chunk, fleet)
        with self._engine.begin() as connection:
            pace.hold(connection)
            write_verdicts(connection, verdicts, now_ns)
            if newest.height:
                numbers = {name: row.id for name, row in rows.items()}
                put_features(connection, number, day_of(fleet.today), FEATURES_VERSION, newest, numbers)
            write_progress(connection, SCORED_SCOPE, {number: Progress(fingerprint)}, now_ns)

    def _verdicts(self, chunk: _Chunk, fleet: _Fleet) -> tuple[list[DriveVerdict], pl.DataFrame]:
        """(what is said of each drive that was heard of lately, the features of their newest days)."""
        today = day_of(fleet.today)
        since = day_of(fleet.today - STALE_AFTER_D)
        found = features(chunk.days, since, today, fleet.failures, fleet.reference)
        newest = found.unique("drive", keep="last", maintain_order=True)
        active = fleet.scorers.active
        try:
            said = self._assessed(chunk, fleet, newest, active)
        except Exception as error:
            if active.scorer is None:
                raise
            active = self._shelf.give_up(active.digest, error)
            said = self._assessed(chunk, fleet, newest, active)
        shadows = self._shadow(fleet.scorers.shadow, newest)
        verdicts = [_verdict(one, chunk.rows[one.drive], said, active, shadows.get(one.drive)) for one in said]
        return verdicts, newest

    def _assessed(self, chunk: _Chunk, fleet: _Fleet, newest: pl.DataFrame, active: Loaded) -> Assessments:
        muted = {name: {one.cause for one in chunk.muted.get(row.id, ())} for name, row in chunk.rows.items()}
        for one in fleet.mutes:
            for name, row in chunk.rows.items():
                if one.model is not None and one.model == row.model:
                    muted[name].add(one.cause)
        everywhere = {one.cause for one in fleet.mutes if one.model is None}
        today = day_of(fleet.today)
        standing = [
            (name, row.state, _date(row.since_ns))
            for name, row in chunk.rows.items()
            if row.scored_ns is not None and _date(row.since_ns) <= today
        ]
        return assess(
            chunk.days,
            newest,
            active.scorer,
            self._memories(chunk.rows.values(), today),
            {
                name: [_acknowledgement(one) for one in chunk.acknowledged[row.id]]
                for name, row in chunk.rows.items()
                if row.id in chunk.acknowledged
            },
            {"": everywhere} | {name: columns for name, columns in muted.items() if columns},
            today,
            standing=pl.DataFrame(standing, schema=STANDING, orient="row"),
            first_days={name: day_of(row.first_day) for name, row in chunk.rows.items()},
        )

    def _memories(self, rows: Iterable[DriveRow], today: date) -> dict[str, Memory]:
        found = {}
        for row in rows:
            if row.memory is None:
                continue
            try:
                found[row.drive] = _not_of_days_to_come(load_memory(row.memory), today)
            except DataError as error:
                own_metrics.drives_failures.labels("data").inc()
                log.warning("drive judged afresh drive=%s error=%s", row.drive, error)
        return found

    def _shadow(self, shadow: Loaded, newest: pl.DataFrame) -> dict[str, dict[str, Any]]:
        """Drive -> what the shadow says of it."""
        if shadow.scorer is None or not newest.height:
            return {}
        try:
            rows = newest.filter(pl.Series(shadow.scorer.knows(newest)))
            found = shadow.scorer.probabilities(rows) if rows.height else {}
        except Exception as error:  # noqa: BLE001  # whatever it is, nothing depends on a shadow
            self._shelf.give_up(shadow.digest, error)
            return {}
        return {
            drive: {"digest": shadow.digest, "probabilities": {str(h): float(p[place]) for h, p in found.items()}}
            for place, drive in enumerate(rows["drive"])
        }


def _verdict(
    one: Assessment, row: DriveRow, said: Assessments, active: Loaded, shadow: dict[str, Any] | None
) -> DriveVerdict:
    if one.why_no_probability == NO_MODEL and active.why_not:
        one = replace(one, why_no_probability=active.why_not)
    document = msgspec.to_builtins(one, str_keys=True)
    if shadow is not None:
        document["shadow"] = shadow
    memory = said.memories.get(one.drive)
    scored = bool(one.probabilities)
    return DriveVerdict(
        drive_id=row.id,
        state=int(one.state),
        since_ns=(one.since - EPOCH).days * _DAY_NS,
        why=_why(one),
        scored_day=(one.day - EPOCH).days,
        p7=one.probabilities.get(7),
        p30=one.probabilities.get(30),
        wear_used_pct=one.wear.used_pct,
        wear_ends_day=_number(one.wear.ends),
        wear_ends_early_day=_number(one.wear.ends_early),
        wear_ends_late_day=_number(one.wear.ends_late),
        model_digest=active.digest if scored else None,
        model_synthetic=scored and active.synthetic,
        verdict=msgspec.json.encode(document).decode(),
        memory=None if memory is None else dump_memory(memory),
    )


def _not_of_days_to_come(memory: Memory, today: date) -> Memory:
    """What was remembered by a clock that was ahead, as if it had been said yesterday.

    A memory of a later day would stand until that day comes. Of tomorrow it may: around midnight, collectors' clocks
    need not agree.
    """
    if memory.day <= today + timedelta(days=1):
        return memory
    yesterday = today - timedelta(days=1)
    return Memory(yesterday, memory.state, min(memory.since, yesterday), memory.causes)


def _why(one: Assessment) -> str:
    """The state in a few words, for its history."""
    if one.state == State.UNKNOWN:
        return one.why_unknown
    texts = [rule.text for rule in sorted(one.rules, key=lambda rule: rule.severity != "replace")]
    if "probability" in one.causes and one.probabilities:
        horizon = max(one.probabilities)
        texts.append(f"fails within {horizon} days with a probability of {one.probabilities[horizon]:.2g}")
    if "wear" in one.causes and one.wear.ends is not None:
        texts.append(f"{one.wear.used_pct:g} % of the rated life used, all of it by {one.wear.ends}")
    if texts and one.state == State.GOOD:
        return f"acknowledged: {'; '.join(texts[:3])}"
    quiet = "nothing speaks against it" if one.state == State.GOOD else "calm, but not for long enough yet"
    return "; ".join(texts[:3]) or quiet


def _acknowledgement(one: DriveAction) -> Acknowledgement:
    """Without a level, whatever comes is known; the store leaves out those that have ended by now."""
    return Acknowledgement(one.cause, math.inf if one.level is None else one.level, None)


def _fingerprint(
    stamp: str,
    changes: int,
    acknowledged: Mapping[int, Sequence[DriveAction]],
    muted: Mapping[int, Sequence[DriveAction]],
) -> int:
    actions = [sorted(one.id for some in found.values() for one in some) for found in (acknowledged, muted)]
    text = json.dumps([stamp, changes, actions])
    return int.from_bytes(blake2b(text.encode(), digest_size=7).digest())


def _news(connection: sa.Connection) -> object:
    table = drive_actions
    said = connection.execute(
        sa.select(sa.func.count(), sa.func.max(table.c.id), sa.func.count(table.c.ended_ns)).where(
            table.c.kind != "outcome"
        )
    ).one()
    rows = [in_role(connection, "active"), in_role(connection, "shadow")]
    return tuple(said), tuple("" if row is None else row.digest for row in rows)


def _date(time_ns: int) -> date:
    return datetime.fromtimestamp(time_ns // 10**9, UTC).date()


def _number(day: date | None) -> int | None:
    return None if day is None else (day - EPOCH).days
