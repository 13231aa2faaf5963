"""From a question in a URL to merged groups and their coverage: what the two range routes share."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache

from api.errors import LimitError, WrongFunctionError
from api.label_text import check_labels
from api.params import Question, RangeParameters, read_question
from api.service import Service
from api.times import rfc_3339
from store.coverage import Coverage, CoverageFacts, load_coverage
from store.registry import MetricRow, metric, metrics
from store.windows import Answer, Group, Selection, merged

_NAMES_LISTED = 10


@dataclass(frozen=True, slots=True)
class RangeAnswer:
    """Merged groups, and coverage of any part of their range; times are shown by one writer for all groups."""

    question: Question
    step_ns: int | None
    merged: Answer
    coverage_over: Callable[[int, int], dict[str, object]]

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


def answer_range(service: Service, given: RangeParameters, functions: Collection[str], other: str) -> RangeAnswer:
    """Merge what was asked for, in one read transaction.

    Args:
        functions: the kinds of metric this route answers; others are sent to the route `other`.

    Raises:
        ParameterError, LimitError, WrongFunctionError: the question cannot be answered.
        store.errors.UnknownNameError: no such metric or label.
        DatabaseUnavailableError: the database does not answer.
    """
    now_ns = service.now_ns()
    question = read_question(given, service.config, now_ns)
    with service.database.reading() as connection:
        row = metric(connection, question.metric)
        if row.function not in functions:
            raise _wrong_function(row, [known for known in metrics(connection) if known.function in functions], other)
        step_ns = None if question.step_ns is None else -(-question.step_ns // row.window_ns) * row.window_ns
        check_labels(f"label of {row.name}", row.labels, by=question.by, where=question.where)
        selection = Selection(row.name, question.start_ns, question.end_ns, question.by, question.where, step_ns)
        found = merged(connection, selection)
        facts = load_coverage(connection, row, found.start_ns, found.end_ns, step_ns)
    if len(found.groups) > service.config.max_groups:
        raise LimitError(
            f"the answer has {len(found.groups)} groups, at most {service.config.max_groups} are sent at once; "
            "ask with fewer labels in by, a longer step, more in where, or a shorter range",
            parameter="by" if question.by else "step",
            limit=service.config.max_groups,
        )
    return RangeAnswer(question, step_ns, found, _coverage_reader(facts, now_ns))


def span(start_ns: int, end_ns: int) -> dict[str, object]:
    """A stretch of time, for people and for programs."""
    return {"start": rfc_3339(start_ns), "end": rfc_3339(end_ns), "start_ns": start_ns, "end_ns": end_ns}


def _wrong_function(row: MetricRow, able: list[MetricRow], other: str) -> WrongFunctionError:
    names = [known.name for known in able[:_NAMES_LISTED]]
    more = f" and {len(able) - len(names)} more" if len(able) > len(names) else ""
    instead = f"/api/v1/{other}?metric={row.name}"
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


def _shown(coverage: Coverage) -> dict[str, object]:
    return {
        "ratio": coverage.ratio,
        "agents_reported": coverage.agents_reported,
        "agents_expected": coverage.agents_expected,
        "records_known": coverage.records_known,
        "records_merged": coverage.records_merged,
        "interrupted": coverage.interrupted,
    }
