"""An answer from before is the computed one, whatever was written in between; and takes no more memory than allowed."""

import pickle
import random
from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from api.answer_cache import AnswerCache, Entry
from api.config import ApiConfig
from api.own_metrics import OwnMetrics
from store.coverage import CoverageFacts
from store.fleet import AgentReport, VersionProgress
from store.flush import Flush, write_flush
from store.registry import load_versions, register_queries
from store.series import SeriesIds
from store.windows import Selection, merged
from tests.api.world import asking
from tests.store.levels_world import HOUR_S, ORIGIN_S, SECOND_NS, LevelsWorld, plan_of

QUESTIONS = (
    {"path": "/api/v1/quantiles", "metric": "rtt_us", "q": "0.5,0.99"},
    {"path": "/api/v1/quantiles", "metric": "rtt_us", "by": "src", "step": "1m"},
    {"path": "/api/v1/quantiles", "metric": "rtt_us", "by": "src", "where": "src!=a"},
    {"path": "/api/v1/values", "metric": "probes_total", "by": "src", "step": "1h"},
    {"path": "/api/v1/values", "metric": "rtt_min_us", "where": "src:b"},
)
RANGES = (
    (0, HOUR_S),
    (HOUR_S - 300, HOUR_S + 330),
    (2 * HOUR_S, 3 * HOUR_S),
    (0, 4 * HOUR_S),
    (HOUR_S + 10, HOUR_S + 20),
)


class Writers:
    """Everything that changes answers, one of it at a time."""

    def __init__(self, world: LevelsWorld, seed: int) -> None:
        self.world = world
        self.random = random.Random(seed)
        self.now_s = 4.0 * HOUR_S
        self._incarnations = count(1)

    def write(self) -> None:
        self.random.choice((self.flush, self.flush, self.flush, self.jobs, self.report, self.retire, self.version))()
        self.now_s += self.random.choice((0.0, 0.5, 7.0, 600.0))

    def flush(self) -> None:
        """Some records anywhere, at times of a series that is new."""
        begin = self.random.choice((0, HOUR_S - 200, 2 * HOUR_S + 100, 4 * HOUR_S))
        names = (*"abc", f"new{self.random.randrange(1000)}")
        records = [
            (begin + self.random.randrange(400), self.random.choice(names), self.random.randrange(1, 9999))
            for _ in range(self.random.choice((1, 40)))
        ]
        self.world.flush(records, partition=self.random.randrange(2))

    def jobs(self) -> None:
        """Roll-ups, and retention that takes more and more."""
        kept = self.random.choice(((1e9, 1e9, 1e9), (1.5 * HOUR_S, 1e9, 1e9), (HOUR_S, 2.5 * HOUR_S, 1e9)))
        self.world.round(self.now_s, kept_s=kept)

    def report(self) -> None:
        """A heartbeat of an agent, which moves its watermark."""
        version, agent = self.world.version(), self.random.choice(("agent-0", "agent-1"))
        reach_ns = round((ORIGIN_S + self.random.randrange(5 * HOUR_S)) * SECOND_NS)
        begin_ns = ORIGIN_S * SECOND_NS
        progress = VersionProgress(version.version_id, version.query_id, begin_ns, reach_ns, replayable=False)
        incarnation = f"{next(self._incarnations):032x}"
        report = AgentReport(agent, "h", "m" * 32, incarnation, begin_ns, begin_ns, {}, [progress])
        if 0 not in self.world.held:
            self.flush()
        held = self.world.held.get(0)
        if held is None:
            return
        flush = Flush(held.next_offset + 1, round((ORIGIN_S + self.now_s) * SECOND_NS), reports=[report])
        write_flush(self.world.engine, held, flush, {}, SeriesIds())
        self.world.held[0] = replace(held, next_offset=held.next_offset + 1, flushes=held.flushes + 1)

    def retire(self) -> None:
        retired = self.random.random() < 0.5
        with self.world.engine.begin() as connection:
            connection.execute(sa.text("UPDATE agents SET retired = :retired"), {"retired": retired})

    def version(self) -> None:
        """Another version of the query becomes valid somewhere in the middle."""
        plan = plan_of(10, self.random.choice(("", "WHERE rtt_us < 5000")))
        with self.world.engine.begin() as connection:
            register_queries(connection, [plan], round((ORIGIN_S + self.random.randrange(3 * HOUR_S)) * SECOND_NS))
            assert plan.version in load_versions(connection)
        self.world.plan = plan


@pytest.mark.parametrize("seed", [1, 2])
def test_an_answer_from_before_is_always_the_computed_one(upgraded_url, seed):
    from store.connect import open_engine

    engine = open_engine(upgraded_url)
    writers = Writers(LevelsWorld(engine, plan_of(10)), seed)
    clock = lambda: round((ORIGIN_S + writers.now_s) * SECOND_NS)  # noqa: E731
    with (
        asking(upgraded_url, now_ns=clock) as kept,
        asking(upgraded_url, ApiConfig(answer_cache_bytes=0), clock) as computed,
    ):
        writers.flush()
        # The same few again and again, so that most writes come between two times that one is asked.
        pairs = [*writers.random.sample([(q, r) for q in QUESTIONS for r in RANGES], 3), (QUESTIONS[2], RANGES[3])]
        for _ in range(30):
            writers.write()
            for question, (begin, end) in pairs:
                asked = question | {"start": str(ORIGIN_S + begin), "end": str(ORIGIN_S + end)}
                wanted = computed.get(**asked)
                assert wanted.status_code == 200, wanted.text
                for _ in range(2):
                    got = kept.get(**asked)
                    assert (got.content, got.headers["etag"]) == (wanted.content, wanted.headers["etag"])
            # What remembers no catalog either: the last question once more.
            selection = Selection("rtt_us", *(at * SECOND_NS for at in (ORIGIN_S, ORIGIN_S + 4 * HOUR_S)), ("src",))
            with engine.connect() as connection:
                fresh = [g.labels for g in merged(connection, selection).groups if g.labels["src"] != "a"]
            assert [group["labels"] for group in wanted.json()["groups"]] == fresh
        outcomes = kept.app.state.service.metrics.answer_cache
        assert outcomes.labels("hit")._value.get() > outcomes.labels("miss")._value.get() > 10
    engine.dispose()


def test_an_answer_stays_known_while_other_hours_change_and_not_when_its_own_does(tmp_path):
    from store.connect import open_engine, upgrade

    url = f"sqlite:///{tmp_path / 'kept.db'}"
    upgrade(url)
    world = LevelsWorld(open_engine(url), plan_of(10))
    world.flush([(5, "a", 1), (3 * HOUR_S, "a", 1)])
    with asking(url, now_ns=lambda: (ORIGIN_S + 9 * HOUR_S) * SECOND_NS) as client:
        hits = client.app.state.service.metrics.answer_cache.labels("hit")._value

        def counted() -> int:
            question = {"metric": "rtt_us", "start": str(ORIGIN_S), "end": str(ORIGIN_S + 60)}
            return client.get("/api/v1/quantiles", **question).json()["groups"][0]["count"]

        assert (counted(), counted(), hits.get()) == (1, 1, 1)
        world.flush([(6 * HOUR_S, "a", 1)])
        assert (counted(), hits.get()) == (1, 2)
        world.flush([(6, "a", 1)])
        assert (counted(), hits.get()) == (2, 2)
    world.engine.dispose()


def test_an_answer_of_windows_that_retention_has_made_coarser_is_not_kept(upgraded_url):
    from store.connect import open_engine

    world = LevelsWorld(open_engine(upgraded_url), plan_of(10))
    world.flush([(at, "a", 1) for at in (5, 15, 25, 4 * HOUR_S)])
    world.round(9 * HOUR_S)  # rolled up: what follows only raises a floor, which no counter tells of
    counters = sa.text("SELECT sum(changes) FROM page_changes")
    question = {"metric": "rtt_us", "start": str(ORIGIN_S), "end": str(ORIGIN_S + 60), "step": "10s"}
    with asking(upgraded_url, now_ns=lambda: (ORIGIN_S + 9 * HOUR_S) * SECOND_NS) as client:

        def widths_s() -> list[float]:
            groups = client.get("/api/v1/quantiles", **question).json()["groups"]
            return [(group["end_ns"] - group["start_ns"]) / SECOND_NS for group in groups]

        assert widths_s() == [10, 10, 10]
        with world.engine.connect() as connection:
            before = connection.execute(counters).scalar()
        world.round(9 * HOUR_S, kept_s=(6 * HOUR_S, 1e9, 1e9))
        with world.engine.connect() as connection:
            assert connection.execute(counters).scalar() == before
        assert widths_s() == [60]
    world.engine.dispose()


def test_an_answer_is_not_kept_when_dropped_counters_and_new_ones_add_up_to_the_old_sum(upgraded_url):
    from store.connect import open_engine

    world = LevelsWorld(open_engine(upgraded_url), plan_of(10))
    world.flush([(5, "a", 1), (HOUR_S + 5, "a", 1)])
    world.round(9 * HOUR_S)

    def counters() -> int:
        with world.engine.connect() as connection:
            return connection.execute(sa.text("SELECT sum(changes) FROM page_changes")).scalar()

    with asking(upgraded_url, now_ns=lambda: (ORIGIN_S + 9 * HOUR_S) * SECOND_NS) as client:

        def counted() -> int:
            question = {"metric": "rtt_us", "start": str(ORIGIN_S), "end": str(ORIGIN_S + 2 * HOUR_S)}
            return client.get("/api/v1/quantiles", **question).json()["groups"][0]["count"]

        assert counted() == 2
        before = counters()
        world.round(9 * HOUR_S, kept_s=(8 * HOUR_S, 8 * HOUR_S, 8 * HOUR_S))
        assert counters() < before
        added = 0
        while counters() < before:
            world.flush([(HOUR_S + 15, "a", 1)])
            added += 1
        assert counters() == before
        assert counted() == 1 + added
    world.engine.dispose()


def test_what_is_kept_of_an_answer_does_not_grow_with_the_agents(tmp_path):
    from store.connect import open_engine, upgrade

    url = f"sqlite:///{tmp_path / 'fleet.db'}"
    upgrade(url)
    writers = Writers(LevelsWorld(open_engine(url), plan_of(10)), seed=1)
    writers.world.flush([(5, "a", 1)])
    with asking(url, now_ns=lambda: (ORIGIN_S + 9 * HOUR_S) * SECOND_NS) as client:
        question = {"metric": "rtt_us", "start": str(ORIGIN_S), "end": str(ORIGIN_S + 60)}
        for _ in range(2):
            writers.report()
            for _ in range(2):
                coverage = client.get("/api/v1/quantiles", **question).json()["coverage"]
        assert coverage["agents_expected"] > 0
        (entry,) = client.app.state.service.reads.answers._entries.values()
        assert entry.rendered
        assert b"Expected" not in pickle.dumps((entry.facts, entry.seen, entry.rendered))
    writers.world.engine.dispose()


def test_entries_stay_within_the_bytes_and_the_one_used_least_recently_goes_first():
    cache = AnswerCache(50_000, OwnMetrics())
    made = [_entry() for _ in range(20)]
    for place, entry in enumerate(made):
        cache.put(place, entry)
        cache.get(0)
    assert cache.held_bytes <= 50_000
    assert 3 < len(cache) < 20
    assert cache.get(0) is made[0]
    assert cache.get(19) is made[19]
    assert cache.get(1) is None


def test_a_body_counts_and_one_that_is_too_large_is_not_kept():
    cache, entry = AnswerCache(50_000, OwnMetrics()), _entry()
    cache.put("question", entry)
    before = cache.held_bytes
    cache.rendered("question", entry, "form", b"agents", b"x" * 5_000)
    assert before + 5_000 < cache.held_bytes < before + 6_000
    cache.rendered("question", entry, "other", b"agents", b"x" * 40_000)
    assert list(entry.rendered) == ["form"]


def _entry() -> Entry:
    merged = SimpleNamespace(groups=[], states=None)
    return Entry(1, (1,), 0, 1, 0, merged, CoverageFacts(10, (), (), ()))
