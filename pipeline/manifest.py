"""What became of every record of a window, so that an answer can say how complete it is.

Per window: n_in = n_filtered + n_local + sum(n_drained) + n_sampled_out + n_dropped. Manifests are additive deltas:
several per window are normal, and merging adds. The flat form has one row per (window, item), so it travels and
merges like any other columns: item is "in", "filtered", "local", "drained.<cut>", "sampled_out" or "dropped.<reason>".
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.errors import ManifestError
from pipeline.grouping import window_starts
from pipeline.schema import TIME_COLUMN

IntArray: TypeAlias = npt.NDArray[np.int64]

MANIFEST_SCHEMA: Final[dict[str, pl.DataType]] = {"window": pl.Int64(), "item": pl.String(), "rows": pl.Int64()}

_ITEM = re.compile(r"in|filtered|local|sampled_out|drained\.(0|[1-9][0-9]{0,3})|dropped\.[a-z][a-z0-9_]{0,63}")


def drained(cut: int) -> str:
    """The item of records sent on from this cut."""
    return f"drained.{cut}"


def dropped(reason: str) -> str:
    """The item of records given up for this reason ([a-z][a-z0-9_]*)."""
    return f"dropped.{reason}"


@dataclass(slots=True)
class WindowCounts:
    """The records of one window. n_drained is indexed by cut; n_dropped by reason."""

    n_in: int = 0
    n_filtered: int = 0
    n_local: int = 0
    n_drained: list[int] = field(default_factory=list)
    n_sampled_out: int = 0
    n_dropped: dict[str, int] = field(default_factory=dict)

    @property
    def n_accounted(self) -> int:
        """Records whose fate is known."""
        gone = self.n_sampled_out + sum(self.n_dropped.values())
        return self.n_filtered + self.n_local + sum(self.n_drained) + gone

    def conserved(self) -> bool:
        """Whether every record that came in is accounted for, and none twice."""
        return self.n_in == self.n_accounted


class Manifest:
    """Counts of records by window and item; grows by `add` and `merge`."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: dict[tuple[int, str], int] = {}

    def add(self, item: str, windows: IntArray, counts: IntArray) -> None:
        """Adds counts[i] records to windows[i]; `item` as in the module's header, see `drained` and `dropped`.

        Raises:
            ManifestError: an unknown item or a negative count.
        """
        _check_item(item)
        for window, count in zip(windows.tolist(), counts.tolist(), strict=True):
            if count < 0:
                raise ManifestError(f"{item} of window {window} is {count}; want 0 or more")
            if count:
                self._rows[window, item] = self._rows.get((window, item), 0) + count

    def add_counts(self, item: str, counts: Mapping[int, int]) -> None:
        """`add` with a mapping from window to count, as `Partial.record_counts` gives it."""
        self.add(item, np.array(list(counts), np.int64), np.array(list(counts.values()), np.int64))

    @staticmethod
    def merge(manifests: Iterable["Manifest"]) -> "Manifest":
        """The sum of all, a new manifest."""
        merged = Manifest()
        for manifest in manifests:
            for key, count in manifest._rows.items():
                merged._rows[key] = merged._rows.get(key, 0) + count
        return merged

    def windows(self) -> dict[int, WindowCounts]:
        """Counts by window, in order of time."""
        found: dict[int, WindowCounts] = {}
        for (window, item), count in sorted(self._rows.items()):
            _put(found.setdefault(window, WindowCounts()), item, count)
        return found

    @property
    def sampled(self) -> float:
        """The share of the records that came in and were not sampled out, in [0, 1]; 1.0 where none came in."""
        offered = sum(count for (_, item), count in self._rows.items() if item == "in")
        left_out = sum(count for (_, item), count in self._rows.items() if item == "sampled_out")
        return max(0, offered - left_out) / offered if offered else 1.0

    def conserved(self) -> bool:
        """Whether it holds in every window."""
        return all(counts.conserved() for counts in self.windows().values())

    def __len__(self) -> int:
        """Number of (window, item) pairs; 0 means there is nothing to send."""
        return len(self._rows)

    def __eq__(self, other: object) -> bool:
        return self._rows == other._rows if isinstance(other, Manifest) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Manifest({self.windows()})"

    def to_frame(self) -> pl.DataFrame:
        """The flat form, ordered by window and item: columns of MANIFEST_SCHEMA."""
        ordered = sorted(self._rows.items())
        return pl.DataFrame(
            {
                "window": [window for (window, _), _ in ordered],
                "item": [item for (_, item), _ in ordered],
                "rows": [count for _, count in ordered],
            },
            schema=MANIFEST_SCHEMA,
        )

    @staticmethod
    def from_frame(frame: pl.DataFrame) -> "Manifest":
        """The manifest in a flat form; rows of one window and item add up.

        Raises:
            ManifestError: other columns or types, a NULL, an unknown item, or a count below 1.
        """
        if dict(frame.schema) != MANIFEST_SCHEMA:
            raise ManifestError(f"manifest has columns {dict(frame.schema)}; want {MANIFEST_SCHEMA}")
        manifest = Manifest()
        for window, item, count in frame.iter_rows():
            if window is None or item is None or count is None or count < 1:
                raise ManifestError(f"manifest row {(window, item, count)}; want a window, an item and at least 1 row")
            _check_item(item)
            manifest._rows[window, item] = manifest._rows.get((window, item), 0) + count
        return manifest


def window_counts(rows: pl.DataFrame, window_ns: int) -> tuple[IntArray, IntArray]:
    """(windows int64[k] ascending, counts int64[k]) of rows with a `ts` column, by tumbling window."""
    starts = window_starts(rows[TIME_COLUMN].to_numpy(), window_ns)
    if len(starts) and starts[0] == starts[-1] and int(starts.min()) == int(starts.max()):
        return starts[:1].copy(), np.array([len(starts)], np.int64)
    windows, counts = np.unique(starts, return_counts=True)
    return windows, counts.astype(np.int64)


def _check_item(item: str) -> None:
    if not _ITEM.fullmatch(item):
        raise ManifestError(f"item {item!r}; want in, filtered, local, sampled_out, drained.<cut> or dropped.<reason>")


def _put(counts: WindowCounts, item: str, count: int) -> None:
    kind, _, detail = item.partition(".")
    if kind == "drained":
        cut = int(detail)
        counts.n_drained.extend([0] * (cut + 1 - len(counts.n_drained)))
        counts.n_drained[cut] += count
    elif kind == "dropped":
        counts.n_dropped[detail] = count
    else:
        setattr(counts, f"n_{kind}", count)
