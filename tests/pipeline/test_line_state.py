"""first_lines and last_lines: what is kept is the same for any split, cut, order and form, and it is little."""

import struct
from collections import defaultdict

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.chain import Chain
from pipeline.errors import StateError
from pipeline.gathering import Gathering
from pipeline.grouping import Grouping
from pipeline.line_rule import FIRST, LAST, LINE_COST, MAX_TEXT_BYTES
from pipeline.partial import Partial
from pipeline.plan import LINE_FUNCTIONS, Metric
from pipeline.sql import compile_query
from pipeline.states import FirstLinesState, KeptLine, LastLinesState, LinesState, MinState, state_class
from tests.kept_lines import Line, exactly

SCHEMAS = {"logs": {"job": "string", "text": "string", "place": "int64"}}
SQL = """
SELECT job, first_lines(CASE WHEN text <> 'quiet' THEN text END, place) AS log_first_lines,
       last_lines(text, place) AS log_last_lines, first_lines(text) AS unplaced_lines, count(*) AS log_lines_total
FROM logs WHERE text IS NULL OR text <> 'dropped' GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), job
"""
CLASSES: list[type[LinesState]] = [FirstLinesState, LastLinesState]
both = pytest.mark.parametrize("kind", CLASSES)


def state_of(kind: type[LinesState], lines: list[Line], group: list[int] | None = None) -> LinesState:
    codes = np.array(group or [0] * len(lines), np.int64)
    times, places = (np.array([line[k] for line in lines], np.int64) for k in (0, 1))
    texts = pl.Series([line[2] for line in lines], dtype=pl.String)
    groups = Grouping(codes, np.zeros(int(codes.max(initial=0)) + 1, np.int64))
    return kind.from_lines(texts, times, pl.Series(places), groups)


def seen_in(state: LinesState, i: int = 0) -> list[Line]:
    return [(line.ts_ns, line.place, line.text) for line in state.lines(i)]


@st.composite
def log_rows(draw: st.DrawFn) -> pl.DataFrame:
    """Lines of few jobs with many ties; long, empty and NULL texts among them."""
    n = draw(st.integers(0, 50))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    words = ["", "a", "ä", "é" * 700, "quiet", "dropped", "x" * 1_500, "y" * 4_079, "z" * 3_900, "line"]
    texts = [words[k] + str(random.integers(0, 4)) * int(random.integers(0, 2)) for k in random.integers(0, 10, n)]
    jobs, places = random.choice(["one", "two"], n), random.integers(-2, 3, n)
    return pl.DataFrame(
        {
            "ts": random.integers(0, draw(st.sampled_from([2, 3 * 10**10])), n),
            "host": ["h"] * n,
            "job": jobs,
            "text": [None if k == 0 else text for k, text in zip(random.integers(0, 9, n), texts, strict=True)],
            "place": [None if k == 0 else int(k) for k in places],
        },
        schema={"ts": pl.Int64, "host": pl.String, "job": pl.String, "text": pl.String, "place": pl.Int64},
    )


def in_form(chain: Chain, partial: Partial, form: str) -> Partial:
    if form == "frame":
        return Partial.from_frame(chain.plan, partial.to_frame())
    if form == "windows":
        return Partial.merge([*partial.split_windows().values(), Partial.empty(chain.plan)])
    if form == "bodies":
        states = {
            metric.name: state_class(metric.function).from_bodies(metric, *partial.states[metric.name].to_bodies())
            for metric in chain.plan.metrics
        }
        return Partial(chain.plan, partial.keys, states)
    return partial


def travelled(chain: Chain, rows: pl.DataFrame, cut: int, form: str) -> Partial:
    rows = chain.prepare(rows)
    for i in range(1, cut + 1):
        rows = chain.apply(i, rows)
    return in_form(chain, chain.finish(rows, after=cut), form)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_split_cut_order_and_form_keeps_the_very_same_lines(data: st.DataObject) -> None:
    chain = Chain(compile_query("job_logs", SQL, SCHEMAS, {}), {})
    rows = data.draw(log_rows(), label="rows")
    order = np.random.default_rng(data.draw(st.integers(0, 2**32))).permutation(rows.height)
    ends = sorted(data.draw(st.lists(st.integers(0, rows.height), max_size=5), label="splits"))
    cuts, forms = st.integers(0, chain.row_stages), st.sampled_from(["memory", "frame", "bodies", "windows"])
    parts = [travelled(chain, rows[part], data.draw(cuts), data.draw(forms)) for part in np.split(order, ends)]
    gathering = Gathering(chain.plan)
    for part in parts:
        gathering.add(part)
    while len(parts) > 1:
        k = data.draw(st.integers(2, len(parts)))
        parts.append(Partial.merge([parts.pop(data.draw(st.integers(0, len(parts) - 1))) for _ in range(k)]))

    wanted = truth(rows)
    for found in (parts[0].sorted(), *([gathering.partial().sorted()] if len(gathering) else [])):
        keys = found.keys.select("window", "job").rows()
        assert keys == sorted(wanted)
        for name, rule in (("log_first_lines", FIRST), ("log_last_lines", LAST), ("unplaced_lines", FIRST)):
            state = found.states[name]
            assert isinstance(state, LinesState)
            for i, key in enumerate(keys):
                lines = [
                    (time, 0 if name == "unplaced_lines" else place, text)
                    for time, place, text in wanted[key]
                    if name != "log_first_lines" or text != "quiet"
                ]
                assert seen_in(state, i) == exactly(lines, rule)
                assert state.seen(i) == (len(lines), sum(len(text.encode()) for _, _, text in lines))
            assert state.to_bodies()[0] == parts[0].sorted().states[name].to_bodies()[0]


def truth(rows: pl.DataFrame) -> dict[tuple[int, str], list[Line]]:
    """The lines of each window and job, longest texts included: none of them is cut."""
    found: dict[tuple[int, str], list[Line]] = defaultdict(list)
    for time, _, job, text, place in rows.iter_rows():
        if text != "dropped":
            lines = found[time // 10**10 * 10**10, job]
            if text is not None:
                lines.append((time, place or 0, text))
    return found


@both
def test_a_group_never_keeps_more_than_is_enough_and_one_line(kind: type[LinesState]) -> None:
    for length in (0, 1, 100, 4_000, 4_080):
        state = state_of(kind, [(time, 0, "x" * length) for time in range(2_000)])
        cost = int(state.lengths.sum()) + LINE_COST * int(state.counts[0])
        assert kind.rule.enough_bytes <= cost <= kind.rule.most_bytes
        assert state.seen(0) == (2_000, 2_000 * length)
    assert FIRST.most_bytes < 16 * 1_024
    assert LAST.most_bytes < 8 * 1_024


@both
def test_a_long_text_is_cut_before_the_character_that_does_not_fit(kind: type[LinesState]) -> None:
    texts = ["x" * 10_000, "é" * 5_000, "a" + "é" * 5_000, "aa" + "\N{GRINNING FACE}" * 3_000, "y" * 4_080]
    for text in texts:
        (line,) = state_of(kind, [(5, 7, text)]).lines(0)
        assert text.startswith(line.text)
        assert MAX_TEXT_BYTES - 4 < len(line.text.encode()) <= MAX_TEXT_BYTES
        assert (
            len((line.text + text[len(line.text) : len(line.text) + 1]).encode()) > MAX_TEXT_BYTES or line.text == text
        )
        assert state_of(kind, [(5, 7, text)]).seen(0) == (1, len(text.encode()))


def test_lines_are_in_order_of_time_then_place_then_text() -> None:
    lines = [(2, 0, "e"), (1, 5, "d"), (1, -5, "c"), (1, -5, "b"), (0, 9, "a"), (1, -5, "b")]
    for kind in CLASSES:
        assert "".join(line.text for line in state_of(kind, lines).lines(0)) == "abbcde"
    assert state_of(FirstLinesState, lines).lines(0)[0] == KeptLine(0, 9, "a")


def test_first_keeps_the_oldest_and_last_the_newest() -> None:
    lines = [(time, 0, f"{time:0100d}") for time in range(500)]
    first, last = (seen_in(state_of(kind, lines)) for kind in CLASSES)
    assert first == lines[: len(first)]
    assert last == lines[-len(last) :]
    assert (len(first), len(last)) == (12_288 // 116 + 1, 4_096 // 116 + 1)


def test_a_short_line_behind_a_long_one_is_not_let_in_by_a_part_that_lacks_the_long_one() -> None:
    """Were lines kept as long as they fit, merging the parts would keep one line more than one pass does."""
    rule = FirstLinesState.rule
    filling = [(time, 0, "f" * 1_000) for time in range(12)]
    long, short = (50, 0, "l" * 4_000), (60, 0, "s")
    parts = FirstLinesState.concat([state_of(FirstLinesState, part) for part in ([*filling, long], [short])])
    merged, whole = parts.reduce(np.zeros(2, np.int64), 1), state_of(FirstLinesState, [*filling, long, short])
    assert seen_in(merged) == seen_in(whole) == exactly([*filling, long, short], rule)
    assert merged.to_bodies()[0] == whole.to_bodies()[0]


@both
def test_times_and_places_may_lie_at_the_ends_of_their_range(kind: type[LinesState]) -> None:
    far = [(-(2**63), 2**63 - 1, "a"), (2**63 - 1, -(2**63), "b"), (0, 0, "c"), (2**63 - 1, 2**63 - 1, "d")]
    state = state_of(kind, far)
    assert seen_in(state) == sorted(far)
    metric = Metric("x_lines", kind.rule.function, False, "lines", 6)
    assert seen_in(kind.from_columns(metric, "x_lines", state.to_columns("x_lines"))) == sorted(far)


@both
def test_take_and_reduce_move_whole_groups(kind: type[LinesState]) -> None:
    lines = [(k, 0, f"line {k}") for k in range(9)]
    state = state_of(kind, lines, [0, 1, 3, 1, 1, 3, 0, 1, 3])
    assert [len(state.lines(i)) for i in range(4)] == [2, 4, 0, 3]
    assert state.answers() == [2, 4, 0, 3]
    assert list(state.each()) == [state.lines(i) for i in range(4)]
    few = state.at_most(2)
    ends = [(state.lines(i)[:2] if kind is FirstLinesState else state.lines(i)[-2:]) for i in range(4)]
    assert list(few.each()) == ends
    assert few.answers() == state.answers()
    taken = state.take(np.array([3, 2, 3, 0]))
    assert [seen_in(taken, i) for i in range(4)] == [seen_in(state, i) for i in (3, 2, 3, 0)]
    merged = taken.reduce(np.array([1, 0, 1, 1]), 3)
    assert [merged.seen(i)[0] for i in range(3)] == [0, 8, 0]
    assert seen_in(merged, 1) == sorted([*seen_in(state, 3) * 2, *seen_in(state, 0)])
    nothing = state.take(np.empty(0, np.int64))
    assert len(nothing) == 0
    assert len(kind.concat([nothing, state])) == 4
    assert nothing.reduce(np.empty(0, np.int64), 2).answers() == [0, 0]


def test_states_of_several_aggregates_do_not_concatenate() -> None:
    first, last = (state_of(kind, [(1, 0, "a")]) for kind in CLASSES)
    with pytest.raises(StateError, match="cannot put"):
        FirstLinesState.concat([first, last])
    with pytest.raises(StateError, match="cannot put"):
        MinState.concat([first])
    with pytest.raises(StateError, match="at least one"):
        LastLinesState.concat([])


def metric_of(kind: type[LinesState]) -> Metric:
    return Metric("x_lines", kind.rule.function, False, "lines", 6)


HARD = [(1, 0, "ä"), (1, 0, "é"), (2, -1, ""), (2, 4, "ö" * 300), (3, 0, "end")]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(CLASSES), st.integers(0, 10**6), st.integers(1, 255), st.booleans())
def test_damaged_bodies_raise_state_errors_or_decode_to_what_they_say(
    kind: type[LinesState], place: int, flip: int, cut: bool
) -> None:
    buffer, lengths = state_of(kind, HARD, [0, 1, 1, 1, 3]).to_bodies()
    damaged = bytearray(buffer)
    damaged[place % len(damaged)] ^= flip
    if cut:
        damaged = damaged[: place % len(damaged)]
    try:
        state = kind.from_bodies(metric_of(kind), bytes(damaged), lengths)
    except StateError:
        return
    assert state.to_bodies()[0] == bytes(damaged)
    assert [state.lines(i) for i in range(len(state))]


def test_bodies_of_another_aggregate_are_refused() -> None:
    for kind, other in zip(CLASSES, CLASSES[::-1], strict=True):
        buffer, lengths = state_of(kind, HARD).to_bodies()
        for function in ("sketch", "count", "sum", "avg", other.rule.function):
            metric = Metric("x_lines", function, True, "", 6)
            with pytest.raises(StateError):
                state_class(function).from_bodies(metric, buffer, lengths)


def test_a_body_is_laid_out_as_its_module_says() -> None:
    buffer, lengths = state_of(LastLinesState, [(5, 2, "é"), (9, 3, "end")]).to_bodies()
    head = struct.pack("<BBHqq", 1, 7, 2, 2, 5)
    assert buffer == head + struct.pack("<qqH", 5, 2, 2) + struct.pack("<qqH", 9, 3, 3) + "éend".encode()
    assert lengths.tolist() == [len(buffer)]


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("n", [-1, 1], "negative or beyond"),
        ("n", [1, 1], "more lines are kept than were seen"),
        ("bytes", [1, 3], "more lines are kept than were seen"),
        ("n", [None, 1], "is missing"),
        ("text", [None, b"c"], "is missing"),
        ("text", [b"ab", b"cd"], "not as long as their lines say"),
        ("text", [b"a\xff", b"c"], "not UTF-8"),
        ("text", [b"ba", b"c"], "out of order"),
        ("times", [[5, -1], [3]], "lines are out of order"),
        ("places", [[5, -1], [3]], "lines are out of order"),
        ("lengths", [[3, -1], [1]], "a text has -1 to 3 bytes"),
        ("times", [[5], [3]], "no time, place or length"),
        ("lengths", [[2], [1]], "no time, place or length"),
    ],
)
def test_columns_that_no_state_has_are_refused(part: str, value: list[object], message: str) -> None:
    columns: dict[str, object] = {"n": [2, 1], "bytes": [2, 1], "times": [[1, 0], [3]], "places": [[0, 0], [3]]}
    columns |= {"lengths": [[1, 1], [1]], "text": [b"ab", b"c"], part: value}
    plan = compile_query(
        "x", "SELECT first_lines(text) AS x_lines, job FROM logs @, job".replace("@", TUMBLE), SCHEMAS, {}
    )
    keys: dict[str, object] = {"window": [0, 0], "rows": [2, 1], "job": ["a", "b"]}
    frame = pl.DataFrame(keys | {f"x_lines.{name}": column for name, column in columns.items()}, Partial.schema(plan))
    with pytest.raises(StateError, match=message):
        Partial.from_frame(plan, frame)


TUMBLE = "GROUP BY TUMBLE(ts, INTERVAL '10' SECOND)"


def test_more_lines_than_are_enough_are_refused() -> None:
    enough = [(k, 0, "x" * 1_000) for k in range(20)]
    for kind in CLASSES:
        state = state_of(kind, enough, list(range(20)))
        together = kind(
            np.array([20]), np.array([20_000]), np.array([20]), state.times, state.places, state.lengths, state.text
        )
        with pytest.raises(StateError, match="more lines are kept than are enough"):
            kind.from_bodies(metric_of(kind), *together.to_bodies())


def test_a_text_that_begins_inside_a_character_is_refused() -> None:
    buffer, lengths = state_of(FirstLinesState, [(1, 0, "ab"), (2, 0, "éb")]).to_bodies()
    shifted = buffer.replace(struct.pack("<qqH", 1, 0, 2), struct.pack("<qqH", 1, 0, 3)).replace(
        struct.pack("<qqH", 2, 0, 3), struct.pack("<qqH", 2, 0, 2)
    )
    with pytest.raises(StateError, match="inside a character"):
        FirstLinesState.from_bodies(metric_of(FirstLinesState), shifted, lengths)


def test_lines_that_wait_are_merged_before_they_outgrow_what_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.gathering.WAITING_BYTES", 30_000)
    plan = compile_query("x", f"SELECT last_lines(text) AS x_lines, job FROM logs {TUMBLE}, job", SCHEMAS, {})
    chain, gathering, parts = Chain(plan, {}), Gathering(plan), []
    for k in range(40):
        rows = pl.DataFrame({"ts": [k, k], "job": ["a", f"b{k % 3}"], "text": ["x" * 3_000, f"line {k}"]})
        parts.append(chain.finish(chain.prepare(rows), after=0))
        gathering.add(parts[-1])
        held = gathering._states["x_lines"]
        assert held._waiting <= 2 * 4 * 9_000 + 30_000  # type: ignore[union-attr]
    found, wanted = gathering.partial().sorted(), Partial.merge(parts).sorted()
    assert found.states["x_lines"].to_bodies()[0] == wanted.states["x_lines"].to_bodies()[0]


def test_a_plan_carries_text_and_place_as_columns() -> None:
    plan = compile_query("job_logs", SQL, SCHEMAS, {})
    assert [(a.function, a.columns) for a in plan.aggregates] == [
        ("first_lines", ("log_first_lines", "log_first_lines.place")),
        ("last_lines", ("log_last_lines", "log_first_lines.place")),
        ("first_lines", ("log_last_lines",)),
        ("count", ()),
    ]
    assert {metric.name: metric.unit for metric in plan.metrics} == {
        "log_first_lines": "lines", "log_last_lines": "lines", "unplaced_lines": "lines", "log_lines_total": "lines",
    }  # fmt: skip
    assert {metric.function for metric in plan.metrics} - {"count"} == LINE_FUNCTIONS
