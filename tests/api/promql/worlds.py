"""A fleet's samples in memory for tests of expressions: all kinds of series, with gaps, resets, ends and odd values."""

import numpy as np

from quantiles.sketch_column import SketchColumn
from tests.promql_source import STALE, LabelItems, MemorySource, S, series

START = 1_700_000_000 * S  # a multiple of 10 s
END = START + 900 * S
STEP = 10 * S


def full_world(seed: int = 7) -> MemorySource:
    """Gauges, counters, deltas and sketches of three hosts in two racks over fifteen minutes."""
    random = np.random.default_rng(seed)
    times = START + STEP * np.arange(1, 91)
    floats, sketches = {}, {}
    for number, host in enumerate("abc"):
        rack = "r1" if host == "a" else "r2"
        place = {"host": host, "rack": rack}
        gauge = random.normal(10 * number, 5, 90).round(2)
        if host == "b":
            gauge[30:33] = [np.inf, np.nan, -np.inf]
        if host == "c":
            gauge[40] = STALE
        kept = random.random(90) < 0.9
        if host == "c":
            kept[40:75] = False
            kept[40] = True
        floats[series("temp", **place)] = (times[kept], gauge[kept], False)
        floats[series("fan", **place)] = (times[kept] + 3 * S, np.abs(gauge[kept]), False)
        steps = random.integers(0, 50, 90).astype(np.float64)
        counter = np.cumsum(steps)
        counter[50:] -= counter[50]
        floats[series("requests_total", **place)] = (times, counter, False)
        floats[series("errors", **place)] = (times[::2], random.integers(0, 5, 45).astype(np.float64), True)
        for name, scale in (("latency_us", 6), ("size_bytes", 4)):
            owners = np.sort(random.integers(0, 90, 2000))
            values = random.lognormal(3 + number, 1, 2000)
            if name == "size_bytes":
                values = (values - 40).round()
            filled = random.random(90) < 0.8
            column = SketchColumn.from_values(values, owners, 90, scale=scale).take(np.flatnonzero(filled))
            sketches[series(name, **place)] = (times[filled], column)
    return MemorySource(floats, sketches)


def gauges(**values: float) -> MemorySource:
    """`m{h=…}` with one sample each at START."""
    return MemorySource({series("m", h=name): ([START], [value], False) for name, value in values.items()})


def one(name: str, times_s: list[float], values: list[float], delta: bool = False) -> MemorySource:
    """One series; times are seconds after START."""
    return MemorySource({series(name): ([START + round(time * S) for time in times_s], values, delta)})


def sketched(name: str, **values: list[list[float]]) -> MemorySource:
    """Sketches `name{h=…}`: one list of values per window of 10 s, the first one ending at START."""
    found: dict[LabelItems, tuple[list[int], SketchColumn]] = {}
    for host, windows in values.items():
        owners = np.repeat(np.arange(len(windows)), [len(window) for window in windows])
        flat = np.array([value for window in windows for value in window], np.float64)
        ends = [START + number * STEP for number in range(len(windows))]
        found[series(name, h=host)] = (ends, SketchColumn.from_values(flat, owners, len(windows)))
    return MemorySource({}, found)


def one_sketch(values: list[float]) -> SketchColumn:
    """A column of one sketch of all values."""
    return SketchColumn.from_values(np.array(values, np.float64), np.zeros(len(values), np.int64), 1)
