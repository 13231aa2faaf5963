"""A fault in any one line of a bucket function is noticed: by the check below, which the tests of bins contain.

The check compares cells with those of integer powers (reference.py) at the places where faults hide: every bound of a
bin and the floats beside it, powers of two over the whole range, subnormals, zero, infinities, negatives.
"""

import math
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import numpy as np
import pytest

from quantiles import bins as bins_module
from quantiles._kernels import numpy_kernels
from quantiles.array_types import FloatArray
from quantiles.bins import CORE_FIRST_OCTAVE, CORE_OCTAVES, Bins, bins_of
from quantiles.errors import ScaleError
from tests.quantiles import reference
from tests.quantiles.mutants import Mutant, mutants, original

SCALES = (0, 1, 6, 8)
ENDLESS_S = 2.0  # a mutant that runs longer has its loop's end broken; the check takes a tenth of it

# Mutants that compute the same for every float, and why. All others must be noticed.
SAME = {
    ("subnormal = (magnitude > 0) & (magnitude < SMALLEST_NORMAL)", "Lt becomes LtE"): "lifting is exact for it too",
    ("return np.where(values < 0, -cells, cells)", "Lt becomes LtE"): "the cell of 0 is 0, and so is its mirror",
    ("j = np.arange(2047 << (scale + 1), dtype=np.int64)", "2047 becomes 2048"): "entries nobody looks up",
    ("j = np.arange(2047 << (scale + 1), dtype=np.int64)", "1 becomes 2"): "entries nobody looks up",
    ("j = np.arange((CORE_OCTAVES << (scale + 1)) + 1, dtype=np.int64)", "1 becomes 2"): "entries nobody looks up",
    ("if HIDDEN_BIT <= magnitude <= MAX_FINITE_BITS:", "LtE becomes Lt"): "the subnormals' way is right for it too",
    ("elif magnitude > MAX_FINITE_BITS:", "Gt becomes GtE"): "the largest float went the normal way",
    (
        "cells[i] = infinity_cell if bits[i] > 0 else -infinity_cell",
        "Gt becomes GtE",
    ): "an infinity has other bits than 0",
    ("cells[i] = infinity_cell if bits[i] > 0 else -infinity_cell", "0 becomes 1"): "and than 1",
    ("cells[i] = infinity_cell if bits[i] > 0 else -infinity_cell", "0 becomes -1"): "and than -1",
    ("while magnitude < HIDDEN_BIT:", "Lt becomes LtE"): "one octave more here for a power of two is one less below",
    ("if u < HIDDEN_BIT:", "Lt becomes LtE"): "u is odd: what was shifted left is even",
    ("cells[i] = cell if bits[i] > 0 else -cell", "Gt becomes GtE"): "zeros are done",
    ("cells[i] = cell if bits[i] > 0 else -cell", "0 becomes -1"): "zeros are done",
}

Check = Callable[[dict[str, Any]], bool]


@cache
def hard_values(scale: int) -> FloatArray:
    """The floats at which a wrong bucket function shows."""
    bins = bins_of(scale)
    octave = bins.bounds(np.arange(1 << scale) + bins.first_cell)[1][:: max(1, (1 << scale) // 64)]
    powers = np.array([math.ldexp(1.0, e) for e in [*range(-1074, -1020), *range(-25, 50, 5), *range(1019, 1024)]])
    subnormal = bins.bounds(np.arange(-1023 << scale, -1022 << scale) + bins.first_cell)[1][
        :: max(1, (1 << scale) // 64)
    ]
    slices = (1 + np.arange(2 << scale) / (2 << scale))[:: max(1, (1 << scale) // 64)]
    around = np.concatenate([octave, powers, subnormal, slices])
    around = np.concatenate([np.nextafter(around, 0), around, np.nextafter(around, np.inf), [3e-310, 1e308]])
    special = [0.0, -0.0, math.inf, -math.inf, 5e-324, sys.float_info.min, sys.float_info.max]
    return np.concatenate([around, -around[::3], special])


@cache
def right_cells(scale: int) -> list[int]:
    return [reference.cell(x, scale) for x in hard_values(scale).tolist()]


def plain_right(names: dict[str, Any]) -> bool:
    """The NumPy kernel: all values at once, and the plain ones apart, which take the short way."""
    for scale in SCALES:
        values, wanted = hard_values(scale), np.array(right_cells(scale))
        normal = (values >= sys.float_info.min) & (values <= sys.float_info.max)
        for some in (slice(None), normal):
            if not np.array_equal(names["cells_of"](values[some], bins_of(scale)), wanted[some]):
                return False
        for value, cell in list(zip(values, wanted, strict=True))[:: max(1, len(values) // 40)]:
            if names["cells_of"](np.array([value]), bins_of(scale)).tolist() != [cell]:
                return False
    return True


def compiled_right(names: dict[str, Any]) -> bool:
    """The numba kernel, run by Python."""
    return all(_cells_by_loop(names["_fill_cells"], bins_of(scale)) for scale in SCALES)


def tables_right(names: dict[str, Any]) -> bool:
    """The tables of bins.py, through the loop that uses them, and the representatives."""
    from quantiles._kernels import numba_kernels

    for scale in SCALES:
        bins = names["bins_of"](scale)
        if len(bins.mantissas) != (1 << scale) + 1 or not _cells_by_loop(numba_kernels._fill_cells.py_func, bins):
            return False
        low, high = (_power(k, scale) for k in (0, 1))
        if not math.isclose(bins.middles[0], 2 * low * high / (low + high), rel_tol=1e-15):
            return False
        if not math.isclose(bins.middles[-1], bins.middles[0] * _power((1 << scale) - 1, scale), rel_tol=1e-15):
            return False
        if not math.isclose(bins.error_bound, (high - low) / (high + low), rel_tol=1e-12):
            return False
    try:
        names["bins_of"](9)
    except ScaleError:
        return True
    return False


def core_right(names: dict[str, Any]) -> bool:
    """The look-up by the bits themselves, over the whole core."""
    for scale in SCALES:
        bins = bins_of(scale)
        steps, shift = names["core_steps"](scale)
        wanted = np.arange(CORE_OCTAVES << scale)
        ends = bins.bounds(wanted + bins.core_cell)[1]
        beyond = np.nextafter(ends[:-1], np.inf)
        slices = 1 + np.arange(1, 2 << scale) / (2 << scale)  # where the cell changes of nothing but the table does
        in_slices = np.array([reference.cell(x, scale) for x in slices.tolist()]) - bins.core_cell
        checks = ((ends, wanted), (np.nextafter(ends, 0), wanted), (beyond, wanted[1:]), (slices, in_slices))
        for values, slots in checks:
            bits = values.view(np.uint64)
            found = (bits + steps[(bits >> shift).view(np.int64)]) >> shift
            if not np.array_equal(found, slots):
                return False
        if steps[: (1023 + CORE_FIRST_OCTAVE) << (scale + 1)].any():  # a table of zeros takes no memory
            return False
    return True


def _power(k: int, scale: int) -> float:
    return float(2.0 ** (k / (1 << scale)))


def _cells_by_loop(fill: Callable[..., None], bins: Bins) -> bool:
    values = hard_values(bins.scale)
    cells = np.full(len(values), -7, np.int64)  # no cell of any of them
    bits = values.view(np.int64)
    fill(bits, cells, bins.sub_bins, bins.thresholds, bins.scale, bins.first_cell, bins.infinity_cell)
    return cells.tolist() == right_cells(bins.scale)


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def survives(mutant: Mutant, right: Check) -> bool:
    try:
        with at_most(ENDLESS_S), np.errstate(all="ignore"):
            return right(mutant.names)
    except Exception:  # noqa: BLE001  # a mutant may fail in any way
        return False


def unnoticed(module: ModuleType, functions: set[str], right: Check, uncompiled: bool) -> tuple[int, set[str]]:
    """How many mutants there are that do not compute the same, and those of them that the check accepts."""
    assert right(original(module, uncompiled)), "the check refuses the function as it is"
    lines = Path(str(module.__file__)).read_text(encoding="utf-8").splitlines()
    tried, left = 0, set()
    for mutant in mutants(module, functions, uncompiled):
        line = lines[mutant.line - 1].strip()
        if (line, mutant.change) in SAME and survives(mutant, right):
            continue
        tried += 1
        if survives(mutant, right):
            left.add(f"{mutant.change} in: {line}")
    return tried, left


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
class TestAFaultInAnyOneLineIsNoticed:
    def test_in_the_plain_bucket_function(self) -> None:
        tried, left = unnoticed(numpy_kernels, {"_normal_cells", "_any_cells", "_moves"}, plain_right, False)
        assert tried >= 30
        assert left == set()

    def test_in_the_compiled_bucket_function(self) -> None:
        numba_kernels = pytest.importorskip("quantiles._kernels.numba_kernels", reason="numba is not installed")
        tried, left = unnoticed(numba_kernels, {"_fill_cells"}, compiled_right, True)
        assert tried >= 40
        assert left == set()

    def test_in_the_look_up_of_the_core(self) -> None:
        tried, left = unnoticed(numpy_kernels, {"core_steps"}, core_right, False)
        assert tried >= 40
        assert left == set()

    def test_in_the_tables_of_the_bins(self) -> None:
        pytest.importorskip("quantiles._kernels.numba_kernels", reason="numba is not installed")
        tried, left = unnoticed(bins_module, {"bins_of", "_root_of_two"}, tables_right, False)
        assert tried >= 25
        assert left == set()
