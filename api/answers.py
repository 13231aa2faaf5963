"""From a question in a URL to merged groups and their coverage: what the two range routes share."""

from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from hashlib import blake2b

import orjson

from api.answer_cache import AnswerCache, Entry
from api.errors import LimitError, WrongFunctionError
from api.label_text import check_labels
from api.params import Question, RangeParameters, read_question
from api.running import Run
from api.service import Service
from api.times import rfc_3339
from pipeline.plan import LINE_FUNCTIONS
from store.coverage import FRESHNESS_NS, Coverage, CoverageFacts, expected_agents, load_coverage
from store.errors import TooManyGroupsError
from store.registry import MetricRow
from store.snapshot import Snapshot
from store.windows import Answer, Bounds, Group, Selection, aligned, merged

#: What CSV says of coverage, at the end of each row.
CSV_COVERAGE = ("coverage", "sampled_share")
_NAMES_LISTED = 10


@dataclass(frozen=True, slots=True)
class RangeAnswer:
    """Merged groups, and coverage of any part of their range; times are shown by one writer for all groups."""

    question: Question
    step_ns: int | None
    merged: Answer
    coverage_over: Callable[[int, int], dict[str, object]]
    keep: "_Keep | None" = None

    def body(self, form: Hashable, make: Callable[[], object]) -> bytes:
        """The answer as JSON: from before where nothing has changed and time changes nothing, else made of `make`.

        Args:
            form: tells apart what routes make of one answer: the route, and what it was asked beside the range.
        """
        keep = self.keep
        if keep is None:
            return orjson.dumps(make())
        known = keep.entry.rendered.get(form)
        if known is not None and known[0] == keep.agents:
            return known[1]
        body = orjson.dumps(make())
        if keep.agents is not None:
            keep.cache.rendered(keep.question, keep.entry, form, keep.agents, body)
        return body

    def head(self) -> dict[str, object]:
        """The members of the answer that say what was answered."""
        row, found = self.merged.metric, self.merged
        return {
            "metric": row.name,
            "query": row.query,
            "function": row.function,
            "unit": row.unit,
            "by": list(self.question.by),
            **span(found.start_ns, found.end_ns),
            "window_ns": row.window_ns,
            "step_ns": self.step_ns,
            "coverage": self.coverage_over(found.start_ns, found.end_ns),
        }

    def group_head(self, group: Group) -> dict[str, object]:
        """The members that every group begins with."""
        return {"labels": group.labels, **span(group.start_ns, group.end_ns)}


def route_of(function: str) -> str:
    """The path that answers questions for metrics of a function."""
    if function in LINE_FUNCTIONS:
        return "/api/v1/lines"
    return "/api/v1/quantiles" if function == "sketch" else "/api/v1/values"


def answer_range(
    service: Service, given: RangeParameters, functions: Collection[str], max_groups: int | None = None
) -> RangeAnswer:
    """Merge what was asked for, in one read transaction.

    Args:
        functions: the kinds of metric this route answers; others are sent to their own.
        max_groups: of the answer, where that is fewer than the settings say.

    Raises:
        ParameterError, LimitError, WrongFunctionError: the question cannot be answered.
        store.errors.UnknownNameError: no such metric or label.
        DatabaseUnavailableError: the database does not answer.
    """
    now_ns, reads = service.now_ns(), service.reads
    question = read_question(given, service.config, now_ns)
    run = Run.current()
    with reads.admission(run.check if run else lambda: None) as admitted, service.database.reading() as connection:
        seen = Snapshot(connection, reads.catalog)
        row = seen.view.metric(question.metric)
        if row.function not in functions:
            able = [known for known in seen.view.metrics.values() if known.function in functions]
            raise _wrong_function(row, able)
        step_ns = None if question.step_ns is None else -(-question.step_ns // row.window_ns) * row.window_ns
        check_labels(f"label of {row.name}", row.labels, by=question.by, where=question.where)
        selection = Selection(row.name, question.start_ns, question.end_ns, question.by, question.where, step_ns)
        bounds = admitted.bounds
        if max_groups is not None and (bounds.max_groups is None or max_groups < bounds.max_groups):
            bounds = replace(bounds, max_groups=max_groups)
        entry, facts, key = _answered(reads.answers, seen, row, selection, bounds, question)
    settled = now_ns >= entry.merged.end_ns + FRESHNESS_NS
    keep = _Keep(reads.answers, key, entry, _digest(seen, row, facts) if settled else None)
    return RangeAnswer(question, step_ns, entry.merged, _coverage_reader(facts, now_ns), keep)


@dataclass(frozen=True, slots=True)
class _Keep:
    """Where an answer's bodies are kept. `agents`: their digest; None while time alone may change the coverage."""

    cache: AnswerCache
    question: Hashable
    entry: Entry
    agents: bytes | None


def _answered(
    cache: AnswerCache, seen: Snapshot, row: MetricRow, selection: Selection, bounds: Bounds, question: Question
) -> tuple[Entry, CoverageFacts, Hashable]:
    """(the answer, coverage as this transaction sees it, the question as the cache knows it)."""
    start_ns, end_ns, step_ns = aligned(selection, row)
    asked = None if selection.step_ns is None else step_ns
    key = (row.name, start_ns, end_ns, asked, selection.by, selection.where)
    known = cache.get(key)
    if known is not None and known.generation == seen.view.generation:
        facts = _still_holds(known, seen, row)
        if facts is not None:
            cache.count("hit")
            return known, facts, key
    found = _merged(seen, selection, bounds, question)
    facts = load_coverage(seen.connection, row, found.start_ns, found.end_ns, selection.step_ns, seen)
    ranges = seen.view.ranges(row.query_id)
    versions = tuple(dict.fromkeys(valid.version.version_id for valid in ranges))
    # Windows are read outwards to whole ones of the coarsest level.
    widest_ns = max((seen.view.floors(version).levels[-1].width_ns for version in versions), default=row.window_ns)
    from_ns, to_ns = found.start_ns - widest_ns, found.end_ns + widest_ns
    changes = seen.page_changes(versions, from_ns, to_ns)
    entry = Entry(seen.view.generation, versions, from_ns, to_ns, changes, found, replace(facts, agents=()))
    entry.note(seen.view.state)
    cache.count("miss")
    cache.put(key, entry)
    return entry, facts, key


def _still_holds(entry: Entry, seen: Snapshot, row: MetricRow) -> CoverageFacts | None:
    """The facts for coverage if what the entry was made of is the same in this transaction, else None.

    Agents report all the time, so they are read anew; pages and manifests are known to be the same by their counters.
    """
    who, state = seen.view.state
    if entry.seen.get(who) != state:
        if seen.page_changes(entry.versions, entry.from_ns, entry.to_ns) != entry.changes:
            return None
        entry.note(seen.view.state)
    return replace(entry.facts, agents=expected_agents(seen, row.query_id))


def _digest(seen: Snapshot, row: MetricRow, facts: CoverageFacts) -> bytes:
    """Stands for the agents of the metric's query: there may be thousands, and bodies must not hold them."""
    return seen.view.remembered(
        ("digest of agents", row.query_id), lambda: blake2b(orjson.dumps(facts.agents), digest_size=16).digest()
    )


def _merged(seen: Snapshot, selection: Selection, bounds: Bounds, question: Question) -> Answer:
    try:
        return merged(seen.connection, selection, seen, bounds)
    except TooManyGroupsError as error:
        raise LimitError(
            f"the answer has {error.groups} groups or more, at most {error.limit} are sent at once; "
            "ask with fewer labels in by, a longer step, more in where, or a shorter range",
            parameter="by" if question.by else "step",
            limit=error.limit,
        ) from error


def span(start_ns: int, end_ns: int) -> dict[str, object]:
    """A stretch of time, for people and for programs."""
    return {"start": rfc_3339(start_ns), "end": rfc_3339(end_ns), "start_ns": start_ns, "end_ns": end_ns}


def _wrong_function(row: MetricRow, able: list[MetricRow]) -> WrongFunctionError:
    names = [known.name for known in able[:_NAMES_LISTED]]
    more = f" and {len(able) - len(names)} more" if len(able) > len(names) else ""
    instead = f"{route_of(row.function)}?metric={row.name}"
    return WrongFunctionError(
        f"{row.name} is a {row.function}, which this route does not answer; ask {instead}. "
        f"Metrics it answers: {', '.join(names) or 'none yet'}{more}",
        parameter="metric",
        instead=instead,
    )


def _coverage_reader(facts: CoverageFacts, now_ns: int) -> Callable[[int, int], dict[str, object]]:
    """Coverage of a part of the range, as JSON has it, computed once per part."""

    @cache
    def over(start_ns: int, end_ns: int) -> dict[str, object]:
        return _shown(facts.over(start_ns, end_ns, now_ns))

    return over


def csv_coverage(coverage: Mapping[str, object]) -> tuple[object, ...]:
    """The cells below CSV_COVERAGE, of coverage as JSON has it."""
    return coverage["ratio"], coverage["sampled_share"]


def _shown(coverage: Coverage) -> dict[str, object]:
    return {
        "ratio": coverage.ratio,
        "agents_reported": coverage.agents_reported,
        "agents_expected": coverage.agents_expected,
        "records_known": coverage.records_known,
        "records_merged": coverage.records_merged,
        "interrupted": coverage.interrupted,
        "sampled_out": coverage.sampled_out,
        "sampled_share": coverage.sampled_share,
    }
