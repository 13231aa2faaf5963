"""Samples over time: whatever levels are read, every range adds up to exactly the records in it."""

from copy import copy

import numpy as np
import pytest
import sqlalchemy as sa

from store.registry import metric, register_queries
from store.samples import Instants, SeriesCodes, WindowStates, estimated, plan, read
from store.series import label_text
from store.snapshot import Snapshot
from tests.store.levels_world import METRICS, ORIGIN_S, SECOND_NS, LevelsWorld, plan_of

HOUR_S = 3600
FOREVER = (1e9, 1e9, 1e9)


def records(n: int, seconds: int, seed: int = 5) -> list[tuple[int, str, int]]:
    source = np.random.default_rng(seed)
    times = np.sort(source.integers(0, seconds, n)).tolist()
    return [(at, f"s{i % 3}", int(source.integers(1, 10_000))) for i, at in enumerate(times)]


@pytest.fixture
def world(engine: sa.Engine) -> LevelsWorld:
    return LevelsWorld(engine, plan_of(10))


def codes_of(connection: sa.Connection, together: bool) -> SeriesCodes:
    found = connection.exec_driver_sql("SELECT id, labels FROM series ORDER BY id").all()
    names = [label_text({"src": f"s{i}"}) for i in range(3)]
    codes = [0 if together else names.index(labels) for _, labels in found]
    return SeriesCodes(np.array([series_id for series_id, _ in found], np.int64), np.array(codes, np.int64))


def ask(
    world: LevelsWorld, name: str, asked: Instants, added: bool, together: bool = False
) -> tuple[WindowStates | None, int, list[int]]:
    """(the samples, how many states were estimated, the levels read)."""
    with world.engine.connect() as connection:
        row = metric(connection, name)
        planned = plan(Snapshot(connection), row, codes_of(connection, together), asked, added)
        about = estimated(connection, planned, 0)
        levels = sorted({piece.segment.level.number for piece in planned.pieces})
        return read(connection, planned, lambda: None), about, levels


def rolled_up(
    world: LevelsWorld, now_s: int = 3 * HOUR_S, kept_s: tuple[float, float, float] = (1e9, 1e9, 1e9)
) -> None:
    for _ in range(3):
        assert world.round(now_s, kept_s=kept_s)


def instants(first_s: int, last_s: int, step_s: int, range_s: int) -> Instants:
    return Instants(*((ORIGIN_S + at) * SECOND_NS for at in (first_s, last_s)), step_s * SECOND_NS, range_s * SECOND_NS)


Truth = dict[tuple[str, str], bytes]


def truth_of(world: LevelsWorld, low_s: int, high_s: int) -> Truth:
    """(metric, src) -> the bytes of its state over all records taken in."""
    inside = [(0, src, rtt) for at, src, rtt in world.taken if low_s <= at < high_s]
    if not inside:
        return {}
    partial = world.partial(inside)
    names = list(enumerate(partial.keys["src"].to_list()))
    return {
        (name, src): bytes(partial.states[name].take(np.array([place])).to_bodies()[0])
        for name in METRICS
        for place, src in names
    }


def assert_ranges_true(
    world: LevelsWorld, asked: Instants, found: dict[str, WindowStates | None], wide_s: int, truths: dict[object, Truth]
) -> None:
    """Every range holds the states of exactly the records whose windows (`wide_s`) end in it, no sample twice."""
    for samples in filter(None, found.values()):
        assert len(set(zip(samples.codes.tolist(), samples.times_ns.tolist(), strict=True))) == samples.codes.size
    for t in range(asked.first_ns, asked.last_ns + 1, asked.step_ns):
        low, high = ((at // SECOND_NS - ORIGIN_S) // wide_s * wide_s for at in (t - asked.range_ns, t))
        if (low, high, len(world.taken)) not in truths:
            truths[low, high, len(world.taken)] = truth_of(world, low, high)
        got: Truth = {}
        for name, samples in found.items():
            if samples is not None:
                inside = (samples.times_ns > t - asked.range_ns) & (samples.times_ns <= t)
                for code in np.unique(samples.codes[inside]).tolist():
                    chosen = np.flatnonzero(inside & (samples.codes == code))
                    one = samples.state.take(chosen).reduce(np.zeros(chosen.size, np.int64), 1)
                    got[name, f"s{code}"] = bytes(one.to_bodies()[0])
        wanted = {key: body for key, body in truths[low, high, len(world.taken)].items() if key[0] in found}
        assert got == wanted, t


QUESTIONS = {
    "one instant": instants(5_400, 5_400, 1, 3_600),
    "an instant inside a window": instants(5_407, 5_407, 1, 4_003),
    "overlapping ranges": instants(3_600, 7_200, 60, 300),
    "ranges with gaps": instants(1_800, 7_200, 600, 120),
    "many ranges with gaps": instants(0, 7_200, 120, 60),
    "ranges that divide no coarser window": instants(605, 7_205, 70, 350),
    "many ranges that begin inside minutes": instants(1_830, 7_230, 120, 240),
    "long steps": instants(3_600, 10_800, 3_600, 3_600),
    "before all data": instants(-7_200, -3_600, 60, 60),
}


def test_every_range_adds_up_to_its_records_from_whatever_level(world: LevelsWorld) -> None:
    world.flush(records(200, 2 * HOUR_S))
    truths: dict[object, Truth] = {}
    for question in QUESTIONS.values():
        plain = {name: ask(world, name, question, added=False)[0] for name in METRICS}
        assert_ranges_true(world, question, plain, 10, truths)
    rolled_up(world)
    world.flush([(4_007, "s1", 77)])  # one minute and one hour wait for their roll-up again
    for question in QUESTIONS.values():
        for added in (False, True):
            asked = {name: ask(world, name, question, added) for name in METRICS}
            assert_ranges_true(world, question, {name: found for name, (found, _, _) in asked.items()}, 10, truths)
            for found, about, levels in asked.values():
                assert added or set(levels) <= {0}
                assert found is None or about >= found.codes.size


def test_whole_coarser_windows_are_read_where_states_are_added_up_anyway(world: LevelsWorld) -> None:
    world.flush(records(200, 2 * HOUR_S))
    rolled_up(world)
    few = ask(world, "rtt_us", QUESTIONS["one instant"], added=True)
    assert (few[2], few[0] is not None and few[0].codes.size) == ([0, 1], 3) or few[2] == [1]
    assert ask(world, "rtt_us", QUESTIONS["overlapping ranges"], added=True)[2] == [1]
    assert ask(world, "rtt_us", QUESTIONS["long steps"], added=True)[2] == [2]
    assert ask(world, "rtt_us", QUESTIONS["ranges that divide no coarser window"], added=True)[2] == [0]
    assert few[1] < ask(world, "rtt_us", QUESTIONS["one instant"], added=False)[1]


def test_where_only_coarser_windows_are_left_their_ends_are_the_times(world: LevelsWorld) -> None:
    world.flush(records(200, 2 * HOUR_S))
    rolled_up(world)
    rolled_up(world, kept_s=(HOUR_S, 1e9, 1e9))
    found, _, levels = ask(world, "rtt_us", instants(601, 1_803, 1, 600), added=False)
    assert levels == [1]  # although the ranges begin and end inside minutes
    assert found is not None
    assert set((found.times_ns // SECOND_NS - ORIGIN_S) % 60) == {0}
    assert_ranges_true(world, instants(660, 1_800, 60, 600), {"rtt_us": found}, 60, {})
    for asked in (instants(1_803, 1_803, 1, 1_200), instants(1_203, 1_803, 300, 700)):
        found, _, levels = ask(world, "rtt_us", asked, added=True)
        assert levels == [1]
        assert_ranges_true(world, asked, {"rtt_us": found}, 60, {})


def test_a_window_of_two_versions_is_one_sample_and_none_counts_twice(world: LevelsWorld) -> None:
    """Version B takes over at 1,800 s; hours and minutes of both are read, and each record once."""
    world.flush(records(100, 1_800))
    other = copy(world)
    other.plan, other.taken, other.held = plan_of(10, "WHERE err = 0"), [], {}
    with world.engine.begin() as connection:
        register_queries(connection, [other.plan], (ORIGIN_S + 1_800) * SECOND_NS)
    other.flush([(at + 1_800, src, rtt) for at, src, rtt in records(100, 5_400, seed=6)], partition=1)
    rolled_up(world, 4 * HOUR_S)
    world.flush([(2_000, "s0", 5)])  # of the version that is not valid there
    world.taken.pop()
    world.taken += other.taken
    for _ in range(2):
        for asked in (instants(7_200, 7_200, 1, 7_200), instants(3_600, 7_200, 3_600, 3_600)):
            found, _, _ = ask(world, "rtt_us", asked, added=True)
            assert_ranges_true(world, asked, {"rtt_us": found}, 10, {})
        rolled_up(world, 30 * HOUR_S, kept_s=(1, 2, 1e9))  # hours only
    inside = instants(2_700, 3_600, 900, 3_600)  # a range ends after the change, inside the hour of both
    found, _, levels = ask(world, "rtt_us", inside, added=True)
    assert levels == [2]
    assert_ranges_true(world, inside, {"rtt_us": found}, HOUR_S, {})


def test_nothing_but_the_asked_series_is_read_and_groups_are_one(world: LevelsWorld) -> None:
    world.flush(records(60, 600))
    asked = instants(600, 600, 1, 600)
    together, _, _ = ask(world, "probes_total", asked, added=True, together=True)
    assert together is not None
    assert together.state.answers() == [60]
    with world.engine.connect() as connection:
        codes = codes_of(connection, together=False)
        one = SeriesCodes(codes.ids[codes.codes == 2], np.zeros(1, np.int64))
        found = read(
            connection, plan(Snapshot(connection), metric(connection, "probes_total"), one, asked, True), lambda: None
        )
        assert found is not None
        assert found.state.answers() == [20]
        none = SeriesCodes(np.empty(0, np.int64), np.empty(0, np.int64))
        assert (
            read(connection, plan(Snapshot(connection), metric(connection, "rtt_us"), none, asked, False), lambda: None)
            is None
        )


def test_the_estimate_counts_a_window_once_for_each_partition_that_has_a_part_of_it(world: LevelsWorld) -> None:
    for partition in range(3):
        world.flush([(at, "s0", 5) for at in range(0, 600, 10)], partition)
    found, about, _ = ask(world, "rtt_us", instants(600, 600, 1, 600), added=False)
    assert found is not None
    assert (found.codes.size, about) == (60, 180)


def test_the_estimate_is_enough_where_only_a_late_page_holds_many_series(world: LevelsWorld) -> None:
    world.flush([(at, "s0", 5) for at in range(0, 990, 10)])
    world.flush([(990, f"s{i}", 5) for i in range(3)])
    found, about, _ = ask(world, "rtt_us", instants(1_000, 1_000, 1, 1_000), added=False)
    assert found is not None
    assert (found.codes.size, about) == (102, 300)


def test_a_read_is_ended_by_its_pause(world: LevelsWorld) -> None:
    world.flush(records(60, 600))

    def enough() -> None:
        raise TimeoutError("enough")

    with world.engine.connect() as connection:
        row, codes = metric(connection, "rtt_us"), codes_of(connection, together=False)
        planned = plan(Snapshot(connection), row, codes, instants(600, 600, 1, 600), False)
        with pytest.raises(TimeoutError):
            read(connection, planned, enough)
