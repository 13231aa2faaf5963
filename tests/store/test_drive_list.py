"""Lists of drives: the order that a plain sort gives, page by page, both ways, whatever is filtered."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from store.drive_actions import acknowledge
from store.drive_list import DriveFilter, DrivePage, Place, Sort, list_drives
from store.drives import DriveRow, DriveSeen, chunk_rows, note_drives, write_verdicts
from tests.store.drives_world import DAY_NUMBER, NOW_NS, verdict

SORTS: dict[Sort, Callable[[DriveRow], Any]] = {
    "probability": lambda row: row.p30,
    "state": lambda row: row.urgency,
    "wear": lambda row: row.wear_used_pct,
    "drive": lambda row: row.drive,
    "since": lambda row: row.since_ns,
}


@pytest.fixture
def rows(engine: sa.Engine) -> list[DriveRow]:
    """60 drives with many equal values, and many that are not known."""
    names = [f"{'sS'[i % 2]}{i * 7 % 60:02d}%_" for i in range(60)]
    with engine.begin() as connection:
        seen = [
            DriveSeen(name, DAY_NUMBER, f"n{i // 8}", f"r{i // 20}", f"M{i % 3}", f"V{i % 2}", synthetic=i % 10 == 0)
            for i, name in enumerate(names)
        ]
        numbers = note_drives(connection, seen)
        said = [
            verdict(
                numbers[name],
                i % 4 - 1,
                p30=None if i % 5 == 0 else i % 4 / 4,
                wear_used_pct=None if i % 3 else i % 7 * 10.0,
                since_ns=NOW_NS + i % 6,
            )
            for i, name in enumerate(names)
        ]
        write_verdicts(connection, said, NOW_NS)
        return chunk_rows(connection, 0)


def in_order(rows: Sequence[DriveRow], sort: Sort, *, descending: bool) -> list[int]:
    known = [row for row in rows if SORTS[sort](row) is not None]
    known.sort(key=lambda row: (SORTS[sort](row), row.id), reverse=descending)
    unknown = sorted((row.id for row in rows if SORTS[sort](row) is None), reverse=descending)
    return [row.id for row in known] + unknown


def test_pages_in_both_directions_hold_every_drive_once_in_order(engine: sa.Engine, rows: list[DriveRow]) -> None:
    with engine.connect() as connection:
        for sort in SORTS:
            for descending in (True, False):
                for limit in (7, 60, 100):
                    expected = in_order(rows, sort, descending=descending)
                    pages = [
                        list_drives(connection, DriveFilter(), NOW_NS, sort=sort, descending=descending, limit=limit)
                    ]
                    while place := pages[-1].after:
                        pages.append(_page(connection, sort, descending, limit, after=place))
                    assert [row.id for page in pages for row in page.rows] == expected, (sort, descending)
                    assert [page.before is None for page in pages] == [True] + [False] * (len(pages) - 1)
                    back = [pages[-1]]
                    while place := back[0].before:
                        back.insert(0, _page(connection, sort, descending, limit, before=place))
                    assert [page.rows for page in back] == [page.rows for page in pages]
                    assert all(page.after is not None for page in back[:-1])


def _page(
    connection: sa.Connection,
    sort: Sort,
    descending: bool,
    limit: int,
    *,
    after: Place | None = None,
    before: Place | None = None,
) -> DrivePage:
    return list_drives(
        connection, DriveFilter(), NOW_NS, sort=sort, descending=descending, limit=limit, after=after, before=before
    )


def test_drives_that_come_and_go_meanwhile_move_no_other_drive(engine: sa.Engine, rows: list[DriveRow]) -> None:
    expected = in_order(rows, "probability", descending=True)
    with engine.begin() as connection:
        first = _page(connection, "probability", True, 10)
        new = note_drives(connection, [DriveSeen("new", DAY_NUMBER)])["new"]
        # One drive before the place comes, and the place's own drive leaves it.
        write_verdicts(connection, [verdict(new, 2, p30=0.99), verdict(expected[9], 0, p30=None)], NOW_NS)
        second = _page(connection, "probability", True, 10, after=first.after)
    assert [row.id for row in first.rows] + [row.id for row in second.rows] == expected[:20]


FILTERS: list[tuple[DriveFilter, Callable[[DriveRow], bool]]] = [
    (DriveFilter(states=(2, 1)), lambda row: row.state >= 1),
    (DriveFilter(model="M1"), lambda row: row.model == "M1"),
    (DriveFilter(vendor="V1", rack="r2"), lambda row: row.vendor == "V1" and row.rack == "r2"),
    (DriveFilter(node="n3"), lambda row: row.node == "n3"),
    (DriveFilter(min_probability=0.5), lambda row: row.p30 is not None and row.p30 >= 0.5),
    (DriveFilter(synthetic=True), lambda row: row.synthetic),
    (DriveFilter(text="S1"), lambda row: "s1" in row.drive.lower()),
    (DriveFilter(text="7%_"), lambda row: "7%_" in row.drive),
    (DriveFilter(text="7_%"), lambda _: False),
    (DriveFilter(model="none such"), lambda _: False),
    (DriveFilter(acknowledged=True), lambda row: row.id in (4, 5)),
    (DriveFilter(acknowledged=False), lambda row: row.id not in (4, 5)),
]


def test_a_filter_leaves_exactly_the_drives_it_means(engine: sa.Engine, rows: list[DriveRow]) -> None:
    with engine.begin() as connection:
        for number in (4, 5):
            acknowledge(connection, number, "wear", 80.0, "me", NOW_NS)
        acknowledge(connection, 6, "wear", 80.0, "me", NOW_NS - 10, until_ns=NOW_NS)
        for where, meant in FILTERS:
            pages = [list_drives(connection, where, NOW_NS, sort="wear", limit=4)]
            while place := pages[-1].after:
                pages.append(list_drives(connection, where, NOW_NS, sort="wear", limit=4, after=place))
            found = [row.id for page in pages for row in page.rows]
            assert found == in_order([row for row in rows if meant(row)], "wear", descending=True), where
