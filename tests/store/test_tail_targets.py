"""Tables of targets: at most one in use, a way back that never leads in circles, and every change noted."""

import pytest
import sqlalchemy as sa

from store import tail_targets
from store.errors import ServiceChangedError, ServiceRowError, TargetTableError
from store.tail_profiles import put_profile
from store.tail_services import ServiceSettings, put_service
from store.tail_targets import (
    Expected,
    Versions,
    activate_table,
    active_table,
    draft_table,
    get_table,
    list_tables,
    roll_back_table,
    table_changes,
    versions_now,
)
from tests.store.tail_world import NOW_NS


@pytest.fixture
def connection(engine):
    with engine.begin() as opened:
        for number in range(1, 5):
            draft_table(opened, "a", {"n": number}, NOW_NS + number, by="ana", evidence={"gain": 0.1})
        yield opened


def activate(connection: sa.Connection, *versions: int) -> None:
    for version in versions:
        activate_table(connection, "a", version, NOW_NS)


def active(connection: sa.Connection) -> int | None:
    row = active_table(connection, "a")
    return None if row is None else row.version


def back(connection: sa.Connection, version: int) -> int | None:
    row = roll_back_table(connection, "a", version, NOW_NS)
    assert active(connection) == (None if row is None else row.version)
    return None if row is None else row.version


def test_a_draft_is_kept_as_it_was_and_nobody_is_told_of_it(connection: sa.Connection) -> None:
    row = get_table(connection, "a", 2)
    assert (row.state, row.follows, row.document, row.evidence) == ("draft", None, {"n": 2}, {"gain": 0.1})
    assert (row.created_ns, row.created_by, active(connection)) == (NOW_NS + 2, "ana", None)
    other = draft_table(connection, "b", {}, NOW_NS, max_degree=6)
    assert (other.version, other.max_degree, row.max_degree) == (1, 6, None)
    with pytest.raises(ServiceRowError, match="max_degree is 0; want 1 to"):
        draft_table(connection, "b", {}, NOW_NS, max_degree=0)
    assert [row.version for row in list_tables(connection, "a", 4, 2)] == [3, 2]
    with pytest.raises(TargetTableError, match="no table of targets 9; newest are 4, 3, 2, 1"):
        get_table(connection, "a", 9)


def test_rolling_back_goes_to_what_was_active_before_step_by_step(connection: sa.Connection) -> None:
    activate(connection, 1, 3, 2)
    assert (back(connection, 2), back(connection, 3), back(connection, 1)) == (3, 1, None)
    assert [row.state for row in list_tables(connection, "a")] == ["draft", "rolled_back", "rolled_back", "rolled_back"]


def test_what_was_rolled_back_is_passed_over(connection: sa.Connection) -> None:
    activate(connection, 1, 2)
    assert back(connection, 2) == 1
    activate(connection, 2, 3)
    assert get_table(connection, "a", 3).follows == 2
    activate(connection, 1)  # follows 3, which follows 2, which follows 1
    assert back(connection, 1) == 3
    assert back(connection, 3) == 2
    assert back(connection, 2) is None


def test_activating_what_is_active_changes_nothing(connection: sa.Connection) -> None:
    activate(connection, 1, 2)
    noted = len(table_changes(connection, "a"))
    activate(connection, 2)
    assert (len(table_changes(connection, "a")), get_table(connection, "a", 2).follows) == (noted, 1)


def test_a_change_says_which_one_it_takes_to_be_active(connection: sa.Connection) -> None:
    activate_table(connection, "a", 1, NOW_NS, expected=Expected(None))
    for expected in (None, 2):
        with pytest.raises(ServiceChangedError, match="version 1 of 'a' is active") as caught:
            activate_table(connection, "a", 2, NOW_NS, expected=Expected(expected))
        assert caught.value.seen == 1
    with pytest.raises(ServiceChangedError, match="version 2 of 'a' is draft, and version 1 is active"):
        roll_back_table(connection, "a", 2, NOW_NS)
    assert active(connection) == 1


def test_every_change_is_noted_with_who_when_and_why(connection: sa.Connection) -> None:
    activate_table(connection, "a", 1, NOW_NS + 10, by="ana", note="try")
    activate_table(connection, "a", 2, NOW_NS + 20, by="ben")
    roll_back_table(connection, "a", 2, NOW_NS + 30, by="eva", note="slower\x00")
    noted = [
        (one.version, one.state, one.changed_ns - NOW_NS, one.changed_by, one.note)
        for one in table_changes(connection, "a")
    ]
    assert noted[:5] == [
        (1, "active", 30, "eva", "version 2 was rolled back"),
        (2, "rolled_back", 30, "eva", "slower\\0"),
        (2, "active", 20, "ben", ""),
        (1, "retired", 20, "ben", "version 2 took its place"),
        (1, "active", 10, "ana", "try"),
    ]


def test_the_oldest_go_when_there_are_very_many_but_never_the_way_back(
    connection: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_targets, "VERSIONS_MAX", 4)
    activate(connection, 1, 2)
    for _ in range(3):
        draft_table(connection, "a", {}, NOW_NS)
    assert [row.version for row in list_tables(connection, "a")] == [7, 6, 2, 1]
    assert back(connection, 2) == 1


def test_versions_are_told_once_everything_that_servers_need_is_there(connection: sa.Connection) -> None:
    assert versions_now(connection, "a") is None
    activate(connection, 2)
    assert versions_now(connection, "a") is None
    put_profile(connection, "a", {}, NOW_NS)
    first = versions_now(connection, "a")
    assert first is not None
    assert (first.table, first.profile, first.settings) == (2, 1, 0)
    put_service(connection, "a", ServiceSettings(), NOW_NS + 5)
    second = versions_now(connection, "a")
    assert second == Versions(2, 1, 1, (*first.made_ns[:2], NOW_NS + 5))
    assert versions_now(connection, "a\x00") is None
