"""What rows take in memory, as near as it is needed: from a sample where they are many.

Polars adds up the length of every text, 3 ns a row of probes, which is a twentieth of what draining the row takes.
"""

from typing import Final

import polars as pl

_EXACT: Final = 8_192
_SAMPLES, _SAMPLE_ROWS = 8, 128


def row_bytes(rows: pl.DataFrame | pl.Series) -> int:
    """Bytes in memory; of more than a few thousand rows, what slices from all over them tell."""
    if len(rows) <= _EXACT:
        return int(rows.estimated_size())
    step = len(rows) // _SAMPLES
    sampled = sum(int(rows.slice(place * step, _SAMPLE_ROWS).estimated_size()) for place in range(_SAMPLES))
    return sampled * len(rows) // (_SAMPLES * _SAMPLE_ROWS)
