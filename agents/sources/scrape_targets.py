"""Which pages are scraped: targets of the configuration, and those of a watched file as Prometheus' file_sd has it.

A file is a list of groups, `[{targets: [HOST:PORT, ...], labels: {name: value}}]`, as YAML or JSON. It is read when it
changes. One that cannot be used changes nothing: the targets it held before are kept, and why is told.
"""

import logging
import re
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import yaml

from agents.sources.bad_input import shown

log = logging.getLogger(__name__)

MOST_TARGETS: Final = 10_000
MOST_FILE_BYTES: Final = 2**24
_LABEL_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_PORTS: Final = {"http": 80, "https": 443}
_PARAMETER: Final = "__param_"


class TargetError(ValueError):
    """A target, or a file of them, cannot be used; says why and what is wanted."""


class Target(NamedTuple):
    """One page.

    Attributes:
        labels: job and instance among them, sorted by name.
    """

    url: str
    labels: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """Unique among the targets of a job, but for those with other labels."""
        return self.url.removeprefix("http://").removesuffix("/metrics")


def target_of(address: str, job: str, labels: Mapping[str, str] | None = None) -> Target:
    """HOST:PORT or a URL as a target.

    Labels that begin with two underscores say how to scrape (`__scheme__`, `__metrics_path__`, `__param_<name>`) or are
    left out; `job` and `instance` may be given.

    Raises:
        TargetError: it is neither, or a label has a name that none can have.
    """
    given = dict(labels or {})
    url = address if "://" in address else f"{given.get('__scheme__', 'http')}://{address}"
    try:
        parts = urllib.parse.urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise TargetError(f"target {shown(address)}: {error}; want HOST:PORT or a URL") from error
    if parts.scheme not in _PORTS or not host or parts.username is not None or re.search(r"[\s\x00-\x20\x7f]", url):
        raise TargetError(f"target {shown(address)}: want HOST:PORT, or a URL of http or https without a user")
    try:
        url.encode("ascii")
    except UnicodeEncodeError as error:
        raise TargetError(f"target {shown(address)}: want ASCII; encode what is not (%.., xn--)") from error
    for name in given:
        if not _LABEL_NAME.fullmatch(name):
            raise TargetError(f"target {shown(address)}: label {shown(name)}: want letters, digits and _")
    path = parts.path or given.get("__metrics_path__", "/metrics")
    parameters = {n.removeprefix(_PARAMETER): v for n, v in given.items() if n.startswith(_PARAMETER)}
    query = "&".join(part for part in (parts.query, urllib.parse.urlencode(parameters)) if part)
    shown_host = f"[{host}]" if ":" in host else host
    instance = f"{shown_host}:{_PORTS[parts.scheme] if port is None else port}"
    kept = {name: value for name, value in given.items() if not name.startswith("__")}
    own = {"job": job, "instance": instance} | kept
    return Target(
        urllib.parse.urlunsplit((parts.scheme, parts.netloc, path, query, "")), tuple(sorted(own.items()))
    )  # fmt: skip


def targets_in(data: bytes, job: str, *, json: bool) -> list[Target]:
    """The targets of a file's content, each once.

    Raises:
        TargetError: it is no such list.
    """
    if len(data) > MOST_FILE_BYTES:
        raise TargetError(f"holds more than {MOST_FILE_BYTES} bytes; give other agents some of the targets")
    try:
        groups: Any = (
            msgspec.json.decode(data) if json else yaml.load(data, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        )
    except (msgspec.MsgspecError, yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise TargetError(f"no {'JSON' if json else 'YAML'}: {' '.join(str(error).split())}") from error
    if groups is None:  # somebody may be writing it just now
        raise TargetError("is empty; write [] for no targets")
    if not isinstance(groups, list):
        raise TargetError(f"holds {type(groups).__name__}; want a list of {{targets: [...], labels: {{...}}}}")
    found: dict[Target, None] = {}
    for group in groups:
        for one in _of_group(group, job):
            found[one] = None
            if len(found) > MOST_TARGETS:
                raise TargetError(f"holds more than {MOST_TARGETS} targets; give other agents some of them")
    return list(found)


def _of_group(group: Any, job: str) -> Iterable[Target]:
    if not isinstance(group, dict) or not set(group) <= {"targets", "labels"}:
        raise TargetError(f"a group is {shown(str(group))}; want {{targets: [...], labels: {{...}}}}")
    addresses, labels = group.get("targets") or [], group.get("labels") or {}
    if not isinstance(addresses, list) or not all(isinstance(one, str) for one in addresses):
        raise TargetError(f"targets are {shown(str(addresses))}; want a list of texts, quoted where YAML asks for it")
    if not isinstance(labels, dict) or not all(isinstance(part, str) for pair in labels.items() for part in pair):
        raise TargetError(
            f"labels are {shown(str(labels))}; want texts, quoted where YAML takes them for something else"
        )
    if len(addresses) > MOST_TARGETS:
        raise TargetError(f"holds more than {MOST_TARGETS} targets; give other agents some of them")
    return (target_of(address, job, labels) for address in addresses)


class TargetsFile:
    """The watched file.

    Attributes:
        targets: those of the last good content.
        trouble: why the file cannot be used at present; "" when it can.
        failures: how often it was found to be unusable.
    """

    def __init__(self, path: Path, job: str) -> None:
        self.targets: list[Target] = []
        self.trouble = ""
        self.failures = 0
        self._path = path
        self._job = job
        self._seen: tuple[int, int, int] | None = None

    def look(self) -> None:
        """Read the file if it is another one than at the last look."""
        try:
            stat = self._path.stat()
            seen = stat.st_mtime_ns, stat.st_size, stat.st_ino
            if seen == self._seen:
                return
            self._seen = seen
            with self._path.open("rb") as file:
                data = file.read(MOST_FILE_BYTES + 1)
            targets = targets_in(data, self._job, json=self._path.suffix == ".json")
        except (OSError, TargetError) as error:
            if isinstance(error, OSError):
                self._seen = None
            self._tell(str(error))
            return
        if self.trouble or targets != self.targets:
            log.info("targets read path=%s targets=%d", self._path, len(targets))
        self.targets, self.trouble = targets, ""

    def _tell(self, reason: str) -> None:
        if reason == self.trouble:
            return
        self.failures += 1
        self.trouble = reason
        log.warning(
            "targets cannot be read, the last ones stay path=%s targets=%d reason=%s",
            self._path, len(self.targets), reason,
        )  # fmt: skip
