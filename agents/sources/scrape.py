"""The source `scrape`: pages of /metrics of some targets, each every `interval_s`, as rows of the stream `scrape`.

Each scrape has a thread of its own, of which there are at most `max_concurrent`; targets that took too long the last
time share half of them, so that they do not hold up the others. Targets begin at a place within the interval that
follows from their name and this host's. Rows have the time at which their page was there: a page that takes long is
never late for a window. What a failed scrape would have brought is a lost record.
"""

import hashlib
import logging
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import polars as pl

from agents.sources.bad_input import BadInput, shown
from agents.sources.configs import ScrapeConfig
from agents.sources.rounds import Rounds
from agents.sources.scrape_fetch import Fetch, Fetched, FetchError
from agents.sources.scrape_increments import Increments
from agents.sources.scrape_page import Page, PageError, text_page, too_many
from agents.sources.scrape_protobuf import protobuf_page
from agents.sources.scrape_targets import MOST_TARGETS, Target, TargetsFile, target_of
from agents.sources.source import Batch, Lost
from agents.sources.streams import SCRAPE
from pipeline.schema import HOST_COLUMN, TIME_COLUMN, Schema, polars_schema

log = logging.getLogger(__name__)

FAILURES: Final = (
    "timeout", "refused", "unresolved", "network", "tls", "http", "http_status", "redirects", "encoding",
    "credentials", "too_large", "too_many_series", "cut_off", "bad_utf8", "not_metrics", "fault",
)  # fmt: skip
MOST_STATES: Final = 100
_EVENTS: Final = (
    "scrapes", "samples", "skipped", "queue_full", "targets_file_unusable", "malformed", "duplicates", "resets",
    "begun_anew", "bad_values", "not_a_number", "buckets_changed", "histogram_not_whole",
)  # fmt: skip
_LOOK_S: Final = 5.0
# Growth of a longer time than this, and than four intervals, is no value of one window.
_FORGET_S: Final = 300.0
_FORGET_INTERVALS: Final = 4
_MOST_WAITING_ROWS: Final = 2**20
_CLOSED_WITHIN_S: Final = 2.0
_GRACE_S: Final = 0.5
_MOST_LABELS_TOLD: Final = 100
_NO_TARGETS: Final[list[Target]] = []


class Fetching(Protocol):
    """One scrape under way."""

    def run(self) -> Fetched:
        """The page; FetchError where none came."""

    def abort(self) -> None:
        """Have it fail at once."""


@dataclass(eq=False, slots=True)
class _Scraped:
    """One target, and the scrape of it that runs, if any."""

    target: Target
    increments: Increments
    due_s: float
    began_s: float = 0.0
    fetching: Fetching | None = None
    thread: threading.Thread | None = None
    slow: bool = False
    failure: str = ""
    last_rows: int = 0
    series: int = 0
    good_s: float | None = None
    gone: bool = False

    @property
    def runs(self) -> bool:
        return self.thread is not None and self.thread.is_alive()


class ScrapeSource:
    """One job."""

    replayable: Final = False
    finished: Final = False
    lag_rows: Final = None

    def __init__(
        self,
        config: ScrapeConfig,
        schema: Schema = SCRAPE,
        *,
        clock: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
        fetch: Callable[[str, ScrapeConfig], Fetching] = Fetch,
    ) -> None:
        """`schema` is the stream's with the columns that are declared; `clock` says what is due and what counts on."""
        self.name = "scrape" if config.job == "scrape" else f"scrape:{config.job}"
        self._config = config
        self._schema = schema
        self._declared = [name for name in schema if name not in SCRAPE]
        self._types = polars_schema({name: kind for name, kind in schema.items() if name != HOST_COLUMN})
        self._clock, self._clock_ns, self._fetch = clock, clock_ns, fetch
        self._bad = BadInput(self.name, clock)
        self._static = [target_of(one, config.job) for one in config.targets]
        self._file = TargetsFile(Path(config.targets_path), config.job) if config.targets_path else None
        self._looking: Rounds | None = None
        self._targets: dict[Target, _Scraped] = {}
        self._wanted: list[Target] | None = None
        self._beyond = 0
        self._leaving: list[_Scraped] = []
        self._lock = threading.Lock()
        self._parsing = threading.Lock()  # one page at a time: what is taken apart needs several times its size
        self._frames: list[pl.DataFrame] = []
        self._waiting_rows = 0
        self._lost: list[Lost] = []
        self._told_labels: set[str] = set()
        self._counters: Counter[str] = Counter(dict.fromkeys(_EVENTS, 0))
        self._counters.update(dict.fromkeys((f"failed_{reason}" for reason in FAILURES), 0))
        self._closed = False

    @property
    def streams(self) -> Mapping[str, Schema]:
        """The one stream."""
        return {"scrape": self._schema}

    def open(self, position: bytes | None) -> None:
        """Read the file of targets; the first scrapes are spread over an interval."""
        del position
        if self._file is not None:
            self._file.look()
            self._looking = Rounds("scrape-targets", self._file.look, _LOOK_S, first_s=_LOOK_S, clock=self._clock)
        self._closed = False
        self._take_targets()

    def poll(self) -> list[Batch]:
        """What came since the last poll; begins the scrapes that are due."""
        if not self._closed:
            if self._looking is not None:
                self._looking.tick()
            self._take_targets()
            self._end_overdue()
            self._begin_due()
        with self._lock:
            frames, self._frames, self._waiting_rows = self._frames, [], 0
            lost, self._lost = self._lost, []
        if not frames and not lost:
            return []
        rows = pl.concat(frames) if frames else pl.DataFrame(schema=self._types)
        return [Batch("scrape", rows, tuple(lost))]

    def position(self) -> bytes | None:
        """None: a page of the past cannot be had."""
        return None

    def measured_to_ns(self, polled_ns: int) -> int | None:
        """Up to the poll: rows have the time at which they were put where the poll finds them."""
        return polled_ns

    def counters(self) -> Mapping[str, int]:
        """Scrapes, how they failed, and what was left out of pages."""
        with self._lock:
            found = dict(self._counters)
        for reason, count in self._bad.counts.items():
            found[reason] = found.get(reason, 0) + count
        if self._file is not None:
            found["targets_file_unusable"] = self._file.failures
        return found

    def missing(self) -> Mapping[str, str]:
        """Targets that are down, and a file of targets that cannot be used."""
        found: dict[str, str] = {}
        if self._file is not None and self._file.trouble:
            found["targets_path"] = f"{self._config.targets_path}: {self._file.trouble}; the last targets stay"
        if self._beyond:
            found["more_targets"] = f"{self._beyond} beyond {MOST_TARGETS} targets; give them to other agents"
        for one in list(self._targets.values()):
            if one.failure and len(found) < MOST_STATES:
                found[one.target.name] = one.failure
            elif one.failure:
                found["others"] = "more targets cannot be scraped"
        return found

    def close(self) -> None:
        """End what runs; what has come can still be polled once."""
        self._closed = True
        if self._looking is not None:
            self._looking.close(_CLOSED_WITHIN_S)
        under_way = [*self._targets.values(), *self._leaving]
        for one in under_way:
            if one.fetching is not None:
                one.fetching.abort()
        until_s = time.monotonic() + _CLOSED_WITHIN_S
        for one in under_way:
            if one.thread is not None:
                one.thread.join(max(0.0, until_s - time.monotonic()))

    def _take_targets(self) -> None:
        """Go by the targets that are wanted now; those that stay are not touched."""
        wanted = self._file.targets if self._file is not None else _NO_TARGETS
        if wanted is self._wanted:
            return
        self._wanted = wanted
        every = list(dict.fromkeys([*self._static, *wanted]))
        self._beyond, every = max(0, len(every) - MOST_TARGETS), every[:MOST_TARGETS]
        if self._beyond:
            log.warning("targets are left out source=%s targets=%d most=%d", self.name, self._beyond, MOST_TARGETS)
        before, self._targets = self._targets, {}
        now_s = self._clock()
        forget_s = max(_FORGET_S, _FORGET_INTERVALS * self._config.interval_s)
        for target in every:
            kept = before.pop(target, None)
            self._targets[target] = kept or _Scraped(
                target, Increments(target, self._declared, forget_s), now_s + self._offset_s(target)
            )  # fmt: skip
        for one in before.values():
            with self._lock:
                one.gone = True
            if one.runs and one.fetching is not None:
                one.fetching.abort()
                self._leaving.append(one)

    def _offset_s(self, target: Target) -> float:
        """Within the interval: the same after a restart, another one on each host."""
        seed = repr((socket.gethostname(), target)).encode()
        share = int.from_bytes(hashlib.blake2b(seed, digest_size=8).digest(), "big") / 2**64
        return share * self._config.interval_s

    def _end_overdue(self) -> None:
        """The fetch watches its time itself; who sends a byte now and then is ended here."""
        late_s = self._clock() - self._config.timeout_s - _GRACE_S
        for one in self._targets.values():
            if one.runs and one.began_s < late_s and one.fetching is not None:
                one.fetching.abort()

    def _begin_due(self) -> None:
        now_s = self._clock()
        due = sorted((one for one in self._targets.values() if one.due_s <= now_s), key=lambda one: one.due_s)
        if not due:
            return
        self._leaving = [one for one in self._leaving if one.runs]
        running = [*self._leaving, *(one for one in self._targets.values() if one.runs)]
        slow = sum(one.slow for one in running)
        free = self._config.max_concurrent - len(running)
        slow_free = max(1, self._config.max_concurrent // 2) - slow
        for one in due:
            behind = int((now_s - one.due_s) // self._config.interval_s)
            if behind or one.runs:
                self._skip(one, max(1, behind))
                one.due_s += max(1, behind) * self._config.interval_s
            if one.runs or one.due_s > now_s or free <= 0 or (one.slow and slow_free <= 0):
                continue
            free -= 1
            slow_free -= one.slow
            one.due_s += self._config.interval_s
            self._begin(one, now_s)

    def _begin(self, one: _Scraped, now_s: float) -> None:
        one.began_s = now_s
        one.fetching = self._fetch(one.target.url, self._config)
        thread = threading.Thread(target=self._scrape, args=(one, one.fetching), name="scrape", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the host's limit of threads
            self._skip(one, 1)
        else:
            one.thread = thread

    def _skip(self, one: _Scraped, often: int) -> None:
        with self._lock:
            self._counters["skipped"] += often
            self._lost.append(Lost(self._clock_ns(), often * max(1, one.last_rows), "scrape_skipped"))

    # From here on in a thread of the scrape.

    def _scrape(self, one: _Scraped, fetching: Fetching) -> None:
        # A SIGHUP to the whole unit is for the agent.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        failure, page = None, None
        rows: pl.DataFrame | None = None
        took_s: float | None = None
        try:
            fetched = fetching.run()
            took_s = self._clock() - one.began_s
            with self._parsing:
                page = self._page(one, fetched)
                rows = one.increments.rows(page, self._clock())
        except (FetchError, PageError) as error:
            failure = error.reason, str(error)
        # Whatever a page from outside breaks, the other targets and the next page are tried.
        except Exception as error:
            log.exception("scrape failed target=%s", one.target.url)
            failure = "fault", f"a fault of Tailwatch, see its log: {error!r}"[:200]
        if self._closed and failure is not None:
            return
        took_s = self._clock() - one.began_s if took_s is None else took_s
        samples = 0 if page is None else len(page.keys) + len(page.native)
        self._put(one, rows, _health(one.target, self._declared, failure is None, took_s, samples), failure)
        if page is not None and failure is None:
            self._note(one, page)

    def _page(self, one: _Scraped, fetched: Fetched) -> Page:
        kind = fetched.content_type.lower()
        if "protobuf" in kind:
            page = protobuf_page(fetched.body, most=self._config.max_series)
        else:
            openmetrics = "openmetrics-text" in kind
            page = text_page(
                fetched.body, openmetrics=openmetrics, before=one.increments.keys, most=self._config.max_series
            )
        series = len(page.keys) + len(page.native)
        with self._lock:
            room = self._config.max_series - sum(
                each.series for each in list(self._targets.values()) if each is not one
            )
            one.series = series if series <= room else 0
        if series > room:
            one.increments.forget()
            raise too_many(page.keys, series, max(0, room))
        return page

    def _put(
        self, one: _Scraped, rows: pl.DataFrame | None, health: pl.DataFrame, failure: tuple[str, str] | None
    ) -> None:
        frames = [health] if rows is None else [rows, health]
        now_s = self._clock()
        with self._lock:
            if one.gone:  # a target that was taken out gives nothing more
                return
            now_ns = self._clock_ns()
            self._counters["scrapes"] += 1
            self._count_events(one)
            if failure is not None:
                self._counters[f"failed_{failure[0]}"] += 1
                self._lost.append(Lost(now_ns, self._due_rows(one, now_s), "scrape_failed"))
            elif rows is not None:
                one.last_rows, one.good_s = rows.height, now_s
                self._counters["samples"] += rows.height
            height = sum(frame.height for frame in frames)
            if self._waiting_rows + height > _MOST_WAITING_ROWS:
                self._counters["queue_full"] += 1
                self._lost.append(Lost(now_ns, height, "scrape_queue_full"))
            else:
                self._waiting_rows += height
                for frame in frames:
                    stamped = frame.with_columns(pl.lit(now_ns, pl.Int64).alias(TIME_COLUMN))
                    self._frames.append(stamped.select(list(self._types)))
        says = "" if failure is None else failure[1]
        one.slow = failure is not None and failure[0] == "timeout"
        if bool(says) != bool(one.failure):
            log.warning("target %s target=%s reason=%s", "down" if says else "up again", one.target.url, shown(says))
        one.failure = says

    def _due_rows(self, one: _Scraped, now_s: float) -> int:
        """What the page would have held; of a target that has been gone for long, or never was there, one row."""
        if one.good_s is None or now_s - one.good_s > _FORGET_S:
            return 1
        return max(1, one.last_rows)

    def _count_events(self, one: _Scraped) -> None:
        self._counters.update(one.increments.events)
        one.increments.events.clear()

    def _note(self, one: _Scraped, page: Page) -> None:
        self._bad.add("malformed", page.example, page.malformed)
        self._bad.add("duplicates", one.target.url, page.duplicates)
        new = {name: count for name, count in one.increments.undeclared.items() if name not in self._told_labels}
        if new and len(self._told_labels) < _MOST_LABELS_TOLD:
            self._told_labels |= set(sorted(new)[:_MOST_LABELS_TOLD])
            often = ", ".join(f"{name} ({count} series)" for name, count in Counter(new).most_common(10))
            log.info(
                "labels become no columns target=%s labels=%s; to keep one, declare it under streams.scrape",
                one.target.url, often,
            )  # fmt: skip


def _health(target: Target, declared: Iterable[str], up: bool, took_s: float, samples: int) -> pl.DataFrame:
    """Rows about the scrape itself, named as Prometheus names them."""
    own = dict(target.labels)
    rows = pl.DataFrame(
        {
            "name": ["up", "scrape_duration_seconds", "scrape_samples_scraped"],
            "kind": ["gauge"] * 3,
            "value": [float(up), took_s, float(samples)],
        }
    )
    return rows.with_columns(
        *(pl.lit(own.get(name) or None, pl.String).alias(name) for name in ("job", "instance", *declared)),
        pl.lit(None, pl.Int64).alias("count"),
        pl.lit(None, pl.Binary).alias("distribution"),
    )
