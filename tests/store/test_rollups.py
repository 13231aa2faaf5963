"""Roll-ups and retention: no answer changes, whatever comes late, races or is cut short."""

import random

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.connect import lose_patience, open_engine
from store.levels import levels_of
from store.registry import register_queries
from store.retention import Retention, raise_floor
from store.snapshot import Snapshot
from tests.collector.test_exactly_once import Killed, killed_at
from tests.store.levels_world import HOUR_S, ORIGIN_S, SECOND_NS, LevelsWorld, Record, plan_of

KEPT_S = (2.0 * HOUR_S, 5.0 * HOUR_S, 9.0 * HOUR_S)


def records(n: int, seed: int, from_s: int = 0, to_s: int = 6 * HOUR_S) -> list[Record]:
    rng = random.Random(seed)
    return [
        (rng.randrange(from_s, to_s), rng.choice("abc"), rng.choice([0, 7, rng.randrange(10**6)])) for _ in range(n)
    ]


@pytest.fixture
def world(engine: sa.Engine) -> LevelsWorld:
    """A query with windows of 10 s."""
    return LevelsWorld(engine, plan_of(10))


@pytest.mark.parametrize(
    ("window_s", "widths"),
    [
        (10, [10, 60, 3600]),
        (7, [7, 63, 3654]),
        (59, [59, 118, 3658]),
        (60, [60, 3600]),
        (300, [300, 3600]),
        (3600, [3600]),
        (86_400, [86_400]),
    ],
)
def test_a_coarser_level_is_the_smallest_multiple_that_is_long_enough(window_s: int, widths: list[int]) -> None:
    assert [level.width_ns // SECOND_NS for level in levels_of(window_s * SECOND_NS)] == widths


@pytest.mark.parametrize("window_s", [10, 7, 300])
def test_any_order_of_flushes_roll_ups_and_retention_answers_the_multiset_of_what_was_taken_in(
    engine: sa.Engine, window_s: int
) -> None:
    world = LevelsWorld(engine, plan_of(window_s))
    widest = world.widths_s[-1]
    end = 12 * widest

    @given(st.data())
    @settings(max_examples=10 if engine.dialect.name == "sqlite" else 4, suppress_health_check=[HealthCheck.too_slow])
    def law(data: st.DataObject) -> None:
        world.start_over()
        for _ in range(data.draw(st.integers(2, 6))):
            if data.draw(st.booleans()):
                batch = records(data.draw(st.integers(1, 30)), data.draw(st.integers(0, 999)), 0, end)
                world.flush(batch, data.draw(st.integers(0, 1)))
            else:
                kept = sorted(data.draw(st.tuples(*[st.integers(1, 14)] * 3)))
                own, minutes, hours = (hours_kept * float(HOUR_S) for hours_kept in kept)
                assert world.round(data.draw(st.integers(0, 14)) * HOUR_S, kept_s=(own, minutes, hours))
            gone_s = max(0, -(-(world.floors().floors_ns[-1] // SECOND_NS - ORIGIN_S) // widest) * widest)
            low = data.draw(st.integers(gone_s // widest, max(gone_s // widest, 11))) * widest
            world.taken = [record for record in world.taken if record[0] >= gone_s]
            for step in (None, widest, 2 * widest):
                world.assert_true(low // (2 * widest) * 2 * widest if step else low, end, step)
        assert world.too_old() == world.refused

    law()


def test_finer_windows_go_and_answers_over_whole_hours_stay_the_same(world: LevelsWorld) -> None:
    world.flush(records(80, 1))
    world.flush(records(80, 2), partition=1)
    before = world.coverage(0, 6 * HOUR_S)
    assert world.round(6 * HOUR_S + 10)
    assert (world.waiting(), world.pages(1) > 0, world.pages(2) > 0) == (0, True, True)
    world.assert_true(0, 6 * HOUR_S)
    assert world.round(7 * HOUR_S, kept_s=(2.0 * HOUR_S, 4.0 * HOUR_S, 90.0 * HOUR_S))
    floors_s = [floor // SECOND_NS - ORIGIN_S for floor in world.floors().floors_ns]
    assert floors_s[:2] == [5 * HOUR_S, 3 * HOUR_S]
    world.assert_true(0, 6 * HOUR_S)
    world.assert_true(0, 6 * HOUR_S, HOUR_S)
    assert world.coverage(0, 6 * HOUR_S) == before


def test_a_read_uses_coarse_windows_where_they_are_clean_and_own_ones_at_its_ragged_ends(world: LevelsWorld) -> None:
    world.flush([(at, "a", at) for at in range(0, 6 * HOUR_S, 10)])
    world.round(6 * HOUR_S)
    with world.engine.connect() as connection:
        seen = Snapshot(connection)
        row = seen.view.metric("probes_total")
        (valid,) = seen.view.ranges(row.query_id)
        begin_ns = ORIGIN_S * SECOND_NS
        stretch = begin_ns + 50 * SECOND_NS, begin_ns + (5 * HOUR_S + 130) * SECOND_NS
        reads = len(seen.segments(valid.version.version_id, *stretch, None))
    world.assert_true(50, 5 * HOUR_S + 130)
    assert reads == 5  # own windows, minutes, hours, minutes, own windows
    world.flush([(2 * HOUR_S + 5, "a", 1)])  # makes one minute, and so one hour, wait again
    world.assert_true(50, 5 * HOUR_S + 130)
    world.assert_true(0, 6 * HOUR_S, HOUR_S)


def test_asked_for_finer_windows_than_are_left_groups_are_as_wide_as_what_is_left(world: LevelsWorld) -> None:
    world.flush([(at, "a", 1) for at in range(0, 2 * HOUR_S, 10)])
    world.round(2 * HOUR_S, kept_s=(1.0 * HOUR_S, 90.0 * HOUR_S, 90.0 * HOUR_S))
    answer = world.ask("probes_total", HOUR_S - 120, HOUR_S + 30, step_s=30)
    spans = [
        (
            (g.start_ns // SECOND_NS - ORIGIN_S) - HOUR_S,
            (g.end_ns // SECOND_NS - ORIGIN_S) - HOUR_S,
            g.state.answers()[0],
        )
        for g in answer.groups
    ]
    assert spans == [(-120, -60, 6), (-60, 0, 6), (0, 30, 3)]
    whole = world.ask("probes_total", HOUR_S - 70, HOUR_S + 30)
    assert (whole.start_ns // SECOND_NS - ORIGIN_S, whole.groups[0].state.answers()) == (HOUR_S - 120, [15])


def test_late_data_after_its_level_was_deleted_goes_to_the_level_that_is_left(world: LevelsWorld) -> None:
    world.flush(records(200, 3))
    world.round(9 * HOUR_S, kept_s=KEPT_S)
    assert world.pages(2)
    world.flush(records(100, 4), partition=1)
    world.flush(records(100, 5))
    world.assert_true(HOUR_S, 6 * HOUR_S)
    world.round(9 * HOUR_S, kept_s=KEPT_S)
    world.assert_true(HOUR_S, 6 * HOUR_S)
    world.assert_true(0, 6 * HOUR_S, HOUR_S)
    assert (world.too_old(), world.refused) == (0, 0)


def test_data_older_than_the_coarsest_level_is_refused_and_counted(world: LevelsWorld) -> None:
    world.flush(records(50, 6, 8 * HOUR_S, 9 * HOUR_S))
    world.round(9 * HOUR_S, kept_s=(HOUR_S, HOUR_S, 2.0 * HOUR_S))
    kept = [record for record in world.taken if record[0] >= 7 * HOUR_S]
    world.flush([(10, "a", 1), (20, "b", 1), (8 * HOUR_S + 1, "a", 1)])
    assert (world.too_old(), world.refused) == (2, 2)
    assert len(world.taken) == len(kept) + 1
    world.assert_true(0, 9 * HOUR_S)


def test_a_version_that_was_not_valid_stays_out_of_coarser_windows(world: LevelsWorld) -> None:
    """The validity changes in the middle of a minute and of an hour; each version has data on both sides of it."""
    change_s = 2 * HOUR_S + 1_230
    newer = LevelsWorld(world.engine, plan_of(10, "WHERE err = 0"))
    with world.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM validity")
        register_queries(connection, [world.plan], 0)
        register_queries(connection, [newer.plan], (ORIGIN_S + change_s) * SECOND_NS)
    old_records, new_records = records(120, 7), records(120, 8)
    world.flush(old_records)
    newer.held = world.held
    newer.flush(new_records)
    world.taken = [r for r in old_records if r[0] < change_s] + [r for r in new_records if r[0] >= change_s]
    world.assert_true(0, 6 * HOUR_S)
    before = world.coverage(0, 6 * HOUR_S)
    assert before.records_known == 240
    for kept in ((90.0, 90.0, 90.0), (1.0, 90.0, 90.0), (1.0, 1.0, 90.0)):
        world.round(7 * HOUR_S, kept_s=tuple(hours * HOUR_S for hours in kept))  # type: ignore[arg-type]
        world.assert_true(0, 6 * HOUR_S)
        assert world.coverage(0, 6 * HOUR_S) == before
    # Late data of either side meets hours only.
    late_old, late_new = [(change_s - 40, "a", 5)], [(change_s + 40, "a", 6)]
    world.flush([*late_old, (change_s + 50, "a", 9)])
    newer.flush([*late_new, (change_s - 50, "a", 9)])
    world.taken = [r for r in old_records if r[0] < change_s] + [r for r in new_records if r[0] >= change_s]
    world.taken += late_old + late_new
    world.assert_true(0, 6 * HOUR_S)
    assert world.coverage(0, 6 * HOUR_S).records_known == 244
    assert world.coverage(0, 6 * HOUR_S).records_merged == before.records_merged + 2


def _raise_floors(world: LevelsWorld, kept_h: tuple[int, int, int], now_h: int) -> None:
    """As a round does it that has rolled nothing up, because what waits came after that."""
    own, minutes, hours = (hours * HOUR_S * SECOND_NS for hours in kept_h)
    now_ns = (ORIGIN_S + now_h * HOUR_S) * SECOND_NS
    for level in (0, 1):
        rises = True
        while rises:
            with world.engine.begin() as connection:
                rises = raise_floor(connection, world.version(), level, Retention((own, minutes, hours)), now_ns)


def test_nothing_finer_goes_while_a_coarser_window_waits_to_be_computed(world: LevelsWorld) -> None:
    world.flush(records(300, 9))
    pages = world.pages(0)
    _raise_floors(world, (1, 1, 1), 20)
    assert max(world.floors().floors_ns) <= ORIGIN_S * SECOND_NS + min(world.taken)[0] * SECOND_NS
    assert world.pages(0) == pages
    world.assert_true(0, 6 * HOUR_S)


def test_a_floor_that_a_finer_one_holds_back_stays_at_the_edge_of_a_coarser_window(world: LevelsWorld) -> None:
    """A late record holds back the own windows' floor in the middle of an hour; no hour may be parted there."""
    late_s = HOUR_S + 27 * 60
    world.flush([(at, "a", at) for at in range(0, 3 * HOUR_S, 900)])
    world.round(3 * HOUR_S)
    world.flush([(late_s, "a", 5)])
    _raise_floors(world, (3, 3, 90), 8)
    floors_s = [floor // SECOND_NS - ORIGIN_S for floor in world.floors().floors_ns]
    assert floors_s[:2] == [late_s, HOUR_S]
    for _ in range(2):
        world.assert_true(HOUR_S, late_s + 600)
        world.assert_true(0, 3 * HOUR_S, HOUR_S)
        world.round(8 * HOUR_S)
    assert world.waiting() == 0


def test_a_coarser_window_is_not_computed_again_from_what_is_left_of_it(world: LevelsWorld) -> None:
    """Floors came to stand inside coarser windows before they kept to their edges; a database may have such a one."""
    world.flush([(at, "a", 1) for at in range(0, 2 * HOUR_S, 900)])
    world.round(2 * HOUR_S)
    floor_ns = (ORIGIN_S + 20 * 60) * SECOND_NS
    with world.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE level_floors SET floor_ns = {floor_ns} WHERE level < 2")
        for table in ("pages", "manifests"):
            connection.exec_driver_sql(f"DELETE FROM {table} WHERE level < 2 AND window_ns < {floor_ns}")
    world.flush([(40 * 60, "a", 1), (HOUR_S + 40 * 60, "a", 1)])
    assert world.waiting() == 2
    world.round(2 * HOUR_S)
    world.round(3 * HOUR_S, kept_s=(1.0 * HOUR_S, 1.0 * HOUR_S, 9.0 * HOUR_S))
    assert world.waiting() == 0
    hours = world.ask("probes_total", 0, 2 * HOUR_S, HOUR_S).groups
    assert [hour.state.answers()[0] for hour in hours] == [4, 5], "the first one keeps what is left of it nowhere else"


@pytest.mark.parametrize("inner", ["round", "flush"])
def test_roll_up_racing_a_flush_at_every_statement_loses_and_repeats_nothing(
    world: LevelsWorld, upgraded_url: str, inner: str
) -> None:
    """Between any two statements of the one, the other is tried whole on a connection of its own.

    Where it finds a lock it fails at once, as it may: its work is done by the next attempt.
    """
    other = open_engine(upgraded_url)
    lose_patience(other, 0.02)
    world.flush(records(60, 10, 0, 2 * HOUR_S))
    world.round(2 * HOUR_S)
    world.flush(records(60, 11, 0, 2 * HOUR_S))  # now there is much to do for a round
    attempts, succeeded, seed, inside = [0], [0], [100], [False]

    def intrude(*_: object) -> None:
        if inside[0]:
            return
        attempts[0] += 1
        inside[0] = True
        try:
            attempt()
        finally:
            inside[0] = False

    def attempt() -> None:
        if inner == "round":
            succeeded[0] += world.round(2 * HOUR_S, engine=other, kept_s=(1.0 * HOUR_S, 1.5 * HOUR_S, 9.0 * HOUR_S))
            return
        if attempts[0] % 5 or seed[0] >= 112:  # each success gives the round more to do
            return
        seed[0] += 1
        batch, before = records(5, seed[0], 0, 2 * HOUR_S), dict(world.held)
        try:
            world.flush(batch, partition=1, engine=other)
            succeeded[0] += 1
        except sa.exc.OperationalError:
            world.held = before

    for n in range(3):
        sa.event.listen(world.engine, "before_cursor_execute", intrude)
        sa.event.listen(world.engine, "commit", intrude)
        try:
            if inner == "round":
                world.flush(records(40, 20 + n, 0, 2 * HOUR_S))
            else:
                world.round(2 * HOUR_S, kept_s=(1.0 * HOUR_S, 1.5 * HOUR_S, 9.0 * HOUR_S))
        finally:
            sa.event.remove(world.engine, "before_cursor_execute", intrude)
            sa.event.remove(world.engine, "commit", intrude)
        world.assert_true(0, 2 * HOUR_S)
        world.flush(records(20, 40 + n, 0, 2 * HOUR_S))
    other.dispose()
    assert attempts[0] > 30
    assert succeeded[0] > 0
    world.round(3 * HOUR_S)
    world.assert_true(0, 2 * HOUR_S)
    world.round(3 * HOUR_S, kept_s=(1.0, 1.0, 9.0 * HOUR_S))
    world.assert_true(0, 2 * HOUR_S)
    assert world.waiting() == 0


def test_a_round_killed_before_any_of_its_statements_is_finished_by_the_next(world: LevelsWorld) -> None:
    world.flush(records(40, 12, 0, 2 * HOUR_S))
    statement, survived = 0, False
    while not survived:
        statement += 7
        with killed_at(world.engine, statement) as count:
            try:
                world.round(4 * HOUR_S, kept_s=(1.0 * HOUR_S, 2.0 * HOUR_S, 9.0 * HOUR_S))
                survived = count[0] < statement
            except Killed:
                world.engine.dispose()
        with world.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE leases SET expires_ns = 0")
        world.assert_true(0, 2 * HOUR_S)
    assert statement > 50
    assert world.waiting() == 0
    assert world.pages(2) > 0


def test_placing_far_away_windows_does_not_wrap_around() -> None:
    from store.levels import Floors

    levels = levels_of(10 * SECOND_NS)
    windows = np.array([-(2**63), -(2**63) + 1, 2**63 - 1], np.int64)
    placed, starts = Floors(levels, (-(2**63),) * 3).place(windows)
    assert placed.tolist() == [0, 0, 0]
    assert starts.tolist() == windows.tolist()
    raised, _ = Floors(levels, (0, 0, 0)).place(windows)
    assert raised.tolist() == [-1, -1, 0]
