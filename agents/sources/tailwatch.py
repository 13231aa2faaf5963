"""The source `tailwatch`: Tailwatch's metrics about itself, as rows of `tailwatch_metrics` and `tailwatch_targets`.

The agent's own metrics need no port and no request: with the first checkpoint of every `interval_s` the loop hands them
over, and counters count from that page on, as from any other (scrape_increments.py). It takes them at a place within
the interval that follows from the host's name, the same in every interval of the clock: each window of 10 s then has
one page, also when a checkpoint is late. `targets` are scraped by a `scrape` source inside, into a stream of their own:
an agent without any has no stream for the queries on collectors and APIs, and so never runs them.
"""

import hashlib
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from agents.own_metrics import METRICS, Sample, series_of
from agents.sources.configs import ScrapeConfig, TailwatchConfig
from agents.sources.scrape_increments import Increments
from agents.sources.scrape_page import Page
from agents.sources.scrape_targets import Target
from agents.sources.source import Batch
from agents.sources.streams import SCRAPE, TAILWATCH_METRICS, TAILWATCH_TARGETS
from pipeline.schema import HOST_COLUMN, TIME_COLUMN, Schema, polars_schema

if TYPE_CHECKING:
    from agents.sources.scrape import Fetching, ScrapeSource

OWN: Final = "tailwatch_metrics"
OTHERS: Final = "tailwatch_targets"
#: The column `instance` of the agent's own rows.
OWN_INSTANCE: Final = "agent"
_TARGET: Final = Target(OWN_INSTANCE, (("instance", OWN_INSTANCE), ("job", "tailwatch")))
_DECLARED: Final = tuple(name for name in TAILWATCH_METRICS if name not in SCRAPE)
_TYPES: Final = polars_schema({name: kind for name, kind in TAILWATCH_METRICS.items() if name != HOST_COLUMN})
_FAMILIES: Final[dict[str, str]] = {name: kind for name, (kind, _) in METRICS.items()}
# Growth of a longer time than this, and than four intervals, is no value of one window.
_FORGET_S: Final = 300.0
# A page at the very end of an interval would, with a checkpoint that is late, fall into the next one.
_WITHIN: Final = (0.1, 0.6)


class TailwatchSource:
    """This agent, and the targets beside it."""

    name: Final = "tailwatch"
    replayable: Final = False
    finished: Final = False
    lag_rows: Final = None

    def __init__(
        self,
        config: TailwatchConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
        fetch: "Callable[[str, ScrapeConfig], Fetching] | None" = None,
    ) -> None:
        """`clock` says what counters count on from, `clock_ns` when a page is due; `fetch` is as in a scrape source."""
        self._scrape = _scrape_of(config.scraped(), clock, clock_ns, fetch)
        self._clock, self._clock_ns = clock, clock_ns
        self._interval_ns = round(config.interval_s * 1e9)
        self._offset_ns = round(_share_of_this_host() * self._interval_ns)
        self._taken_in: int | None = None
        self._increments = Increments(_TARGET, _DECLARED, max(_FORGET_S, 4 * config.interval_s))
        self._frames: list[pl.DataFrame] = []
        self._counters: Counter[str] = Counter({"own_pages": 0, "own_samples": 0})

    @property
    def streams(self) -> Mapping[str, Schema]:
        """The agent's own, and that of the targets where there are any."""
        return {OWN: TAILWATCH_METRICS} if self._scrape is None else {OWN: TAILWATCH_METRICS, OTHERS: TAILWATCH_TARGETS}

    def open(self, position: bytes | None) -> None:
        """The first scrapes are spread over an interval."""
        if self._scrape is not None:
            self._scrape.open(position)

    def wants_samples(self) -> bool:
        """Once in each interval of the clock, whichever way that was set."""
        return self._interval() != self._taken_in

    def take_samples(self, samples: Iterable[Sample]) -> None:
        """Rows of these; of counters from the second time on."""
        self._taken_in = self._interval()
        by_series = {series_of(sample): float(sample.value) for sample in samples}
        page = Page(
            pl.Series("key", list(by_series), dtype=pl.String),
            np.array(list(by_series.values()), np.float64),
            _FAMILIES,
        )
        rows = self._increments.rows(page, self._clock())
        self._counters.update(self._increments.events)
        self._increments.events.clear()
        self._counters["own_pages"] += 1
        self._counters["own_samples"] += rows.height
        stamped = rows.with_columns(pl.lit(self._clock_ns(), pl.Int64).alias(TIME_COLUMN))
        self._frames.append(stamped.select(list(_TYPES)))

    def poll(self) -> list[Batch]:
        """What the agent handed over and what targets answered since the last poll."""
        frames, self._frames = self._frames, []
        batches = [Batch(OWN, pl.concat(frames))] if frames else []
        if self._scrape is not None:
            batches += [Batch(OTHERS, one.rows, one.lost) for one in self._scrape.poll()]
        return batches

    def position(self) -> bytes | None:
        """None: a page of the past cannot be had."""
        return None

    def measured_to_ns(self, polled_ns: int) -> int | None:
        """Up to the poll: rows have the time at which they were put where the poll finds them."""
        return polled_ns

    def counters(self) -> Mapping[str, int]:
        """Pages of the agent itself, and what the scrapes of targets count."""
        return dict(self._counters) if self._scrape is None else {**self._scrape.counters(), **self._counters}

    def missing(self) -> Mapping[str, str]:
        """Targets that are down."""
        return {} if self._scrape is None else self._scrape.missing()

    def close(self) -> None:
        """End what runs; what has come can still be polled once."""
        if self._scrape is not None:
            self._scrape.close()

    def _interval(self) -> int:
        return (self._clock_ns() - self._offset_ns) // self._interval_ns


def _scrape_of(
    config: ScrapeConfig | None,
    clock: Callable[[], float],
    clock_ns: Callable[[], int],
    fetch: "Callable[[str, ScrapeConfig], Fetching] | None",
) -> "ScrapeSource | None":
    if config is None:
        return None
    # An HTTP client that an agent without targets need not hold.
    from agents.sources.scrape import ScrapeSource  # noqa: PLC0415
    from agents.sources.scrape_fetch import Fetch  # noqa: PLC0415

    return ScrapeSource(config, TAILWATCH_TARGETS, clock=clock, clock_ns=clock_ns, fetch=fetch or Fetch)


def _share_of_this_host() -> float:
    """Of an interval: agents of a fleet do not all send their pages at the same moment."""
    low, high = _WITHIN
    digest = hashlib.blake2b(socket.gethostname().encode(), digest_size=8).digest()
    return low + (high - low) * int.from_bytes(digest, "big") / 2**64
