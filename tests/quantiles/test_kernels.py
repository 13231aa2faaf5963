"""Both kernels on the same inputs, how one is chosen, and that numba stays out unless asked for."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantiles._kernels import choice, numpy_kernels
from quantiles._kernels.choice import Kernels, load_kernels
from quantiles.array_types import Pairs, Slots
from quantiles.errors import KernelError
from tests.quantiles import reference
from tests.quantiles.samples import few_laws, laws

ROOT = Path(__file__).parents[2]

tokens_of_all_sizes = st.one_of(
    st.integers(0, 300), st.integers(0, 63).map(lambda b: 1 << b), st.integers(0, 2**64 - 1)
)


@pytest.fixture(scope="module")
def twins() -> tuple[Kernels, Kernels]:
    try:
        return load_kernels("numpy"), load_kernels("numba")
    except KernelError as error:
        pytest.skip(str(error))


def test_both_modules_hold_the_same_names(twins: tuple[Kernels, Kernels]) -> None:
    names = [name for name in vars(Kernels) if not name.startswith("_")]
    assert len(names) == 15
    for name in names:
        assert all(callable(getattr(twin, name)) for twin in twins)


@laws
@given(
    rows=st.lists(st.tuples(st.integers(0, 4), st.integers(-140_000, 140_000), st.integers(1, 2**50)), max_size=40),
    near=st.booleans(),
)
def test_counting_and_summing_pairs_agree(twins: tuple[Kernels, Kernels], rows: list, near: bool) -> None:
    groups = np.array([row[0] for row in rows], np.int64)
    cells = np.array([row[1] % 50 if near else row[1] for row in rows], np.int32)
    counts = np.array([row[2] for row in rows], np.int64)
    expected: dict[tuple[int, int], int] = {}
    for group, cell, count in zip(groups.tolist(), cells.tolist(), counts.tolist(), strict=True):
        expected[group, cell] = expected.get((group, cell), 0) + count
    for twin in twins:
        offsets, found, sums = twin.sum_pairs(groups, cells, counts, 5)
        assert [(g, c) for g in range(5) for c in found[offsets[g] : offsets[g + 1]].tolist()] == sorted(expected)
        assert sums.tolist() == [expected[key] for key in sorted(expected)]
        assert (offsets.dtype, found.dtype, sums.dtype) == (np.int64, np.int32, np.int64)
        ones = twin.sum_pairs(groups, cells, np.ones_like(counts), 5)
        for a, b in zip(twin.count_pairs(groups, cells, 5), ones, strict=True):
            assert a.dtype == b.dtype
            assert np.array_equal(a, b)


@laws
@given(tokens=st.lists(tokens_of_all_sizes, max_size=40))
def test_varints_agree_with_the_plain_loop_and_round_trip(twins: tuple[Kernels, Kernels], tokens: list[int]) -> None:
    expected = b"".join(map(reference.varint, tokens))
    for twin in twins:
        data, ends = twin.pack_varints(np.array(tokens, np.uint64))
        assert data.tobytes() == expected
        assert ends.tolist() == np.cumsum([len(reference.varint(t)) for t in tokens]).tolist()
        back, ends_again, wrong = twin.unpack_varints(data)
        assert (back.tolist(), ends_again.tolist(), wrong) == (tokens, ends.tolist(), -1)


tokens_of_cells = st.one_of(
    st.integers(0, 140), st.integers(128, 300), st.integers(0, 2**20), st.integers(0, 2**64 - 1)
)


@laws
@given(
    bodies=st.lists(
        st.tuples(st.integers(-140_000, 140_000), st.lists(tokens_of_cells, min_size=1, max_size=6)), max_size=4
    )
)
def test_reading_cell_tokens_agrees(twins: tuple[Kernels, Kernels], bodies: list) -> None:
    tokens = np.array([token for _, some in bodies for token in some], np.uint64)
    stops = np.cumsum([len(some) for _, some in bodies]).astype(np.int64)
    starts = stops - np.array([len(some) for _, some in bodies], np.int64)
    lowest = np.array([cell for cell, _ in bodies], np.int64)
    left, right = (twin.cells_of_tokens(tokens, starts, stops, lowest, 134_337) for twin in twins)
    assert (left[3] == 0) == (right[3] == 0)
    if left[3] == 0:
        for a, b in zip(left[:3], right[:3], strict=True):
            assert a.dtype == b.dtype
            assert np.array_equal(a, b)


@laws
@given(
    sketches=st.lists(
        st.lists(st.tuples(st.sampled_from([-9, -1, 0, 1, 1, 2, 40]), st.sampled_from([0, 1, 1, 2, 9])), max_size=4),
        max_size=4,
    )
)
def test_reading_gaps_agrees(twins: tuple[Kernels, Kernels], sketches: list) -> None:
    gaps = np.array([gap for sketch in sketches for gap, _ in sketch], np.int32)
    counts = np.array([count for sketch in sketches for _, count in sketch], np.int64)
    offsets = np.cumsum([0, *map(len, sketches)]).astype(np.int64)
    cells, broken = [], []
    for place, sketch in enumerate(sketches):
        mine = np.cumsum([gap for gap, _ in sketch]).tolist()
        cells += mine
        outside = any(not -45 <= cell <= 45 for cell in mine)
        if outside or mine != sorted(set(mine)) or any(count < 1 for _, count in sketch):
            broken.append(place)
    for twin in twins:
        found, wrong = twin.cells_of_gaps(gaps, counts, offsets, 45)
        assert wrong == (broken[0] if broken else -1)
        assert found.dtype == np.int32
        if not broken:
            assert found.tolist() == cells


def test_adding_to_slots_agrees_and_refuses_whole_sketches(twins: tuple[Kernels, Kernels]) -> None:
    rng = np.random.default_rng(9)
    widths, sizes = np.array([8, 8, 4, 2, 8, 0], np.int32), np.array([1, 2, 4, 8, 1, 0], np.uint8)
    places = np.array([0, 8, 24, 40, 56, 0], np.int64)
    firsts = np.array([-3, 10, 0, 100, 5, 0], np.int32)
    memories = [np.zeros(64, np.uint8) for _ in twins]
    expected: dict[tuple[int, int], int] = {}
    room = [2**8, 2**16, 2**32, 2**63, 2**8, 0]
    for _ in range(300):
        rows = rng.permutation(6)[: rng.integers(1, 7)]
        parts = []
        for row in rows:
            n = int(rng.integers(0, 4))
            cells = np.sort(rng.permutation(int(widths[row]) + 3)[:n]) + firsts[row] - int(rng.random() < 0.1)
            parts.append((cells, rng.integers(1, max(2, room[row] // 60), n)))
        offsets = np.cumsum([0, *(len(cells) for cells, _ in parts)]).astype(np.int64)
        cells = np.concatenate([cells for cells, _ in parts]).astype(np.int32)
        counts = np.concatenate([counts for _, counts in parts]).astype(np.int64)
        refused = []
        for place, (row, (mine, more)) in enumerate(zip(rows.tolist(), parts, strict=True)):
            new = {(row, c): expected.get((row, c), 0) + k for c, k in zip(mine.tolist(), more.tolist(), strict=True)}
            inside = all(firsts[row] <= cell < firsts[row] + widths[row] for _, cell in new)
            if inside and all(count < room[row] for count in new.values()):
                expected |= new
            else:
                refused.append(place)
        for twin, memory in zip(twins, memories, strict=True):
            slots = Slots(memory, places, firsts, widths, sizes)
            found = twin.add_to_slots(slots, rows, offsets, cells, counts)
            assert found.tolist() == refused
    assert refused
    for twin, memory in zip(twins, memories, strict=True):
        offsets, cells, counts = twin.pairs_of_slots(Slots(memory, places, firsts, widths, sizes))
        owners = np.repeat(np.arange(6), np.diff(offsets)).tolist()
        assert (offsets.dtype, cells.dtype, counts.dtype) == (np.int64, np.int32, np.int64)
        assert dict(zip(zip(owners, cells.tolist(), strict=True), counts.tolist(), strict=True)) == expected
        assert list(zip(owners, cells.tolist(), strict=True)) == sorted(expected)


@laws
@given(
    left=st.lists(st.dictionaries(st.integers(-3, 3), st.integers(1, 9), max_size=4), min_size=1, max_size=4),
    right=st.lists(st.dictionaries(st.integers(-3, 3), st.integers(1, 9), max_size=4), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)
def test_joining_pairs_agrees(
    twins: tuple[Kernels, Kernels], left: list[dict[int, int]], right: list[dict[int, int]], seed: int
) -> None:
    some = np.random.default_rng(seed).integers(0, len(right), len(left))
    wanted = [Counter(mine) + Counter(right[place]) for mine, place in zip(left, some.tolist(), strict=True)]
    for twin in twins:
        found = twin.join_pairs(pairs(left), pairs(right), some)
        assert [column.dtype for column in found] == [np.int64, np.int32, np.int64]
        assert all(np.array_equal(mine, other) for mine, other in zip(found, pairs(wanted), strict=True))


def pairs(sketches: list[dict[int, int]]) -> Pairs:
    held = [pair for sketch in sketches for pair in sorted(sketch.items())]
    offsets = np.cumsum([0, *map(len, sketches)]).astype(np.int64)
    cells, counts = ([pair[place] for pair in held] for place in (0, 1))
    return Pairs(offsets, np.array(cells, np.int32), np.array(counts, np.int64))


@few_laws
@given(data=st.lists(st.sampled_from([0, 1, 2, 0x7F, 0x80, 0x81, 0xFF]), max_size=40))
def test_both_find_the_same_first_wrong_varint(twins: tuple[Kernels, Kernels], data: list[int]) -> None:
    raw = np.array(data, np.uint8)
    (left, _, wrong), (right, _, also_wrong) = (twin.unpack_varints(raw) for twin in twins)
    assert wrong == also_wrong
    if wrong < 0:
        assert np.array_equal(left, right)


@pytest.mark.parametrize("kind", [np.int64, np.float64])
@pytest.mark.parametrize("n_groups", [1, 4])
def test_group_extremes_agree(twins: tuple[Kernels, Kernels], kind: type, n_groups: int) -> None:
    rng = np.random.default_rng(8)
    values = rng.integers(-(2**62), 2**62, 500).astype(kind)
    groups = rng.integers(0, max(1, n_groups - 1), 500)
    for twin in twins:
        low, high = twin.group_extremes(values, groups, n_groups)
        for g in range(n_groups):
            mine = values[groups == g].astype(np.float64)
            assert (low[g], high[g]) == ((mine.min(), mine.max()) if len(mine) else (np.inf, -np.inf))
        none = twin.group_extremes(values[:0], groups[:0], 1)
        assert (none[0].tolist(), none[1].tolist()) == ([np.inf], [-np.inf])


def test_a_chunk_border_changes_nothing() -> None:
    values = np.random.default_rng(6).lognormal(0, 5, 3 * numpy_kernels.CHUNK + 17)
    whole = numpy_kernels.cells_of(values, choice_bins())
    pieces = [numpy_kernels.cells_of(values[i : i + 1000], choice_bins()) for i in range(0, len(values), 1000)]
    assert np.array_equal(whole, np.concatenate(pieces))


def choice_bins():  # type: ignore[no-untyped-def]
    from quantiles.bins import bins_of

    return bins_of(6)


def test_unknown_kernels_are_refused() -> None:
    with pytest.raises(KernelError, match=r"'cuda', wanted one of numpy, numba"):
        choice.use_kernels("cuda")


def test_missing_numba_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "quantiles._kernels.numba_kernels", raising=False)
    with pytest.raises(KernelError, match="need a package that is missing"):
        choice.use_kernels("numba")


PROBE = """
import sys
from collections import Counter
import numpy as np
from quantiles.sketch import Sketch
sketch = Sketch()
sketch.add(np.arange(10))
assert Sketch.from_bytes(sketch.to_bytes()) == sketch
print("numba" in sys.modules)
"""


@pytest.mark.parametrize(("setting", "loaded"), [(None, "False"), ("numpy", "False"), ("numba", "True")])
def test_numba_is_loaded_only_when_asked_for(
    setting: str | None, loaded: str, twins: tuple[Kernels, Kernels], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(choice.VARIABLE, raising=False)
    if setting is not None:
        monkeypatch.setenv(choice.VARIABLE, setting)
    run = subprocess.run([sys.executable, "-c", PROBE], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == loaded


def test_the_environment_decides_on_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_chosen", {})
    monkeypatch.setenv(choice.VARIABLE, "fortran")
    with pytest.raises(KernelError, match="fortran"):
        choice.kernels()
    monkeypatch.setenv(choice.VARIABLE, "numpy")
    assert choice.kernels() is load_kernels("numpy")
