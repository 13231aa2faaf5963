"""A query that keeps lines: flushing, rolling up and asking as in levels_world, with texts that do not all fit."""

from dataclasses import dataclass

import polars as pl
import sqlalchemy as sa

from pipeline.chain import Chain
from pipeline.line_rule import FIRST, LAST, Rule
from pipeline.partial import Partial
from pipeline.sql import compile_query
from pipeline.states import LinesState
from tests.kept_lines import Line, exactly
from tests.store.levels_world import ORIGIN_S, SECOND_NS, LevelsWorld, Record

RULES = {"job_first_lines": FIRST, "job_last_lines": LAST}
SCHEMA = {"job": "string", "text": "string", "place": "int64"}


def line_of(record: Record) -> Line:
    """The line that a record stands for: its number says how long it is and where it stands."""
    at, _, number = record
    return (ORIGIN_S + at) * SECOND_NS, number % 7, f"{number} " + "é" * (number % 2_000)


@dataclass
class LinesWorld(LevelsWorld):
    """Records are lines of jobs."""

    def partial(self, records: list[Record]) -> Partial:
        lines = [line_of(record) for record in records]
        frame = pl.DataFrame(
            {
                "ts": [time for time, _, _ in lines],
                "host": "h",
                "job": [job for _, job, _ in records],
                "text": [text for _, _, text in lines],
                "place": [place for _, place, _ in lines],
            },
            schema_overrides={"ts": pl.Int64, "place": pl.Int64, "job": pl.String, "text": pl.String},
        )
        chain = Chain(self.plan, {})
        return chain.finish(chain.prepare(frame), after=0)

    def expected(
        self, rule: Rule, from_s: int, to_s: int, step_s: int | None
    ) -> dict[tuple[str, int], tuple[int, int, list[Line]]]:
        """(job, step's start) -> texts seen, their bytes, and the lines that are kept, over all records taken in."""
        step = step_s or to_s - from_s
        seen: dict[tuple[str, int], list[Line]] = {}
        for record in self.taken:
            if from_s <= record[0] < to_s:
                at = record[0] // step * step if step_s else from_s
                seen.setdefault((record[1], at), []).append(line_of(record))
        return {
            key: (len(lines), sum(len(text.encode()) for _, _, text in lines), exactly(lines, rule))
            for key, lines in seen.items()
        }

    def assert_true(self, from_s: int, to_s: int, step_s: int | None = None) -> None:
        for name, rule in RULES.items():
            got = {}
            for group in self.ask(name, from_s, to_s, step_s, by=("job",)).groups:
                state = group.state
                assert isinstance(state, LinesState)
                lines = [(line.ts_ns, line.place, line.text) for line in state.lines(0)]
                got[group.labels["job"], group.start_ns // SECOND_NS - ORIGIN_S] = (*state.seen(0), lines)
            assert got == self.expected(rule, from_s, to_s, step_s), name


def lines_world(engine: sa.Engine, window_s: int = 10) -> LinesWorld:
    """First and last lines by job."""
    sql = f"""SELECT job, first_lines(text, place) AS job_first_lines, last_lines(text, place) AS job_last_lines,
    count(*) AS probes_total FROM job_logs GROUP BY TUMBLE(ts, INTERVAL '{window_s}' SECOND), job"""
    return LinesWorld(engine, compile_query("job_logs", sql, {"job_logs": SCHEMA}, {}))
