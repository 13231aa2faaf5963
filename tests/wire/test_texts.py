"""Dictionaries of text columns: the same texts again, whatever collides, and only where they are worth it."""

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wire import texts as module
from wire.columns import pack_columns, unpack_columns
from wire.texts import coded, coded_enum

TEXT = {"t": pl.String()}


def hashed_as(monkeypatch: pytest.MonkeyPatch, kinds: int) -> None:
    """Texts have few different hashes, which name the same few slots."""

    def few(texts: pl.Series) -> npt.NDArray[np.uint64]:
        return texts.hash().to_numpy() % np.uint64(kinds)

    monkeypatch.setattr(module, "_hashes", few)


@given(st.lists(st.sampled_from(["", "a", "b", "é", "10.0.0.1", "a long text, longer than a view"]), max_size=60))
@settings(max_examples=150)
def test_codes_name_the_text_of_every_row(texts: list[str]) -> None:
    column = pl.Series("t", texts, dtype=pl.String)
    found = coded(column)
    if found is None:
        assert len(set(texts)) * 2 > len(texts) or not texts
    else:
        codes, distinct = found
        assert distinct[codes].to_list() == texts
        assert sorted(distinct) == sorted(set(texts))
        assert codes.tobytes() == coded(column.clone())[0].tobytes()  # type: ignore[index]
    assert unpack_columns(pack_columns(column.to_frame()), TEXT)["t"].to_list() == texts


@pytest.mark.parametrize(("kinds", "bytes_each"), [(2, 1), (256, 1), (257, 2), (65_536, 2), (65_537, 4)])
def test_codes_take_no_more_bytes_than_they_need(kinds: int, bytes_each: int) -> None:
    column = pl.Series("t", [str(i % kinds) for i in range(4 * kinds)])
    codes, distinct = coded(column)  # type: ignore[misc]
    assert (codes.itemsize, distinct.len()) == (bytes_each, kinds)
    assert distinct[codes].equals(column)


@pytest.mark.parametrize("peers", [4_096, 5_000, 10_007])
def test_texts_that_come_round_late_and_in_order_are_found_by_the_sample(peers: int) -> None:
    column = pl.Series("t", [f"10.0.{i // 250}.{i % 250}" for i in range(peers)] * 8)
    assert coded(column) is not None


def test_texts_of_which_most_are_distinct_get_no_dictionary() -> None:
    assert coded(pl.Series("t", [f"line {i}" for i in range(20_000)])) is None
    half = [f"line {i}" for i in range(500)]
    assert coded(pl.Series("t", [*half, *half])) is not None
    assert coded(pl.Series("t", [*half, *half[1:]])) is None


@given(st.lists(st.integers(0, 40).map(str), min_size=100, max_size=400))
@settings(max_examples=60)
def test_texts_that_share_slots_are_told_apart(texts: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        hashed_as(patch, 25)
        column = pl.Series("t", texts)
        assert unpack_columns(pack_columns(column.to_frame()), TEXT)["t"].to_list() == texts


def test_texts_with_one_hash_travel_without_a_dictionary(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed_as(monkeypatch, 1)
    column = pl.Series("t", [f"text {i % 20}" for i in range(600)])
    assert coded(column) is None
    assert unpack_columns(pack_columns(column.to_frame()), TEXT)["t"].equals(column)


def test_texts_in_several_pieces_of_memory_are_one_column() -> None:
    column = pl.concat([pl.Series("t", [f"text {i % 7}" for i in range(rows)]) for rows in (1_000, 1, 2_000)])
    assert column.n_chunks() == 3
    codes, distinct = coded(column)  # type: ignore[misc]
    assert distinct[codes].equals(column)


ENUM = pl.Enum(["", "tor-1", "tor-2", "never", "tor-9"])


@pytest.mark.parametrize(
    "values",
    [
        [],
        ["tor-9"],
        ["tor-2", "tor-1", "tor-2"],
        ["", "tor-1"],
        [None, "tor-1", None, "tor-9", ""],
        [None, None],
        ["tor-1", "tor-2", "tor-9", ""],
    ],
)
def test_enums_travel_as_the_codes_that_they_are(values: list[str | None]) -> None:
    column = pl.Series("t", values, dtype=ENUM)
    assert unpack_columns(pack_columns(column.to_frame()), TEXT)["t"].to_list() == values


def test_only_the_categories_in_use_are_sent() -> None:
    codes, distinct = coded_enum(pl.Series("t", ["tor-9", "tor-1", "tor-9"], dtype=ENUM))
    assert (codes.tolist(), distinct.to_list()) == ([1, 0, 1], ["tor-1", "tor-9"])
