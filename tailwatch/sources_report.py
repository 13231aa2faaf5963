"""What a survey of sources found, as text for people and as JSON for programs (docs/reference/cli.md describes it)."""

import sys
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

from agents.sources.streams import OPEN_STREAMS
from pipeline.schema import Schema
from tailwatch.source_survey import FAULTY, SourceState, Survey
from tailwatch.terminal import paint

_WIDTH: Final = 120
_STYLES: Final = {
    "running": "green", "ready": "green", "partial": "yellow", "absent": "yellow", "unknown": "yellow",
    "failed": "red", "taken": "red", "unusable": "red", "idle": "dim", "available": "dim",
}  # fmt: skip


def as_json(found: Survey) -> dict[str, Any]:
    """The whole of it; what is not known is null."""
    return {
        "agent": found.agent,
        "host": found.host,
        "running": {
            "metrics_port": found.metrics_port or None,
            "answered": found.answered,
            "heartbeat_s": found.heartbeat_s,
        },
        "sources": [_source_json(one) for one in found.sources],
    }


def as_text(found: Survey) -> str:
    """A line for each source, what is to be said of it below, and the columns of all streams."""
    lines = [f"agent {found.agent} on host {found.host}; {_running_text(found)}"]
    for title, configured in (("configured", True), ("not configured", False)):
        chosen = [one for one in found.sources if one.configured is configured]
        if chosen:
            lines += ["", title, *(line for one in chosen for line in _source_lines(one))]
    streams: dict[str, tuple[Schema, SourceState]] = {}
    for one in found.sources:
        for stream, schema in one.streams.items():
            streams.setdefault(stream, (schema, one))
    lines += ["", "streams and their columns, beside ts (int64, ns UTC) and host (string)"]
    width = max(map(len, streams), default=0)
    for stream, (schema, _) in streams.items():
        lines += _stream_lines(stream, schema, width)
    faulty = sum(one.configured and one.state in FAULTY for one in found.sources)
    if faulty:
        lines += ["", f"{faulty} of the configured sources cannot work as they are"]
    return "\n".join(lines)


def _running_text(found: Survey) -> str:
    if found.answered == found.agent:
        return f"it runs and answers on port {found.metrics_port}"
    if found.answered is not None:
        return f"on port {found.metrics_port} another agent answers, {found.answered}"
    if found.heartbeat_s is not None:
        alive = f"it was alive {found.heartbeat_s:.0f} s ago"
        if found.metrics_port:
            return f"{alive}, but nothing answers on agent.metrics_port, {found.metrics_port}"
        return f"{alive}; set agent.metrics_port to see how its sources are"
    return "it does not run; states are what this host offers"


def _source_lines(one: SourceState) -> Iterator[str]:
    state = paint(one.state.ljust(9), _STYLES[one.state], sys.stdout)
    named = f" ({one.name})" if one.name and one.name != one.kind.name else ""
    yield f"  {state} {one.kind.name.ljust(9)} {one.kind.about}{named}"
    details = [text for text in (one.found, _limits_text(one)) if text]
    details += [f"{what}: {why}" for what, why in one.missing.items()]
    if not one.configured:
        details.append(f"see docs/{one.kind.page}")
    for detail in details:
        yield from textwrap.wrap(detail, _WIDTH, initial_indent=" " * 22, subsequent_indent=" " * 24)


def _limits_text(one: SourceState) -> str:
    texts = [f"{name} {value}" for name, value in one.limits.items()]
    running = one.running
    if running is not None and running.series is not None:
        texts.append(f"{running.series} of {running.series_max} series known")
        if running.refused:
            offenders = ", ".join(f"{name} {rows}" for name, rows in running.offenders.items())
            texts.append(f"{running.refused} rows beyond them left out, most of {offenders}")
    return ", ".join(texts)


def _stream_lines(stream: str, schema: Schema, width: int) -> list[str]:
    columns = [f"{name} {kind}" for name, kind in schema.items() if name not in ("ts", "host")]
    if stream in OPEN_STREAMS:
        columns.append("and those declared under streams")
    indent = " " * (width + 4)
    # Columns are not torn from their types.
    text = ", ".join(columns).replace(" ", "\0").replace(",\0", ", ")
    lines = textwrap.wrap(text, _WIDTH, initial_indent=f"  {stream.ljust(width)}  ", subsequent_indent=indent)
    return [line.replace("\0", " ") for line in lines]


def _source_json(one: SourceState) -> dict[str, Any]:
    running = one.running
    return {
        "kind": one.kind.name,
        "about": one.kind.about,
        "page": f"docs/{one.kind.page}",
        "extra": one.kind.extra or None,
        "configured": one.configured,
        "name": one.name or None,
        "state": one.state,
        "found": one.found or None,
        "missing": dict(one.missing),
        "needs": list(one.kind.needs),
        "limits": dict(one.limits),
        "any_stream": one.kind.any_stream,
        "streams": [_stream_json(stream, schema) for stream, schema in one.streams.items()],
        "events": None if running is None else running.events,
        "series": _series_json(one),
    }


def _series_json(one: SourceState) -> dict[str, Any] | None:
    running = one.running
    if running is None or running.series is None:
        return None
    offenders: Mapping[str, int] = running.offenders
    return {
        "known": running.series,
        "max": running.series_max,
        "refused_rows": running.refused,
        "offenders": [{"name": name, "rows": rows} for name, rows in offenders.items()],
    }


def _stream_json(stream: str, schema: Schema) -> dict[str, Any]:
    return {
        "stream": stream,
        "open": stream in OPEN_STREAMS,
        "columns": [{"column": name, "type": kind} for name, kind in schema.items()],
    }
