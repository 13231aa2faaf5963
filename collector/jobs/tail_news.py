"""What is new: batches of recorded requests since the last one seen, and the minutes that they change.

A request changes the minutes around it too: what shared the hardware is put together from all who ran. Requests that
come longer after their arrival than the settings look back change no minute any more, and those that claim to be of a
time to come none yet; both are kept for learning and what-if, and counted.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from collector import own_metrics
from collector.jobs.pace import Pace
from collector.jobs.tail_waiting import (
    BATCHES_SCOPE,
    MINUTE_NS,
    PROGRESS,
    Waiting,
    read_unlearned,
    read_waiting,
    write_unlearned,
    write_waiting,
)
from store.job_progress import Progress
from store.tail_batches import BatchRow, batches_after

#: So far around a request others are taken to have run beside it; of longer ones, the rest is not seen.
REACH_NS: Final = 10 * 10**9
#: By so much a sender's clock may be ahead.
AHEAD_NS: Final = 300 * 10**9
_BATCHES_AT_ONCE: Final = 2_000


def take_in(engine: sa.Engine, look_back_ns: int, now_ns: int, pace: Pace) -> dict[str, Waiting]:
    """Note the minutes that new batches change; returns all that wait.

    Raises:
        LeaseLostError, sqlalchemy.exc.SQLAlchemyError: what was noted stays noted, the rest is due.
    """
    with engine.connect() as connection:
        waiting = read_waiting(connection)
        seen = PROGRESS.read(connection, BATCHES_SCOPE).get(0, Progress(0)).value
    while True:
        with engine.connect() as connection:
            batches = batches_after(connection, seen, _BATCHES_AT_ONCE)
        if not batches:
            return waiting
        seen = batches[-1].id
        news = _news(batches, waiting, look_back_ns)
        with engine.begin() as connection:
            pace.hold(connection)
            write_waiting(connection, news.values(), now_ns)
            unlearned = read_unlearned(connection)
            added = _requests(batches)
            write_unlearned(connection, {name: unlearned.get(name, 0) + n for name, n in added.items()}, now_ns)
            PROGRESS.write(connection, BATCHES_SCOPE, {0: Progress(seen)}, now_ns)
        waiting.update(news)
        _count(batches, look_back_ns)
        pace.rest()


def _news(batches: Sequence[BatchRow], waiting: dict[str, Waiting], look_back_ns: int) -> dict[str, Waiting]:
    minutes: dict[str, set[int]] = defaultdict(set)
    for one in batches:
        if _result(one, look_back_ns) == "counted":
            # A batch may say that it spans years: only what it can still change is looked at.
            low_ns = max(one.from_ns - REACH_NS, one.received_ns - look_back_ns)
            high_ns = min(one.to_ns, one.received_ns + AHEAD_NS) + REACH_NS
            minutes[one.service].update(range(low_ns // MINUTE_NS, high_ns // MINUTE_NS + 1))
    return {name: waiting.get(name, Waiting(name)).with_news(some) for name, some in minutes.items()}


def _result(batch: BatchRow, look_back_ns: int) -> str:
    """What becomes of its requests, by the newest, or where that is of a time to come, the oldest of them."""
    if batch.to_ns < batch.received_ns - look_back_ns:
        return "late"
    return "ahead" if batch.from_ns > batch.received_ns + AHEAD_NS else "counted"


def _requests(batches: Sequence[BatchRow]) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for one in batches:
        found[one.service] += one.requests
    return found


def _count(batches: Sequence[BatchRow], look_back_ns: int) -> None:
    for one in batches:
        own_metrics.tail_requests.labels(_result(one, look_back_ns)).inc(one.requests)
