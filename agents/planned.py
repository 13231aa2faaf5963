"""From what the API says and what the file says to what this agent runs.

A query that the API knows is run as the API says, or not at all if it is retired there; the file's queries run where
the API does not know their names. A version whose stream no source here feeds is none of this agent's business, whoever
brings it. One that cannot run here is refused by name, and the others go on.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from agents.bounds import ALWAYS, BEGINNING_NS, END_NS
from agents.errors import PlanUnavailableError
from agents.executor import Wanted
from pipeline.agent_plan import AgentPlan, PlannedTable, PlannedVersion
from pipeline.chain import Chain
from pipeline.errors import PipelineError, PlanError, nearest
from pipeline.plan import Plan, decode_plan
from pipeline.schema import Schema, is_column_name
from pipeline.tables import StaticTable

FetchTable = Callable[[PlannedTable], StaticTable]


@dataclass(slots=True)
class Choice:
    """What to run. `refused` tells by "query version" why not; `lacking` says that a table could not be fetched now.

    `unfed` names the queries of versions without a source here.
    """

    wanted: list[Wanted] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    unfed: list[str] = field(default_factory=list)
    lacking: bool = False

    @property
    def idle(self) -> int:
        """How many versions have no source here."""
        return len(self.unfed)


@dataclass(frozen=True, slots=True)
class OwnQueries:
    """What this agent's configuration brings: chains of its queries, its tables, the streams its sources feed."""

    chains: Sequence[Chain]
    tables: Mapping[str, StaticTable]
    streams: Mapping[str, Schema]


def choose(
    document: AgentPlan | None, own: OwnQueries, running: Mapping[str, Chain], fetch_table: FetchTable
) -> Choice:
    """What to run of `document` (None: nothing is known of the API) and of the agent's own queries.

    Args:
        running: chains by version, which need not be built again.
        fetch_table: a table by its content; PlanUnavailableError or PipelineError where it cannot be had.
    """
    choice = Choice()
    known = set() if document is None else {*document.retired, *(one.query for one in document.queries)}
    ready = {chain.plan.version: chain for chain in own.chains} | dict(running)
    spans: dict[str, list[tuple[int, int]]] = {}
    chains: dict[str, Chain] = {}
    for one in document.queries if document is not None else ():
        try:
            chain = ready.get(one.version) or _chain(one, own, fetch_table)
            _refuse_unfed(chain.plan, own.streams)
        except _NoSourceError:
            choice.unfed.append(one.query)
            continue
        # Polars may panic over what another release's Polars knows; panics are no Exceptions.
        except (PipelineError, PlanUnavailableError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            choice.refused[f"{one.query} {one.version}"] = str(error)
            choice.lacking = choice.lacking or isinstance(error, PlanUnavailableError)
            continue
        chains[one.version] = chain
        low = BEGINNING_NS if one.valid_from_ns is None else one.valid_from_ns
        high = END_NS if one.valid_to_ns is None else one.valid_to_ns
        spans.setdefault(one.version, []).append((low, high))
    choice.wanted = [Wanted(chain, tuple(sorted(spans[version]))) for version, chain in chains.items()]
    rest = [chain for chain in own.chains if chain.plan.query not in known]
    fed = fed_chains(rest, own.streams)
    choice.wanted += [Wanted(chain, ALWAYS.spans) for chain in fed]
    choice.unfed += [chain.plan.query for chain in rest if chain not in fed]
    return choice


def fed_chains(chains: Sequence[Chain], streams: Collection[str]) -> list[Chain]:
    """Those that a source here has records for; one that never has any would still cost CPU with every epoch."""
    return [chain for chain in chains if chain.plan.source in streams]


class _NoSourceError(Exception):
    """No source of this agent feeds the stream."""


def _chain(one: PlannedVersion, own: OwnQueries, fetch_table: FetchTable) -> Chain:
    plan = decode_plan(one.plan)
    if plan.version != one.version or plan.query != one.query:
        raise PlanError(f"the plan is of query {plan.query} in version {plan.version}")
    _check_stream(plan, own.streams)
    tables: dict[str, StaticTable] = {}
    for table in one.tables:
        if not is_column_name(table.name) or not table.content_hash.isalnum():
            raise PlanError(f"table {table.name!r} with content {table.content_hash!r} cannot be")
        mine = own.tables.get(table.name)
        tables[table.name] = mine if mine and mine.content_hash == table.content_hash else fetch_table(table)
    return Chain(plan, tables)


def _refuse_unfed(plan: Plan, streams: Collection[str]) -> None:
    if plan.source not in streams:
        raise _NoSourceError


def _check_stream(plan: Plan, streams: Mapping[str, Schema]) -> None:
    _refuse_unfed(plan, streams)
    schema = streams[plan.source]
    for column, kind in plan.source_schema.items():
        if column not in schema:
            raise PlanError(f"stream {plan.source!r} has no column {column!r} here; {nearest(column, list(schema))}")
        if schema[column] != kind:
            raise PlanError(f"column {column!r} of stream {plan.source!r} is {schema[column]} here, not {kind}")
