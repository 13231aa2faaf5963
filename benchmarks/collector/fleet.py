"""A fleet's frames, made before anything is timed: real values through the query's own chain and the agents' encoder.

Every record is drawn, every group is aggregated by the chain, every frame is packed as agents pack it. The same
bodies are sent by several agents, each under headers of its own, so that millions of groups are merged whose truth is
still known: the bodies merged once, each value counted once per agent.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from agents.frames import frames_of
from agents.query_run import QueryDelta
from agents.waiting import SpoolFrame
from pipeline.chain import Chain
from pipeline.partial import Partial
from pipeline.plan import Plan
from pipeline.sql import compile_query
from pipeline.states import SketchState
from quantiles.sketch_column import SketchColumn
from wire.frame import Header, encode_frame

SECOND_NS = 10**9
WINDOW_NS = 10 * SECOND_NS
START_NS = 1_795_000_000 * SECOND_NS
NOW_NS = START_NS + 4 * WINDOW_NS
# `spool_age_s` of collectors that take these frames, whose time stays: older ones would be dead letters.
ANY_AGE_S = 20 * 365 * 86_400.0
METRIC = "probe_rtt_us"
STREAMS = {"probes": {"ts": "int64", "host": "string", "src_tor": "string", "dst_tor": "string", "rtt_us": "int64"}}
SQL = f"""
SELECT src_tor, dst_tor, sketch(rtt_us) AS {METRIC} MORE FROM probes
GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), src_tor, dst_tor
"""
MEDIAN_US = 800.0
# Cells that 100 values of the median above fill, on average -> sigma of their logarithms (measured).
SPREADS = {3: 0.0042, 46: 0.15}
VALUES = 100


def probe_plan(more: str = "") -> Plan:
    """The query over the probes; `more` are further aggregates, such as ", count(*) AS probes_total"."""
    return compile_query("probe_rtt", SQL.replace("MORE", more), STREAMS, {})


def tor_names(keys: int) -> tuple[list[str], list[str]]:
    """Both labels of each key: switches of one fabric, every one with every other."""
    side = int(np.ceil(np.sqrt(keys)))
    return [f"tor-{key // side:03d}" for key in range(keys)], [f"tor-{key % side:03d}" for key in range(keys)]


@dataclass(frozen=True, slots=True)
class Body:
    """What an agent keeps in its spool until it is sent, and how many groups or rows it is."""

    frame: SpoolFrame
    groups: int


@dataclass(frozen=True, slots=True)
class Load:
    """Distinct bodies and what they hold together: by sorted key, one sketch each."""

    plan: Plan
    bodies: Sequence[Body]
    truth: Partial

    def expected(self, times: int) -> SketchColumn:
        """What is stored once every body was sent `times` times, in order of the labels."""
        return sketches_of(self.truth).reweight(times)


def sketches_of(partial: Partial) -> SketchColumn:
    """The partial's sketches, one per group."""
    state = partial.states[METRIC]
    assert isinstance(state, SketchState)
    return state.column


def records(rng: np.random.Generator, keys: np.ndarray, n_keys: int, values: int, spread: float) -> pl.DataFrame:
    """`values` records of each of the keys, in no order, within one window."""
    names = [pl.Series(name, tors) for name, tors in zip(("src_tor", "dst_tor"), tor_names(n_keys), strict=True)]
    owners = rng.permutation(np.repeat(keys, values))
    rtt = np.rint(MEDIAN_US * np.exp(spread * rng.standard_normal(owners.size))).astype(np.int64)
    times = START_NS + rng.integers(0, WINDOW_NS, owners.size)
    columns = [pl.Series("ts", times), pl.Series("host", ["h"]).new_from_index(0, owners.size)]
    return pl.DataFrame([*columns, *(name.gather(owners) for name in names), pl.Series("rtt_us", rtt)])


def partial_load(
    plan: Plan, *, keys: int, groups: int, frames: int, values: int = VALUES, spread: float, seed: int = 1
) -> Load:
    """`frames` distinct bodies of partial results, each with `groups` groups of as many different keys."""
    rng = np.random.default_rng([seed, keys, groups, frames])
    chain = Chain(plan, {})
    bodies: list[Body] = []
    partials: list[Partial] = []
    for _ in range(frames):
        rows = records(rng, rng.choice(keys, groups, replace=False), keys, values, spread)
        partial = chain.finish(chain.prepare(rows), after=0)
        delta = QueryDelta(chain, partials=[partial])
        bodies += [Body(frame, frame.rows) for frame in frames_of(delta, NOW_NS)]
        partials.append(partial)
    return Load(plan, bodies, Partial.merge(partials).sorted())


def drained_load(plan: Plan, *, keys: int, rows: int, frames: int, seed: int = 2) -> Load:
    """`frames` distinct bodies of rows that agents could not aggregate, about `rows` in each."""
    rng = np.random.default_rng([seed, keys, rows, frames])
    chain = Chain(plan, {})
    bodies: list[Body] = []
    partials: list[Partial] = []
    cut = chain.row_stages
    for _ in range(frames):
        found = records(rng, rng.integers(0, keys, rows), keys, 1, SPREADS[46]).sort("ts")
        taken = chain.prepare(found)
        for stage in range(1, cut + 1):
            taken = chain.apply(stage, taken)
        delta = QueryDelta(chain, drained={cut: [taken]})
        bodies += [Body(frame, frame.rows) for frame in frames_of(delta, NOW_NS)]
        partials.append(chain.finish(taken, after=cut))
    return Load(plan, bodies, Partial.merge(partials).sorted())


def sent(bodies: Sequence[Body], *, agents: int, partition: int = 0, first: int = 0) -> Iterator[tuple[bytes, int]]:
    """(frame, groups) of every body from each of the agents, in turns; sequences begin behind `first`."""
    for place, body in enumerate(bodies):
        for agent in range(agents):
            frame = body.frame
            header = Header(
                agent=f"agent-{partition}-{agent:04d}",
                incarnation=f"{agent + 1:032x}",
                started_ns=START_NS,
                partition=partition,
                sequence=first + place + 1,
                kind=frame.kind,
                query=frame.query,
                version=frame.version,
                cut=frame.cut,
                window_first_ns=frame.window_first_ns,
                window_last_ns=frame.window_last_ns,
                created_ns=frame.created_ns,
                rows=frame.rows,
            )
            yield encode_frame(header, frame.body), body.groups
