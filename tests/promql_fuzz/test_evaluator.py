"""The evaluator under text of any kind: an answer or one of the documented errors, in bounded time and memory."""

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.promql import evaluate
from api.promql.answer import Answer
from api.promql.errors import EvaluationError, ExpressionError, PromqlError, TooMuchError, UnsupportedError
from api.promql.limits import Limits
from api.promql.parsing import pretty
from tests.promql_differential.telemetry import END_S, START_S, Telemetry
from tests.promql_fuzz.wild import BOMBS, mutated_expressions, wild_expressions

DOCUMENTED = (ExpressionError, UnsupportedError, EvaluationError, TooMuchError)
SECONDS_EACH = 3.0  # the slowest takes about a tenth of this on a quiet machine
MEMORY_BYTES = 400 << 20
NS = 1_000_000_000
NOW_NS = (START_S + 2_000) * NS
SOURCE = Telemetry().source()

FAR_NS = 7_258_118_400 * NS  # the routes take times from 1740 to 2200

INSTANTS_NS = st.sampled_from([NOW_NS, NOW_NS + 3_250_000_000, 0, -1, END_S * NS * 2, FAR_NS, -FAR_NS])
RANGES = st.sampled_from(
    [
        (NOW_NS, NOW_NS + 300 * NS, 30 * NS),
        (NOW_NS, NOW_NS + 100_000 * NS, 10 * NS),
        (NOW_NS, NOW_NS, NS),
        (NOW_NS, NOW_NS + 11_000 * NS, 1),
        (0, NOW_NS, 1_000_000),
        (-FAR_NS, FAR_NS, 10**9),
        (FAR_NS - 10, FAR_NS, 10),
        (NOW_NS - 600 * NS, NOW_NS, FAR_NS),
    ]
)


@settings(max_examples=1_500)
@given(text=wild_expressions() | mutated_expressions(), at_ns=INSTANTS_NS)
def test_an_instant_query_is_answered_or_refused(text: str, at_ns: int) -> None:
    answered_or_refused(text, lambda: evaluate.instant(text, at_ns, SOURCE, Limits(), go_on))


@settings(max_examples=900)
@given(text=wild_expressions() | mutated_expressions(), asked=RANGES)
def test_a_range_query_is_answered_or_refused(text: str, asked: tuple[int, int, int]) -> None:
    start_ns, end_ns, step_ns = asked
    answered_or_refused(text, lambda: evaluate.range_query(text, start_ns, end_ns, step_ns, SOURCE, Limits(), go_on))


@settings(max_examples=300)
@given(text=wild_expressions() | mutated_expressions())
def test_text_is_made_pretty_or_refused_and_what_is_pretty_stays_so(text: str) -> None:
    try:
        found = pretty(text)
    except DOCUMENTED:
        return
    assert pretty(found) == found


@pytest.mark.parametrize("bomb", range(len(BOMBS)))
def test_a_regular_expression_costs_little_whatever_it_is(bomb: int) -> None:
    text = f'count({{__name__=~".+", host=~"{BOMBS[bomb]}", kind!~"{BOMBS[bomb]}"}})'
    answered_or_refused(text, lambda: evaluate.instant(text, NOW_NS, SOURCE, Limits(), go_on))


def test_many_regular_expressions_cost_no_more_than_any_other_question() -> None:
    patterns = ", ".join(f'host=~"\\\\pL{{{500 - n}}}"' for n in range(400))
    with pytest.raises(PromqlError), at_most():
        evaluate.instant(f"up{{{patterns}}}", NOW_NS, SOURCE, Limits(), go_on)


@pytest.mark.parametrize("points", [10**9, 10**12])
def test_more_points_than_allowed_are_refused_before_anything_is_read(points: int) -> None:
    with pytest.raises(PromqlError), at_most():
        evaluate.range_query("lat", NOW_NS, NOW_NS + points * 1_000, 1_000, SOURCE, Limits(), go_on)


def test_text_of_a_million_characters_is_refused_at_once() -> None:
    for text in (
        "1" * 10**6,
        "up" + " or up" * 200_000,
        "(" * 10**6,
        '"' + "\\" * 10**6,
        "up{" + 'a="b",' * 200_000 + "}",
    ):
        with pytest.raises(PromqlError), at_most():
            evaluate.instant(text, NOW_NS, SOURCE, Limits(), go_on)


@pytest.fixture(autouse=True, scope="module")
def _bounded_memory() -> Iterator[None]:
    """All of these tests together may not raise the process' peak by more than the bound."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak becomes what is in use now
    before = _peak_bytes()
    yield
    assert _peak_bytes() - before < MEMORY_BYTES


def answered_or_refused(text: str, ask: Callable[[], Answer]) -> None:
    """Within time, an answer whose arrays fit each other, or a documented error with a message that can be shown."""
    try:
        with at_most():
            found = ask()
    except DOCUMENTED as error:
        said = str(error)
        assert 0 < len(said) < 1_500, said[:200]
        assert "Traceback" not in said
        said.encode()
        return
    assert len(found.float_series) == len(found.float_times_ns) == len(found.float_values)
    assert len(found.histogram_series) == len(found.histogram_times_ns) == len(found.histograms)
    for owners in (found.float_series, found.histogram_series):
        assert not len(owners) or 0 <= owners.min() <= owners.max() < len(found.labels)
    assert len({frozenset(labels.items()) for labels in found.labels}) == len(found.labels)


@contextmanager
def at_most() -> Iterator[None]:
    """Fails when what it holds uses more processor time than allowed."""
    before = time.process_time()
    try:
        yield
    finally:
        spent_s = time.process_time() - before
        assert spent_s < SECONDS_EACH, f"took {spent_s:.1f} s"


def go_on() -> None:
    """Nothing interrupts these evaluations: they must end by themselves."""


def _peak_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    line = next((line for line in status.splitlines() if line.startswith("VmHWM")), None)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10 if line is None else int(line.split()[1]) << 10
