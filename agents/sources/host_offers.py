"""What this host offers to a source, found out without disturbing anybody: nothing stays open, nothing is sent.

Addresses are bound and let go of, files opened and closed, smartctl is asked which drives there are but no drive is
read, pages to scrape and peers are left alone. Whoever calls gives it a thread and a time limit: drivers may hang.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

from agents.errors import SourceError
from agents.sources.addresses import addresses_of, trouble_with
from agents.sources.configs import (
    GpuConfig,
    HostConfig,
    LogsConfig,
    ProbesConfig,
    ReplayConfig,
    ScrapeConfig,
    SmartConfig,
    SourceConfig,
    TailwatchConfig,
)
from agents.sources.kinds import kind_of
from agents.sources.source import Source

_SCAN_WITHIN_S: Final = 5.0
_LIBRARIES: Final = {"otlp": "opentelemetry.proto", "gpu": "pynvml"}

#: ready: all of it; partial: what `missing` names is not there; absent: it would run and find nothing;
#: taken: somebody listens on an address of its own; unusable: an agent with it would not start; unknown: could not be
#: found out.
OfferState = Literal["ready", "partial", "absent", "taken", "unusable", "unknown"]


@dataclass(frozen=True, slots=True)
class Offer:
    """What there is for one source; `missing` says what is not, and why."""

    state: OfferState
    found: str = ""
    missing: Mapping[str, str] = field(default_factory=dict)


def offer_to(entry: SourceConfig, make: Callable[[], Source]) -> Offer:
    """What this host offers to a source of `entry`; `make` makes one, which is opened only where that does no harm."""
    try:
        source = make()
    except SourceError as error:
        return Offer("unusable", missing={"settings": str(error)})
    except ImportError as error:
        return Offer("unusable", missing={"library": _install(kind_of(entry).extra, error)})
    look = _LOOKS.get(type(entry))
    found = Offer("ready") if look is None else look(entry, source)
    extra = kind_of(entry).extra
    if _lacks_library(extra) and found.state == "ready":
        found = Offer("unusable", found.found, {"library": f"not installed; pip install 'tailwatch[{extra}]'"})
    return _with_addresses(entry, found)


def _with_addresses(entry: SourceConfig, offer: Offer) -> Offer:
    addresses = addresses_of(entry)
    if not addresses:
        return offer
    troubles = {str(one): trouble for one in addresses if (trouble := trouble_with(one)) is not None}
    if not troubles:
        free = ", ".join(map(str, addresses))
        return Offer(offer.state, "; ".join(text for text in (f"{free} free", offer.found) if text), offer.missing)
    state: OfferState = "taken" if all(trouble.taken for trouble in troubles.values()) else "unusable"
    reasons = {at: trouble.reason for at, trouble in troubles.items()}
    return Offer(state, offer.found, {**offer.missing, **reasons})


def _host(_entry: HostConfig, source: Source) -> Offer:
    source.open(None)
    source.poll()
    missing = dict(source.missing())
    source.close()
    return Offer("partial" if missing else "ready", missing=missing)


def _file(entry: ReplayConfig, source: Source) -> Offer:
    try:
        source.open(None)
    except SourceError as error:
        return Offer("unusable", missing={"file": str(error)})
    finally:
        source.close()
    return Offer("ready", f"{entry.path} can be read")


def _logs(entry: LogsConfig, source: Source) -> Offer:
    try:
        source.open(None)
        missing = dict(source.missing())
    except SourceError as error:
        return Offer("unusable", missing={"files": str(error)})
    finally:
        source.close()
    if "files" in missing:
        return Offer("absent" if len(missing) == 1 else "partial", missing=missing)
    return Offer(
        "partial" if missing else "ready", f"{len(entry.paths)} of {len(entry.paths)} paths looked at", missing
    )


def _scrape(entry: ScrapeConfig, _source: Source) -> Offer:
    found = f"{len(entry.targets)} targets, not asked here"
    if entry.targets_path and not os.access(entry.targets_path, os.R_OK):
        reason = "this user may not read it" if Path(entry.targets_path).exists() else "there is no such file"
        return Offer("partial" if entry.targets else "absent", found, {entry.targets_path: reason})
    return Offer("ready", found)


def _tailwatch(entry: TailwatchConfig, source: Source) -> Offer:
    scraped = entry.scraped()
    return Offer("ready", "this agent's own metrics") if scraped is None else _scrape(scraped, source)


def _probes(entry: ProbesConfig, _source: Source) -> Offer:
    peers = f"{len(entry.peers)} peers, not probed here"
    return Offer("ready", f"{peers}; the API names others ({', '.join(entry.choose)})" if entry.choose else peers)


def _smart(entry: SmartConfig, _source: Source) -> Offer:
    """Which drives there are; only the files of the devices say whether they may be read."""
    from agents.sources.smartctl import Smartctl, drive_from_text, found_drives  # noqa: PLC0415

    answer = Smartctl(entry.smartctl_path, min(entry.timeout_s, _SCAN_WITHIN_S)).scan()
    if answer.trouble == "no_tool":
        reason = f"{entry.smartctl_path}: cannot be run; install smartmontools 7.0 or newer"
        return Offer("absent", missing={"smartctl": reason})
    drives = [drive_from_text(text) for text in entry.devices] or found_drives(answer.document) or []
    if not drives:
        reason = "smartctl finds none here: a virtual machine, or no permission"
        return Offer("absent", missing={"drives": reason if answer.trouble is None else "smartctl does not list them"})
    missing = {one.name: reason for one in drives if (reason := _device_trouble(one.path))}
    state: OfferState = "ready" if not missing else "partial" if len(missing) < len(drives) else "absent"
    return Offer(state, f"{len(drives)} drives", missing)


def _device_trouble(path: str) -> str:
    if not Path(path).exists():
        return "there is no such device"
    return "" if os.access(path, os.R_OK | os.W_OK) else "no permission: smartctl needs root, or capabilities"


def _gpu(entry: GpuConfig, _source: Source) -> Offer:
    from agents.sources.nvml import Nvml, NvmlDownError  # noqa: PLC0415

    missing: dict[str, str] = {}
    found = ""
    nvml = Nvml()
    try:
        nvml.start()
        count = nvml.whole("nvmlDeviceGetCount") or 0
        found = f"{count} GPUs"
        if not count:
            missing["nvml"] = "the NVIDIA driver lists no GPU"
    except NvmlDownError as down:
        missing["nvml"] = str(down)
    finally:
        nvml.stop()
    if entry.kernel_log_path and (reason := _open_trouble(entry.kernel_log_path)):
        missing["kernel_log"] = f"{entry.kernel_log_path}: {reason}"
    return Offer("absent" if "nvml" in missing else "partial" if missing else "ready", found, missing)


def _open_trouble(path: str) -> str:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _install(extra: str, error: ImportError) -> str:
    package = f"tailwatch[{extra}]" if extra else "tailwatch"
    return f"{error}; install it with pip install '{package}'"


def _lacks_library(extra: str) -> bool:
    """Whether the library that an extra brings is not installed here; nothing of it is loaded."""
    name = _LIBRARIES.get(extra, "")
    try:
        return bool(name) and find_spec(name) is None
    except ImportError:  # not even the package around it
        return True


_LOOKS: Final[Mapping[type, Callable[[Any, Source], Offer]]] = {
    HostConfig: _host,
    ReplayConfig: _file,
    LogsConfig: _logs,
    ScrapeConfig: _scrape,
    TailwatchConfig: _tailwatch,
    ProbesConfig: _probes,
    SmartConfig: _smart,
    GpuConfig: _gpu,
}
