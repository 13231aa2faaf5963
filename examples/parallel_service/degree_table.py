"""The degree table of a service: polled from Tailwatch, kept through every trouble, and asked for each request.

A poll that fails changes nothing: the last good table stays in use, and lies on disk for the next start. Only where
Tailwatch itself says that none is active any more (it was rolled back, and there was none before it) it goes. A service
that has none asks its own policy instead. Standard library only; nothing here waits for the network but the poller's
own thread.
"""

import http.client
import json
import logging
import math
import random
import threading
import urllib.error
import urllib.parse
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

log = logging.getLogger(__name__)

Polled: TypeAlias = Literal["new", "unchanged", "none", "failed"]

METRICS: Final = ("long_threads", "threads_and_queue", "in_system")
MOST_DEGREE: Final = 4096
#: A table is a few hundred bytes; an answer larger than this is none.
MOST_BYTES: Final = 1_000_000
#: The problem that says so; any other 404 may come from whoever stands between.
NONE_ACTIVE: Final = "urn:tailwatch:problem:no-active-table"
_LONGEST_PAUSE_S: Final = 300.0


class BadTableError(ValueError):
    """What was polled, or lay on disk, is no degree table; the text says why."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a request meets when it starts, itself left out.

    Attributes:
        active_threads: at work, and long_threads of them for long requests.
        running, waiting: requests.
    """

    active_threads: int
    long_threads: int
    running: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Choice:
    """How a request is to run.

    Attributes:
        degree: threads to begin with, as far as workers are idle.
        long: its threads count as those of a long request from the start.
        check_after_ms: when it has run for so long it is long, and gets more threads; None: never.
        every_ms: and again after so long. full: all threads that it may have at once, else one at a time.
        most: threads that it may have at all.
        explored: the degree was drawn by chance, for Tailwatch to learn from.
        table_version: of the table that it was chosen by; -1: by none.
    """

    degree: int
    long: bool = False
    check_after_ms: float | None = None
    every_ms: float = 5.0
    full: bool = False
    most: int = 1
    explored: bool = False
    table_version: int = -1


@dataclass(frozen=True, slots=True)
class DegreeTable:
    """Targets by load and speed-ups by class of work, as `GET /api/v1/services/{service}/degree-table` answers.

    Attributes:
        metric: of the load, one of METRICS. width: of its buckets; the last one has no end.
        targets_ms: in which time a request is to be done, by bucket.
        class_edges_ms: of predicted times; one class more than edges.
        speedups: by class, then by degree from 1 on.
        correct_every_ms: None: requests keep the degree that they began with.
        prediction: without it all requests begin on one thread.
        explore_share: of requests whose degree is drawn by chance.
    """

    version: int
    metric: str
    width: float
    targets_ms: tuple[float, ...]
    class_edges_ms: tuple[float, ...]
    speedups: tuple[tuple[float, ...], ...]
    max_degree: int
    correct_every_ms: float | None
    full: bool = False
    prediction: bool = True
    explore_share: float = 0.0

    def target_ms(self, load: Load) -> float:
        """In which time a request that meets this load is to be done."""
        if self.metric == "long_threads":
            seen = load.long_threads
        elif self.metric == "threads_and_queue":
            seen = load.active_threads + load.waiting
        else:
            seen = load.running + load.waiting
        return self.targets_ms[min(int(seen / self.width), len(self.targets_ms) - 1)]

    def choose(self, predicted_ms: float, load: Load, rng: random.Random) -> Choice:
        """The smallest degree that meets the target as far as the prediction is right; and when to correct it.

        A prediction that is none (NaN, 0 or below) counts as short: correction finds out.
        """
        target_ms, degree = self.target_ms(load), 1
        if self.prediction and math.isfinite(predicted_ms) and predicted_ms > 0:
            row = self.speedups[sum(edge <= predicted_ms for edge in self.class_edges_ms)]
            while degree < self.max_degree and predicted_ms / row[degree - 1] > target_ms:
                degree += 1
        long, explored = degree > 1, self.max_degree > 1 and rng.random() < self.explore_share
        if explored:
            degree = rng.randint(1, self.max_degree)
        return Choice(
            degree, long, None if self.correct_every_ms is None else max(target_ms, 1.0), self.correct_every_ms or 0.0,
            self.full, self.max_degree, explored, self.version,
        )  # fmt: skip


def table_of(content: bytes) -> DegreeTable:
    """The table in an answer.

    Raises:
        BadTableError: it is none; a table is taken as a whole or not at all.
    """
    try:
        found = json.loads(content)
        correction = found["correction"]
        table = DegreeTable(
            version=_count(found["version"], 0, 2**31 - 1),
            metric=str(found["metric"]),
            width=_number(found["width"]),
            targets_ms=tuple(_number(one) for one in found["targets_ms"]),
            class_edges_ms=tuple(_number(one) for one in found["class_edges_ms"]),
            speedups=tuple(tuple(_number(one) for one in row) for row in found["speedups"]),
            max_degree=_count(found["max_degree"], 1, MOST_DEGREE),
            correct_every_ms=None if correction is None else max(_number(correction["every_ms"]), 1.0),
            full=bool(correction and correction["full"]),
            prediction=bool(found.get("prediction", True)),
            explore_share=_share(found["explore_share"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadTableError(f"no degree table: {type(error).__name__}: {error}") from error
    if table.metric not in METRICS:
        raise BadTableError(f"a table by {table.metric!r}; want one of {', '.join(METRICS)}")
    if not table.targets_ms or list(table.class_edges_ms) != sorted(set(table.class_edges_ms)):
        raise BadTableError(f"targets {table.targets_ms}, classes from {table.class_edges_ms}; want both, ascending")
    if len(table.speedups) != len(table.class_edges_ms) + 1:
        raise BadTableError(f"{len(table.speedups)} rows of speed-ups; want {len(table.class_edges_ms) + 1}")
    if any(len(row) < table.max_degree for row in table.speedups):
        raise BadTableError(f"a row of speed-ups ends before degree {table.max_degree}")
    return table


def _says_none(answer: urllib.error.HTTPError) -> bool:
    """Whether a 404 is Tailwatch's own word that no table is active."""
    try:
        return bool(json.loads(answer.read(MOST_BYTES))["type"] == NONE_ACTIVE)
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, RecursionError):
        return False


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e12:  # NaN is refused, too
        raise ValueError(f"{value!r} where a number above 0 is wanted")
    return float(value)


def _count(value: Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{value!r} where a whole number from {least} to {most} is wanted")
    return value


def _share(value: Any) -> float:
    return 0.0 if value == 0 else min(_number(value), 1.0)


class TablePoller:
    """The last good table, asked for again and again by a thread of its own.

    Memory and time are bounded: one answer of at most MOST_BYTES is held, and each question ends after `timeout_s`.
    """

    def __init__(
        self, api: str, service: str, kept: Path | None = None, *, every_s: float = 10.0, timeout_s: float = 5.0,
        key: str = "",
    ) -> None:  # fmt: skip
        """Takes up what lies on disk; asks nobody yet.

        Args:
            api: where Tailwatch's API is, such as http://127.0.0.1:8080.
            kept: the file that holds the last good table; None: memory only.
            key: an API key with the scope `read`, where keys are wanted.
        """
        self.url = f"{api.rstrip('/')}/api/v1/services/{urllib.parse.quote(service, safe='')}/degree-table"
        self.failures = 0
        self._kept, self._every_s, self._timeout_s, self._key = kept, every_s, timeout_s, key
        self._etag = ""
        self._table: DegreeTable | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="degree-table", daemon=True)
        if kept is not None and kept.exists():
            try:
                self._table = table_of(kept.read_bytes())
            except (OSError, BadTableError) as error:
                log.warning("degree table on disk left alone path=%s: %s", kept, error)

    @property
    def table(self) -> DegreeTable | None:
        """The last good one; None: there was none yet."""
        return self._table

    def start(self) -> None:
        """Poll from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread, after a question that is under way."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(self._timeout_s + 1)

    def poll_once(self) -> Polled:
        """One question; never raises. What is not a good table changes nothing but `failures`."""
        try:
            answer = self._ask()
            if answer is None:
                self.failures = 0
                return "unchanged"
            content, etag = answer
            table = table_of(content)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404 and _says_none(error):
                    self._forget()
                    return "none"
            return self._failed(f"answer {error.code}")
        except Exception as error:  # noqa: BLE001  # whatever a network can say must not end the polling
            return self._failed(f"{type(error).__name__}: {error}")
        self.failures, self._etag, self._table = 0, etag, table
        self._keep(content)
        log.info("degree table in use version=%d", table.version)
        return "new"

    def pause_s(self) -> float:
        """Until the next question: longer after failures, and never the same for all instances."""
        longer = min(self._every_s * 2.0 ** min(self.failures, 10), max(_LONGEST_PAUSE_S, self._every_s))
        return longer * random.uniform(0.8, 1.2)

    def _poll(self) -> None:
        while not self._stopped.is_set():
            self.poll_once()
            self._stopped.wait(self.pause_s())

    def _ask(self) -> tuple[bytes, str] | None:
        headers = {"Accept": "application/json"}
        if self._etag:
            headers["If-None-Match"] = self._etag
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            with urllib.request.urlopen(
                urllib.request.Request(self.url, headers=headers), timeout=self._timeout_s
            ) as answer:
                content = answer.read(MOST_BYTES + 1)
                if len(content) > MOST_BYTES:
                    raise BadTableError(f"an answer of more than {MOST_BYTES:,} bytes")
                return content, answer.headers.get("ETag", "")
        except urllib.error.HTTPError as error:
            if error.code == 304:
                error.close()
                return None
            raise

    def _failed(self, why: str) -> Polled:
        if not self.failures:
            log.warning("degree table not polled, the last good one stays url=%s: %s", self.url, why)
        self.failures += 1
        return "failed"

    def _forget(self) -> None:
        if self._table is not None:
            log.info("no degree table is active any more")
        self.failures, self._etag, self._table = 0, "", None
        if self._kept is not None:
            with suppress(OSError):
                self._kept.unlink(missing_ok=True)

    def _keep(self, content: bytes) -> None:
        if self._kept is None:
            return
        waiting = self._kept.with_name(self._kept.name + ".new")
        try:
            waiting.write_bytes(content)
            waiting.replace(self._kept)  # a start finds the whole table, before or after
        except OSError as error:
            log.warning("degree table not kept path=%s: %s", self._kept, error)
            with suppress(OSError):
                waiting.unlink()
