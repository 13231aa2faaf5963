"""What an agent runs of what it is told, and whose records are whose when versions follow each other."""

import itertools

import polars as pl
import pytest
from hypothesis import given
from hypothesis.strategies import integers, lists

from agents.bounds import ALWAYS, BEGINNING_NS, END_NS, Bounds
from agents.errors import PlanUnavailableError
from agents.executor import Executor, Wanted
from agents.planned import OwnQueries, choose
from agents.sources.source import Batch, Lost
from pipeline.agent_plan import FORMAT, AgentPlan, PlannedTable, PlannedVersion, decode_agent_plan, encode_agent_plan
from pipeline.chain import Chain
from pipeline.errors import PlanError
from pipeline.manifest import Manifest
from pipeline.partial import Partial
from pipeline.plan import Plan, encode_plan
from pipeline.schema import stream_schema
from tests.fleet import HOSTS, SCHEMA, START_NS, TABLES, WINDOW_NS, probe_plan, probe_records

PLAN = probe_plan()
OTHER = probe_plan(
    "SELECT src, max(load) AS load_ratio, count(*) AS load_total FROM probes "
    "GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), src", "loads",
)  # fmt: skip
CHANGED = probe_plan(
    "SELECT src, max(load) AS load_ratio, count(*) AS load_total FROM probes WHERE err = 0 "
    "GROUP BY TUMBLE(ts, INTERVAL '7' SECOND), src", "loads",
)  # fmt: skip
STREAMS = {"probes": stream_schema(SCHEMA)}
OWN = OwnQueries([Chain(PLAN, TABLES)], TABLES, STREAMS)


def version(of: Plan, begin: int | None = None, end: int | None = None, **changes: object) -> PlannedVersion:
    tables = [PlannedTable(name=name, content_hash=content) for name, content in of.tables.items()]
    values = {"plan": encode_plan(of), "valid_from_ns": begin, "valid_to_ns": end, "tables": tables} | changes
    return PlannedVersion(query=of.query, version=of.version, **values)  # type: ignore[arg-type]


def document(*versions: PlannedVersion, retired: tuple[str, ...] = ()) -> AgentPlan:
    return AgentPlan(format=FORMAT, queries=list(versions), retired=list(retired))


def nothing(table: PlannedTable) -> None:
    raise AssertionError(f"{table} was not to be fetched")


def chosen(plan: AgentPlan | None, own: OwnQueries = OWN) -> dict[str, tuple[tuple[int, int], ...]]:
    return {one.chain.plan.query: one.spans for one in choose(plan, own, {}, nothing).wanted}  # type: ignore[arg-type]


def test_without_a_word_of_the_api_the_files_queries_run() -> None:
    assert chosen(None) == {"probes": ALWAYS.spans}


def test_what_the_api_does_not_know_runs_from_the_file() -> None:
    assert chosen(document(version(OTHER, 5, 9))) == {"loads": ((5, 9),), "probes": ALWAYS.spans}


def test_the_api_decides_on_a_query_it_knows() -> None:
    assert chosen(document(version(PLAN, 5))) == {"probes": ((5, END_NS),)}
    assert chosen(document(version(PLAN, None, 7), retired=("others",))) == {"probes": ((BEGINNING_NS, 7),)}
    assert chosen(document(retired=("probes",))) == {}


def test_a_version_that_comes_back_is_one_run_over_two_stretches() -> None:
    plan = document(version(OTHER, None, 10), version(CHANGED, 10, 20), version(OTHER, 20))
    found = {one.chain.plan.version: one.spans for one in choose(plan, OWN, {}, nothing).wanted}  # type: ignore[arg-type]
    assert found[OTHER.version] == ((BEGINNING_NS, 10), (20, END_NS))
    assert found[CHANGED.version] == ((10, 20),)


def test_a_version_whose_stream_no_source_feeds_is_counted_and_no_failure() -> None:
    choice = choose(document(version(OTHER)), OwnQueries([], {}, {}), {}, nothing)  # type: ignore[arg-type]
    assert (choice.wanted, choice.refused, choice.idle) == ([], {}, 1)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (version(OTHER, plan=b"\x81\xa3new\x01"), "need one release"),
        (version(OTHER, plan=encode_plan(CHANGED)), f"in version {CHANGED.version}"),
        (version(OTHER, plan=b""), "need one release"),
        (version(PLAN, tables=[]), "'hosts'"),
        (version(PLAN, tables=[PlannedTable(name="../hosts", content_hash="f")]), "cannot be"),
        (version(PLAN, tables=[PlannedTable(name="hosts", content_hash="../f")]), "cannot be"),
    ],
)
def test_what_cannot_run_is_refused_by_name_and_the_others_go_on(bad: PlannedVersion, words: str) -> None:
    fine = probe_plan("SELECT count(*) AS n FROM probes GROUP BY TUMBLE(ts, INTERVAL '10' SECOND)", "fine")
    choice = choose(document(bad, version(fine)), OwnQueries([], TABLES, STREAMS), {}, nothing)  # type: ignore[arg-type]
    assert [one.chain.plan.query for one in choice.wanted] == ["fine"]
    ((name, reason),) = choice.refused.items()
    assert (name, words in reason) == (f"{bad.query} {bad.version}", True), reason


@pytest.mark.parametrize(
    ("schema", "words"),
    [({"src": "string"}, "no column 'load' here"), ({"src": "string", "load": "int64"}, "is int64 here, not float64")],
)
def test_a_stream_with_other_columns_here_is_a_refusal_that_names_them(schema: dict[str, str], words: str) -> None:
    own = OwnQueries([], {}, {"probes": stream_schema(schema)})
    choice = choose(document(version(OTHER)), own, {}, nothing)  # type: ignore[arg-type]
    assert words in choice.refused[f"loads {OTHER.version}"]


def test_a_table_is_fetched_only_where_the_file_has_another_content() -> None:
    assert chosen(document(version(PLAN))) == {"probes": ALWAYS.spans}
    asked = []

    def fetch(table: PlannedTable) -> object:
        asked.append(table.name)
        return HOSTS

    choice = choose(document(version(PLAN)), OwnQueries([], {}, STREAMS), {}, fetch)  # type: ignore[arg-type]
    assert (asked, len(choice.wanted), choice.lacking) == (["hosts"], 1, False)


def test_a_table_that_cannot_be_fetched_now_is_asked_for_again() -> None:
    def fetch(_: PlannedTable) -> None:
        raise PlanUnavailableError("gone", "unreachable")

    choice = choose(document(version(PLAN)), OwnQueries([], {}, STREAMS), {}, fetch)  # type: ignore[arg-type]
    assert (choice.wanted, choice.lacking) == ([], True)


def test_a_document_reads_back_and_a_newer_one_is_refused() -> None:
    plan = document(version(PLAN, 5), retired=("x",))
    assert decode_agent_plan(encode_agent_plan(plan)) == plan
    assert decode_agent_plan(b'{"format": 1, "news": 5, "queries": []}') == document()
    for bad in (b"", b"[]", b'{"queries": []}', b'{"format": 1, "queries": [{}]}', b"\xff"):
        with pytest.raises(PlanError, match="is no plan"):
            decode_agent_plan(bad)
    with pytest.raises(PlanError, match="format 2, this agent reads up to 1"):
        decode_agent_plan(b'{"format": 2}')


@given(
    cuts=lists(integers(START_NS - WINDOW_NS, START_NS + 5 * WINDOW_NS), min_size=1, max_size=4, unique=True),
    seed=integers(0, 5),
)
def test_every_record_belongs_to_exactly_one_of_the_versions_that_follow_each_other(cuts: list[int], seed: int) -> None:
    ends = [BEGINNING_NS, *sorted(cuts), END_NS]
    records = probe_records(50, seed)
    parts = [Bounds((span,)).rows_within(records) for span in itertools.pairwise(ends)]
    assert pl.concat(parts).sort("ts").equals(records.sort("ts"))
    every_other = Bounds(tuple(itertools.pairwise(ends))[::2])
    kept = every_other.rows_within(records)["ts"].to_list()
    assert kept == [time for time in records["ts"].to_list() if every_other.covers(time)]


@pytest.mark.parametrize(
    ("bounds", "stretch", "wanted"),
    [
        (ALWAYS, (5, 5), (5, 5)),
        (Bounds(((10, 20),)), (0, 15), (10, 15)),
        (Bounds(((10, 20),)), (0, 99), (10, 20)),
        (Bounds(((10, 20),)), (0, 10), None),
        (Bounds(((10, 20),)), (20, 99), None),
        (Bounds(((BEGINNING_NS, END_NS),), 7), (0, 9), (7, 9)),
        (Bounds(((BEGINNING_NS, END_NS),), 7), (0, 7), None),
        (Bounds(((0, 10), (20, 30))), (0, 15), (0, 10)),
        (Bounds(((0, 10), (20, 30))), (0, 25), (0, 25)),
    ],
)
def test_a_version_vouches_only_for_its_own_time_and_what_it_has_seen(
    bounds: Bounds, stretch: tuple[int, int], wanted: tuple[int, int] | None
) -> None:
    assert bounds.of_stretch(*stretch) == wanted


def _counts(deltas: list[object], query_version: str) -> tuple[int, Manifest]:
    (delta,) = [one for one in deltas if one.plan.version == query_version]  # type: ignore[attr-defined]
    partials = delta.partials  # type: ignore[attr-defined]
    rows = sum(Partial.merge(partials).record_counts().values()) if partials else 0
    return rows, delta.manifest  # type: ignore[attr-defined]


def test_a_change_of_versions_loses_no_record_and_counts_none_twice() -> None:
    change = START_NS + 2 * WINDOW_NS
    records = probe_records(600, 3)
    early, late = (records.filter(pl.col("ts") < change), records.filter(pl.col("ts") >= change))
    executor = Executor([OTHER], {}, "h", "local")
    executor.add(Batch("probes", records[:200]))
    old, new = Chain(OTHER, {}), Chain(CHANGED, {})
    added = executor.adopt([Wanted(old, ((BEGINNING_NS, change),)), Wanted(new, ((change, END_NS),))])
    assert [run.chain.plan.version for run in added] == [CHANGED.version]
    executor.add(Batch("probes", records[200:], (Lost(change - 1, 3, "gone"), Lost(change, 5, "gone"))))
    executor.drop(Batch("probes", records[:10]), "full")
    deltas = executor.take()
    before = records[:200].filter(pl.col("ts") >= change).height  # taken in when nobody knew of the change
    rows, manifest = _counts(deltas, OTHER.version)
    assert rows == early.height + before
    assert manifest.conserved()
    rows, manifest = _counts(deltas, CHANGED.version)
    assert (
        rows
        == late.filter(pl.col("err") == 0).height
        - records[:200].filter((pl.col("ts") >= change) & (pl.col("err") == 0)).height
    )
    assert manifest.conserved()
    dropped = sum(
        sum(said.n_dropped.values())
        for _, m in [_counts(deltas, OTHER.version), _counts(deltas, CHANGED.version)]
        for said in m.windows().values()
    )
    assert dropped == 3 + 5 + 10


def test_what_a_version_gathered_before_it_went_is_still_handed_over() -> None:
    executor = Executor([OTHER], {}, "h", "local")
    records = probe_records(40, 1)
    executor.add(Batch("probes", records))
    executor.adopt([])
    assert executor.held_bytes > 0
    assert executor.by_stream == {}
    rows, manifest = _counts(executor.take(), OTHER.version)
    assert (rows, manifest.conserved(), executor.take()) == (40, True, [])


def test_a_query_of_the_file_that_no_source_feeds_is_not_run_and_named() -> None:
    own = OwnQueries(OWN.chains, OWN.tables, {})
    choice = choose(None, own, {}, nothing)  # type: ignore[arg-type]
    assert (choice.wanted, choice.unfed, choice.idle) == ([], ["probes"], 1)
    known = choose(document(version(PLAN)), own, {}, nothing)  # type: ignore[arg-type]
    assert (known.wanted, known.refused, known.unfed) == ([], {}, ["probes"])
