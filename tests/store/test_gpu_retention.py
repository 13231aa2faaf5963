"""What of jobs on GPUs is deleted: by its own time, the oldest first, some at a time, along an index."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest
import sqlalchemy as sa

from store.gpu_advice import advice_of, put_advice
from store.gpu_attempts import attempts_of, changed_attempts, put_attempts
from store.gpu_failures import failures_of, put_failure
from store.gpu_retention import forget_advice, forget_attempts, forget_failures
from tests.store.gpu_world import failure, plans, report
from tests.store.test_gpu_advice_and_nodes import ADVICE

FORGET: dict[str, Callable[..., int]] = {
    "gpu_attempts": forget_attempts,
    "gpu_failures": forget_failures,
    "gpu_advice": forget_advice,
}


@pytest.fixture
def connection(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Five attempts of one job, ended, diagnosed and advised about at 50, 40, 30, 20 and 10."""
    with engine.begin() as connection:
        for number in range(1, 6):
            time_ns = 60 - 10 * number
            put_attempts(connection, [report("train", number, submitted_ns=5, end_ns=time_ns)])
            put_failure(connection, failure("train", number, failed_ns=time_ns))
            put_advice(connection, replace(ADVICE, number=number, given_ns=time_ns))
    with engine.connect() as connection:
        yield connection


def left(connection: sa.Connection) -> dict[str, list[int]]:
    return {
        "gpu_attempts": [row.number for row in attempts_of(connection, ["train"]).get("train", [])],
        "gpu_failures": [row.number for row in failures_of(connection, "train")],
        "gpu_advice": [number for number in range(1, 6) if advice_of(connection, "train", number) is not None],
    }


def test_the_oldest_go_first_some_at_a_time_and_the_other_tables_stay(connection: sa.Connection) -> None:
    whole = [1, 2, 3, 4, 5]
    expected = left(connection)
    assert expected == dict.fromkeys(FORGET, whole)
    for table, forget in FORGET.items():
        assert forget(connection, 10) == 0
        for n, rest in ((2, [1, 2, 3]), (1, [1, 2])):
            assert forget(connection, 40, limit=2) == n
            expected[table] = rest
            assert left(connection) == expected
        assert forget(connection, 40) == 0


def test_what_is_forgotten_may_be_reported_again_as_something_new(connection: sa.Connection) -> None:
    before = changed_attempts(connection, 0, 10)
    assert forget_attempts(connection, 100) == 5
    assert put_attempts(connection, [report("train", 1, end_ns=50)]) == 1
    (row,) = changed_attempts(connection, 0, 10)
    assert row.changed > before[-1].changed
    assert row.id > max(each.id for each in before)


def test_the_old_are_found_along_an_index(connection: sa.Connection) -> None:
    for table, forget in FORGET.items():
        (plan,) = plans(connection, table, partial(forget, connection, 1))
        assert f"{table}_by_time" in plan, plan
