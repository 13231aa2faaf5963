"""What the drives of this host say of their health: `smartctl`, every so often, one drive after the other.

A drive that cannot be read is a state of this host (no tool, no permission, asleep, virtual, behind a controller),
shown by `missing()`; only an answer that was due and did not come, or cannot be used, counts as a lost record. Columns
come from smart_fields.py, the program is run by smartctl.py in a thread of its own.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

import polars as pl

from agents.sources.bad_input import BadInput, shown
from agents.sources.configs import SmartConfig
from agents.sources.rounds import Rounds
from agents.sources.smart_fields import DriveReading, State, drive_reading
from agents.sources.smart_rules import Attribute
from agents.sources.smartctl import Answer, Drive, Smartctl, drive_from_text, found_drives
from agents.sources.source import Batch, Lost
from agents.sources.streams import SMART, SMART_ATTRIBUTES
from pipeline.schema import Schema, polars_schema

log = logging.getLogger(__name__)

MOST_STATES: Final = 100
_FIRST_WITHIN_S: Final = 30.0
_JITTER: Final = 0.05
_CLOSED_WITHIN_S: Final = 2.0
# A round of a very large host; what nobody polls must not fill the memory.
_MOST_WAITING_ROWS: Final = 8192
Row = dict[str, object]

_REASONS: Final[Mapping[State, str]] = {
    "ok": "",
    "not_smartctl": "the answer is none of smartctl's",
    "asleep": "asleep, and left so",
    "no_permission": "no permission: smartctl needs root, or the capabilities SYS_RAWIO and SYS_ADMIN and the device",
    "behind_controller": "behind a RAID controller: name its drives under `devices`, as in '/dev/sda -d megaraid,3'",
    "unknown_type": "smartctl does not know this kind of device; a virtual disk has no SMART",
    "cannot_open": "smartctl cannot open it",
    "no_smart": "no SMART data: a virtual disk or a RAID volume, or it is switched off",
}


class SmartSource:
    """The streams smart and smart_attributes."""

    name: Final = "smart"
    replayable: Final = False
    finished: Final = False
    lag_rows: Final = None

    def __init__(self, config: SmartConfig, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is run before `open`; `clock` says when a round is due."""
        self._config = config
        self._clock = clock
        self._bad = BadInput(self.name)
        self._smartctl = Smartctl(config.smartctl_path, config.timeout_s)
        self._rounds: Rounds | None = None
        self._lock = threading.Lock()
        self._rows: list[Row] = []
        self._attributes: list[Row] = []
        self._lost: list[Lost] = []
        self._missing: dict[str, str] = {}
        self._counters = {"drives_read": 0, "timeouts": 0, "rounds_skipped": 0, "queue_full": 0}

    @property
    def streams(self) -> Mapping[str, Schema]:
        """Both streams."""
        return {"smart": SMART, "smart_attributes": SMART_ATTRIBUTES}

    def open(self, position: bytes | None) -> None:
        """Begin soon, not at once: hosts that start together need not ask their drives together."""
        del position
        first_s = random.uniform(0, _FIRST_WITHIN_S)
        self._rounds = Rounds(
            "smart", self.read_all, self._config.interval_s, first_s=first_s, jitter=_JITTER, clock=self._clock
        )

    def poll(self) -> list[Batch]:
        """What was read since the last poll; begins a round when one is due."""
        if self._rounds is not None and self._rounds.tick():
            self._counters["rounds_skipped"] += 1
        with self._lock:
            rows, self._rows = self._rows, []
            attributes, self._attributes = self._attributes, []
            lost, self._lost = self._lost, []
        batches = []
        if rows or lost:
            batches.append(Batch("smart", _frame(rows, SMART), tuple(lost)))
        if attributes:
            batches.append(Batch("smart_attributes", _frame(attributes, SMART_ATTRIBUTES)))
        return batches

    def position(self) -> bytes | None:
        """None: the past cannot be read again."""
        return None

    def measured_to_ns(self, polled_ns: int) -> int | None:
        """Up to the poll: a record has the time at which it was put where the poll finds it."""
        return polled_ns

    def counters(self) -> Mapping[str, int]:
        """Drives read, and what did not work, by reason."""
        failures = 0 if self._rounds is None else self._rounds.failures
        return {**self._counters, **self._bad.counts, "rounds_failed": failures}

    def missing(self) -> Mapping[str, str]:
        """Drives that cannot be read at present, or smartctl itself."""
        return self._missing

    def close(self) -> None:
        """End smartctl where it runs; what was read can still be polled once."""
        self._smartctl.stop()
        rounds = self._rounds
        if rounds is not None:
            rounds.close(_CLOSED_WITHIN_S)

    def read_all(self) -> None:
        """One round; runs in a thread."""
        missing: dict[str, str] = {}
        for drive in self._drives(missing):
            answer = self._smartctl.read(drive)
            if answer.trouble in ("no_tool", "stopped"):
                self._no_answer("smartctl", answer, missing)
                break
            reading = None if answer.trouble else drive_reading(answer.document)
            if reading is None or reading.state == "not_smartctl":
                self._no_answer(drive.name, answer, missing)
            else:
                self._take(drive, answer, reading, missing)
        if not self._smartctl.stopped:
            self._tell_changes(missing)

    def _drives(self, missing: dict[str, str]) -> list[Drive]:
        if self._config.devices:
            return [drive_from_text(text) for text in self._config.devices]
        answer = self._smartctl.scan()
        found = None if answer.trouble else found_drives(answer.document)
        if found is None:
            self._no_answer("smartctl", answer, missing)
            return []
        if not found:
            missing["drives"] = "smartctl finds none here: a virtual machine, or no permission"
        return found

    def _take(self, drive: Drive, answer: Answer, reading: DriveReading, missing: dict[str, str]) -> None:
        if reading.state != "ok":
            says = f" ({shown(reading.says)})" if reading.says else ""
            _add(missing, drive.name, _REASONS[reading.state] + says)
        if not reading.record:
            return
        # The path as we named it: smartctl gives the same one to all drives behind a controller.
        row: Row = {"device": drive.path, "device_type": drive.type or None, **reading.record}
        row |= {"device": drive.path, "state": reading.state, "read_s": answer.took_s}
        with self._lock:
            now_ns = time.time_ns()
            if len(self._rows) + len(self._attributes) > _MOST_WAITING_ROWS:
                self._counters["queue_full"] += 1
                self._lost.append(Lost(now_ns, 1, "smart_queue_full"))
                return
            self._counters["drives_read"] += 1
            self._rows.append({"ts": now_ns, **row})
            self._attributes += [_attribute_row(now_ns, row, one) for one in reading.attributes]

    def _no_answer(self, what: str, answer: Answer, missing: dict[str, str]) -> None:
        """Where an answer was due that did not come or cannot be used, a record is lost; a state loses none."""
        match answer.trouble:
            case "stopped":
                return
            case "no_tool":
                _add(missing, what, f"{self._config.smartctl_path}: cannot be run; install smartmontools 7.0 or newer")
                return
            case "timeout" | "stuck":
                self._counters["timeouts"] += 1
                reason = f"no answer within {self._config.timeout_s:g} s"
                if answer.trouble == "stuck":
                    reason = "smartctl hangs in the kernel since an earlier round"
            case _:
                self._bad.add(answer.trouble or "garbage", answer.example or str(answer.document)[:400])
                reason = "the answer is no JSON of smartctl; want smartmontools 7.0 or newer"
        _add(missing, what, reason)
        if what != "smartctl":
            with self._lock:
                self._lost.append(Lost(time.time_ns(), 1, "smart_no_answer"))

    def _tell_changes(self, missing: dict[str, str]) -> None:
        before, self._missing = self._missing, missing
        for name, reason in missing.items():
            if before.get(name) != reason:
                log.warning("drive not read drive=%s reason=%s", name, reason)
        for name in before:
            if name not in missing:
                log.info("drive is read again drive=%s", name)


def _add(missing: dict[str, str], name: str, reason: str) -> None:
    """Each state is a series of a metric: a host with a thousand drives that cannot be read shows the first ones."""
    if len(missing) < MOST_STATES:
        missing[name] = reason
    else:
        missing["others"] = "more drives cannot be read"


def _attribute_row(ts_ns: int, row: Row, one: Attribute) -> Row:
    return {
        "ts": ts_ns,
        "device": row["device"],
        "model": row.get("model"),
        "serial": row.get("serial"),
        "id": one.id,
        "name": one.name,
        "value": one.value,
        "worst": one.worst,
        "threshold": one.threshold,
        "raw": one.raw,
        "failed": one.failed,
    }


def _frame(rows: list[Row], schema: Schema) -> pl.DataFrame:
    types = polars_schema({name: kind for name, kind in schema.items() if name != "host"})
    return pl.DataFrame(rows, schema=types, orient="row")
