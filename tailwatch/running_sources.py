"""What a running agent says of its sources on its /metrics page, for those who ask from outside.

A page that cannot be had is no error: the agent may not run, or show none. Only an agent of the expected name counts.
"""

import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Final

_ANSWER_WITHIN_S: Final = 2.0
_LONGEST_PAGE: Final = 2**24
_LINE = re.compile(r'tailwatch_agents_(\w+)\{((?:\w+="(?:[^"\\]|\\.)*",?)+)\} (\S+)')
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")


@dataclass(slots=True)
class RunningSource:
    """One source, as the agent that runs it sees it.

    Attributes:
        up: False when it stopped with an error.
        missing: sensors that it does not offer at present; why stands in the agent's log.
        series, series_max: None where it has no limit.
        refused: rows left out because of that limit, and `offenders` whose, as far as is told.
    """

    up: bool = True
    missing: list[str] = field(default_factory=list)
    events: dict[str, int] = field(default_factory=dict)
    series: int | None = None
    series_max: int | None = None
    refused: int = 0
    offenders: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunningAgent:
    """An agent that answered, and its sources by name."""

    agent: str
    sources: Mapping[str, RunningSource]


def running_agent(host: str, port: int) -> RunningAgent | None:
    """Ask the address where an agent shows its metrics; None when nothing of the kind answers."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{where}/metrics", timeout=_ANSWER_WITHIN_S) as answer:
            page = answer.read(_LONGEST_PAGE).decode("utf-8", "replace")
    except (OSError, HTTPException):
        return None
    return agent_on(page)


def agent_on(page: str) -> RunningAgent | None:
    """What a page says; None when it is no agent's."""
    agent: str | None = None
    sources: dict[str, RunningSource] = {}
    for metric, labels, value in _samples(page):
        if metric == "info":
            agent = labels.get("agent", "")
        elif "source" in labels:
            _note(sources.setdefault(labels["source"], RunningSource()), metric, labels, value)
    return None if agent is None else RunningAgent(agent, sources)


def _note(source: RunningSource, metric: str, labels: Mapping[str, str], value: int) -> None:
    match metric:
        case "source_up":
            source.up = value == 1
        case "sensor_missing":
            source.missing.append(labels.get("sensor", ""))
        case "source_events_total":
            source.events[labels.get("event", "")] = value
        case "series":
            source.series = value
        case "series_max":
            source.series_max = value
        case "series_refused_total":
            source.refused = value
        case "series_offender_rows":
            source.offenders[labels.get("name", "")] = value


def _samples(page: str) -> Iterator[tuple[str, dict[str, str], int]]:
    for line in page.splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        try:
            value = int(float(found[3]))
        except (ValueError, OverflowError):
            continue
        yield found[1], {name: _ESCAPED.sub(_sign, text) for name, text in _LABEL.findall(found[2])}, value


def _sign(escaped: re.Match[str]) -> str:
    return "\n" if escaped[1] == "n" else escaped[1]
