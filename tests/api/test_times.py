"""Times and durations in URLs."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import ParameterError
from api.times import SECOND_NS, parse_duration, parse_time, rfc_3339, short_duration

NOW_NS = 1_795_330_810_123_456_789


@pytest.mark.parametrize(
    ("text", "expected_ns"),
    [
        ("now", NOW_NS),
        ("-5m", NOW_NS - 300 * SECOND_NS),
        ("-1h30m", NOW_NS - 5400 * SECOND_NS),
        ("now-1h", NOW_NS - 3600 * SECOND_NS),
        ("now+10s", NOW_NS + 10 * SECOND_NS),
        ("-250ms", NOW_NS - 250_000_000),
        (" -5m ", NOW_NS - 300 * SECOND_NS),
        ("0", 0),
        ("1795324920", 1_795_324_920 * SECOND_NS),
        ("1795324920.25", 1_795_324_920_250_000_000),
        ("1795324920.123456789", 1_795_324_920_123_456_789),
        ("2026-11-22T07:00:00Z", 1_795_330_800 * SECOND_NS),
        ("2026-11-22t07:00:00z", 1_795_330_800 * SECOND_NS),
        ("2026-11-22 07:00:00.5Z", 1_795_330_800_500_000_000),
        ("2026-11-22T09:00:00+02:00", 1_795_330_800 * SECOND_NS),
        ("2026-11-22T02:30:00-04:30", 1_795_330_800 * SECOND_NS),
        ("2026-11-22T07:00:00.000000001Z", 1_795_330_800_000_000_001),
        ("2016-12-31T23:59:60Z", 1_483_228_800 * SECOND_NS),
        ("2016-12-31T15:59:60.25-08:00", 1_483_228_800_250_000_000),
        ("2028-02-29T00:00:00Z", 1_835_395_200 * SECOND_NS),
        ("1970-01-01T05:30:00+05:30", 0),
    ],
)
def test_accepted_forms_mean_what_they_say(text, expected_ns):
    assert parse_time(text, NOW_NS, "start") == expected_ns


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "accepted:"),
        ("yesterday", "accepted: -5m"),
        ("-5", "it needs a unit: -5s"),
        ("-", "accepted:"),
        ("now5m", "accepted:"),
        ("now 5m", "written %2B"),
        ("2026-11-22T07:00:00 02:00", "written %2B"),
        ("2026-11-22T07:00:00", "add the zone: 2026-11-22T07:00:00Z"),
        ("2026-02-30T00:00:00Z", "day is out of range"),
        ("2026-02-29T00:00:00Z", "day is out of range"),
        ("2026-11-22T07:00:60Z", "second must be in 0..59"),
        ("1970-01-01T00:00:00+00:01", "between the years 1970 and 2200"),
        ("2026-11-22T07:00:00+24:00", "no such zone +24:00"),
        ("2026-11-22", "accepted:"),
        ("nan", "accepted:"),
        ("inf", "accepted:"),
        ("1e9", "accepted:"),
        ("٣", "accepted:"),
        ("1795324920123", "looks like milliseconds"),
        ("1795324920123456789", "looks like nanoseconds"),
        ("9999-01-01T00:00:00Z", "between the years 1970 and 2200"),
        ("-900000w", "between the years 1970 and 2200"),
        ("-5m1h", "accepted:"),
    ],
)
def test_refusals_name_the_parameter_and_what_would_do(text, hint):
    with pytest.raises(ParameterError) as refused:
        parse_time(text, NOW_NS, "start")
    assert hint in refused.value.detail
    assert refused.value.detail.startswith("start=")
    assert refused.value.members == {"parameter": "start"}


@given(st.text(max_size=80) | st.from_regex(r"[-+now0-9.:TZhms ]{1,40}", fullmatch=True))
def test_any_text_is_a_time_or_a_clear_refusal(text):
    try:
        time_ns = parse_time(text, NOW_NS, "end")
    except ParameterError as error:
        refusal = error.detail
    else:
        assert 0 <= time_ns < 2**63
        return
    assert "accepted:" in refusal
    assert len(refusal) < 400


@given(st.integers(-(2**63), 2**63 - 1))
def test_written_times_keep_every_nanosecond(time_ns):
    written = rfc_3339(time_ns)
    whole, _, decimals = written.removesuffix("Z").partition(".")
    moment = datetime.fromisoformat(whole + "+00:00") - datetime(1970, 1, 1, tzinfo=UTC)
    assert moment // timedelta(seconds=1) * SECOND_NS + int(decimals.ljust(9, "0") or 0) == time_ns


@given(st.integers(0, 7 * 10**18), st.integers(-14 * 60, 14 * 60))
def test_a_written_time_reads_back_from_any_zone(time_ns, zone_minutes):
    assert parse_time(rfc_3339(time_ns), NOW_NS, "start") == time_ns
    seconds = time_ns // SECOND_NS
    there = datetime.fromtimestamp(seconds, timezone(timedelta(minutes=zone_minutes))).isoformat()
    assert parse_time(there, NOW_NS, "start") == seconds * SECOND_NS


@pytest.mark.parametrize(
    ("text", "expected_ns"),
    [
        ("10s", 10 * SECOND_NS),
        ("1h30m", 5400 * SECOND_NS),
        ("1d", 86_400 * SECOND_NS),
        ("1w2d", 9 * 86_400 * SECOND_NS),
        ("1m500ms", 60_500_000_000),
        ("60", 60 * SECOND_NS),
        ("0.5", 500_000_000),
    ],
)
def test_durations_in_both_forms(text, expected_ns):
    assert parse_duration(text, "step") == expected_ns


@pytest.mark.parametrize("text", ["", "0", "0s", "-10s", "s", "1m1h", "1.5h", "NaN", "1e3", "9" * 13, "999999999w"])
def test_durations_that_are_none_are_refused(text):
    with pytest.raises(ParameterError, match="accepted: 10s"):
        parse_duration(text, "step")


@given(st.integers(1, 10**16))
def test_short_durations_read_back(milliseconds):
    duration_ns = milliseconds * 1_000_000
    if duration_ns <= 7 * 10**18:
        assert parse_duration(short_duration(duration_ns), "step") == duration_ns
