"""Long work looks often whether it is still wanted, and what is far too much is refused before it is made."""

import pytest

from api.prometheus.encoding import encoded
from api.promql import histogram_quantiles, over_time_sketches, range_samples
from api.promql.errors import TooMuchError
from api.promql.evaluate import range_query
from api.promql.limits import Limits
from tests.api.promql.worlds import END, START, STEP, full_world

LONG = [
    "sum_over_time(temp[10m])",
    "avg_over_time(temp[10m])",
    "rate(requests_total[10m])",
    "stddev_over_time(temp[10m])",
    "max_over_time(latency_us[10m])",
    "rate(latency_us[10m])",
    "histogram_quantile(0.9, latency_us)",
    "histogram_fraction(5, 90, latency_us)",
]


def asked(text: str, limits: Limits | None = None) -> tuple[bytes, int]:
    """The answer's JSON, and how often it was looked whether the answer is wanted."""
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1

    answer = range_query(text, START, END, STEP, full_world(), limits or Limits(), look)
    return encoded(answer, END, look), looks


@pytest.mark.parametrize("text", LONG)
def test_work_in_pieces_gives_the_same_and_is_looked_after_between_them(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, looks = asked(text)
    monkeypatch.setattr(range_samples, "REDUCED_AT_ONCE", 700)
    monkeypatch.setattr(range_samples, "CHUNK", 700)
    monkeypatch.setattr(over_time_sketches, "TABLE_SIZE", 700)
    monkeypatch.setattr(histogram_quantiles, "TABLE_SIZE", 700)
    pieces, more = asked(text)
    assert more > looks + 5
    assert numbers(pieces) == pytest.approx(numbers(whole), rel=1e-12, nan_ok=True)


def test_merged_ranges_that_are_too_large_are_refused_before_a_table_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a table was made")

    monkeypatch.setattr(over_time_sketches, "_table", never)
    with pytest.raises(TooMuchError, match="histogram buckets or more, at most 6000 are held"):
        asked("increase(latency_us[10m])", Limits(max_samples=6_000))


def numbers(text: bytes) -> list[float]:
    """All numbers of an answer, in order; its words apart."""
    words = text.decode().replace("[", " ").replace("]", " ").replace(",", " ").replace('"', " ").split()
    return [float(word) for word in words if word.lstrip("+-")[:1] in "0123456789NI"]
