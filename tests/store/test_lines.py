"""Kept lines in the store: flushes, roll-ups and retention change none of them, and their pages are packed."""

import random

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.states import Described, FirstLinesState, State
from store import page_reads, page_writes, pages, samples, windows
from store.errors import CorruptPageError
from store.label_matchers import Matcher
from store.packed_bodies import MAX_BODY_BYTES, pack, unpack
from store.pages import PACKED_FORMAT, PageContents, decode_states, read_pages, write_page
from store.samples import Instants, SeriesCodes
from store.series_list import last_windows
from store.snapshot import Snapshot
from store.windows import Selection, merged
from tests.store.levels_world import HOUR_S, ORIGIN_S, SECOND_NS, Record
from tests.store.lines_world import LinesWorld, line_of, lines_world


def records(n: int, seed: int, to_s: int = 6 * HOUR_S, jobs: int = 3) -> list[Record]:
    rng = random.Random(seed)
    return [
        (rng.randrange(to_s), f"job-{rng.randrange(jobs)}", rng.choice([0, 1_999, rng.randrange(10**6)]))
        for _ in range(n)
    ]


@pytest.fixture
def world(engine: sa.Engine) -> LinesWorld:
    """A query that keeps lines, with windows of 10 s."""
    return lines_world(engine)


def test_any_order_of_flushes_roll_ups_and_retention_keeps_the_lines_that_one_pass_keeps(world: LinesWorld) -> None:
    end = 12 * HOUR_S

    @given(st.data())
    @settings(
        max_examples=4 if world.engine.dialect.name == "sqlite" else 2, suppress_health_check=[HealthCheck.too_slow]
    )
    def law(data: st.DataObject) -> None:
        world.start_over()
        for _ in range(data.draw(st.integers(2, 5))):
            if data.draw(st.booleans()):
                batch = records(data.draw(st.integers(1, 40)), data.draw(st.integers(0, 999)), end)
                world.flush(batch, data.draw(st.integers(0, 1)))
            else:
                kept = sorted(data.draw(st.tuples(*[st.integers(1, 14)] * 3)))
                own, minutes, hours = (hours_kept * float(HOUR_S) for hours_kept in kept)
                assert world.round(data.draw(st.integers(0, 14)) * HOUR_S, kept_s=(own, minutes, hours))
            gone_s = max(0, -(-(world.floors().floors_ns[-1] // SECOND_NS - ORIGIN_S) // HOUR_S) * HOUR_S)
            world.taken = [record for record in world.taken if record[0] >= gone_s]
            for step in (None, HOUR_S):
                world.assert_true(gone_s, end, step)
        assert world.too_old() == world.refused

    law()


def test_lines_of_many_jobs_are_the_same_however_few_pages_are_read_and_merged_at_once(
    world: LinesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = records(300, 7, to_s=120, jobs=150)
    for module, name in (
        (page_reads, "TEXT_PAGES_AT_ONCE"), (windows, "_TEXT_BYTES"),
        (samples, "_TEXT_PAGES_AT_ONCE"), (page_writes, "_TEXT_PAGES_AT_ONCE"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, 1)
    world.flush(many[:150])
    world.flush(many[150:], partition=1)
    world.assert_true(0, 120)
    world.assert_true(0, 120, 60)
    world.round(HOUR_S)
    assert world.pages(1)
    world.assert_true(0, 120, 60)


def test_one_job_is_read_without_decoding_the_others_on_its_pages(
    world: LinesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.flush(records(200, 3, to_s=60, jobs=20))
    decoded: list[set[int]] = []

    def noted(function: str, metric: Described, contents: PageContents) -> State:
        decoded.append(set(contents.series.tolist()))
        return decode_states(function, metric, contents)

    monkeypatch.setattr(pages, "decode_states", noted)
    with world.engine.connect() as connection:
        start = ORIGIN_S * SECOND_NS
        asked = Selection("job_first_lines", start, start + 60 * SECOND_NS, where=(Matcher("job", "job-7"),))
        (group,) = merged(connection, asked).groups
    state = group.state
    assert isinstance(state, FirstLinesState)
    wanted = sorted(line_of(record) for record in world.taken if record[1] == "job-7")
    assert [(line.ts_ns, line.place, line.text) for line in state.lines(0)][:3] == wanted[:3]
    assert state.seen(0)[0] == len(wanted)
    assert [len(series) for series in decoded] == [1]


def test_windows_of_some_series_are_read_one_by_one(world: LinesWorld) -> None:
    world.flush([(5, "a", 1), (15, "b", 2), (17, "a", 3), (25, "a", 4)])
    with world.engine.connect() as connection:
        seen = Snapshot(connection)
        row = seen.view.metric("job_last_lines")
        ids = np.array(sorted(series for series, labels in seen.labels(row.query_id).by_id() if labels["job"] == "a"))
        start = ORIGIN_S * SECOND_NS
        asked = Instants(start + 60 * SECOND_NS, start + 60 * SECOND_NS, SECOND_NS, 60 * SECOND_NS)
        planned = samples.plan(seen, row, SeriesCodes(ids, np.zeros(ids.size, np.int64)), asked, added=False)
        found = samples.read(connection, planned, lambda: None)
        last = last_windows(seen, row, start, start + 60 * SECOND_NS)
    assert found is not None
    assert [(time - start) // SECOND_NS for time in found.times_ns.tolist()] == [10, 20, 30]
    assert found.state.answers() == [1, 1, 1]
    assert (last[int(ids[0])][0] - start) // SECOND_NS == 20


def test_pages_of_lines_are_packed_and_take_little(world: LinesWorld) -> None:
    world.flush([(at, f"job-{job}", 1_000) for at in range(10) for job in range(20)])
    with world.engine.connect() as connection:
        metric_id = world.version().metric_ids["job_first_lines"]
        stored = connection.execute(sa.text("SELECT data FROM pages WHERE metric_id = :m"), {"m": metric_id}).scalars()
        (data,) = (bytes(page) for page in stored)
    contents = read_pages([(0, data)])
    assert data[0] == PACKED_FORMAT
    assert int(contents.lengths.sum()) == len(contents.buffer) > 100_000
    assert len(data) < 2_000


def test_packed_and_plain_pages_are_read_together() -> None:
    ids, lengths = np.array([3, 64 + 5]) % 64, np.array([2, 3])
    plain, packed = (write_page(ids, lengths, b"aabbb", packed=packed) for packed in (False, True))
    contents = read_pages([(0, plain), (1, packed), (2, plain)])
    assert contents.buffer == b"aabbb" * 3
    assert contents.series.tolist() == [3, 5, 67, 69, 131, 133]
    picked = contents.only(np.array([3, 0, 1]))
    assert (picked.buffer, picked.series.tolist(), picked.page.tolist()) == (b"bbbaabbb", [69, 3, 5], [1, 0, 0])


def test_packed_bytes_that_do_not_hold_are_refused() -> None:
    page = write_page(np.array([1, 2]), np.array([1, 1]), b"ab", packed=True)
    for data in (
        page[:-1],
        page + b"x",
        page.replace(b"ab", b"abc"),
        page[:-3] + b"zzz",
        page[:4] + b"\x09" + page[5:],
    ):
        with pytest.raises(CorruptPageError):
            read_pages([(0, data)])
    with pytest.raises(CorruptPageError, match="at most"):
        unpack(pack(bytes(MAX_BODY_BYTES + 1)), MAX_BODY_BYTES + 1)
    assert unpack(pack(b""), 0) == b""
