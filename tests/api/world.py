"""A database filled through the real pipeline and store, and a client that asks the real app about it.

Records of known content come from two agents on two hosts over one minute; tests compare answers with the records.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import sqlalchemy as sa
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi import FastAPI

from api.app import create_app
from api.config import ApiConfig
from pipeline.chain import Chain
from pipeline.plan import Aggregate, AggregateStage, Plan
from store.claims import Counts, claim
from store.connect import open_engine, upgrade
from store.fleet import AgentReport, VersionProgress
from store.flush import Arrival, Flush, write_flush
from store.registry import load_versions, register_queries
from store.series import SeriesIds

SECOND_NS = 1_000_000_000
WINDOW_NS = 10 * SECOND_NS
#: A whole minute, so that windows and steps begin with it.
BEGIN_NS = 1_795_330_800 * SECOND_NS
END_NS = BEGIN_NS + 60 * SECOND_NS
#: When the tests' clock stands: all data is in, the agents are alive.
NOW_NS = END_NS + 3 * SECOND_NS
INCARNATION = "0123456789abcdef" * 2


def probe_plan() -> Plan:
    """One metric of every kind over `probes`, windows of 10 s, labels host and tor."""
    aggregates = [
        Aggregate("probe_rtt_us", "sketch", "rtt_us", True),
        Aggregate("odd_ratio", "sketch", "odd", False),
        Aggregate("probes_total", "count", None, True),
        Aggregate("probe_rtt_sum_us", "sum", "rtt_us", True),
        Aggregate("probe_rtt_min_us", "min", "rtt_us", True),
        Aggregate("probe_rtt_max_us", "max", "rtt_us", True),
        Aggregate("probe_rtt_mean_us", "avg", "rtt_us", True),
        Aggregate("odd_sum_ratio", "sum", "odd", False),
    ]
    schema = {"ts": "int64", "host": "string", "tor": "string", "rtt_us": "int64", "odd": "float64"}
    return Plan("probe_rtt", "probes", schema, 6, {}, [AggregateStage(WINDOW_NS, ["host", "tor"], aggregates)])


def probe_records(seed: int = 7, n: int = 6_000) -> pl.DataFrame:
    """n records spread evenly over the minute; `odd` holds NaN, infinities and NULL among other numbers."""
    source = np.random.default_rng(seed)
    odd = source.normal(size=n).round(3)
    odd[::97], odd[::101], odd[::103] = np.nan, np.inf, -np.inf
    return pl.DataFrame(
        {
            "ts": BEGIN_NS + np.arange(n) * (60 * SECOND_NS // n),
            "host": [f"host{i % 2}" for i in range(n)],
            "tor": [f"t:{i % 3}, a" for i in range(n)],
            "rtt_us": source.lognormal(5, 1, n).astype(np.int64),
            "odd": odd,
        }
    ).with_columns(pl.when(pl.int_range(n) % 89 != 0).then(pl.col("odd")))


@dataclass
class World:
    """A filled database: its address, the plan, and every record that went in."""

    path: Path
    plan: Plan
    records: pl.DataFrame
    address: str = ""

    @property
    def url(self) -> str:
        return self.address or f"sqlite:///{self.path}"


def fill(
    path: Path, records: pl.DataFrame | None = None, lost: int = 0, address: str = "", sampled_out: int = 0
) -> World:
    """Make a database that holds `records`; per agent and window more are known: `lost` ones, and `sampled_out` ones.

    It is a SQLite file at `path`, unless there is the address of another.
    """
    world = World(path, probe_plan(), probe_records() if records is None else records, address)
    upgrade(world.url)
    engine = open_engine(world.url)
    with engine.begin() as connection:
        register_queries(connection, [world.plan], BEGIN_NS - SECOND_NS)
    for partition, host in enumerate(("host0", "host1")):
        add(
            engine,
            world.plan,
            world.records.filter(pl.col("host") == host),
            partition,
            f"agent-{host}",
            lost,
            sampled_out,
        )
    engine.dispose()
    return world


def add(
    engine: sa.Engine,
    plan: Plan,
    records: pl.DataFrame,
    partition: int,
    agent: str,
    lost: int = 0,
    sampled_out: int = 0,
) -> None:
    """One flush with everything an agent sent: partials, manifests, heartbeat."""
    with engine.begin() as connection:
        held = claim(connection, "tailwatch", partition, "collector-1")
        versions = load_versions(connection)
    version_id, query_id = versions[plan.version].version_id, versions[plan.version].query_id
    partial = Chain(plan, {}).finish(records, 0)
    arrivals = [
        Arrival(
            version_id,
            window,
            agent,
            n_in=rows + lost + sampled_out,
            n_local=rows + lost,
            n_sampled_out=sampled_out,
            got_local=rows,
        )
        for window, rows in partial.record_counts().items()
    ]
    report = AgentReport(
        agent, agent.removeprefix("agent-"), "m" * 32, INCARNATION, BEGIN_NS - SECOND_NS, NOW_NS - SECOND_NS,
        {"frames": 6}, [VersionProgress(version_id, query_id, BEGIN_NS, END_NS, replayable=False)],
    )  # fmt: skip
    flush = Flush(
        held.next_offset + 6,
        NOW_NS,
        counts=Counts(frames=6, bytes=6_000, records=records.height, groups=len(partial)),
        partials={plan.version: partial},
        arrivals=arrivals,
        reports=[report],
    )
    write_flush(engine, held, flush, versions, SeriesIds())


@dataclass
class Client:
    """Asks the app without a socket in between; crashes come back as the 500 that a caller would see."""

    app: FastAPI
    portal: BlockingPortal
    http: httpx.AsyncClient

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self.portal.call(lambda: self.http.request(method, path, **options))

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        """GET with query parameters; a list repeats its parameter."""
        return self.request("GET", path, params=parameters or None)

    def over_the_minute(self, path: str, **parameters: Any) -> httpx.Response:
        """GET over exactly the minute that the records cover."""
        return self.get(path, start=str(BEGIN_NS // SECOND_NS), end=str(END_NS // SECOND_NS), **parameters)


@contextmanager
def asking(
    database_url: str,
    config: ApiConfig | None = None,
    now_ns: Callable[[], int] = lambda: NOW_NS,
    address: str = "127.0.0.1",
) -> Iterator[Client]:
    """A client at an address, of an app over the database, with its background parts running."""
    engine = open_engine(database_url, read_only=True)
    app = create_app(config or ApiConfig(), engine, now_ns)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 4711))
    with start_blocking_portal() as portal:
        http = httpx.AsyncClient(transport=transport, base_url="http://api")
        with portal.wrap_async_context_manager(app.router.lifespan_context(app)):
            yield Client(app, portal, http)
        portal.call(http.aclose)
    engine.dispose()
