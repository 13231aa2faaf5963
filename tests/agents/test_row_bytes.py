"""What rows take in memory: exactly where they are few, nearly where they are many."""

import polars as pl

from agents.row_bytes import row_bytes
from tests.fleet import probe_records


def test_few_rows_are_measured_exactly() -> None:
    rows = probe_records(1_000, 1)
    assert row_bytes(rows) == rows.estimated_size()
    assert row_bytes(rows.clear()) == 0


def test_of_many_rows_slices_tell_within_a_few_per_cent() -> None:
    rows = probe_records(50_000, 1)
    assert abs(row_bytes(rows) - rows.estimated_size()) < 0.03 * rows.estimated_size()


def test_long_texts_at_one_end_are_seen() -> None:
    texts = pl.Series("line", ["x"] * 90_000 + ["y" * 1_000] * 30_000)
    assert 0.6 < row_bytes(texts) / texts.estimated_size() < 1.4
