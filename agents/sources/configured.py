"""From the configuration's source entries to sources, with the schemas their streams have."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from agents.config import AgentConfig, DatagramsConfig, HiccupsConfig, HostConfig, ReplayConfig, SourceConfig
from agents.errors import SourceError
from agents.sources.datagrams import DatagramsSource
from agents.sources.hiccups import HiccupsSource
from agents.sources.host import HostSource
from agents.sources.replay import ReplaySource
from agents.sources.source import Source
from agents.sources.streams import BUILTIN_STREAMS
from pipeline.errors import nearest
from pipeline.plan import Plan
from pipeline.schema import Schema, stream_schema


def configured_sources(config: AgentConfig, plans: Sequence[Plan]) -> list[Source]:
    """The sources of `config`, none opened yet.

    Raises:
        SourceError: two entries would be the same source, or a stream's columns are not known.
    """
    schemas = {stream: stream_schema(columns) for stream, columns in config.streams.items()} | dict(BUILTIN_STREAMS)
    asks = bool(config.plan_url)
    sources = [_source(entry, schemas, plans, asks_for_plans=asks) for entry in config.sources]
    names = [source.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise SourceError(f"agent.sources has {names.count(name)} entries for {name!r}; keep one of them")
    return sources


def entries_by_name(config: AgentConfig, configured: Sequence[Source]) -> dict[str, SourceConfig]:
    """The entries of the configured sources, by the names of these."""
    return {source.name: entry for source, entry in zip(configured, config.sources, strict=True)}


def _source(
    entry: SourceConfig, schemas: Mapping[str, Schema], plans: Iterable[Plan], *, asks_for_plans: bool
) -> Source:
    if isinstance(entry, HiccupsConfig):
        return HiccupsSource()
    if isinstance(entry, HostConfig):
        return HostSource(entry.interval_s)
    if isinstance(entry, DatagramsConfig):
        if entry.stream not in schemas:
            raise SourceError(
                f"datagrams source: stream {entry.stream!r} has no columns; name them under `streams`; "
                + nearest(entry.stream, list(schemas))
            )
        return DatagramsSource(entry.stream, Path(entry.path), schemas[entry.stream])
    return ReplaySource(
        entry.stream,
        Path(entry.path),
        _replayed_columns(entry, schemas, () if asks_for_plans and entry.stream in schemas else plans),
        time_column=entry.time_column,
        time_unit=entry.time_unit,
        rows_per_s=entry.rows_per_s,
    )


def _replayed_columns(entry: ReplayConfig, schemas: Mapping[str, Schema], plans: Iterable[Plan]) -> Schema:
    """The columns that queries read: what nobody asks for is not even read from the file.

    Without plans all that the stream is said to have: queries that are posted later may read any of them.
    """
    read: Schema = {}
    for plan in plans:
        if plan.source == entry.stream:
            read |= plan.source_schema
    if not read and entry.stream in schemas:
        return schemas[entry.stream]
    return stream_schema(read)
