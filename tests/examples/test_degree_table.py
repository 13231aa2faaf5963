"""The example's degree table: what is one, what it chooses, and that trouble with polling changes nothing."""

import json
import math
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from analytics.tail.policies import Server, TargetTable, Tpc
from analytics.tail.simulation import simulate
from analytics.tail.speedup import WEB_SEARCH
from analytics.tail.workloads import ModelledPredictor, bing_like, requests_at
from examples.parallel_service.degree_table import MOST_BYTES, NONE_ACTIVE, BadTableError, Load, TablePoller, table_of
from examples.parallel_service.policies import ByTable, FixedDegree, PredictedLong
from tests.examples.stand_in_api import TABLE, StandIn, failing, stand_in_api, table_answer

IDLE = Load(0, 0, 0, 0)


@pytest.fixture
def api() -> Iterator[StandIn]:
    with stand_in_api() as found:
        yield found


def changed(**fields: object) -> bytes:
    return json.dumps(TABLE | fields).encode()


def test_a_request_gets_the_smallest_degree_that_meets_the_target_at_the_load_it_meets() -> None:
    table = table_of(changed())
    rng = random.Random(1)
    chosen = [table.choose(predicted, IDLE, rng) for predicted in (4.0, 12.0, 100.0)]
    assert [(one.degree, one.long, one.check_after_ms) for one in chosen] == [
        (1, False, 10.0), (2, True, 10.0), (2, True, 10.0),
    ]  # fmt: skip
    busy = table.choose(12.0, Load(active_threads=2, long_threads=0, running=2, waiting=1), rng)
    assert (busy.degree, busy.check_after_ms, busy.table_version) == (1, 20.0, 7)


@pytest.mark.parametrize("predicted", [math.nan, 0.0, -3.0, math.inf])
def test_a_prediction_that_is_none_begins_on_one_thread_and_is_corrected(predicted: float) -> None:
    chosen = table_of(changed()).choose(predicted, IDLE, random.Random(1))
    assert (chosen.degree, chosen.long, chosen.check_after_ms, chosen.most) == (1, False, 10.0, 2)


def test_without_correction_or_prediction_it_does_neither() -> None:
    rng = random.Random(1)
    assert table_of(changed(correction=None)).choose(100.0, IDLE, rng).check_after_ms is None
    assert table_of(changed(prediction=False)).choose(100.0, IDLE, rng).degree == 1


def test_a_share_of_degrees_is_drawn_by_chance_and_said_to_be() -> None:
    table, rng = table_of(changed(explore_share=0.2)), random.Random(5)
    chosen = [table.choose(4.0, IDLE, rng) for _ in range(2_000)]
    explored = [one for one in chosen if one.explored]
    assert 300 < len(explored) < 500
    assert {one.degree for one in explored} == {1, 2}
    assert {one.degree for one in chosen if not one.explored} == {1}
    fixed = [FixedDegree(1, 0.2, 4)(4.0, IDLE, rng) for _ in range(2_000)]
    assert {one.degree for one in fixed if one.explored} == {1, 2, 3, 4}
    assert PredictedLong(2, 80.0)(math.nan, IDLE, rng).degree == 1
    assert PredictedLong(2, 80.0)(80.0, IDLE, rng).long


@pytest.mark.parametrize("metric", ["long_threads", "threads_and_queue", "in_system"])
def test_it_chooses_what_the_simulator_chooses(metric: str) -> None:
    rng = np.random.default_rng(3)
    requests = requests_at(0.7, bing_like(4_000, rng), 12, rng, ModelledPredictor())
    server, targets = Server(), (15.0, 40.0, 60.0)
    run = simulate(requests, server, WEB_SEARCH, Tpc(TargetTable(metric, 3.0, targets)))  # type: ignore[arg-type]
    table = table_of(
        changed(
            metric=metric, width=3.0, targets_ms=targets, max_degree=6, class_edges_ms=WEB_SEARCH.edges_ms,
            speedups=WEB_SEARCH.table.tolist(),
        )
    )  # fmt: skip
    by_end = np.sort(run.ends_ms)
    running = np.arange(len(requests)) - np.searchsorted(by_end, run.starts_ms, side="right")
    expected = [
        min(
            table.choose(
                float(requests.predictions_ms[j]),
                Load(int(run.active[j]), int(run.long_active[j]), int(running[j]), int(run.queued[j])),
                random.Random(1),
            ).degree,
            server.workers - int(run.active[j]),
        )
        for j in range(len(requests))
    ]
    assert len(set(expected)) > 2
    assert run.first_degrees.tolist() == expected


@pytest.mark.parametrize(
    "content",
    [
        b"", b"null", b"[]", b"<html>", b"\xff\xfe", b"[" * 100_000, changed(version="7"), changed(version=True),
        changed(metric="moon"), changed(width=0), changed(width=math.nan), changed(targets_ms=[]),
        changed(targets_ms=[10, -1]), changed(targets_ms=7), changed(class_edges_ms=[30, 5]), changed(speedups=[[1.0]]),
        changed(speedups=[[1.0], [1.0], [1.0]]), changed(max_degree=0), changed(correction={"full": True}),
        changed(correction=5), changed(explore_share=-1), changed(explore_share=None),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused_as_a_whole(content: bytes) -> None:
    with pytest.raises(BadTableError):
        table_of(content)


def test_it_asks_only_for_what_is_new(api: StandIn) -> None:
    poller = TablePoller(api.url, "web search", key="tw_secret")
    assert poller.table is None
    api.say(table_answer(7))
    assert poller.poll_once() == "new"
    api.say((304, b"", {"ETag": '"7"'}))
    assert poller.poll_once() == "unchanged"
    api.say(table_answer(8))
    assert poller.poll_once() == "new"
    assert poller.table is not None
    assert poller.table.version == 8
    first, second, _ = api.asked
    assert first.path == "/api/v1/services/web%20search/degree-table"
    assert first.headers["Authorization"] == "Bearer tw_secret"
    assert "If-None-Match" not in first.headers
    assert second.headers["If-None-Match"] == '"7"'


def test_no_trouble_takes_the_last_good_table_away(api: StandIn, tmp_path: Path) -> None:
    kept = tmp_path / "table.json"
    poller = TablePoller(api.url, "web", kept, timeout_s=5.0)
    api.say(table_answer(7))
    poller.poll_once()
    pauses = [poller.pause_s()]
    troubles = [
        failing(500), failing(503), failing(401), failing(404), (404, b"<html>", {}), failing(500, NONE_ACTIVE), None,
        (200, b"<html>", {}), (200, changed(width=-1), {}),
        (200, b"1" * (MOST_BYTES + 1), {}),
    ]  # fmt: skip
    for trouble in troubles:
        api.say(trouble)
        assert poller.poll_once() == "failed", trouble
        pauses.append(poller.pause_s())
    assert poller.failures == len(troubles)
    assert max(pauses) == pytest.approx(300, rel=0.21)
    assert pauses[0] < 13
    assert poller.table == table_of(changed())
    assert TablePoller("http://127.0.0.1:9", "web", kept).table == table_of(changed())


def test_a_table_that_was_rolled_back_to_none_is_used_no_more(api: StandIn, tmp_path: Path) -> None:
    kept = tmp_path / "table.json"
    poller = TablePoller(api.url, "web", kept)
    api.say(table_answer(7), failing(404, NONE_ACTIVE), failing(404, NONE_ACTIVE), table_answer(8))
    assert [poller.poll_once() for _ in range(3)] == ["new", "none", "none"]
    assert poller.table is None
    assert not kept.exists()
    assert poller.poll_once() == "new"
    assert "If-None-Match" not in api.asked[-1].headers


def test_it_survives_that_nobody_listens_and_that_the_disk_holds_garbage(tmp_path: Path) -> None:
    kept = tmp_path / "table.json"
    kept.write_bytes(b"\x00garbage")
    poller = TablePoller("http://127.0.0.1:9", "web", kept)
    assert poller.table is None
    assert poller.poll_once() == "failed"
    assert kept.read_bytes() == b"\x00garbage"


def test_a_disk_that_takes_nothing_costs_only_the_next_start(api: StandIn, tmp_path: Path) -> None:
    poller = TablePoller(api.url, "web", tmp_path / "missing" / "table.json")
    api.say(table_answer(7))
    assert poller.poll_once() == "new"
    assert poller.table is not None


def test_the_policy_asks_the_table_in_use_and_before_there_is_one_another(api: StandIn) -> None:
    poller = TablePoller(api.url, "web")
    choose = ByTable(lambda: poller.table, FixedDegree(2))
    assert choose(4.0, IDLE, random.Random(1)).degree == 2
    api.say(table_answer(7))
    poller.poll_once()
    chosen = choose(4.0, IDLE, random.Random(1))
    assert (chosen.degree, chosen.table_version) == (1, 7)


def test_its_thread_polls_and_ends(api: StandIn) -> None:
    api.say(table_answer(7))
    poller = TablePoller(api.url, "web", every_s=0.01)
    poller.start()
    while poller.table is None or len(api.asked) < 3:
        poller._thread.join(0.005)
    poller.stop()
    assert not poller._thread.is_alive()
