"""Partial results gathered as they come, in the memory of the groups and not of what came: between two flushes.

Every key has a row, and what comes is added to the rows at once: sketches into a GrowingColumn, other states after
waiting until they are as much as what is merged. So merging costs what comes, however much is held.
"""

from typing import Final

import numpy as np
import polars as pl

from pipeline.key_rows import KeyRows
from pipeline.partial import Partial
from pipeline.plan import LINE_FUNCTIONS, Metric, Plan
from pipeline.state import IntArray, State
from pipeline.states import LinesState, SketchState, state_class
from quantiles.growing_column import GrowingColumn, Prepared

# Numbers wait until there are so many beyond the number of rows: adding a frame to a long column would copy the column.
WAITING_GROUPS: Final = 1 << 15
# And lines, of which a few groups are much, wait until they are so many bytes beyond those that are merged.
WAITING_BYTES: Final = 1 << 22


class Gathering:
    """Partials of one plan, merged."""

    def __init__(self, plan: Plan) -> None:
        """Nothing yet."""
        self.plan = plan
        self._keys = KeyRows(plan.labels)
        self._records = np.zeros(0, np.int64)
        self._states: dict[str, _Sketches | _Waiting] = {
            metric.name: _Sketches(metric) if metric.function == "sketch" else _Waiting(metric)
            for metric in plan.metrics
        }

    def __len__(self) -> int:
        """Number of groups."""
        return len(self._keys)

    def add(self, partial: Partial) -> None:
        """Merge a partial of the plan into what is held.

        Raises:
            StateOverflowError: together they would hold more than 2**62 values, or an integer sum beyond 2**94;
                nothing was added.
        """
        if not len(partial):
            return
        windows = partial.keys["window"].to_numpy()
        rows = self._keys.rows(windows, partial.labels())
        prepared = {name: held.prepared(rows, partial.states[name]) for name, held in self._states.items()}
        if len(self._keys) > len(self._records):
            self._records = np.concatenate([self._records, np.zeros(len(self._keys) - len(self._records), np.int64)])
        self._records[rows] += partial.keys["rows"].to_numpy()
        for name, held in self._states.items():
            held.add(rows, partial.states[name], prepared[name])

    def keys(self) -> pl.DataFrame:
        """Window, rows and labels of every group, as in a partial; one that was refused may have left empty groups."""
        windows, texts = self._keys.keys()
        records = np.concatenate([self._records, np.zeros(len(self) - len(self._records), np.int64)])
        keys = {"window": pl.Series("window", windows, dtype=pl.Int64), "rows": pl.Series("rows", records)}
        return pl.DataFrame(keys | texts)

    def partial(self) -> Partial:
        """All groups, each key once, in no particular order."""
        states = {name: held.state(len(self)) for name, held in self._states.items()}
        found = Partial(self.plan, self.keys(), states)
        records = found.keys["rows"].to_numpy()
        return found if records.all() else found.take(np.flatnonzero(records))


class _Sketches:
    """The sketches of one metric."""

    def __init__(self, metric: Metric) -> None:
        self._column = GrowingColumn(metric.scale, metric.integer)

    def prepared(self, rows: IntArray, state: State) -> Prepared:
        assert isinstance(state, SketchState)
        return self._column.prepared(rows, state.column)

    def add(self, rows: IntArray, state: State, prepared: Prepared | None) -> None:
        assert isinstance(state, SketchState)
        self._column.add(rows, state.column, prepared)

    def state(self, n: int) -> State:  # noqa: ARG002  # every group has a sketch
        return SketchState(self._column.column())


class _Waiting:
    """The states of any other metric: merged ones, and those that wait.

    Numbers are measured in groups, lines in bytes.
    """

    def __init__(self, metric: Metric) -> None:
        self._class = state_class(metric.function)
        self._most_waiting = WAITING_BYTES if metric.function in LINE_FUNCTIONS else WAITING_GROUPS
        self._merged = 0
        self._waiting = 0
        self._parts: list[tuple[IntArray, State]] = []

    def prepared(self, rows: IntArray, state: State) -> None:
        """Nothing can be wrong before they are merged."""

    def add(self, rows: IntArray, state: State, prepared: Prepared | None) -> None:  # noqa: ARG002
        self._parts.append((rows, state))
        self._waiting += _size(state)
        if self._waiting > self._merged + self._most_waiting:
            self._merge(int(max(part.max() for part, _ in self._parts)) + 1)

    def state(self, n: int) -> State:
        self._merge(n)
        return self._parts[0][1]

    def _merge(self, n: int) -> None:
        rows = np.concatenate([part for part, _ in self._parts])
        together = self._class.concat([state for _, state in self._parts]).reduce(rows, n)
        self._parts, self._merged, self._waiting = [(np.arange(n), together)], _size(together), 0


def _size(state: State) -> int:
    return state.nbytes if isinstance(state, LinesState) else len(state)
