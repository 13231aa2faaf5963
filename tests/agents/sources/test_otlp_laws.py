"""OpenTelemetry requests of any kind: damaged bytes, numbers without sense, sums of increments."""

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.sources.http_bodies import Refused
from agents.sources.otlp import JSON, PROTOBUF
from tests.agents.sources.test_otlp import CUMULATIVE, DELTA, Fed, explicit, exponential, grown, metric, point, request

REQUEST = request(
    metric("gauge", point(route="/a", asDouble=1.5)), metric("sum", point(asInt=1), isMonotonic=True),
    metric("histogram", explicit(max=9.0)), metric("exponentialHistogram", exponential(zeroCount=1, count=7)),
    metric("exponentialHistogram", exponential(), temporality=CUMULATIVE), service_name="shop",
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(REQUEST)), st.binary(max_size=6), st.integers(0, 6), st.sampled_from([PROTOBUF, JSON]))
def test_damaged_bytes_are_refused_or_read(place: int, noise: bytes, cut: int, kind: str) -> None:
    fed, statuses = FUZZED, set[int]()
    for body in (REQUEST[:place] + noise + REQUEST[place + cut :], REQUEST[:place], noise):
        try:
            fed.take(body, kind)
        except Refused as refused:
            statuses.add(refused.status)
        fed.rows()
    assert statuses <= {400}


FUZZED = Fed()


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 3), max_size=5), st.integers(-(2**31), 2**31 - 1),
            st.integers(-(2**31), 2**31 - 1) | st.integers(-1, 12), st.integers(0, 2**64 - 1) | st.integers(0, 9),
            st.floats(), st.floats(), st.sampled_from([DELTA, CUMULATIVE]), st.booleans(),
        ),
        max_size=4,
    )
)  # fmt: skip
def test_no_numbers_of_a_histogram_can_do_harm(drawn: list[tuple[Any, ...]]) -> None:
    for counts, offset, scale, count, low, high, temporality, right in drawn:
        number = sum(counts) % 2**64 if right else count
        more = {"min": low, "max": high, "sum": high, "zeroThreshold": low, "count": number}
        one = exponential(0, counts, offset, scale, **more)
        two = explicit(0, counts, [low, high, 3.0, 4.0][: max(0, len(counts) - 1)], min=low, max=high, count=number)
        fed = FUZZED
        refused = fed.take(
            request(
                metric("exponentialHistogram", json_safe(one), temporality=temporality),
                metric("histogram", json_safe(two), temporality=temporality),
            )
        )
        assert refused + fed.rows().height <= 2


def json_safe(values: dict[str, Any]) -> dict[str, Any]:
    """NaN and infinities as JSON of protobuf has them."""

    def safe(value: Any) -> Any:
        if isinstance(value, list):
            return [safe(one) for one in value]
        if isinstance(value, float) and value - value != 0:
            return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
        return value

    return {key: safe(value) for key, value in values.items()}


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.integers(0, 300), min_size=1, max_size=20), min_size=2, max_size=6), st.integers(-40, 40))
def test_cumulative_points_add_up_to_what_delta_points_do(parts: list[list[int]], offset: int) -> None:
    delta, growing = Fed(), Fed()
    width = max(map(len, parts))
    sums = np.zeros(width, np.int64)
    growing.take(request(grown(0, 3, offset, [0] * width)))
    for at_s, part in enumerate(parts, 1):
        counts = np.array(part + [0] * (width - len(part)))
        sums += counts
        delta.take(request(metric("exponentialHistogram", exponential(at_s, counts.tolist(), offset, 3))))
        growing.take(request(grown(at_s, 3, offset, sums.tolist())))
    assert growing.rows().equals(delta.rows())


# Over HTTP
