"""Partial results: groups by window and labels, each with the states of the plan's aggregates.

Merging is commutative and associative, and a merged partial in canonical order (`sorted`) is the same for any split of
the records: counts, minima, maxima and integer sums bit for bit, float sums within 1e-12 * sum|x|.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from pipeline.coded import Coded
from pipeline.errors import PartialError
from pipeline.grouping import IntArray, group
from pipeline.plan import Plan
from pipeline.ragged import Column, Columns, Ragged, as_series, plain
from pipeline.states import State, state_class


@dataclass(frozen=True, slots=True, eq=False)
class Partial:
    """Groups in any order, each key once.

    Attributes:
        plan: what made it; only partials of one version merge.
        keys: window int64 (start, ns), rows int64 (records in the group), then the labels as text, never NULL.
        states: by metric, one entry per row of keys.
        coded: labels that came as codes, by name: the same texts as in keys.
    """

    plan: Plan
    keys: pl.DataFrame
    states: dict[str, State]
    coded: Mapping[str, Coded] = field(default_factory=dict)

    @staticmethod
    def schema(plan: Plan) -> dict[str, pl.DataType]:
        """Columns of the flat form, in order."""
        schema: dict[str, pl.DataType] = {"window": pl.Int64(), "rows": pl.Int64()}
        schema |= {label: pl.String() for label in plan.labels}
        for metric in plan.metrics:
            schema |= state_class(metric.function).columns(metric, metric.name)
        return schema

    @staticmethod
    def empty(plan: Plan) -> "Partial":
        """No groups."""
        return Partial.from_frame(plan, pl.DataFrame(schema=Partial.schema(plan)))

    @staticmethod
    def merge(partials: Sequence["Partial"]) -> "Partial":
        """One partial with each key once.

        Raises:
            PartialError: nothing to merge, or partials of several query versions.
        """
        versions = sorted({partial.plan.version for partial in partials})
        if len(versions) != 1:
            seen = f"versions {', '.join(versions)}" if versions else "no partial"
            raise PartialError(f"cannot merge {seen}; want at least one, all of one query version")
        plan = partials[0].plan
        filled = [partial for partial in partials if len(partial)] or [partials[0]]
        if len(filled) == 1:
            return filled[0]
        keys = pl.concat([partial.keys for partial in filled])
        windows = keys["window"].to_numpy()
        groups = group(windows, plan.window_ns, [keys[label] for label in plan.labels])
        rows = np.zeros(groups.n_groups, np.int64)
        np.add.at(rows, groups.codes, keys["rows"].to_numpy())
        merged_keys = keys[groups.firsts].with_columns(pl.Series("rows", rows))
        states = {}
        for metric in plan.metrics:
            together = state_class(metric.function).concat([partial.states[metric.name] for partial in filled])
            states[metric.name] = together.reduce(groups.codes, groups.n_groups)
        return Partial(plan, merged_keys, states)

    def __len__(self) -> int:
        """Number of groups."""
        return self.keys.height

    def take(self, indices: np.ndarray[tuple[int], np.dtype[np.int64]]) -> "Partial":
        """The groups at these positions, in this order."""
        states = {name: state.take(indices) for name, state in self.states.items()}
        coded = {name: label.take(indices) for name, label in self.coded.items()}
        return Partial(self.plan, self.keys[indices], states, coded)

    def labels(self) -> list[pl.Series | Coded]:
        """The labels in the order of the plan, as codes where they came so."""
        return [self.coded.get(name, self.keys[name]) for name in self.plan.labels]

    def sorted(self) -> "Partial":
        """The same groups by window, then labels (in the byte order of UTF-8): equal content looks equal."""
        order = self.keys.select(pl.arg_sort_by(["window", *self.plan.labels])).to_series()
        return self.take(order.to_numpy().astype(np.int64))

    def record_counts(self) -> dict[int, int]:
        """Records by window start."""
        starts = self.keys["window"].to_numpy()
        if len(starts) and starts.min() == starts.max():  # the usual frame: one window
            return {int(starts[0]): int(self.keys["rows"].sum())}
        windows, codes = np.unique(starts, return_inverse=True)
        counts = np.zeros(len(windows), np.int64)
        np.add.at(counts, codes.reshape(-1), self.keys["rows"].to_numpy())
        return dict(zip(windows.tolist(), counts.tolist(), strict=True))

    def split_windows(self) -> dict[int, "Partial"]:
        """One partial per window start, in order of time."""
        windows = self.keys["window"].to_numpy()
        starts, codes = np.unique(windows, return_inverse=True)
        if len(starts) == 1:
            return {int(starts[0]): self}
        order = np.argsort(codes, kind="stable")
        ends = np.cumsum(np.bincount(codes, minlength=len(starts)))
        return {int(w): self.take(part) for w, part in zip(starts, np.split(order, ends[:-1]), strict=False)}

    def to_columns(self) -> dict[str, Column]:
        """The flat form by name: the keys, then the columns of each state as `<metric>.<part>`."""
        columns: dict[str, Column] = dict(self.keys.to_dict())
        for name, state in self.states.items():
            columns |= state.to_columns(name)
        return columns

    @staticmethod
    def from_columns(plan: Plan, columns: Mapping[str, Column | Coded]) -> "Partial":
        """The partial in a flat form, in the types of `schema`; columns of lists are `Ragged`, labels may be `Coded`.

        Raises:
            PartialError: other columns than `schema`, a damaged state, a NULL or repeated key, a window that
                does not start at a multiple of its length, or a group without records.
        """
        _check_names(plan, columns)
        coded = {name: column for name, column in columns.items() if isinstance(column, Coded)}
        decoded: Columns = {
            name: column.to_series(name) if isinstance(column, Coded) else column for name, column in columns.items()
        }
        keys = pl.DataFrame([plain(decoded, name) for name in ("window", "rows", *plan.labels)])
        _check_keys(plan, keys, coded)
        states: dict[str, State] = {}
        for metric in plan.metrics:
            states[metric.name] = state_class(metric.function).from_columns(metric, metric.name, decoded)
        return Partial(plan, keys, states, coded)

    def to_frame(self) -> pl.DataFrame:
        """The flat form as a frame, which takes longer: lists have to be made."""
        schema = Partial.schema(self.plan)
        return pl.DataFrame([as_series(name, column, schema[name]) for name, column in self.to_columns().items()])

    @staticmethod
    def from_frame(plan: Plan, frame: pl.DataFrame) -> "Partial":
        """The partial in a frame.

        Raises:
            PartialError: as `from_columns`, or a column of another type.
        """
        wanted = Partial.schema(plan)
        if dict(frame.schema) != wanted:
            raise PartialError(
                f"partial of query {plan.query!r} has columns {dict(frame.schema)}; want {wanted}: "
                f"compare the query versions of agent and collector"
            )
        try:
            columns = {name: _column(series) for name, series in frame.to_dict().items()}
        except TypeError as error:
            raise PartialError(f"partial of query {plan.query!r}: {error}; drop the frame and send it again") from error
        return Partial.from_columns(plan, columns)


def _column(series: pl.Series) -> Column:
    return Ragged.from_series(series) if isinstance(series.dtype, pl.List) else series


def _check_names(plan: Plan, columns: Mapping[str, Column | Coded]) -> None:
    wanted = list(Partial.schema(plan))
    if list(columns) != wanted:
        raise PartialError(
            f"partial of query {plan.query!r} has columns {list(columns)}; want {wanted}: "
            f"compare the query versions of agent and collector"
        )


def _check_keys(plan: Plan, keys: pl.DataFrame, coded: Mapping[str, Coded]) -> None:
    if any(column.null_count() for column in keys.get_columns()):
        raise PartialError(f"partial of query {plan.query!r} has a NULL key; drop the frame and send it again")
    windows, rows = keys["window"].to_numpy(), keys["rows"].to_numpy()
    one_window = len(windows) and windows.min() == windows.max()  # the usual frame: a division less per group
    if np.any((windows[:1] if one_window else windows) % plan.window_ns):
        raise PartialError(f"partial of query {plan.query!r} has a window off the grid of {plan.window_ns} ns")
    if np.any(rows < 1):
        raise PartialError(f"partial of query {plan.query!r} has a group of {rows.min()} records; want at least 1")
    # As agents send them: a third of the cost.
    in_order = _ascending(windows, [coded.get(label, keys[label]) for label in plan.labels])
    if not in_order and keys[["window", *plan.labels]].is_duplicated().any():
        raise PartialError(f"partial of query {plan.query!r} has a key twice; merge before sending")


def _ascending(windows: IntArray, labels: Sequence[pl.Series | Coded]) -> bool:
    """Whether every key is greater than the one before, so that none can come twice."""
    greater, equal = windows[1:] > windows[:-1], windows[1:] == windows[:-1]
    for label in labels:
        if not equal.any():
            break
        if isinstance(label, Coded):
            steps = np.diff(label.ranks)
            greater |= equal & (steps > 0)
            equal &= steps == 0
        else:
            after, before = label.slice(1), label.slice(0, len(label) - 1)
            greater |= equal & (after > before).to_numpy()
            equal &= (after == before).to_numpy()
    return bool(greater.all())
