"""From the configuration's source entries to sources, with the schemas their streams have."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agents.config import AgentConfig
from agents.errors import SourceError
from agents.sources.configs import (
    DatagramsConfig,
    GpuConfig,
    HiccupsConfig,
    HostConfig,
    LogsConfig,
    OtlpConfig,
    ProbesConfig,
    ReplayConfig,
    RequestsConfig,
    ScrapeConfig,
    SmartConfig,
    SourceConfig,
    StatsdConfig,
    TailwatchConfig,
)
from agents.sources.datagrams import DatagramsSource
from agents.sources.hiccups import HiccupsSource
from agents.sources.host import HostSource
from agents.sources.replay import ReplaySource
from agents.sources.source import Source
from agents.sources.streams import known_streams
from pipeline.errors import nearest
from pipeline.plan import Plan
from pipeline.schema import HOST_COLUMN, PLACE_COLUMNS, TIME_COLUMN, Schema, stream_schema


@dataclass(frozen=True, slots=True)
class Known:
    """What there is to know beside an entry: the streams' columns, and the queries, to which an API may add others."""

    schemas: Mapping[str, Schema]
    plans: tuple[Plan, ...]
    asks_for_plans: bool
    agent: AgentConfig

    def declared(self, kind: str, stream: str) -> Schema:
        """The columns of a stream that a source of that kind is to feed; SourceError where there are none."""
        if stream not in self.schemas:
            raise SourceError(
                f"{kind} source: stream {stream!r} has no columns; name them under `streams`; "
                + nearest(stream, list(self.schemas))
            )
        return self.schemas[stream]


def configured_sources(config: AgentConfig, plans: Sequence[Plan]) -> list[Source]:
    """The sources of `config`, none opened yet.

    Raises:
        SourceError: two entries would be the same source, or a stream's columns are not known.
    """
    sources = [source_of(entry, config, plans) for entry in config.sources]
    names = [source.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise SourceError(f"agent.sources has {names.count(name)} entries for {name!r}; keep one of them")
    return sources


def source_of(entry: SourceConfig, config: AgentConfig, plans: Sequence[Plan]) -> Source:
    """The source of one entry of `config`, not opened yet.

    Raises:
        SourceError: a stream's columns are not known.
    """
    known = Known(known_streams(config.streams), tuple(plans), asks_for_plans=bool(config.plan_url), agent=config)
    return _MAKERS[type(entry)](entry, known)


def entries_by_name(config: AgentConfig, configured: Sequence[Source]) -> dict[str, SourceConfig]:
    """The entries of the configured sources, by the names of these."""
    return {source.name: entry for source, entry in zip(configured, config.sources, strict=True)}


# One function a kind. Modules that bring much code or libraries of their own are imported where they are wanted.


def _hiccups(_entry: HiccupsConfig, _known: Known) -> Source:
    return HiccupsSource()


def _host(entry: HostConfig, _known: Known) -> Source:
    return HostSource(entry.interval_s)


def _datagrams(entry: DatagramsConfig, known: Known) -> Source:
    return DatagramsSource(entry.stream, Path(entry.path), known.declared("datagrams", entry.stream))


def _replay(entry: ReplayConfig, known: Known) -> Source:
    plans = () if known.asks_for_plans and entry.stream in known.schemas else known.plans
    return ReplaySource(
        entry.stream,
        Path(entry.path),
        _replayed_columns(entry, known.schemas, plans),
        time_column=entry.time_column,
        time_unit=entry.time_unit,
        rows_per_s=entry.rows_per_s,
        optional=PLACE_COLUMNS,
    )


def _logs(entry: LogsConfig, known: Known) -> Source:
    """With the columns that queries read: what nobody asks for is not taken from the lines."""
    from agents.sources.logs import LogsSource  # noqa: PLC0415
    from agents.sources.logs_patterns import stream_of  # noqa: PLC0415

    stream = stream_of(entry)
    declared = known.declared("logs", stream)
    plans = () if known.asks_for_plans else known.plans
    read = {column for plan in plans if plan.source == stream for column in plan.source_schema}
    wanted = {name: kind for name, kind in declared.items() if name in read or name in (TIME_COLUMN, HOST_COLUMN)}
    return LogsSource(entry, wanted if read else declared)


def _otlp(entry: OtlpConfig, known: Known) -> Source:
    from agents.sources.otlp import OtlpSource  # noqa: PLC0415

    return OtlpSource(entry, known.declared("otlp", "otlp"))


def _smart(entry: SmartConfig, _known: Known) -> Source:
    from agents.sources.smart import SmartSource  # noqa: PLC0415

    return SmartSource(entry)


def _gpu(entry: GpuConfig, _known: Known) -> Source:
    from agents.sources.gpu import GpuSource  # noqa: PLC0415

    return GpuSource(entry)


def _statsd(entry: StatsdConfig, known: Known) -> Source:
    from agents.sources.statsd import StatsdSource  # noqa: PLC0415

    return StatsdSource(entry, known.declared("statsd", "statsd"))


def _scrape(entry: ScrapeConfig, known: Known) -> Source:
    from agents.sources.scrape import ScrapeSource  # noqa: PLC0415

    return ScrapeSource(entry, known.declared("scrape", "scrape"))


def _probes(entry: ProbesConfig, known: Known) -> Source:
    from agents.sources.probes import ProbesSource  # noqa: PLC0415

    return ProbesSource(entry, known.agent)


def _tailwatch(entry: TailwatchConfig, _known: Known) -> Source:
    from agents.sources.tailwatch import TailwatchSource  # noqa: PLC0415

    return TailwatchSource(entry)


def _requests(entry: RequestsConfig, _known: Known) -> Source:
    from agents.sources.requests import RequestsSource  # noqa: PLC0415

    return RequestsSource(entry)


def _replayed_columns(entry: ReplayConfig, schemas: Mapping[str, Schema], plans: Iterable[Plan]) -> Schema:
    """The columns that queries read: what nobody asks for is not even read from the file.

    Without plans all that the stream is said to have: queries that are posted later may read any of them.
    """
    read: Schema = {}
    own = schemas.get(entry.stream, {})
    for plan in plans:
        if plan.source == entry.stream:
            read |= {
                name: kind for name, kind in plan.source_schema.items() if name in own or name not in PLACE_COLUMNS
            }
    if not read and entry.stream in schemas:
        return schemas[entry.stream]
    return stream_schema(read)


_MAKERS: Final[Mapping[type, Callable[[Any, Known], Source]]] = {
    HiccupsConfig: _hiccups,
    HostConfig: _host,
    ReplayConfig: _replay,
    DatagramsConfig: _datagrams,
    LogsConfig: _logs,
    OtlpConfig: _otlp,
    SmartConfig: _smart,
    GpuConfig: _gpu,
    StatsdConfig: _statsd,
    ScrapeConfig: _scrape,
    TailwatchConfig: _tailwatch,
    RequestsConfig: _requests,
    ProbesConfig: _probes,
}
