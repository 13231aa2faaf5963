"""The real Prometheus of the tests: what is written comes back, refusals say why, and it is gone in the end."""

import json
import shutil
import urllib.parse
import urllib.request
from typing import Any

import pytest

from quantiles.converters.prometheus import NativeHistogram, Span
from tests.counterparts.choice import Counterparts, missing
from tests.counterparts.prometheus import WrittenSeries, running, write

AT_MS = 1_700_000_000_000  # far from the telemetry of other tests, which may be in the same server


@pytest.fixture(scope="module")
def program() -> str:
    found = shutil.which("prometheus")
    if found is None:
        missing("apt's prometheus is not installed (make test-servers)")
    return found


def test_numbers_and_histograms_come_back_as_they_were_written_and_the_server_ends(program: str) -> None:
    histogram = NativeHistogram(
        5, 7, -2.5, 0.0, 1,
        negative_spans=(Span(-3, 1),), negative_deltas=(2,),
        positive_spans=(Span(4, 2), Span(1, 1)), positive_deltas=(1, 1, -1),
    )  # fmt: skip
    labels = {"__name__": "written", "é": "ü"}
    with running(program) as address:
        write(
            address,
            [
                WrittenSeries({**labels, "kind": "number"}, [(AT_MS - 1000, 1.0), (AT_MS, -2.5)]),
                WrittenSeries({**labels, "kind": "histogram"}, histograms=[(AT_MS, histogram)], gauge=True),
            ],
        )
        number, told = asked(address, 'written{kind="number"}'), asked(address, 'written{kind="histogram"}')
        with pytest.raises(RuntimeError, match=r"refused the samples with 400: .*out of order"):
            write(address, [WrittenSeries({**labels, "kind": "number"}, [(AT_MS - 2000, 1.0)])])
    assert number["metric"] == {**labels, "kind": "number"}
    assert number["value"] == [AT_MS / 1000, "-2.5"]
    said = told["histogram"][1]
    assert (said["count"], said["sum"]) == ("7", "-2.5")
    assert [(rule, float(low), float(high), int(count)) for rule, low, high, count in said["buckets"]] == [
        (1, pytest.approx(-(2 ** (-3 / 32))), pytest.approx(-(2 ** (-4 / 32))), 2),
        (3, 0.0, 0.0, 1),
        (0, pytest.approx(2 ** (3 / 32)), pytest.approx(2 ** (4 / 32)), 1),
        (0, pytest.approx(2 ** (4 / 32)), pytest.approx(2 ** (5 / 32)), 2),
        (0, pytest.approx(2 ** (6 / 32)), pytest.approx(2 ** (7 / 32)), 1),
    ]
    with pytest.raises(OSError):
        asked(address, "written")


def test_the_shared_one_answers(counterparts: Counterparts) -> None:
    address = counterparts.address("prometheus")
    with urllib.request.urlopen(f"{address}/api/v1/status/buildinfo", timeout=60) as answer:
        assert json.load(answer)["data"]["version"]


def asked(address: str, query: str) -> dict[str, Any]:
    parameters = urllib.parse.urlencode({"query": query, "time": AT_MS / 1000})
    with urllib.request.urlopen(f"{address}/api/v1/query?{parameters}", timeout=60) as answer:
        (found,) = json.load(answer)["data"]["result"]
    return found
