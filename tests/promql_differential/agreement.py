"""How many generated expressions the evaluator and a real Prometheus answer alike.

found = measure(address)   # of an empty Prometheus; benchmarks call this too
print(found.line())
"""

import http.client
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from urllib.parse import urlencode, urlsplit

import orjson

from api.promql import evaluate
from api.promql.errors import ExpressionError, PromqlError
from api.promql.limits import Limits
from tests.counterparts.prometheus import write
from tests.promql_differential.answers import (
    NOISE,
    NOISE_OF_MOMENTS,
    Said,
    coarsened,
    difference,
    said_by_prometheus,
    said_by_us,
)
from tests.promql_differential.explained import EXPLANATIONS, WIDEST_BUCKET, Circumstances
from tests.promql_differential.expressions import Expression, expressions
from tests.promql_differential.telemetry import END_S, FLOAT_DELTAS, SKETCHES, MemorySource, Telemetry

COUNT = 700
SEED = 5
_MOMENTS = ("stddev", "stdvar", "deriv")
_ASKED_AT_ONCE = 3
LIMITS = Limits()
NOISE_OF_A_MILLISECOND = 1e-3  # what one more makes of the rate over the shortest range
COARSEST_SCHEMA = 5
_RANGE_OF_READINGS = re.compile(
    rf"(?<![a-z_])((?!(?:{'|'.join((*FLOAT_DELTAS, *SKETCHES))})\b)\w+(?:{{[^}}]*}})?)\[(\w+)\]"
)
_PER_SECOND = re.compile(r"rate|increase|delta|deriv")
Answers = tuple[Said, Said]  # to the instant and to the range query


@dataclass(frozen=True, slots=True)
class Difference:
    """An expression that the two answer differently: how, and the name of the explanation; empty if there is none."""

    expression: Expression
    how: str
    explanation: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """What came of all expressions.

    Attributes:
        outcomes: how many of those that agree had values, were empty, or were refused.
    """

    total: int
    differences: list[Difference]
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def agree(self) -> int:
        """How many agree, in the instant and in the range query."""
        return self.total - len(self.differences)

    @property
    def share(self) -> float:
        """Those that agree, of all."""
        return self.agree / self.total

    @property
    def unexplained(self) -> list[Difference]:
        """Differences that are on no list."""
        return [each for each in self.differences if not each.explanation]

    def line(self) -> str:
        """The numbers in one line."""
        explained = len(self.differences) - len(self.unexplained)
        kinds = ", ".join(f"{count} {what}" for what, count in self.outcomes.most_common())
        return (
            f"promql: {self.total} expressions, {self.agree} agree ({kinds}), {explained} explained, "
            f"{len(self.unexplained)} differ"
        )


def measure(address: str, count: int = COUNT, seed: int = SEED) -> Agreement:
    """Write the telemetry, ask both, compare.

    Args:
        address: http://HOST:PORT of a Prometheus 2.42 that is empty, or only holds what an earlier call wrote.
    """
    telemetry = Telemetry()
    with asking(address) as prometheus:
        if not prometheus.instant("temperature", END_S).series:  # it may be there from an earlier run
            write(address, telemetry.written())
    return compare(address, telemetry, expressions(count, seed))


def compare(address: str, telemetry: Telemetry, asked: Sequence[Expression]) -> Agreement:
    """Ask both, compare; the telemetry is already written."""
    differences, outcomes = [], Counter[str]()
    with asking(address) as prometheus:
        for expression, theirs in zip(asked, prometheus.of_all(asked), strict=True):
            source = telemetry.source(eager=expression.number % 3 == 0)
            ours = evaluated(expression, source)
            how = _difference(expression, ours, theirs, noise_of(expression))
            if how:
                seen = _circumstances(expression, how, source, ours, theirs)
                name = next((each.name for each in EXPLANATIONS if each.applies(seen)), "")
                differences.append(Difference(expression, how, name))
            else:
                outcomes[_outcome(ours)] += 1
    return Agreement(len(asked), differences, outcomes)


def evaluated(expression: Expression, source: MemorySource, limits: Limits = LIMITS) -> Answers:
    """Our answers to the instant and to the range query."""
    at, start, end, step = (
        round(time_s * 1000) * 1_000_000
        for time_s in (expression.at_s, expression.start_s, expression.end_s, expression.step_s)
    )
    found = []
    for ask in (
        lambda: evaluate.instant(expression.ours, at, source, limits, _go_on),
        lambda: evaluate.range_query(expression.ours, start, end, step, source, limits, _go_on),
    ):
        try:
            found.append(said_by_us(ask()))
        except PromqlError as error:
            found.append(Said(400 if isinstance(error, ExpressionError) else 422, error=str(error)))
    return found[0], found[1]


def _circumstances(
    expression: Expression, how: str, source: MemorySource, ours: Answers, theirs: Answers
) -> Circumstances:
    edges = source.edges

    def closed() -> bool:
        if not edges:
            return False
        longer = replace(expression, ours=_RANGE_OF_READINGS.sub(r"\1[\g<2>1ms]", expression.ours))
        answers = evaluated(longer, source, Limits(lookback_ns=LIMITS.lookback_ns + 1_000_000))
        inexact = NOISE_OF_A_MILLISECOND if _PER_SECOND.search(expression.ours) else 0.0
        return not _difference(expression, answers, theirs, max(noise_of(expression), inexact))

    def coarser() -> bool:
        mine, wanted = (tuple(coarsened(each, COARSEST_SCHEMA) for each in answers) for answers in (ours, theirs))
        return not _difference(expression, (mine[0], mine[1]), (wanted[0], wanted[1]), noise_of(expression))

    return Circumstances(expression, how, closed, coarser)


def noise_of(expression: Expression) -> float:
    """How far values may be apart."""
    if expression.loose:
        return WIDEST_BUCKET
    return NOISE_OF_MOMENTS if any(word in expression.ours for word in _MOMENTS) else NOISE


def _difference(expression: Expression, ours: Answers, theirs: Answers, noise: float) -> str:
    instant = difference(ours[0], theirs[0], noise, expression.ordered)
    return f"instant query: {instant}" if instant else _prefixed("range query: ", difference(ours[1], theirs[1], noise))


def _prefixed(prefix: str, text: str) -> str:
    return prefix + text if text else ""


def _outcome(ours: tuple[Said, Said]) -> str:
    if ours[0].status != 200 or ours[1].status != 200:
        return "refused"
    return "with values" if ours[0].series or ours[1].series else "empty"


class Asking:
    """Queries to one Prometheus, a few at once."""

    def __init__(self, address: str, workers: ThreadPoolExecutor) -> None:
        self._workers = workers
        self._free: SimpleQueue[http.client.HTTPConnection] = SimpleQueue()
        self.connections = [
            http.client.HTTPConnection(urlsplit(address).netloc, timeout=30) for _ in range(_ASKED_AT_ONCE)
        ]
        for connection in self.connections:
            self._free.put(connection)

    def of_all(self, asked: Sequence[Expression]) -> Iterator[tuple[Said, Said]]:
        """The answers to the instant and to the range query of each."""
        return self._workers.map(self._both, asked)

    def instant(self, text: str, time_s: float) -> Said:
        """The answer to one instant query."""
        return self._ask("query", {"query": text, "time": f"{time_s:.3f}"})

    def version(self) -> str:
        """Its release."""
        connection = self.connections[0]
        connection.request("GET", "/api/v1/status/buildinfo")
        return str(orjson.loads(connection.getresponse().read())["data"]["version"])

    def _both(self, expression: Expression) -> tuple[Said, Said]:
        times = {"start": expression.start_s, "end": expression.end_s, "step": expression.step_s}
        ranged = {name: f"{time_s:.3f}" for name, time_s in times.items()}
        return (
            self.instant(expression.theirs, expression.at_s),
            self._ask("query_range", {"query": expression.theirs, **ranged}),
        )

    def _ask(self, what: str, parameters: dict[str, str]) -> Said:
        connection = self._free.get()
        try:
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            connection.request("POST", f"/api/v1/{what}", urlencode(parameters), form)
            response = connection.getresponse()
            return said_by_prometheus(response.status, orjson.loads(response.read()))
        finally:
            self._free.put(connection)


@contextmanager
def asking(address: str) -> Iterator[Asking]:
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as workers:
        asking = Asking(address, workers)
        try:
            yield asking
        finally:
            for connection in asking.connections:
                connection.close()


def _go_on() -> None:
    """Nothing interrupts a comparison."""
