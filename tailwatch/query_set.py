"""All queries of an installation, built in and configured, as compiled plans with their static tables.

Agent, collector and `config check` compile the same texts against the same tables and so agree on every version
without talking. One metric belongs to one query: a second query that wants its name is refused here already.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from agents.sources.streams import BUILTIN_STREAMS, declared_schema
from collector.jobs.job_streams import COLLECTOR_STREAMS
from pipeline.errors import QueryError, SchemaError, TableError
from pipeline.plan import Plan
from pipeline.schema import Schema
from pipeline.tables import StaticTable, load_table
from tailwatch.config_check import checked
from tailwatch.config_tree import Place
from tailwatch.errors import ConfigError
from tailwatch.settings import Loaded, QueryConfig, QueryFile
from tailwatch.yaml_tree import read_file

_BUILTIN_FILE = Path(__file__).with_name("queries.yaml")


@dataclass(frozen=True, slots=True)
class QuerySet:
    """Plans in the order they were written, built-in ones first, and the tables they join."""

    plans: tuple[Plan, ...]
    tables: Mapping[str, StaticTable]


def compiled(loaded: Loaded) -> QuerySet:
    """Compile every query of the configuration.

    Raises:
        ConfigError: every stream, table and query at fault, each with its place.
    """
    from pipeline.sql import compile_query  # loads the SQL parser

    settings, problems = loaded.settings, _Problems(loaded.places)
    schemas = _schemas(settings.streams, problems)
    tables = _tables(settings.tables, problems)
    plans: list[Plan] = []
    owners: dict[str, str] = {}
    numbered = [(f"queries[{index}].sql", query) for index, query in enumerate(settings.queries)]
    builtin = [("", query) for query in builtin_queries()] if settings.builtin_queries else []
    for key, query in builtin + numbered:
        if any(query.name == plan.query for plan in plans):
            problems.add(key, f"the name {query.name} is taken by another query; choose another name")
            continue
        try:
            plan = compile_query(query.name, query.sql, schemas, tables)
        except QueryError as error:
            problems.add(key, str(error))
            continue
        for metric in plan.metrics:
            owner = owners.setdefault(metric.name, query.name)
            if owner != query.name:
                problems.add(key, f"metric {metric.name} belongs to query {owner}; give it another alias here")
        plans.append(plan)
    if problems.lines:
        raise ConfigError(problems.lines)
    return QuerySet(tuple(plans), tables)


def load_tables(loaded: Loaded) -> Mapping[str, StaticTable]:
    """The static tables alone.

    Raises:
        ConfigError: every table that cannot be used.
    """
    problems = _Problems(loaded.places)
    tables = _tables(loaded.settings.tables, problems)
    if problems.lines:
        raise ConfigError(problems.lines)
    return tables


@cache
def builtin_queries() -> tuple[QueryConfig, ...]:
    """The queries of tailwatch/queries.yaml."""
    return checked(read_file(_BUILTIN_FILE), QueryFile).queries


class _Problems:
    """Lines of a ConfigError, each begun with where its key was written."""

    def __init__(self, written: Mapping[str, Place]) -> None:
        self._written = written
        self.lines: list[str] = []

    def add(self, key: str, message: str) -> None:
        place = self._written.get(key)
        self.lines.append(f"{place}: {key}: {message}" if place else f"{_BUILTIN_FILE.name}: {message}")


def _schemas(streams: Mapping[str, Mapping[str, str]], problems: _Problems) -> dict[str, Schema]:
    schemas = {**BUILTIN_STREAMS, **COLLECTOR_STREAMS}
    for name, columns in streams.items():
        key = f"streams.{name}"
        first = next((f"{key}.{column}" for column in columns), key)
        if name in COLLECTOR_STREAMS:
            problems.add(first, f"{name} is a stream that collectors make and keeps its schema; choose another name")
            continue
        try:
            schemas[name] = declared_schema(name, columns)
        except SchemaError as error:
            problems.add(first, str(error))
    return schemas


def _tables(paths: Mapping[str, str], problems: _Problems) -> dict[str, StaticTable]:
    tables = {}
    for name, path in paths.items():
        try:
            tables[name] = load_table(name, path)
        except TableError as error:
            problems.add(f"tables.{name}", str(error))
    return tables
