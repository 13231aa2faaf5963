"""Made-up drives for the demo: a history that the scoring job finds as if it had taken it in day by day, and a model.

Nobody has failing drives at hand. Each of these is called synthetic where it stands: by its name, node, rack and
family, by `synthetic` in every answer, by the label `origin` of every series, and by the model's card. The same seed
makes the same drives, so that a demo that is started again tomorrow goes on with them.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

if TYPE_CHECKING:
    import polars as pl

    from analytics.ssd.fleet_parameters import FleetParameters

#: One of six in 260 whose first hundred drives are in every state by rules alone: most failures come without a sign.
_SEED: Final = 204
# Another seed for what the model learns from, so that it meets drives that it has never seen.
_TRAINING_SEED: Final = 8
_TRAINING_DRIVES: Final = 6_000
# As far as wear is looked back at, and some.
_DAYS: Final = 100
# The fleet's time goes on so far beyond today: without it nothing would be about to fail today. Nobody is told of it.
_AHEAD_D: Final = 30
# Of fewer drives none would fail at the rates of the generator (1.6 % a year), and there would be nothing to see.
_DRIVES_THAT_FAIL_AS_REAL_ONES: Final = 2_000
_MOST_TIMES_AS_OFTEN: Final = 20.0
_DRIVES_AT_ONCE: Final = 1_000
_LEASE_NS: Final = 60 * 10**9
_EPOCH: Final = date(1970, 1, 1)


def plant_drives(engine: sa.Engine, drives: int, now_ns: int, tell: Callable[[str], None]) -> None:
    """Put a history of so many made-up drives into the database, and a model that learned from others if it has none.

    Args:
        tell: is told what is being done, where it takes a while.
    """
    from dataclasses import replace

    from analytics.ssd.fleet import daily, fleet_parts
    from analytics.ssd.fleet_parameters import FleetParameters
    from store.drive_models import in_role

    today = datetime.fromtimestamp(now_ns // 10**9, UTC).date()
    often = min(max(_DRIVES_THAT_FAIL_AS_REAL_ONES / drives, 1.0), _MOST_TIMES_AS_OFTEN)
    parameters = _failing_more_often(replace(FleetParameters(), run_days=_DAYS + _AHEAD_D), often)
    parameters = _ending(daily(parameters, drives, _DAYS + _AHEAD_D), today + timedelta(days=_AHEAD_D))
    times = (
        f", which fail {often:.3g} times as often as drives do, so that there is something to see" if often > 1 else ""
    )
    tell(f"making {drives:,} synthetic drives{times}")
    for part in fleet_parts(parameters, _SEED, chunk=_DRIVES_AT_ONCE):
        _write(engine, part.days.filter(part.days["day"] <= today), now_ns)
    with engine.connect() as connection:
        if in_role(connection, "active") is not None:
            return
    _install_model(engine, today, now_ns, tell)


def drives_line(engine: sa.Engine) -> str:
    """How the drives are, for the summary; "" where none was judged yet."""
    from store.drive_tables import drives

    words = {2: "to be replaced", 1: "to be watched", 0: "good", -1: "unknown"}
    with engine.connect() as connection:
        if connection.execute(sa.select(sa.func.max(drives.c.scored_ns))).scalar() is None:
            return ""
        # One that fell silent before the job looks back at it is never judged: unknown, and still a drive.
        query = sa.select(drives.c.synthetic, drives.c.state, sa.func.count())
        found = connection.execute(query.group_by(drives.c.synthetic, drives.c.state)).all()
    parts = []
    for synthetic in (False, True):
        counts = {state: n for made_up, state, n in found if bool(made_up) is synthetic}
        if counts:
            told = ", ".join(f"{counts[state]:,} {word}" for state, word in words.items() if state in counts)
            parts.append(f"{sum(counts.values()):,} {'synthetic' if synthetic else 'measured'}: {told}")
    return "; ".join(parts)


def _ending(parameters: "FleetParameters", today: date) -> "FleetParameters":
    """The same fleet with its last day today."""
    from dataclasses import replace

    return replace(parameters, start=today - timedelta(days=parameters.run_days - 1))


def _failing_more_often(parameters: "FleetParameters", times: float) -> "FleetParameters":
    from dataclasses import replace

    vendors = tuple(replace(each, yearly_failures=each.yearly_failures * times) for each in parameters.vendors)
    return replace(parameters, vendors=vendors)


def _write(engine: sa.Engine, days: "pl.DataFrame", now_ns: int) -> None:
    from collector.jobs.drive_intake import note_chunk
    from collector.jobs.drives import LEASE
    from store.drive_days import by_chunk, put_days
    from store.drives import DriveSeen, note_drives
    from store.leases import give_back, hold_lease, take_lease

    newest = days.unique("drive", keep="last", maintain_order=True)
    places = ("node", "rack", "model", "vendor", "family", "firmware", "kind")
    first = days.unique("drive", keep="first", maintain_order=True)
    seen = [
        DriveSeen(row["drive"], (row["day"] - _EPOCH).days, **{name: row[name] for name in places}, synthetic=True)
        for frame in (first, newest)
        for row in frame.iter_rows(named=True)
    ]
    with engine.begin() as connection:
        lease = take_lease(connection, LEASE, "demo", now_ns, _LEASE_NS)
        if lease is None:  # a collector that did not end in order: it is no more, and this is its folder
            connection.execute(sa.text("UPDATE leases SET expires_ns = 0 WHERE name = :name"), {"name": LEASE})
            lease = take_lease(connection, LEASE, "demo", now_ns, _LEASE_NS)
    assert lease is not None
    with engine.begin() as connection:
        hold_lease(connection, lease, now_ns)
        numbers = note_drives(connection, seen[: first.height])
        numbers |= note_drives(connection, seen[first.height :])
    for chunk, part in by_chunk(days, numbers):
        with engine.begin() as connection:
            hold_lease(connection, lease, now_ns)
            put_days(connection, part, numbers)
            note_chunk(connection, chunk, now_ns)
    with engine.begin() as connection:
        give_back(connection, lease)


def _install_model(engine: sa.Engine, today: date, now_ns: int, tell: Callable[[str], None]) -> None:
    """Without the libraries for it the demo shows what a service without a model shows."""
    from dataclasses import asdict, replace

    from analytics.errors import MissingLibraryError
    from analytics.ssd.features import features
    from analytics.ssd.fitting import train
    from analytics.ssd.fleet import simulate
    from analytics.ssd.fleet_parameters import FleetParameters
    from analytics.ssd.model_file import dump_model
    from analytics.ssd.training import xgboost
    from store.drive_models import install

    try:
        xgboost()
    except MissingLibraryError as error:
        tell(f"no model: {error}")
        return
    tell(f"training a model on {_TRAINING_DRIVES:,} other synthetic drives")
    fleet = simulate(_ending(replace(FleetParameters(), drives=_TRAINING_DRIVES), today), _TRAINING_SEED)
    model = train(
        fleet.days,
        features(fleet.days),
        fleet.failures,
        origin=fleet.synthetic_note,
        synthetic=True,
        made=today,
        why_no_results={"7": "trained for a demo, not evaluated", "30": "trained for a demo, not evaluated"},
    )
    with engine.begin() as connection:
        install(connection, dump_model(model), asdict(model.card), "active", now_ns)
