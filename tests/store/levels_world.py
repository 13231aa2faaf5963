"""A query with integer metrics only, so that equal multisets are equal bytes; flushing, rolling up, asking."""

from dataclasses import dataclass, field, replace

import polars as pl
import sqlalchemy as sa

from collector.config import CollectorConfig
from collector.jobs.config import JobsConfig, RetentionConfig
from collector.jobs.rounds import Rounds
from pipeline.chain import Chain
from pipeline.plan import Plan
from store.claims import Claim, claim
from store.coverage import Coverage, coverage
from store.flush import Arrival, Flush, write_flush
from store.levels import TOO_OLD, Floors, levels_of, load_floors
from store.registry import RegisteredVersion, load_versions, metric, register_queries
from store.series import SeriesIds
from store.windows import Answer, Selection, merged
from tests.fleet import TABLES, probe_plan

SECOND_NS = 10**9
HOUR_S = 3600
# A time that all levels' widths of the windows used here divide: 7 s, 10 s, 300 s; and their coarser ones.
PERIOD_S = 3654 * 3600 * 10
ORIGIN_S = 1_795_000_000 // PERIOD_S * PERIOD_S
METRICS = ("rtt_us", "probes_total", "rtt_sum_us", "rtt_min_us")


def plan_of(window_s: int, where: str = "") -> Plan:
    """Sketch, count, sum and minimum of integers by src."""
    return probe_plan(
        f"""SELECT src, sketch(rtt_us) AS rtt_us, count(*) AS probes_total, sum(rtt_us) AS rtt_sum_us,
        min(rtt_us) AS rtt_min_us FROM probes {where} GROUP BY TUMBLE(ts, INTERVAL '{window_s}' SECOND), src"""
    )


Record = tuple[int, str, int]  # seconds after ORIGIN_S, src, rtt_us


@dataclass
class LevelsWorld:
    """One database, one query, and every record that the store has taken in."""

    engine: sa.Engine
    plan: Plan
    taken: list[Record] = field(default_factory=list)
    refused: int = 0
    held: dict[int, Claim] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with self.engine.begin() as connection:
            register_queries(connection, [self.plan], 0)

    def version(self) -> RegisteredVersion:
        with self.engine.connect() as connection:
            return load_versions(connection)[self.plan.version]

    def floors(self) -> Floors:
        version_id = self.version().version_id
        with self.engine.connect() as connection:
            return load_floors(connection, {version_id: self.plan.window_ns})[version_id]

    def partial(self, records: list[Record]):  # type: ignore[no-untyped-def]
        frame = pl.DataFrame(
            {
                "ts": [(ORIGIN_S + at) * SECOND_NS for at, _, _ in records],
                "host": "h",
                "src": [src for _, src, _ in records],
                "rtt_us": [rtt for *_, rtt in records],
                "load": 0.0,
                "err": 0,
            },
            schema_overrides={"ts": pl.Int64, "rtt_us": pl.Int64, "err": pl.Int64, "src": pl.String},
        )
        chain = Chain(self.plan, TABLES)
        return chain.finish(chain.prepare(frame), after=0)

    def flush(self, records: list[Record], partition: int = 0, engine: sa.Engine | None = None) -> None:
        """Take records in, as the owner of a partition; what the levels no longer keep is expected to be refused."""
        engine = engine or self.engine
        if partition not in self.held:
            with engine.begin() as connection:
                self.held[partition] = claim(connection, "t", partition, "me")
        version, held, partial = self.version(), self.held[partition], self.partial(records)
        arrivals = [
            Arrival(version.version_id, window, f"agent-{partition}", n_in=n, n_local=n, got_local=n)
            for window, n in partial.record_counts().items()
        ]
        now_ns = (ORIGIN_S + 10 * HOUR_S) * SECOND_NS
        flush = Flush(held.next_offset + 1, now_ns, partials={self.plan.version: partial}, arrivals=arrivals)
        levels, _ = self.floors().place(partial.keys["window"].to_numpy())
        gone = set(partial.keys["window"].to_numpy()[levels == TOO_OLD].tolist())
        write_flush(engine, held, flush, {self.plan.version: version}, SeriesIds())
        self.held[partition] = replace(held, next_offset=held.next_offset + 1, flushes=held.flushes + 1)
        width_s = self.plan.window_ns // SECOND_NS
        old = [r for r in records if (ORIGIN_S + r[0]) // width_s * width_s * SECOND_NS in gone]
        self.refused += len(old)
        self.taken += [record for record in records if record not in old]

    def rounds(
        self,
        engine: sa.Engine | None = None,
        kept_s: tuple[float, float, float] = (1e9, 1e9, 1e9),
        drop_after_s: float = 0.0,
    ) -> Rounds:
        own, minutes, hours = kept_s
        config = CollectorConfig(
            # A job gives way after an interval: here it has done all of its work, however slow the machine is.
            jobs=JobsConfig(settle_s=0.0, interval_s=float(HOUR_S)),
            retention=RetentionConfig(own_windows_s=own, minutes_s=minutes, hours_s=hours),
        )
        return Rounds(config, engine or self.engine, "tester", drop_after_s=drop_after_s)

    def round(self, now_s: float, **options: object) -> bool:
        """One round of the jobs at `now_s` after ORIGIN_S."""
        rounds = self.rounds(**options)  # type: ignore[arg-type]
        done = rounds.round(round((ORIGIN_S + now_s) * SECOND_NS))
        rounds.leave()
        return done

    def ask(
        self, name: str, from_s: int, to_s: int, step_s: int | None = None, by: tuple[str, ...] = ("src",)
    ) -> Answer:
        with self.engine.connect() as connection:
            return merged(
                connection,
                Selection(
                    name, (ORIGIN_S + from_s) * SECOND_NS, (ORIGIN_S + to_s) * SECOND_NS, by,
                    step_ns=None if step_s is None else step_s * SECOND_NS,
                ),
            )  # fmt: skip

    def coverage(self, from_s: int, to_s: int) -> Coverage:
        with self.engine.connect() as connection:
            row = metric(connection, "rtt_us")
            start, end = (ORIGIN_S + from_s) * SECOND_NS, (ORIGIN_S + to_s) * SECOND_NS
            return coverage(connection, row, start, end, end)

    def truth(self, name: str, from_s: int, to_s: int, step_s: int | None) -> dict[tuple[str, int], bytes]:
        """(src, step's start) -> the bytes of the metric's state over all records taken in."""
        step = step_s or to_s - from_s
        kept: dict[int, list[Record]] = {}
        for record in self.taken:
            if from_s <= record[0] < to_s:
                at = record[0] // step * step if step_s else from_s
                kept.setdefault(at, []).append(record)
        found: dict[tuple[str, int], bytes] = {}
        for at, records in kept.items():
            # One window of all of them: the multiset, whatever windows it came in.
            partial = self.partial([(0, src, rtt) for _, src, rtt in records])
            for place, src in enumerate(partial.keys["src"].to_list()):
                found[src, at] = bytes(partial.states[name].take([place]).to_bodies()[0])  # type: ignore[arg-type]
        return found

    def assert_true(self, from_s: int, to_s: int, step_s: int | None = None) -> None:
        """The answers are those of all records at once."""
        for name in METRICS:
            answer = self.ask(name, from_s, to_s, step_s)
            got = {
                (group.labels["src"], group.start_ns // SECOND_NS - ORIGIN_S): bytes(group.state.to_bodies()[0])
                for group in answer.groups
            }
            assert got == self.truth(name, from_s, to_s, step_s), name

    def waiting(self) -> int:
        with self.engine.connect() as connection:
            return int(connection.exec_driver_sql("SELECT count(*) FROM rollup_dirty").scalar_one())

    def pages(self, level: int) -> int:
        with self.engine.connect() as connection:
            return int(connection.exec_driver_sql(f"SELECT count(*) FROM pages WHERE level = {level}").scalar_one())

    def too_old(self) -> int:
        with self.engine.connect() as connection:
            return int(connection.exec_driver_sql("SELECT coalesce(sum(too_old), 0) FROM offsets").scalar_one())

    def start_over(self) -> None:
        """Forget everything but the query."""
        with self.engine.begin() as connection:
            names = ("pages", "manifests", "rollup_dirty", "level_floors", "offsets", "leases", "series", "marks")
            for name in names:
                connection.exec_driver_sql(f"DELETE FROM {name}")
        self.taken, self.refused, self.held = [], 0, {}

    @property
    def widths_s(self) -> list[int]:
        return [level.width_ns // SECOND_NS for level in levels_of(self.plan.window_ns)]
