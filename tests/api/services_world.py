"""Services in a database, as they record requests and the collectors' job leaves them. All of it is simulated.

shop    two instances under load, everything known and learned, with minutes, alerts, a table and runs
new     recorded requests, and nobody said anything about it
quiet   an objective, and no request ever; steady the same, and nothing is wrong with it
"""

import functools

import numpy as np
import sqlalchemy as sa

from analytics.tail.learning import LearnedProfile
from analytics.tail.minutes import minute_document, minutes_of
from analytics.tail.policies import Fixed, Predictive, Server, TargetTable, Tpc
from analytics.tail.policy_documents import policy_document
from analytics.tail.profile_documents import profile_document
from analytics.tail.samples import INSTANCE_COLUMN, take_samples
from analytics.tail.simulation import simulate
from analytics.tail.speedup import WEB_SEARCH, SpeedupProfile
from analytics.tail.tail_alerts import Alert
from analytics.tail.workloads import ModelledPredictor, bing_like, requests_at
from store.connect import open_engine, upgrade
from store.tail_alerts import put_alerts
from store.tail_batches import add_batch
from store.tail_minutes import MinuteRow, put_minutes
from store.tail_profiles import put_profile
from store.tail_runs import ask_run, end_run, next_run
from store.tail_services import ServiceSettings, put_service
from store.tail_tables import tail_runs
from store.tail_targets import draft_table
from tests.api.world import NOW_NS, SECOND_NS

MINUTE_NS = 60 * SECOND_NS
#: The stretch in which `shop` recorded: four whole minutes.
UNTIL_NS = NOW_NS // MINUTE_NS * MINUTE_NS - 5 * MINUTE_NS
SINCE_NS = UNTIL_NS - 4 * MINUTE_NS
TARGET_MS = 80.0
#: Id of the run that has its answer; ids of others are drawn.
DONE_RUN = "5f0c2b7a11e94f3d"
SERVER = Server(threads=2, workers=4, max_degree=3)
SETTINGS = ServiceSettings(
    target_ms=TARGET_MS, threads=2, workers=4, max_degree=3, policy=policy_document(Predictive(3)), fan_out=4
)
PROFILE = SpeedupProfile(WEB_SEARCH.edges_ms, WEB_SEARCH.table[:, :3])
BURN = Alert(
    "tail_burn", "page", True, NOW_NS - MINUTE_NS, "queueing", "too many slow requests; see the causes", {"burn": 16.5}
)
CALM = Alert("predictor_drift", "ticket", False, NOW_NS - MINUTE_NS, "", "the predictor is as it was", {})


@functools.cache
def recorded(instance: int) -> dict[str, np.ndarray]:
    """Four minutes of one instance, 60 requests a second at a load of 0.4, as it would send them."""
    rng = np.random.default_rng(instance)
    works = bing_like(15_000, rng)
    requests = requests_at(0.4, works, SERVER.threads, rng, ModelledPredictor())
    run = simulate(requests, SERVER, PROFILE, Predictive(3))
    inside = requests.arrivals_ms < (UNTIL_NS - SINCE_NS) / 1e6
    columns = {
        "arrival_ns": SINCE_NS + (requests.arrivals_ms * 1e6).astype(np.int64),
        "wait_us": run.waits_ms * 1e3,
        "service_us": (run.ends_ms - run.starts_ms) * 1e3,
        "predicted_us": requests.predictions_ms * 1e3,
        "degree": run.first_degrees.astype(np.int64),
        "degree_final": run.last_degrees.astype(np.int64),
        "active_threads": run.active.astype(np.int64),
    }
    return {name: values[inside] for name, values in columns.items()}


def all_columns() -> dict[str, np.ndarray]:
    """Of both instances, as analytics takes them."""
    parts = [recorded(0), recorded(1)]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {**joined, INSTANCE_COLUMN: np.repeat([0, 1], [part["arrival_ns"].size for part in parts])}


def learned() -> LearnedProfile:
    """The true speed-ups, said to be learned from so many requests in each cell."""
    table = PROFILE.table
    counts = np.full(table.shape, 400, np.int64)
    counts[:, 1] = 7
    return LearnedProfile(PROFILE, counts, table * 0.95, table * 1.05, counts < 30, 3_000, 30, "reconstructed")


def filled_services(url: str) -> str:
    """A new database with all of them; returns its address."""
    upgrade(url)
    engine = open_engine(url)
    add_watched_services(engine)
    engine.dispose()
    return url


def add_watched_services(engine: sa.Engine) -> None:
    """All of them."""
    for instance in (0, 1):
        with engine.begin() as connection:
            add_batch(connection, "shop", f"web-{instance}", "first", recorded(instance), NOW_NS, synthetic=True)
    few = {name: values[:50] for name, values in recorded(0).items()}
    with engine.begin() as connection:
        add_batch(connection, "new", "web-9", "first", few, NOW_NS, synthetic=True)
    with engine.begin() as connection:
        put_service(connection, "shop", SETTINGS, NOW_NS, by="ana")
        put_service(connection, "quiet", SETTINGS, NOW_NS, by="ana")
        put_service(connection, "steady", SETTINGS, NOW_NS, by="ana")
    with engine.begin() as connection:
        put_profile(connection, "shop", profile_document(learned()), NOW_NS - 3_600 * SECOND_NS)
    with engine.begin() as connection:
        put_minutes(connection, minute_rows())
        put_alerts(connection, "shop", [BURN, CALM], NOW_NS - MINUTE_NS)
        put_alerts(connection, "steady", [CALM], NOW_NS - MINUTE_NS)
    table = Tpc(TargetTable("threads_and_queue", 4.0, (15.0, 40.0, 60.0)))
    with engine.begin() as connection:
        draft_table(connection, "shop", policy_document(table), NOW_NS, by="ana")
    add_runs(engine)


def minute_rows() -> list[MinuteRow]:
    """Minutes of `shop`: the first from before anything was learned, the second from before anything was told."""
    samples = take_samples(all_columns())
    found = minutes_of(samples, SERVER, PROFILE, TARGET_MS, since_ns=SINCE_NS, until_ns=UNTIL_NS)
    plain = minutes_of(samples, SERVER, None, TARGET_MS, since_ns=SINCE_NS, until_ns=UNTIL_NS)
    known = {"target_ms": TARGET_MS, "promise": 0.99, "threads": SERVER.threads}
    documents = [{**minute_document(one), **known} for one in [plain[0], *found[1:]]]
    documents[1] |= {"target_ms": None, "threads": None}
    return [MinuteRow("shop", one.start_ns, document) for one, document in zip(found, documents, strict=True)]


def add_runs(engine: sa.Engine) -> None:
    """Of `shop`: a learning that was refused, a what-if with its answer, and one that waits."""
    fixed = {"start_ns": SINCE_NS, "end_ns": UNTIL_NS, "candidate": policy_document(Fixed(2))}
    with engine.begin() as connection:
        ask_run(connection, "shop", "learn", {"start_ns": SINCE_NS}, NOW_NS - 3 * MINUTE_NS, asked_by="collector")
    with engine.begin() as connection:
        row = next_run(connection, "collector-1", NOW_NS - 2 * MINUTE_NS)
        assert row is not None
        end_run(connection, row.id, "collector-1", "refused", NOW_NS, error="all predictions are the same")
    with engine.begin() as connection:
        ask_run(connection, "shop", "what_if", fixed, NOW_NS - 2 * MINUTE_NS, asked_by="ana")
    with engine.begin() as connection:
        row = next_run(connection, "collector-1", NOW_NS - MINUTE_NS)
        assert row is not None
        end_run(connection, row.id, "collector-1", "done", NOW_NS, answer={"answered": True})
        connection.execute(sa.update(tail_runs).where(tail_runs.c.id == row.id).values(id=DONE_RUN))
    with engine.begin() as connection:
        ask_run(connection, "shop", "what_if", {**fixed, "load_multiplier": 1.5}, NOW_NS - MINUTE_NS, asked_by="ana")
