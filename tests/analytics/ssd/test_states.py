"""States: the laws of hysteresis, acknowledging and replaying, over arbitrary evidence."""

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.errors import DataError
from analytics.ssd.states import CALM_DAYS, Evidence, Memory, dump_memory, load_memory, next_memory, without_reading
from analytics.ssd.verdicts import Acknowledgement, State

DAY = date(2026, 3, 1)
WATCH = Evidence(State.WATCH, State.WATCH, 5)
REPLACE = Evidence(State.REPLACE, State.REPLACE, 9)
#: Too weak to enter, strong enough to stay.
IN_BAND = {state: Evidence(State(state - 1), state, 3) for state in (State.WATCH, State.REPLACE)}
NOTHING = Evidence(State.GOOD, State.GOOD, 1)


def evidences() -> st.SearchStrategy[Evidence]:
    states = st.sampled_from([State.GOOD, State.WATCH, State.REPLACE])
    return st.builds(
        lambda one, other, level: Evidence(min(one, other), max(one, other), level), states, states, st.integers(0, 9)
    )


def days_of_evidence() -> st.SearchStrategy[list[dict[str, Evidence]]]:
    return st.lists(st.dictionaries(st.sampled_from(["a", "b", "c"]), evidences(), max_size=3), max_size=25)


def walked(evidence: list[dict[str, Evidence]], start: Memory | None = None, first: date = DAY) -> list[Memory]:
    memories: list[Memory] = []
    memory = start
    for place, one in enumerate(evidence):
        memory = next_memory(memory, one, first + timedelta(days=place))
        memories.append(memory)
    return memories


def states(memories: list[Memory]) -> list[State]:
    return [memory.state for memory in memories]


def test_strong_evidence_is_entered_at_once_and_left_a_step_at_a_time_after_calm_days() -> None:
    calm = CALM_DAYS[State.REPLACE] + CALM_DAYS[State.WATCH]
    seen = states(walked([{"a": REPLACE}, *[{}] * (calm + 1)]))
    wanted = [State.REPLACE] * CALM_DAYS[State.REPLACE] + [State.WATCH] * CALM_DAYS[State.WATCH]
    assert seen == [*wanted, State.GOOD, State.GOOD]


def test_weak_evidence_enters_nothing() -> None:
    assert states(walked([{"a": IN_BAND[State.WATCH]}] * 3)) == [State.GOOD] * 3
    assert states(walked([{"a": IN_BAND[State.REPLACE]}] * 3)) == [State.WATCH] * 3


@pytest.mark.parametrize("state", [State.WATCH, State.REPLACE])
def test_evidence_that_stays_inside_the_band_holds_the_state_for_good(state: State) -> None:
    memories = walked([{"a": Evidence(state, state, 5)}, *[{"a": IN_BAND[state]}] * 60])
    assert set(states(memories)) == {state}
    assert {memory.causes["a"].calm_days for memory in memories} == {0}


@given(state=st.sampled_from([State.WATCH, State.REPLACE]), strong=st.lists(st.booleans(), min_size=1, max_size=60))
def test_evidence_that_oscillates_inside_the_band_changes_nothing(state: State, strong: list[bool]) -> None:
    entered = Evidence(state, state, 5)
    memories = walked([{"a": entered}, *({"a": entered if one else IN_BAND[state]} for one in strong)])
    assert set(states(memories)) == {state}
    assert {memory.since for memory in memories} == {DAY}


@given(evidence=days_of_evidence())
def test_a_state_is_left_for_a_lower_one_only_after_its_calm_days(evidence: list[dict[str, Evidence]]) -> None:
    memories = walked(evidence)
    for before, after in pairwise(memories):
        if after.state < before.state:
            assert after.state == before.state - 1
            assert (after.day - before.since).days >= CALM_DAYS[before.state]


@given(evidence=days_of_evidence(), last=st.dictionaries(st.sampled_from("ab"), evidences()), times=st.integers(1, 3))
def test_the_same_day_again_changes_nothing(
    evidence: list[dict[str, Evidence]], last: dict[str, Evidence], times: int
) -> None:
    memories = walked([*evidence, last])
    memory = memories[-1]
    for _ in range(times):
        assert next_memory(memory, last, memory.day) == memory


@given(evidence=days_of_evidence(), parts=st.lists(st.dictionaries(st.sampled_from("ab"), evidences()), min_size=1))
def test_a_day_counts_with_its_worst_evidence_in_any_order(
    evidence: list[dict[str, Evidence]], parts: list[dict[str, Evidence]]
) -> None:
    memories = walked(evidence)
    start = memories[-1] if memories else None
    day = DAY + timedelta(days=len(evidence))
    results = []
    for order in (parts, parts[::-1], [*parts, *parts]):
        memory = start
        for one in order:
            memory = next_memory(memory, one, day)
        results.append(memory)
    assert results[0] == results[1] == results[2]


@given(evidence=days_of_evidence())
def test_an_earlier_day_changes_nothing(evidence: list[dict[str, Evidence]]) -> None:
    memories = walked([{"a": WATCH}, *evidence])
    assert next_memory(memories[-1], {"b": REPLACE}, DAY - timedelta(days=1)) == memories[-1]


@given(evidence=days_of_evidence())
def test_a_memory_comes_back_from_its_text(evidence: list[dict[str, Evidence]]) -> None:
    for memory in walked(evidence):
        assert load_memory(dump_memory(memory)) == memory


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"day": 3}', "null", '{"day":"2026-01-01","state":7,"since":"x"}'])
def test_a_text_that_is_no_memory_is_refused_with_what_to_do(text: str) -> None:
    with pytest.raises(DataError, match="judged afresh"):
        load_memory(text)


def test_an_acknowledged_cause_is_quiet_until_it_gets_worse() -> None:
    known = [Acknowledgement("a", 5.0, None)]
    memory = next_memory(None, {"a": WATCH}, DAY, acknowledged=known)
    assert memory.state == State.GOOD
    assert set(memory.causes) == {"a"}
    worse = Evidence(State.WATCH, State.WATCH, 6)
    assert next_memory(memory, {"a": worse}, DAY + timedelta(days=1), acknowledged=known).state == State.WATCH


@given(
    level=st.integers(0, 50), more=st.integers(-50, 50), slack=st.integers(0, 10), until=st.none() | st.integers(-3, 3)
)
def test_only_worse_is_news_and_only_while_the_acknowledgement_lasts(
    level: int, more: int, slack: int, until: int | None
) -> None:
    known = [Acknowledgement("a", level, None if until is None else DAY + timedelta(days=until))]
    evidence = {"a": Evidence(State.WATCH, State.WATCH, level + more, slack)}
    quiet = more <= slack and (until is None or until >= 0)
    assert next_memory(None, evidence, DAY, acknowledged=known).state == (State.GOOD if quiet else State.WATCH)


def test_acknowledging_one_cause_does_not_silence_another() -> None:
    known = [Acknowledgement("a", 100.0, None)]
    assert next_memory(None, {"a": REPLACE, "b": WATCH}, DAY, acknowledged=known).state == State.WATCH


def test_acknowledging_takes_effect_on_the_same_day_and_ends_with_its_last_day() -> None:
    until = DAY + timedelta(days=1)
    known = [Acknowledgement("a", 5.0, until)]
    memory = next_memory(None, {"a": WATCH}, DAY)
    assert memory.state == State.WATCH
    memory = next_memory(memory, {"a": WATCH}, DAY, acknowledged=known)
    assert memory.state == State.GOOD
    memory = next_memory(memory, {"a": WATCH}, until, acknowledged=known)
    assert memory.state == State.GOOD
    assert next_memory(memory, {"a": WATCH}, until + timedelta(days=1), acknowledged=known).state == State.WATCH


def test_a_worst_level_is_remembered_while_a_cause_is_held() -> None:
    memories = walked([{"a": Evidence(State.WATCH, State.WATCH, 8)}, {"a": WATCH}, {}])
    assert memories[-1].causes["a"].level == 8


def test_a_forgotten_cause_counts_no_more_at_once_and_does_not_come_back() -> None:
    memory = walked([{"a": REPLACE}, {"a": REPLACE}])[-1]
    again = next_memory(memory, {}, memory.day, forgotten={"a"})
    assert again.state == State.GOOD
    assert again.causes == {}
    assert next_memory(again, {}, memory.day + timedelta(days=1)).state == State.GOOD


def test_a_frozen_cause_neither_calms_down_nor_goes() -> None:
    memory = walked([{"a": WATCH}])[-1]
    for ago in range(1, 30):
        memory = next_memory(memory, {}, DAY + timedelta(days=ago), frozen={"a"})
    assert memory.state == State.WATCH
    assert memory.causes["a"].calm_days == 0


def test_unknown_is_said_only_where_nothing_speaks_against_the_drive() -> None:
    assert next_memory(None, {}, DAY, unknown=True).state == State.UNKNOWN
    assert next_memory(None, {"a": WATCH}, DAY, unknown=True).state == State.WATCH


def test_a_drive_that_falls_silent_is_unknown_and_comes_back_as_it_was() -> None:
    memory: Memory = walked([{"a": REPLACE}])[-1]
    for ago in range(4, 40):
        memory = without_reading(memory, DAY + timedelta(days=ago))
        assert memory.state == State.UNKNOWN
        assert memory.since == DAY + timedelta(days=4)
        assert without_reading(memory, memory.day) == memory
    assert next_memory(memory, {}, DAY + timedelta(days=40)).state == State.REPLACE


def test_days_without_readings_between_count_as_calm() -> None:
    memory = walked([{"a": WATCH}, {}])[-1]
    assert next_memory(memory, {}, DAY + timedelta(days=1 + CALM_DAYS[State.WATCH])).state == State.GOOD
