"""States of retry advice: one line, one active, and the way back; what was learned beside the line is refused."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from store import gpu_models
from store.errors import RetryModelError
from store.gpu_models import (
    RetryModelRow,
    active_model,
    forget_models,
    model_data,
    model_list,
    put_model,
    roll_back,
)
from store.gpu_tables import gpu_retry_models
from tests.store.gpu_world import NOW_NS


def learned(connection: sa.Connection, generation: int, parent: int | None = None) -> RetryModelRow:
    """The state of this generation, learned from its parent (default: the one before it)."""
    before = generation - 1 if parent is None else parent
    data = b"state %d" % generation
    note = f"learned {generation}"
    of_parent = f"sha256:{before}" if before else ""
    return put_model(connection, generation, f"sha256:{generation}", of_parent, data, note, NOW_NS + generation)


def line(connection: sa.Connection) -> list[tuple[int, bool]]:
    return [(row.generation, row.active) for row in model_list(connection)]


def test_each_state_follows_the_active_one_and_takes_its_place(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        assert active_model(connection) is None
        for generation in (1, 2, 3):
            row = learned(connection, generation)
        assert row == RetryModelRow(3, "sha256:3", "sha256:2", NOW_NS + 3, True, NOW_NS + 3, "learned 3", 7)
        assert active_model(connection) == row
        assert line(connection) == [(3, True), (2, False), (1, False)]
        assert [model_data(connection, generation) for generation in (1, 2, 3)] == [b"state 1", b"state 2", b"state 3"]


def test_after_going_back_what_was_learned_meanwhile_is_refused_and_the_line_goes_on_from_there(
    engine: sa.Engine,
) -> None:
    with engine.begin() as connection:
        for generation in (1, 2, 3):
            learned(connection, generation)
        row = roll_back(connection, 1, NOW_NS + 9, "3 kept hopeless jobs alive")
        assert (row.generation, row.active, row.note) == (1, True, "3 kept hopeless jobs alive")
        assert (row.created_ns, row.activated_ns) == (NOW_NS + 1, NOW_NS + 9)
        assert roll_back(connection, 1, NOW_NS + 10, "again") == row, "it is active already"
        with pytest.raises(
            RetryModelError, match=r"learned from sha256:3, and the active one is sha256:1.*learn again"
        ):
            learned(connection, 4)
        with pytest.raises(RetryModelError, match="generation 3 is not the next one; want more than 3"):
            learned(connection, 3, parent=1)
        learned(connection, 4, parent=1)
        assert line(connection) == [(4, True), (3, False), (2, False), (1, False)]


def test_what_is_no_state_or_not_there_is_refused(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_models, "STATE_MAX_BYTES", 10)
    with engine.begin() as connection:
        for data in (b"", b"x" * 11):
            with pytest.raises(RetryModelError, match="want 1 to 10"):
                put_model(connection, 1, "d", "", data, "", NOW_NS)
        with pytest.raises(RetryModelError, match="there is no state of generation 5; kept are none yet"):
            roll_back(connection, 5, NOW_NS, "")
        with pytest.raises(RetryModelError, match="learned from sha256:7, and the active one is none"):
            learned(connection, 8)
        learned(connection, 1)
        with pytest.raises(RetryModelError, match=r"there is no state of generation 5; kept are 1$"):
            model_data(connection, 5)
        with pytest.raises(RetryModelError, match="learned from no state, and the active one is sha256:1"):
            put_model(connection, 2, "d", "", b"x", "", NOW_NS)


def test_of_two_who_learned_from_the_same_state_one_is_told_so(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        learned(connection, 1)

    def learn(generation: int) -> str:
        with engine.begin() as connection:
            try:
                return learned(connection, generation, parent=1).digest
            except RetryModelError as error:
                return str(error)

    with ThreadPoolExecutor(2) as threads:
        said = sorted(threads.map(learn, [2, 3]))
    assert "was learned from sha256:1, and the active one is sha256:" in said[0]
    with engine.connect() as connection:
        active = active_model(connection)
        assert active is not None
        assert active.digest == said[1]
        assert len(model_list(connection)) == 2


def test_the_oldest_states_go_but_never_the_active_one(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        for generation in range(1, 7):
            learned(connection, generation)
        roll_back(connection, 2, NOW_NS, "")
        assert forget_models(connection, 3, limit=1) == 1
        assert line(connection) == [(6, False), (5, False), (4, False), (3, False), (2, True)]
        assert [forget_models(connection, 3) for _ in range(2)] == [1, 0]
        assert line(connection) == [(6, False), (5, False), (4, False), (2, True)]
        assert forget_models(connection, 0) == 2, "the newest stays: generations go on from it"
        assert line(connection) == [(6, False), (2, True)]


def test_the_database_itself_takes_no_second_active_state(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        learned(connection, 1)
    row = {"generation": 2, "digest": "d", "parent": "", "created_ns": 1, "activated_ns": 1, "note": "", "data": b"d"}
    with engine.connect() as connection:
        connection.execute(sa.insert(gpu_retry_models).values(row | {"active": False}))
        with pytest.raises(sa.exc.IntegrityError):
            connection.execute(sa.update(gpu_retry_models).values(active=True))
