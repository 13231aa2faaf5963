"""`tailwatch query METRIC`: one question to the REST API, answered as a table or as the API's own JSON or CSV."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from tailwatch.errors import AnswerError
from tailwatch.http_client import Answer, get, get_csv
from tailwatch.terminal import harmless, table

_Answer = TypeVar("_Answer", Answer, str)
_DEFAULT_LEVELS = (0.5, 0.9, 0.99)
_WRONG_KIND = "urn:tailwatch:problem:wrong-kind-of-metric"
_OTHER_ROUTES = ("/api/v1/values", "/api/v1/lines")


def run(args: argparse.Namespace) -> int:
    """Ask and print; a metric that is no sketch is asked for its value or its lines where no -q was given."""
    if args.output == "csv":
        sys.stdout.write(_ask(args, get_csv))
        return 0
    answer = _ask(args, get)
    print(json.dumps(answer, indent=2, ensure_ascii=False) if args.output == "json" else as_text(answer))
    return 0


def as_text(answer: Answer) -> str:
    """The answer as a table, and below it how far it can be trusted."""
    groups = answer["groups"]
    span = f"{answer['start']} to {answer['end']}"
    if not groups:
        return f"no data for {answer['metric']} from {span}"
    if "lines" in groups[0]:
        return "\n".join([f"{answer['metric']}, {span}", "", *_lines(answer), _trust(answer)])
    labels = list(answer["by"])
    stepped = answer["step_ns"] is not None
    levels = [value["q"] for value in groups[0].get("values", [])]
    headers = (["start"] if stepped else []) + labels + [f"p{_trimmed(100 * q)}" for q in levels]
    headers += ["count", "min", "max"] if levels else ["value"]
    rows = [
        ([group["start"]] if stepped else []) + [group["labels"][label] for label in labels] + _numbers(group)
        for group in groups
    ]
    texts = len(labels) + stepped
    right = [column >= texts for column in range(len(headers))]
    title = f"{answer['metric']} in {answer['unit']}, {span}"
    return "\n".join([title, "", table(headers, rows, right), "", _trust(answer)])


def _ask(args: argparse.Namespace, get_answer: Callable[[str, str, Sequence[tuple[str, str]]], _Answer]) -> _Answer:
    levels = ",".join(f"{level:.12g}" for level in args.levels or _DEFAULT_LEVELS)
    common: list[tuple[str, str]] = [("metric", args.metric), *(("by", name) for name in args.by or ())]
    common += [("where", matcher) for matcher in args.where or ()]
    common += [(name, text) for name in ("start", "end", "step") if (text := getattr(args, name))]
    try:
        return get_answer(args.url, "/api/v1/quantiles", [*common, ("q", levels)])
    except AnswerError as error:
        if args.levels or error.problem.get("type") != _WRONG_KIND:
            raise
        instead = str(error.problem.get("instead", "")).partition("?")[0]
        return get_answer(args.url, instead if instead in _OTHER_ROUTES else _OTHER_ROUTES[0], common)


def _lines(answer: Answer) -> Iterator[str]:
    """The kept lines of each group, below a line that says whose they are and how many there were."""
    for group in answer["groups"]:
        whose = " ".join(f"{name}={harmless(value)}" for name, value in group["labels"].items())
        start = f" from {group['start']}" if answer["step_ns"] is not None else ""
        kept = f"{len(group['lines']):,} of {group['lines_seen']:,} lines"
        yield f"{whose}{': ' if whose else ''}{kept}{start}"
        yield from (f"  {line['time']}  {harmless(line['text'])}" for line in group["lines"])
        yield ""


def _numbers(group: dict[str, Any]) -> list[str]:
    if "values" not in group:
        return [number_text(group["value"])]
    found = [number_text(value["value"]) for value in group["values"]]
    return [*found, f"{group['count']:,}", number_text(group["min"]), number_text(group["max"])]


def number_text(value: int | float | str | None) -> str:
    """A number with the digits that a sketch's error leaves meaningful; a dash where there is none."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 10_000 else f"{value:.4g}"


def _trust(answer: Answer) -> str:
    coverage = answer["coverage"]
    parts = []
    bounds = [group["error_bound"] for group in answer["groups"] if "error_bound" in group]
    if bounds:
        parts.append(f"values within {100 * max(bounds):.2g} % of the exact ones")
    parts.append(f"coverage {100 * coverage['ratio']:.4g} %")
    parts.append(f"{coverage['agents_reported']} of {coverage['agents_expected']} agents")
    if coverage["interrupted"]:
        parts.append("records of an agent may be missing: it ended uncleanly or was away, or its query came later")
    if coverage.get("sampled_out"):  # an API of an older release does not say
        parts.append(f"agents over their CPU budget sampled out {coverage['sampled_out']} records")
    return ", ".join(parts)


def _trimmed(value: float) -> str:
    return f"{value:.10g}"
