"""Reads the hiccup sampler: starts the small process that measures, takes its records, starts it again if it dies.

One timer lateness per millisecond is the host's scheduling tail: what any thread on this host waits before it runs.
Records come in order of time, so what has arrived is complete up to the last of them. While no sampler runs, that
stands still, and the ticks that nobody took are reported as lost.
"""

import fcntl
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from agents.errors import SourceError
from agents.sources.source import Batch, Lost
from agents.sources.streams import HICCUPS
from pipeline.schema import Schema

log = logging.getLogger(__name__)

SAMPLER: Final = Path(__file__).with_name("hiccups_sampler.py")
PIPE_BYTES: Final = 2**20  # 65 s of samples: longer than any stall of the agent that would leave it alive
FIRST_RETRY_S: Final = 0.5
LONGEST_RETRY_S: Final = 30.0
STEADY_S: Final = 60.0
STOP_TIMEOUT_S: Final = 0.3
INTERVAL_NS: Final = 1_000_000  # the sampler's
TICKS_PER_LOSS: Final = 1_000
MOST_LOSSES: Final = 600
_RECORD: Final = np.dtype([("ts_ns", "<i8"), ("late_ns", "<i8")])


class HiccupsSource:
    """The stream `hiccups`, about 1,000 rows a second."""

    name: Final = "hiccups"
    replayable: Final = False
    finished: Final = False
    lag_rows: Final = None

    def __init__(self, command: tuple[str, ...] | None = None) -> None:
        """`command` starts the sampler; by default this interpreter, isolated and without site packages."""
        self._command = command or (sys.executable, "-I", "-S", str(SAMPLER))
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0
        self._retry_s = FIRST_RETRY_S
        self._retry_at_s = 0.0
        self._rest = b""
        self._measured_to_ns: int | None = None
        self._unmeasured_from_ns: int | None = None  # since then no sampler has delivered, though one should
        self._opened_ns = 0
        self._reason = "not started"
        self._counters = {"sampler_restarts": 0, "pipe_full": 0, "overrun": 0, "sampler_down": 0}

    @property
    def streams(self) -> Mapping[str, Schema]:
        """The one stream."""
        return {"hiccups": HICCUPS}

    def open(self, position: bytes | None) -> None:
        """Start the sampler; `position` has no meaning here."""
        del position
        self._opened_ns = time.time_ns()
        try:
            self._start()
        except OSError as error:
            raise SourceError(f"cannot start the hiccup sampler {self._command}: {error}") from error

    def poll(self) -> list[Batch]:
        """The samples that have arrived; looks after the process as well."""
        data = self._rest + self._read()
        whole = len(data) - len(data) % _RECORD.itemsize
        self._rest = data[whole:]
        records = np.frombuffer(data[:whole], dtype=_RECORD)
        ts_ns, late_ns = records["ts_ns"], records["late_ns"]
        lost: list[Lost] = []
        if len(records):
            lost += self._unmeasured(int(abs(ts_ns[0])))
            self._unmeasured_from_ns = None
            self._measured_to_ns = max(self._measured_to_ns or 0, int(np.abs(ts_ns).max()))
        self._supervise()
        if self._process is None:
            lost += self._unmeasured(time.time_ns())
        samples = (ts_ns >= 0) & (late_ns >= 0)
        rows = pl.DataFrame({"ts": ts_ns[samples], "late_ns": late_ns[samples]})
        lost += [
            Lost(abs(ts), abs(count), "pipe_full" if ts < 0 else "overrun")
            for ts, count in zip(ts_ns[~samples].tolist(), late_ns[~samples].tolist(), strict=True)
        ]
        for loss in lost:
            self._counters[loss.reason] += loss.count
        return [Batch("hiccups", rows, tuple(lost))] if lost or rows.height else []

    def position(self) -> bytes | None:
        """None: a moment not measured cannot be measured later."""
        return None

    def measured_to_ns(self, polled_ns: int) -> int | None:
        """The time of the last record: those that follow are later."""
        del polled_ns
        return self._measured_to_ns

    def counters(self) -> Mapping[str, int]:
        """Restarts of the sampler, and samples lost by reason."""
        return self._counters

    def missing(self) -> Mapping[str, str]:
        """The sampler, while it does not run."""
        return {} if self._process is not None else {"sampler": self._reason}

    def close(self) -> None:
        """End the sampler; it is given a moment to go by itself."""
        process, self._process = self._process, None
        if process is None:
            return
        self._reason = "closed"
        assert process.stdin is not None  # we asked for pipes
        assert process.stdout is not None
        process.stdin.close()
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    @property
    def process_id(self) -> int | None:
        """The sampler's process id while it runs."""
        return None if self._process is None else self._process.pid

    def _start(self) -> None:
        # A SIGHUP to the whole unit or group is for the agent; blocked here, it stays blocked in the sampler.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        try:
            process = subprocess.Popen(  # our own file, by our own interpreter
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        assert process.stdout is not None
        descriptor = process.stdout.fileno()
        os.set_blocking(descriptor, False)
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError as error:  # the limit for unprivileged users is lower here: 4 s of samples fit all the same
            log.info("hiccup pipe keeps its default size: %s", error)
        self._process, self._started_s, self._rest = process, time.monotonic(), b""

    def _unmeasured(self, until_ns: int) -> list[Lost]:
        """The ticks that were due since the sampler died and until then, a second at a time."""
        lost: list[Lost] = []
        if self._unmeasured_from_ns is None:
            return lost
        due = (until_ns - self._unmeasured_from_ns) // INTERVAL_NS
        at_once = max(TICKS_PER_LOSS, due // MOST_LOSSES)  # the clock may have been set years ahead
        while due > 0:
            ticks = min(due, at_once)
            lost.append(Lost(self._unmeasured_from_ns, ticks, "sampler_down"))
            self._unmeasured_from_ns += ticks * INTERVAL_NS
            due -= ticks
        return lost

    def _read(self) -> bytes:
        if self._process is None or self._process.stdout is None:
            return b""
        parts: list[bytes] = []
        while True:
            try:
                part = os.read(self._process.stdout.fileno(), PIPE_BYTES)
            except BlockingIOError:
                break
            if not part:
                break
            parts.append(part)
        return b"".join(parts)

    def _supervise(self) -> None:
        now_s = time.monotonic()
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                if now_s - self._started_s > STEADY_S:
                    self._retry_s = FIRST_RETRY_S
                return
            self.close()
            self._reason = f"the sampler ended with code {code}"
            if self._unmeasured_from_ns is None:
                self._unmeasured_from_ns = self._measured_to_ns or self._opened_ns
            self._retry_at_s = now_s + self._retry_s
            log.warning("hiccup sampler ended code=%d retry_s=%.1f", code, self._retry_s)
            self._retry_s = min(self._retry_s * 2, LONGEST_RETRY_S)
        elif self._reason != "closed" and now_s >= self._retry_at_s:
            self._counters["sampler_restarts"] += 1
            try:
                self._start()
                log.info("hiccup sampler started again")
            except OSError as error:
                self._reason = f"the sampler cannot be started: {error}"
                self._retry_at_s = now_s + self._retry_s
                self._retry_s = min(self._retry_s * 2, LONGEST_RETRY_S)
