"""Assessments: what is said of whole fleets, what is refused and why, and how it goes on from day to day."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.errors import DataError
from analytics.ssd.assessment import NO_MODEL, Assessments, assess
from analytics.ssd.columns import DAYS, FLAGS
from analytics.ssd.evidence import PROBABILITY, WEAR
from analytics.ssd.features import features
from analytics.ssd.states import CALM_DAYS, Memory, dump_memory, load_memory
from analytics.ssd.verdicts import Acknowledgement, Assessment, State
from tests.analytics.ssd.drive_tables import TODAY, history, seen, table
from tests.analytics.ssd.stand_in_model import Stand


def judged(
    days: pl.DataFrame,
    model: Stand | None = None,
    previous: Mapping[str, Memory] | None = None,
    day: date = TODAY,
    **others: Any,
) -> Assessments:
    settings: dict[str, Any] = {"acknowledged": {}, "muted": {}, **others}
    found = features(days, day - timedelta(days=3), day) if model else None
    return assess(
        days, found, model, previous or {}, settings.pop("acknowledged"), settings.pop("muted"), day, **settings
    )


def one(days: pl.DataFrame, *rest: Any, **others: Any) -> Assessment:
    return judged(days, *rest, **others).of("S1")


HEALTHY = history(realloc_total=[0] * 40, wear_used_pct=[5] * 40)


def test_a_healthy_drive_is_good_and_has_no_probability_without_a_model() -> None:
    told = one(HEALTHY)
    assert (told.state, told.why_unknown, told.probabilities) == (State.GOOD, "", {})
    assert told.why_no_probability == NO_MODEL
    assert told.wear.why_not == "wear stood still for 39 days"
    assert judged(HEALTHY).notable == {}


def test_the_three_outputs_stand_apart() -> None:
    days = history(
        realloc_total=[4] * 33 + [11, 20, 33, 41, 50, 53, 61], wear_used_pct=[40 + n // 10 for n in range(40)]
    )
    told = one(days, Stand({"S1": 0.7}))
    assert told.state == State.REPLACE
    assert [rule.rule for rule in told.rules] == ["realloc_grew_7d"]
    assert told.wear.ends is not None
    assert told.probabilities == {7: 0.35, 30: 0.7}
    assert told.causes == {"realloc_grew_7d": 61.0, PROBABILITY: 0.7}
    assert [reason.text for reason in told.reasons] == ["reallocated sectors 4 -> 61 in 7 days"]
    assert (told.why_no_probability, told.why_unknown) == ("", "")


def test_reasons_are_only_asked_for_where_a_probability_is_notable() -> None:
    model = Stand({"S2": 0.25, "S1": 0.15})
    days = pl.concat([HEALTHY, history("S2", realloc_total=[0] * 40, wear_used_pct=[5] * 40)])
    judged(days, model)
    assert model.explained == ["S2"]
    judged(days, model, explained=["S1"])
    assert model.explained == ["S2", "S1", "S2"]


@pytest.mark.parametrize(
    ("days", "why"),
    [
        (history(realloc_total=[0] * 6), "6 days of history, 7 are wanted"),
        (history(realloc_total=[0]), "1 day of history, 7 are wanted"),
        (history(realloc_total=[0] * 9, no_smart=[True] * 9), "a virtual disk or RAID volume"),
        (history(realloc_total=[0] * 9, newest=TODAY - timedelta(days=4)), "not seen for 4 days, last on 2026-02-25"),
        (
            history(realloc_total=[0] * 9, moved=[False] * 2 + [True] + [False] * 6),
            "seen on another host on 2026-02-23",
        ),
        (history(realloc_total=[0] * 9, hours_back=[False] * 8 + [True]), "its hours powered on fell on 2026-03-01"),
        (
            history(realloc_total=[0] * 9, negative=[False] * 4 + [True] + [False] * 4),
            "a count was below zero on 2026-02-25",
        ),
        (
            seen({ago: {"realloc_total": 0} for ago in (60, 59, 34, 2, 0)}),
            "heard of again on 2026-02-27 after more than 30 days of silence: 3 days of history since, 7 are wanted",
        ),
    ],
)
@pytest.mark.parametrize("has_model", [True, False])
def test_what_is_refused_is_unknown_and_says_why(days: pl.DataFrame, why: str, has_model: bool) -> None:
    told = one(days, Stand() if has_model else None)
    assert told.state == State.UNKNOWN
    assert told.why_unknown.startswith(why)
    assert told.probabilities == {}
    assert told.why_no_probability.startswith(why) or told.why_no_probability == NO_MODEL


@pytest.mark.parametrize("flag", ["moved", "hours_back", "negative"])
def test_what_was_odd_a_week_ago_counts_again(flag: str) -> None:
    assert one(history(realloc_total=[0] * 8, **{flag: [True] + [False] * 7})).state == State.GOOD


def test_a_drive_that_is_read_once_a_week_is_not_silent_where_readings_are_lost() -> None:
    assert one(seen({ago: {"realloc_total": 0} for ago in (58, 30, 0)})).state == State.GOOD
    assert one(seen({ago: {"realloc_total": 0} for ago in (58, 39, 6, 0)})).state == State.GOOD, "heard of for a week"


def test_a_drive_unlike_those_of_the_training_is_unknown_to_the_model() -> None:
    told = one(HEALTHY, Stand(strangers=["S1"]))
    assert told.state == State.UNKNOWN
    assert told.why_unknown == "the model was not trained on drives like it (kind ssd, vendor not told)"
    assert told.probabilities == {}


def test_a_drive_without_features_has_no_probability_and_says_so() -> None:
    told = assess(HEALTHY, features(HEALTHY).clear(), Stand(), {}, {}, {}, TODAY).of("S1")
    assert (told.state, told.why_no_probability, told.probabilities) == (State.GOOD, "no features of that day", {})


def test_a_rule_speaks_whatever_is_refused() -> None:
    told = one(history(kind="nvme", critical_warning=[0, 4], passed=[1, 0]), Stand())
    assert told.state == State.REPLACE
    assert told.why_no_probability == told.why_unknown == "2 days of history, 7 are wanted"


def test_nothing_is_concluded_of_virtual_disks_and_silent_drives() -> None:
    virtual = one(history(failing=[1] * 9, wear_used_pct=[99] * 9, no_smart=[True] * 9))
    assert (virtual.state, virtual.rules, virtual.wear.used_pct) == (State.UNKNOWN, (), None)
    silent = one(history(failing=[1] * 9, newest=TODAY - timedelta(days=5)))
    assert (silent.state, silent.rules) == (State.UNKNOWN, ())


def test_later_days_than_the_one_judged_are_left_out() -> None:
    days = history(failing=[0] * 9 + [1], newest=TODAY + timedelta(days=1))
    assert one(days).state == State.GOOD


def test_a_history_known_from_elsewhere_counts() -> None:
    days = history(realloc_total=[0] * 3)
    assert one(days, first_days={"S1": TODAY - timedelta(days=40)}).state == State.GOOD
    long = history(realloc_total=[0] * 61)
    assert one(long, first_days={"S1": date(2025, 1, 1)}).state == State.GOOD


def test_a_drive_that_was_known_long_ago_and_not_heard_of_since_begins_anew() -> None:
    told = one(history(realloc_total=[0] * 3), first_days={"S1": date(2025, 1, 1)})
    assert (told.state, told.why_unknown[:28]) == (State.UNKNOWN, "heard of again on 2026-02-27")


def test_more_than_the_rated_life_is_to_be_watched_and_so_is_its_end_soon() -> None:
    worn = one(history(kind="nvme", wear_used_pct=[130] * 40))
    assert (worn.state, worn.causes) == (State.WATCH, {"wear_used_up": 130.0})
    soon = one(history(wear_used_pct=[90 + n // 5 for n in range(40)]))
    assert (soon.state, set(soon.causes)) == (State.WATCH, {WEAR})
    assert one(history(wear_used_pct=[60 + n // 5 for n in range(40)])).state == State.GOOD


def test_muted_columns_and_outputs_count_no_more() -> None:
    failing = history(failing=[1] * 9)
    assert one(failing, muted={"": ["failing"]}).state == State.GOOD
    assert one(failing, muted={"S1": ["failing"]}).state == State.GOOD
    assert one(failing, muted={"S2": ["failing"]}).state == State.REPLACE
    assert one(HEALTHY, Stand({"S1": 0.9}), muted={"": [PROBABILITY]}).state == State.GOOD
    soon = history(wear_used_pct=[90 + n // 5 for n in range(40)])
    assert one(soon, muted={"S1": ["wear_used_pct"]}).state == State.GOOD


def test_muting_lets_go_of_what_was_held() -> None:
    failing = history(failing=[1] * 9)
    before = judged(failing)
    after = judged(failing, None, before.memories, TODAY + timedelta(days=1), muted={"S1": ["failing"]})
    assert (after.of("S1").state, after.of("S1").since) == (State.GOOD, TODAY + timedelta(days=1))


def test_acknowledged_causes_are_quiet_and_stay_listed() -> None:
    days = history(realloc_total=[4] * 8 + [61])
    known = {"S1": [Acknowledgement("realloc_grew_7d", 61.0, None)]}
    told = one(days, acknowledged=known)
    assert (told.state, told.causes) == (State.GOOD, {"realloc_grew_7d": 61.0})
    worse = history(realloc_total=[4] * 8 + [62])
    assert one(worse, acknowledged=known).state == State.WATCH


@pytest.mark.parametrize(
    ("acknowledged", "now", "state"),
    [(0.3, 0.39, State.GOOD), (0.3, 0.42, State.WATCH), (0.55, 0.6, State.REPLACE), (0.7, 0.75, State.GOOD)],
)
def test_a_probability_is_news_when_it_is_clearly_higher_or_enters_another_state(
    acknowledged: float, now: float, state: State
) -> None:
    known = {"S1": [Acknowledgement(PROBABILITY, acknowledged, None)]}
    assert one(HEALTHY, Stand({"S1": now}), acknowledged=known).state == state


def walked(probabilities: Sequence[float | None]) -> list[Assessment]:
    """Day after day; None is a day without a model."""
    said, previous = [], {}
    for place, p in enumerate(probabilities):
        day = TODAY + timedelta(days=place)
        model = None if p is None else Stand({"S1": p})
        days = history(realloc_total=[0] * 40, wear_used_pct=[5] * 40, newest=day)
        found = judged(days, model, {name: load_memory(dump_memory(m)) for name, m in previous.items()}, day)
        previous = found.memories
        said.append(found.of("S1"))
    return said


def test_a_probability_that_wavers_below_its_threshold_holds_the_state() -> None:
    said = walked([0.21, 0.11, 0.19, 0.10, 0.15])
    assert {one.state for one in said} == {State.WATCH}
    assert {one.since for one in said} == {TODAY}


def test_a_low_probability_lets_the_state_go_after_its_calm_days() -> None:
    calm = CALM_DAYS[State.WATCH]
    said = walked([0.3] + [0.05] * (calm + 1))
    assert [one.state for one in said] == [State.WATCH] * calm + [State.GOOD] * 2
    assert [one.calm_days for one in said[:calm]] == list(range(calm))
    assert said[calm].since == TODAY + timedelta(days=calm)


def test_without_a_model_no_old_probability_is_held() -> None:
    assert [one.state for one in walked([0.9, None])] == [State.REPLACE, State.GOOD]


def test_since_goes_on_for_drives_without_a_memory() -> None:
    standing = pl.DataFrame({"drive": ["S1"], "state": [0], "since": [date(2025, 6, 1)]})
    assert one(HEALTHY, standing=standing).since == date(2025, 6, 1)
    assert one(HEALTHY.tail(3), standing=standing).since == TODAY  # it was good, and is unknown now
    failing = one(history(failing=[1] * 9), standing=standing)
    assert (failing.state, failing.since) == (State.REPLACE, TODAY)


def test_the_frame_says_the_same_as_the_objects() -> None:
    parts = [
        history("S1", realloc_total=[4] * 8 + [61], wear_used_pct=[5] * 9),
        history("S2", realloc_total=[0] * 9),
        history("S3", realloc_total=[0] * 2),
        history("S4", kind="nvme", critical_warning=[8] * 9),
        history("S5", realloc_total=[0] * 9),
    ]
    found = judged(pl.concat(parts), Stand({"S5": 0.3}))
    assert [(one.drive, int(one.state)) for one in found] == [("S1", 1), ("S2", 0), ("S3", -1), ("S4", 2), ("S5", 1)]
    assert len(found) == 5
    for row, told in zip(found.frame.iter_rows(named=True), found, strict=True):
        assert (row["drive"], row["state"], row["since"]) == (told.drive, int(told.state), told.since)
        assert (row["why_unknown"], row["calm_days"]) == (told.why_unknown, told.calm_days)
        assert {7: row["p7"], 30: row["p30"]} == (told.probabilities or {7: None, 30: None})
        assert row["ends"] == told.wear.ends
        assert found.of(told.drive) == told
    with pytest.raises(KeyError):
        found.of("S9")


def test_drives_are_assessed_apart() -> None:
    parts = [
        history("S1", realloc_total=[4] * 8 + [61]),
        history("S2", failing=[1]),
        seen({9: {}, 0: {}}, "S3", "nvme"),
    ]
    together = list(judged(pl.concat(parts), Stand({"S1": 0.9})))
    assert together == [next(iter(judged(part, Stand({"S1": 0.9})))) for part in parts]


def test_the_order_of_rows_does_not_matter() -> None:
    parts = [history("S2", realloc_total=[4] * 8 + [61]), history("S1", wear_used_pct=[40 + n // 5 for n in range(40)])]
    wanted = list(judged(pl.concat(parts[::-1])))
    assert list(judged(pl.concat(parts).sample(fraction=1, shuffle=True, seed=7))) == wanted


def test_the_same_day_again_says_the_same() -> None:
    days = history(realloc_total=[4] * 8 + [61])
    first = judged(days, Stand({"S1": 0.3}))
    again = judged(days, Stand({"S1": 0.3}), first.memories)
    assert list(again) == list(first)
    assert again.memories == first.memories


def test_no_drives_at_all_are_no_error() -> None:
    for model in (None, Stand()):
        assert list(judged(HEALTHY.clear(), model)) == []


def test_a_table_of_other_columns_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="wear_used_pct"):
        judged(HEALTHY.drop("wear_used_pct"))


NUMBERS = [name for name, dtype in DAYS.items() if dtype == pl.Int64()]
ODD_ROW = st.fixed_dictionaries(
    {
        "drive": st.sampled_from(["S1", "S2"]),
        "day": st.integers(-400, 3).map(lambda ago: TODAY + timedelta(days=ago)),
        "kind": st.sampled_from([None, "ata", "nvme", "scsi", "hdd", "a fish"]),
        **{name: st.none() | st.sampled_from([0, 1, 99, 100, 255, 2**31, 2**63 - 1]) for name in NUMBERS},
        **{name: st.sampled_from([None, False, True]) for name in FLAGS},
    }
)


@settings(max_examples=25)
@given(rows=st.lists(ODD_ROW, min_size=1, max_size=4, unique_by=lambda row: (row["drive"], row["day"])))
def test_whatever_drives_tell_every_one_gets_a_state_and_a_reason_where_something_is_missing(
    rows: list[dict[str, Any]],
) -> None:
    days = table(rows)
    for model in (None, Stand({"S1": 0.9})):
        said = judged(days, model)
        assert {one.drive for one in said} == {row["drive"] for row in rows if row["day"] <= TODAY}
        for one in said:
            assert (one.state == State.UNKNOWN) <= bool(one.why_unknown)
            assert bool(one.probabilities) != bool(one.why_no_probability)
            assert (one.wear.ends is None) == bool(one.wear.why_not)
            assert load_memory(dump_memory(said.memories[one.drive])) if one.causes else True
