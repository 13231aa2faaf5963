"""What the demo shows: where to look, the live line, the summary; all of it read over the REST API.

The numbers are the product's own answers, so that whoever sees them can ask for the same with curl.
"""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tailwatch.commands.query import number_text
from tailwatch.errors import AnswerError, UnreachableError
from tailwatch.http_client import Answer, get

_METRIC = "hiccup_us"
_LEVELS = (0.5, 0.99, 0.999)
# Ctrl-C must end within 2 s, so no read of the live line may hold the loop for long; the summary may take more.
_TIMEOUT_S = 0.5
_SUMMARY_TIMEOUT_S = 1.5
# An agent hands over every 2 s, so the count moves in steps: the rate is taken from step to step over this span.
_RATE_SPAN_S = 12.0
# Longer than a checkpoint and a flush together: a count that stands still for this long is not between two steps.
_QUIET_AFTER_S = 6.0


@dataclass(frozen=True, slots=True)
class State:
    """One look at the running pipeline; p99_us is None while there is nothing measured.

    `quiet_s` is how long no record has arrived that should have: 0 while the pipeline moves.
    """

    records_per_s: float
    totals: dict[str, int]
    p99_us: float | None
    quiet_s: float = 0.0

    def text(self) -> str:
        """The live line."""
        quiet = f" (nothing new for {self.quiet_s:.0f} s, the logs say why)" if self.quiet_s else ""
        return (
            f"{self.records_per_s:,.0f} events/s in{quiet} | {self.totals['windows']:,} windows merged"
            f" | {_bytes(self.totals['bytes'])} on the wire | hiccup p99 {_us(self.p99_us)}"
        )


class Reader:
    """Reads the state about once a second and knows the rate between reads."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._seen: deque[tuple[float, int]] = deque()

    def state(self) -> State | None:
        """The state now, or None when the API does not answer."""
        try:
            totals = get(self._url, "/api/v1/status", timeout_s=_TIMEOUT_S)["totals"]
            answer = _hiccups(self._url, "0.99", "-1m")
        except (UnreachableError, AnswerError):
            return None
        now = time.monotonic()
        if not self._seen or self._seen[-1][1] != totals["records"]:
            self._seen.append((now, totals["records"]))
        while len(self._seen) > 1 and now - self._seen[0][0] > _RATE_SPAN_S:
            self._seen.popleft()
        (first_time, first_records), (last_time, last_records) = self._seen[0], self._seen[-1]
        rate = (last_records - first_records) / (last_time - first_time) if last_time > first_time else 0.0
        quiet_s = now - last_time
        if quiet_s < _QUIET_AFTER_S:
            quiet_s = 0.0
        groups = answer["groups"] if answer is not None else []
        p99_us = groups[0]["values"][0]["value"] if groups else None
        return State(0.0 if quiet_s else rate, totals, p99_us, quiet_s)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run measured, from the database after the last flush; `hiccups` is None when there is no such value.

    `totals` count this run only, also in a data folder that earlier runs filled.
    """

    totals: dict[str, int]
    hiccups: dict[str, Any] | None
    seconds: float

    @classmethod
    def read(cls, url: str, started_ns: int, before: Mapping[str, int]) -> "Summary | None":
        """Ask the API; None when it does not answer any more. `before` are the totals when the run began."""
        try:
            totals = get(url, "/api/v1/status", timeout_s=_SUMMARY_TIMEOUT_S)["totals"]
            levels = ",".join(map(str, _LEVELS))
            answer = _hiccups(url, levels, f"{started_ns / 1e9:.3f}", _SUMMARY_TIMEOUT_S)
        except (UnreachableError, AnswerError):
            return None
        groups = answer["groups"] if answer is not None else []
        totals = {name: count - before.get(name, 0) for name, count in totals.items()}
        return cls(totals, groups[0] if groups else None, (time.time_ns() - started_ns) / 1e9)

    @property
    def measured(self) -> bool:
        """Whether there is a number that means something."""
        return self.hiccups is not None and self.hiccups["count"] > 0 and self.totals["records"] > 0


def where_to_look(url: str, data_dir: str, process_id: int, *, drives: bool = False, gpu_jobs: bool = False) -> str:
    """The lines printed once everything runs; `drives`, `gpu_jobs`: there are made-up ones to look at."""
    made_up = f"  drives          tailwatch drives --url {url}\n" if drives else ""
    made_up += f"  GPU jobs        tailwatch gpu failures --url {url}\n" if gpu_jobs else ""
    return f"""\
tailwatch demo is running (process {process_id}, data in {data_dir}); Ctrl-C ends it

  documentation   {url}/docs
  metrics         {url}/api/v1/metrics
  agents          {url}/api/v1/agents
  ask by curl     curl '{url}/api/v1/quantiles?metric={_METRIC}&q=0.5,0.99,0.999&start=-1m'
  ask by command  tailwatch query {_METRIC} -q 0.99 --start -1m --url {url}
{made_up}"""


def summary_text(summary: Summary, drives: str = "", gpu_jobs: str = "") -> str:
    """The lines at the end of a run; `make test-wheel` reads them.

    Args:
        drives, gpu_jobs: how drives are, and what GPU jobs died of; "" for none.
    """
    lines = [
        ("events", f"{summary.totals['records']:,}"),
        ("windows merged", f"{summary.totals['windows']:,}"),
        ("bytes on the wire", f"{summary.totals['bytes']:,}"),
    ]
    hiccups = summary.hiccups
    if hiccups is None:
        lines.append((_METRIC, "no data"))
    else:
        lines += [(f"hiccup p{100 * value['q']:.10g}", _us(value["value"])) for value in hiccups["values"]]
        lines.append(("hiccups counted", f"{hiccups['count']:,}"))
        lines.append(("error bound", f"{100 * hiccups['error_bound']:.4f} % of each value"))
        lines.append(("coverage", f"{100 * hiccups['coverage']['ratio']:.4g} %"))
    lines += [(name, text) for name, text in (("drives", drives), ("GPU jobs", gpu_jobs)) if text]
    return "\n".join([f"summary after {summary.seconds:.0f} s", *(f"  {name:<19}{value}" for name, value in lines)])


def _hiccups(url: str, levels: str, start: str, timeout_s: float = _TIMEOUT_S) -> Answer | None:
    """Quantiles of the built-in metric; None while nobody has registered it (or its query was switched off)."""
    try:
        return get(url, "/api/v1/quantiles", {"metric": _METRIC, "q": levels, "start": start}, timeout_s=timeout_s)
    except AnswerError as error:
        if error.problem.get("status") == 404:
            return None
        raise


def _us(value: float | str | None) -> str:
    return "not measured yet" if value is None else f"{number_text(value)} us"


def _bytes(count: int) -> str:
    for limit, unit, size in ((10_000, "B", 1), (10_000_000, "kB", 1000), (10**10, "MB", 10**6)):
        if count < limit:
            return f"{count / size:,.0f} {unit}"
    return f"{count / 1e9:,.1f} GB"
