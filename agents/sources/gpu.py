"""NVIDIA GPUs: their figures by NVML, who uses them, and the Xid events that the driver writes to the kernel's log.

NVML is asked in a thread, since a broken GPU may hold an answer back for ever. A host without a driver, a driver that
is loaded later, a GPU that is lost: each is a state. A lost GPU, also one that vanished without a word, goes on as rows
with `lost` = 1, so that it can be alerted on.
"""

import logging
import stat
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import polars as pl

from agents.sources.configs import GpuConfig
from agents.sources.gpu_fields import Row, fixed_fields, gpu_fields, gpu_processes
from agents.sources.kernel_log import KernelLog, Kmsg
from agents.sources.kernel_log_file import KernelLogFile
from agents.sources.nvml import GpuLostError, Nvml, NvmlDownError, import_pynvml
from agents.sources.rounds import Rounds
from agents.sources.source import Batch, Lost
from agents.sources.streams import GPU, GPU_PROCESSES, GPU_XIDS
from agents.sources.xids import XidAssembler, XidEvent
from pipeline.schema import Schema, polars_schema

log = logging.getLogger(__name__)

# A driver that is not there is looked for this often, and a session with a lost GPU begun anew.
RETRY_S: Final = 30.0
_HANGS_AFTER_S: Final = 10.0
_TRAFFIC_FROM_S: Final = 1.0
_CLOSED_WITHIN_S: Final = 1.0
_MOST_GPUS: Final = 256
_MOST_WAITING_ROWS: Final = 65_536


class GpuSource:
    """The streams gpu, gpu_processes and gpu_xids."""

    name: Final = "gpu"
    replayable: Final = False
    finished: Final = False
    lag_rows: Final = None

    def __init__(
        self,
        config: GpuConfig,
        load: Callable[[], Any] = import_pynvml,
        clock: Callable[[], float] = time.monotonic,
        kernel_log: KernelLog | None = None,
    ) -> None:
        """Nothing is loaded before `open`; `load` gives pynvml or what stands in for it."""
        self._config = config
        self._clock = clock
        self._nvml = Nvml(load)
        self._rounds: Rounds | None = None
        self._lock = threading.Lock()
        self._rows: list[Row] = []
        self._processes: list[Row] = []
        self._lost: list[Lost] = []
        self._known: dict[str, Row] = {}  # by UUID, what does not change
        self._by_index: dict[int, str] = {}
        self._states: dict[str, str] = {}
        self._retry_at_s = self._renewed_s = clock()
        self._kernel_log = kernel_log or _kernel_log(config.kernel_log_path)
        self._xids = XidAssembler()
        self._closed = False
        self._counters = {"rounds_skipped": 0, "gpus_lost": 0, "queue_full": 0, "xids": 0}

    @property
    def streams(self) -> Mapping[str, Schema]:
        """The three streams."""
        return {"gpu": GPU, "gpu_processes": GPU_PROCESSES, "gpu_xids": GPU_XIDS}

    def open(self, position: bytes | None) -> None:
        """Begin; `position` is a place in the kernel's log."""
        if self._kernel_log is not None:
            self._kernel_log.go_to(position)
        self._closed = False
        self._rounds = Rounds("gpu", self.read_all, self._config.interval_s, clock=self._clock)

    def poll(self) -> list[Batch]:
        """What was read since the last poll, and what the kernel has written; begins a round when one is due."""
        xids = self._poll_kernel_log()
        if self._rounds is not None and self._rounds.tick():
            self._counters["rounds_skipped"] += 1
            self._lose(len(self._known), "gpu_no_answer")
        with self._lock:
            rows, self._rows = self._rows, []
            processes, self._processes = self._processes, []
            lost, self._lost = self._lost, []
        batches = []
        if rows or lost:
            batches.append(Batch("gpu", _frame(rows, GPU), tuple(lost)))
        if processes:
            batches.append(Batch("gpu_processes", _frame(processes, GPU_PROCESSES)))
        if xids:
            batches.append(Batch("gpu_xids", _frame([self._xid_row(event) for event in xids], GPU_XIDS)))
        return batches

    def position(self) -> bytes | None:
        """The place in the kernel's log behind the events returned; a GPU's past cannot be read again."""
        if self._kernel_log is None:
            return None
        held = self._xids.held
        return self._kernel_log.place() if held is None else held.place

    def measured_to_ns(self, polled_ns: int) -> int | None:
        """Up to the poll, but not beyond an event whose last lines may still come."""
        held = self._xids.held
        return polled_ns if held is None else min(polled_ns, held.ts_ns)

    def counters(self) -> Mapping[str, int]:
        """Events, and what did not work, by reason."""
        errors = {f"nvml_error_{code}" if code >= 0 else "nvml_bad_text": n for code, n in self._nvml.errors.items()}
        of_log = {} if self._kernel_log is None else self._kernel_log.counters()
        failures = 0 if self._rounds is None else self._rounds.failures
        return {
            **self._counters,
            **errors,
            **of_log,
            "xids_not_understood": self._xids.not_understood,
            "rounds_failed": failures,
        }

    def missing(self) -> Mapping[str, str]:
        """NVML, GPUs that are lost, the kernel's log."""
        missing = dict(self._states)
        running_s = None if self._rounds is None else self._rounds.running_s
        if running_s is not None and running_s > _HANGS_AFTER_S:
            missing["nvml"] = f"NVML has not answered for {running_s:.0f} s"
        if self._kernel_log is not None and self._kernel_log.problem:
            missing["kernel_log"] = self._kernel_log.problem
        return missing

    def close(self) -> None:
        """End the session, unless NVML hangs; what was read can still be polled once."""
        if self._rounds is not None and self._rounds.close(_CLOSED_WITHIN_S):
            self._nvml.stop()
        if self._kernel_log is not None:
            self._kernel_log.close()
        self._closed = True

    def read_all(self) -> None:
        """One round over all GPUs; runs in a thread."""
        if self._clock() < self._retry_at_s:
            return
        states: dict[str, str] = {}
        try:
            self._nvml.start()
            self._read_gpus(states)
        except NvmlDownError as down:
            self._nvml.stop()
            self._retry_at_s = self._clock() + RETRY_S
            states = {"nvml": str(down)}
        self._tell_changes(states)

    def _read_gpus(self, states: dict[str, str]) -> None:
        driver = self._nvml.text("nvmlSystemGetDriverVersion")
        seen: set[str] = set()
        for index in range(min(self._nvml.whole("nvmlDeviceGetCount") or 0, _MOST_GPUS)):
            uuid = self._by_index.get(index)
            try:
                handle = self._nvml.ask("nvmlDeviceGetHandleByIndex", index)
                uuid = None if handle is None else self._nvml.text("nvmlDeviceGetUUID", handle)
                if uuid is None:
                    states[f"gpu {index}"] = "NVML does not say which GPU it is"
                    continue
                self._by_index[index] = uuid
                seen.add(uuid)
                self._read_gpu(index, uuid, handle, driver)
            except GpuLostError as lost:
                if uuid is None:
                    states[f"gpu {index}"] = str(lost)
                else:
                    seen.add(uuid)
                    self._note_lost(uuid, str(lost), states, driver)
        for uuid in set(self._known) - seen:
            self._note_lost(uuid, "the GPU is lost: NVML does not list it any more", states, driver)
        if not self._known and not states:
            states["nvml"] = "the NVIDIA driver lists no GPU"
        if states:  # a GPU that was reset, or that comes later, is seen by a new session only
            self._renew()

    def _renew(self) -> None:
        now_s = self._clock()
        if now_s >= self._renewed_s + RETRY_S:
            self._renewed_s = now_s
            self._nvml.stop()

    def _read_gpu(self, index: int, uuid: str, handle: Any, driver: str | None) -> None:
        fixed = self._known.get(uuid)
        if fixed is None:
            fixed = {"uuid": uuid, **fixed_fields(self._nvml, handle)}
        fixed = {**fixed, "gpu": str(index)}
        # Known from here on, also when it is lost while it is read.
        self._known[uuid] = fixed
        row = {**fixed, "driver": driver, "lost": 0}
        row |= gpu_fields(self._nvml, handle, traffic=self._config.interval_s >= _TRAFFIC_FROM_S)
        processes = gpu_processes(self._nvml, handle, _command_of) if self._config.processes else None
        row["processes_count"] = None if processes is None else len(processes)
        self._keep(row, processes or [])

    def _note_lost(self, uuid: str, reason: str, states: dict[str, str], driver: str | None) -> None:
        states[f"gpu {uuid}"] = reason
        fixed = self._known.get(uuid)
        if fixed is None:
            fixed = {"uuid": uuid}
        named = {name: fixed.get(name) for name in ("gpu", "uuid", "pci", "model")}
        self._keep({**named, "driver": driver, "lost": 1}, [])

    def _keep(self, row: Row, processes: list[Row]) -> None:
        with self._lock:
            now_ns = time.time_ns()
            if len(self._rows) + len(self._processes) > _MOST_WAITING_ROWS:
                self._counters["queue_full"] += 1
                self._lost.append(Lost(now_ns, 1, "gpu_queue_full"))
                return
            self._rows.append({"ts": now_ns, **row})
            self._processes += [{"ts": now_ns, "gpu": row["gpu"], "uuid": row["uuid"], **one} for one in processes]

    def _lose(self, count: int, reason: str) -> None:
        if count:
            with self._lock:
                self._lost.append(Lost(time.time_ns(), count, reason))

    def _tell_changes(self, states: dict[str, str]) -> None:
        before, self._states = self._states, states
        for name, reason in states.items():
            if before.get(name) != reason:
                self._counters["gpus_lost"] += name.startswith("gpu ")
                log.warning("gpu not read sensor=%s reason=%s", name, reason)
        for name in before:
            if name not in states:
                log.info("gpu is read again sensor=%s", name)

    def _poll_kernel_log(self) -> list[XidEvent]:
        if self._kernel_log is None:
            return []
        lines = [] if self._closed else self._kernel_log.read()
        events = [event for line in lines if (event := self._xids.take(line)) is not None]
        if not lines and (held := self._xids.flush()) is not None:
            events.append(held)
        self._counters["xids"] += len(events)
        return events

    def _xid_row(self, event: XidEvent) -> Row:
        fixed = next((one for one in list(self._known.values()) if one.get("pci") == event.pci), {})
        return {
            "ts": event.ts_ns,
            "kind": event.kind,
            "xid": event.xid,
            "pci": event.pci,
            "gpu": fixed.get("gpu"),
            "uuid": fixed.get("uuid") or event.uuid,
            "model": fixed.get("model"),
            "pid": event.pid,
            "process": event.process,
            "message": event.message,
            "details": "\n".join(event.details) or None,
        }


def _kernel_log(path: str) -> KernelLog | None:
    if not path:
        return None
    try:
        device = stat.S_ISCHR(Path(path).stat().st_mode)
    except OSError:
        device = path == "/dev/kmsg"
    return Kmsg(Path(path)) if device else KernelLogFile(Path(path))


def _command_of(pid: int) -> str | None:
    """The command's name, without its arguments; None in a container that does not see the process."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return "".join(sign for sign in name[:64] if sign.isprintable()) or None


def _frame(rows: list[Row], schema: Schema) -> pl.DataFrame:
    types = polars_schema({name: kind for name, kind in schema.items() if name != "host"})
    return pl.DataFrame(rows, schema=types, orient="row")
