"""The law of range queries: at every step they answer what an instant query answers there."""

import pytest

from api.promql.evaluate import instant
from tests.api.promql.asking import points, same, stepped
from tests.api.promql.worlds import START, full_world
from tests.promql_source import S

EXPRESSIONS = """
temp
temp{host!="a"}
temp offset 35s
temp offset -40s
{__name__=~"temp|latency_us"}
latency_us
latency_us offset 20s
-temp
temp > 5
temp > bool 5
5 < temp
temp + fan
temp / on(host) fan
temp - ignoring(rack) fan
temp and fan > 10
temp or latency_us
temp unless on(rack) temp{host="a"}
time() - timestamp(temp)
sum(temp)
avg by (rack) (temp)
min without (host) (temp)
max by (rack) (fan)
count(temp)
group by (rack) (temp)
stddev(fan)
stdvar by (rack) (fan)
quantile(0.3, temp)
topk(1, temp)
bottomk by (rack) (1, fan)
count_values("v", round(temp, 10))
rate(requests_total[1m])
increase(requests_total[95s])
irate(requests_total[1m])
delta(temp[1m])
idelta(temp[1m])
deriv(temp[2m])
resets(requests_total[5m])
changes(temp[45s])
rate(errors[1m])
increase(errors[30s])
irate(errors[1m])
sum by (rack) (rate(errors[1m]))
sum_over_time(temp[1m])
avg_over_time(temp[1m])
min_over_time(temp[1m])
max_over_time(fan[33s])
count_over_time(temp[1m])
last_over_time(temp[15s])
quantile_over_time(0.7, temp[2m])
stddev_over_time(fan[1m])
stdvar_over_time(fan[1m])
present_over_time(temp[20s])
absent(temp{host="c"})
absent_over_time(temp{host="c"}[30s])
rate(latency_us[1m])
increase(latency_us[10s])
sum(rate(latency_us[1m]))
sum by (rack) (increase(size_bytes[45s]))
avg by (rack) (latency_us)
avg_over_time(latency_us[1m])
sum_over_time(size_bytes[3m])
quantile_over_time(0.9, latency_us[1m])
min_over_time(size_bytes[1m])
max_over_time(latency_us[1m])
last_over_time(latency_us[1m])
count_over_time(latency_us[1m])
histogram_quantile(0.99, sum(rate(latency_us[1m])))
histogram_quantile(0.1, sum by (rack) (size_bytes))
histogram_fraction(10, 100, increase(latency_us[1m]))
histogram_count(latency_us) / histogram_sum(latency_us)
histogram_avg(rate(size_bytes[1m]))
latency_us * 2 - latency_us / 4
latency_us == latency_us offset 10s
count({__name__=~".+"})
scalar(temp{host="a"}) + time()
label_replace(temp, "zone", "$1", "rack", "r(.)")
clamp(temp, 0, scalar(fan{host="a"}))
histogram_quantile(scalar(temp{host="a"}) / 20, latency_us)
rate(requests_total[5m] offset 1m)
sqrt(abs(temp)) ^ 0.5 % 1
""".strip().splitlines()


@pytest.mark.parametrize("text", EXPRESSIONS)
@pytest.mark.parametrize("step_s", [23, 40])
def test_a_range_query_answers_at_each_step_what_an_instant_query_answers_there(text: str, step_s: int) -> None:
    source = full_world()
    first, last = START - 20 * S, START + 1230 * S
    found = stepped(text, first, last, step_s * S, source)
    expected = {}
    for time_ns in range(first, last + 1, step_s * S):
        expected.update(points(instant(text, time_ns, source)))
    assert found.keys() == expected.keys()
    assert [(key, found[key], expected[key]) for key in found if not same(found[key], expected[key])] == []
    assert len(found) > 3


@pytest.mark.parametrize("text", ["temp @ {at}", "rate(requests_total[2m] @ {at})", "latency_us @ {at} offset 30s"])
def test_a_fixed_instant_has_one_value_at_every_step(text: str) -> None:
    source = full_world()
    at = START + 333 * S
    (expected,) = [points(instant(text.format(at=at / S), at, source))]
    found = stepped(text.format(at=at / S), START, START + 300 * S, 30 * S, source)
    assert len(found) == 11 * len(expected)
    assert all(same(value, expected[key[0], at]) for key, value in found.items())


def test_start_and_end_are_those_of_the_query() -> None:
    source = full_world()
    first, last = START + 100 * S, START + 437 * S  # the end is no step
    for name, at in (("start", first), ("end", last)):
        found = stepped(f"temp @ {name}()", first, last, 50 * S, source)
        expected = points(instant("temp", at, source))
        assert {key[0]: value for key, value in found.items()} == {key[0]: value for key, value in expected.items()}
        assert len(found) == 7 * len(expected)
