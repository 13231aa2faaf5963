"""What can stand under `agent.sources`, checked once when the configuration is decoded.

Each kind of source has one class; its documentation is the page of that name in docs/sources/.
"""

import re
from typing import Annotated, Final, Literal

import msgspec

Seconds = Annotated[float, msgspec.Meta(gt=0)]
NonEmpty = Annotated[str, msgspec.Meta(min_length=1)]
TimeUnit = Literal["ns", "us", "ms", "s", "iso8601"]
# An address to listen on: HOST:PORT.
Listen = Annotated[str, msgspec.Meta(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[^\[\]:\s]*):[0-9]{1,5}\Z")]
# The same, or "" for nowhere. One pattern, for the pattern of one text in a union goes for all of them.
ListenOrNot = Annotated[str, msgspec.Meta(pattern=r"^((\[[0-9A-Fa-f:.]+\]|[^\[\]:\s]*):[0-9]{1,5})?\Z")]
# How many series (combinations of name and labels) one source lets in.
Series = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
# Which agents of the fleet one probes.
PeerRule = Literal["all", "same_rack", "same_tor", "each_rack", "each_tor"]
Interval = Annotated[float, msgspec.Meta(ge=0.1, le=86_400)]
_DEVICE: Final = re.compile(r"/[^\s]+( -d [^\s-][^\s]*)?")


class HiccupsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="hiccups"):
    """How late a 1 ms timer fires on this host; there is nothing to set."""


class HostConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="host"):
    """CPU, memory, disks and network interfaces of this host, every `interval_s`."""

    interval_s: Annotated[float, msgspec.Meta(ge=0.1, le=3600)] = 1.0


class ReplayConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="replay"):
    """A CSV, Parquet or Arrow IPC file read as `stream`, once, from front to end.

    `time_unit` says what a number in `time_column` counts; a date-time column of a Parquet or Arrow file brings its
    own unit. Without `rows_per_s` the file is read as fast as the agent can.
    """

    stream: NonEmpty
    path: NonEmpty
    time_column: NonEmpty = "ts"
    time_unit: TimeUnit = "ns"
    rows_per_s: Seconds | None = None


class DatagramsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="datagrams"):
    """A Unix datagram socket at `path` on which other programs send rows of `stream` as msgpack."""

    stream: NonEmpty
    path: NonEmpty


class StatsdConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="statsd"):
    """StatsD and DogStatsD lines over UDP at `listen` and, where `socket_path` is set, over a Unix datagram socket.

    Tags become the columns of that name which the stream `statsd` is declared to have. A sign before the value of a
    gauge moves it, as StatsD has it; for DogStatsD clients, which send negative readings so, `signed_gauges` is "set".
    """

    listen: ListenOrNot = "127.0.0.1:8125"
    socket_path: str = ""
    signed_gauges: Literal["move", "set"] = "move"
    max_series: Series = 10_000

    def __post_init__(self) -> None:
        """Refuse a source that listens nowhere."""
        if not self.listen and not self.socket_path:
            raise ValueError("listen and socket_path are both empty; name at least one")


class OtlpConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="otlp"):
    """OpenTelemetry metrics over HTTP at `listen`, protobuf or JSON (extra `otlp`).

    Attributes become the columns of that name which the stream `otlp` is declared to have.
    """

    listen: Listen = "127.0.0.1:4318"
    max_body_bytes: Annotated[int, msgspec.Meta(ge=2**10, le=2**28)] = 16 * 2**20
    max_series: Series = 10_000


class ScrapeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="scrape"):
    """Prometheus and OpenMetrics pages of `targets` (HOST:PORT or URLs) and of those in a watched file.

    The file is YAML or JSON in the form of Prometheus' file_sd. Labels become the columns of that name which the
    stream `scrape` is declared to have. `max_series` bounds all targets together. `native_histograms` asks for
    protobuf, the only form that has them. A token or a password is sent to every target, so that it is for one job.
    """

    targets: tuple[NonEmpty, ...] = ()
    targets_path: str = ""
    job: NonEmpty = "scrape"
    interval_s: Interval = 15.0
    timeout_s: Interval = 10.0
    max_concurrent: Annotated[int, msgspec.Meta(ge=1, le=256)] = 16
    max_body_bytes: Annotated[int, msgspec.Meta(ge=2**10, le=2**28)] = 32 * 2**20
    max_series: Series = 50_000
    native_histograms: bool = False
    bearer_token_path: str = ""
    username: str = ""
    password_path: str = ""
    ca_path: str = ""

    def __post_init__(self) -> None:
        """Refuse a source with nothing to scrape, that begins again before it has given up, or with half a password."""
        if not self.targets and not self.targets_path:
            raise ValueError("targets and targets_path are both empty; name at least one")
        if self.timeout_s > self.interval_s:
            raise ValueError(f"timeout_s is {self.timeout_s:g}, above interval_s, {self.interval_s:g}; lower it")
        if bool(self.username) != bool(self.password_path):
            raise ValueError("username and password_path go together; set both or none")
        if self.username and self.bearer_token_path:
            raise ValueError("bearer_token_path and username are both set; keep one")
        from agents.sources.scrape_targets import TargetError, target_of  # noqa: PLC0415  # only where it is wanted

        for target in self.targets:
            try:
                target_of(target, self.job)
            except TargetError as error:
                raise ValueError(f"targets: {error}") from error


class TailwatchConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="tailwatch"):
    """Tailwatch's own metrics: this agent's, always, and those of collectors and APIs at `targets`, HOST:PORT or URLs.

    `targets_path` names a file of more targets, as in a `scrape` source. A token is sent to every target.
    """

    targets: tuple[NonEmpty, ...] = ()
    targets_path: str = ""
    interval_s: Interval = 10.0
    timeout_s: Interval = 5.0
    bearer_token_path: str = ""
    ca_path: str = ""

    def __post_init__(self) -> None:
        """Refuse what a `scrape` source of these targets would refuse."""
        self.scraped()

    def scraped(self) -> ScrapeConfig | None:
        """How the targets are scraped; None where there are none."""
        if not self.targets and not self.targets_path:
            return None
        return ScrapeConfig(
            targets=self.targets,
            targets_path=self.targets_path,
            job="tailwatch",
            interval_s=self.interval_s,
            timeout_s=self.timeout_s,
            bearer_token_path=self.bearer_token_path,
            ca_path=self.ca_path,
        )


class ProbesConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="probes"):
    """Round trips to peers: TCP connects, or HTTP GETs where a peer is a URL.

    `listen` is Tailwatch's own port, which peers of the fleet knock on; "" answers nobody. `announce` is the address
    that they are told; "" is found out. `peers` are HOST:PORT or URLs of whoever agreed to be probed. `choose` are
    rules by which the API (`agent.plan_url`) names others: `per_group` of each other rack or ToR; only those whose port
    is among `peer_ports` are probed, by default that of `listen`. `ca_path` is whom HTTPS peers are checked
    against, "": the system's authorities.
    """

    listen: ListenOrNot = "0.0.0.0:7946"
    announce: str = ""
    peers: tuple[NonEmpty, ...] = ()
    choose: tuple[PeerRule, ...] = ()
    choose_kind: Literal["tcp", "http"] = "tcp"
    per_group: Annotated[int, msgspec.Meta(ge=1, le=16)] = 1
    peer_ports: tuple[Port, ...] = ()
    refresh_s: Annotated[float, msgspec.Meta(ge=1, le=86_400)] = 60.0
    interval_s: Annotated[float, msgspec.Meta(ge=1, le=3600)] = 10.0
    timeout_s: Annotated[float, msgspec.Meta(ge=0.05, le=60)] = 5.0
    max_per_s: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 100.0
    max_peers: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1000
    ca_path: str = ""

    def __post_init__(self) -> None:
        """Refuse a source with nothing to do, peers that are none, and a second probe before the first has ended."""
        from agents.sources.probes_peers import check_probes  # noqa: PLC0415  # only where it is wanted

        check_probes(self)


class LogsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="logs"):
    """Lines of the files that `paths` (globs) match, taken apart by `pattern` into columns of `stream`.

    `stream` may be left out where the pattern has a built-in one. `regex` (named groups) goes with the pattern
    "regex", and "text" takes lines whole; `record_start` is a regular expression that the first line of a record of
    several lines matches.
    `time_column` and `time_format` (iso8601, s, ms, us, ns, or as strftime writes it) say where the time stands;
    without them it is the pattern's own, or the time of reading. Times without a zone are in `time_zone`, an IANA name;
    "" is the host's own. `begin` is where a file is begun that was there before the agent's first start.
    """

    paths: Annotated[tuple[NonEmpty, ...], msgspec.Meta(min_length=1)]
    pattern: Literal["access", "syslog", "json", "key_value", "regex", "text"]
    stream: str = ""
    regex: str = ""
    record_start: str = ""
    time_column: str = ""
    time_format: str = ""
    time_zone: str = ""
    begin: Literal["end", "beginning"] = "end"
    max_line_bytes: Annotated[int, msgspec.Meta(ge=256, le=2**24)] = 2**16
    max_files: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 256

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other, and expressions and formats that cannot be used."""
        from agents.sources.logs_settings import check_logs  # noqa: PLC0415  # brings Polars: only where it is wanted

        check_logs(self)


class SmartConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="smart"):
    """What `smartctl --json` says of each drive, every `interval_s`; `devices` instead of all that it finds.

    A device is a path, or a path and its type: `/dev/sda -d megaraid,3`.
    """

    interval_s: Annotated[float, msgspec.Meta(ge=60, le=86_400)] = 3600.0
    timeout_s: Annotated[float, msgspec.Meta(ge=1, le=600)] = 60.0
    devices: tuple[NonEmpty, ...] = ()
    smartctl_path: NonEmpty = "smartctl"

    def __post_init__(self) -> None:
        """Refuse a device that smartctl would take for something else."""
        for device in self.devices:
            if not _DEVICE.fullmatch(device):
                raise ValueError(f"devices: {device!r}; want a path such as /dev/sda, or '/dev/sda -d megaraid,3'")


class GpuConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="gpu"):
    """NVIDIA GPUs by NVML (extra `gpu`), every `interval_s`, and Xid events of the log at `kernel_log_path`."""

    interval_s: Annotated[float, msgspec.Meta(ge=0.1, le=3600)] = 5.0
    processes: bool = True
    kernel_log_path: str = "/dev/kmsg"


class RequestsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="requests"):
    """Request samples for tail-latency analysis: JSON or msgpack by POST to `listen`, and by UDP to `listen_udp`."""

    listen: ListenOrNot = "127.0.0.1:4320"
    listen_udp: ListenOrNot = ""
    max_body_bytes: Annotated[int, msgspec.Meta(ge=2**10, le=2**28)] = 4 * 2**20
    max_services: Series = 1000

    def __post_init__(self) -> None:
        """Refuse a source that listens nowhere."""
        if not self.listen and not self.listen_udp:
            raise ValueError("listen and listen_udp are both empty; name at least one")


SourceConfig = (
    HiccupsConfig
    | HostConfig
    | ReplayConfig
    | DatagramsConfig
    | StatsdConfig
    | OtlpConfig
    | ScrapeConfig
    | TailwatchConfig
    | ProbesConfig
    | LogsConfig
    | SmartConfig
    | GpuConfig
    | RequestsConfig
)
