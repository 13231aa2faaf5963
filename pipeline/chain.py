"""Runs a plan on batches: row stages one by one, or everything after a cut down to a partial result.

The same chain runs on agents and collectors, and any cut gives the same result, because each stage treats each row
by itself. Two traps stand against that, both found by measurement:
- Polars computes `x / c` as x * (1 / c) and POW(x, c) by multiplying where it knows c to be the same in all rows: a
  literal, a CASE that took one branch throughout, any column of one row. That is off by one ulp, and depends on the
  rows beside. The compiler multiplies such operands by the column ONES, which Polars never takes for a constant.
- Text that a table delivers and that becomes a label as it is travels as Enum inside `finish` and from `local` to
  `local` (its codes are the group codes), never in what `apply` and `plain` return: drained rows have the plain types
  of `schema_at`.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

import numpy as np
import polars as pl

from pipeline.coded import Coded
from pipeline.errors import PlanError, SchemaError, TableError
from pipeline.grouping import group, label_text, rows_of, window_starts
from pipeline.partial import Partial
from pipeline.plan import AggregateStage, ExtractStage, FilterStage, JoinStage, Plan, ProjectStage, RowStage
from pipeline.schema import COLUMN_TYPES, TIME_COLUMN, Schema, check, empty, polars_schema
from pipeline.sql_extracts import groups_of
from pipeline.states import accumulate
from pipeline.table_rows import TableRows
from pipeline.tables import StaticTable

# A float64 column of ones that expressions may name; it exists only while a stage that names it runs.
ONES: Final = "#1"


class Chain:
    """A plan bound to its static tables; cheap to run, holds no rows.

    Raises on construction:
        TableError: a table is missing, has another content than the plan was compiled with, or a repeated key.
        PlanError: a stage does not fit the columns before it.
    """

    def __init__(self, plan: Plan, tables: Mapping[str, StaticTable]) -> None:
        _check_tables(plan, tables)
        self.plan = plan
        self._aggregate = plan.aggregate
        try:
            known: dict[tuple[str, str], TableRows] = {}
            self._stages = [_runner(stage, tables, known) for stage in plan.row_stages]
        except pl.exceptions.PolarsError as error:
            raise PlanError(f"query {plan.query!r}: a stage cannot be read: {error}") from error
        self.row_stages = len(self._stages)
        self._schemas = self._schemas_by_cut()
        for runner in self._join_runners():
            runner.encode_text(self._labels_untouched())

    def schema_at(self, cut: int) -> Schema:
        """Columns of the rows at a cut, pruned to what later stages need; `ts` first.

        Raises:
            PlanError: the cut is not in 0..row_stages.
        """
        if not 0 <= cut <= self.row_stages:
            raise PlanError(f"query {self.plan.query!r} has cuts 0..{self.row_stages}, not {cut}")
        return dict(self._schemas[cut])

    def prepare(self, batch: pl.DataFrame) -> pl.DataFrame:
        """Rows at cut 0: the columns this query reads, checked.

        Raises:
            SchemaError: as `schema.check`.
        """
        return check(batch, self._schemas[0])

    def apply(self, i: int, rows: pl.DataFrame) -> pl.DataFrame:
        """Row stage i (1..row_stages) on rows of cut i-1; gives rows of cut i, in the same order.

        Raises:
            PlanError: there is no such row stage.
        """
        self._check_stage(i)
        return self._run(i, rows, coded=False)

    def local(self, i: int, rows: pl.DataFrame) -> pl.DataFrame:
        """As `apply`, for rows that stay in this process: labels of static tables stay codes, which is faster.

        Takes what `prepare`, `apply` or `local` gave for cut i-1; `local`, `aggregate` and `plain` take what it gives.
        Rows that are drained go through `plain` first.

        Raises:
            PlanError: there is no such row stage.
        """
        self._check_stage(i)
        return self._run(i, rows, coded=True)

    def plain(self, cut: int, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows of a cut in the types of `schema_at`, whichever way they came there."""
        wanted = polars_schema(self.schema_at(cut))
        coded = [pl.col(name).cast(dtype) for name, dtype in wanted.items() if rows.schema[name] != dtype]
        return rows.with_columns(coded) if coded else rows

    def aggregate(self, rows: pl.DataFrame, coded: Mapping[str, Coded] | None = None) -> Partial:
        """The last stage, on rows of the last cut. Groups come in no particular order.

        `coded` holds columns of the rows, by name, that came as codes: labels among them are grouped by those.
        """
        stage = self._aggregate
        starts = window_starts(rows[TIME_COLUMN].to_numpy(), stage.window_ns)
        labels = [(coded or {}).get(name, rows[name]) for name in stage.labels]
        groups = group(starts, stage.window_ns, labels)
        keys = {
            "window": pl.Series("window", starts[groups.firsts], dtype=pl.Int64),
            "rows": pl.Series("rows", np.bincount(groups.codes, minlength=groups.n_groups), dtype=pl.Int64),
        }
        of_groups: dict[str, Coded] = {}
        for name, label in zip(stage.labels, labels, strict=True):
            if isinstance(label, Coded):
                of_groups[name] = label.take(groups.firsts)
                keys[name] = of_groups[name].to_series(name)
            else:
                keys[name] = label_text(rows_of(label, groups.firsts)).alias(name)
        states = {a.alias: accumulate(a, rows, groups, self.plan.scale) for a in stage.aggregates}
        return Partial(self.plan, pl.DataFrame(keys), states, of_groups)

    def finish(self, rows: pl.DataFrame, after: int, coded: Mapping[str, Coded] | None = None) -> Partial:
        """All stages after the cut `after`, on rows of that cut; `coded` as in `aggregate`.

        Raises:
            PlanError: the cut is not in 0..row_stages.
            SchemaError: the rows are not those of `schema_at(after)`.
        """
        rows = check(rows, self.schema_at(after))
        for i in range(after + 1, self.row_stages + 1):
            rows = self._run(i, rows, coded=True)
        # Row stages leave rows out and make columns anew: then the codes are those of other rows.
        return self.aggregate(rows, coded if after == self.row_stages else None)

    def _check_stage(self, i: int) -> None:
        if not 1 <= i <= self.row_stages:
            raise PlanError(f"query {self.plan.query!r} has row stages 1..{self.row_stages}, not {i}")

    def _run(self, i: int, rows: pl.DataFrame, *, coded: bool) -> pl.DataFrame:
        try:
            return self._stages[i - 1].run(rows, list(self._schemas[i]), coded=coded)
        except pl.exceptions.PolarsError as error:
            raise SchemaError(f"query {self.plan.query!r}: stage {i} cannot run on these rows: {error}") from error

    def _schemas_by_cut(self) -> list[Schema]:
        """Backwards for what is needed, forwards for the types: running on no rows types every column."""
        needed = _columns_of(self._aggregate)
        by_cut = [needed]
        for runner in reversed(self._stages):
            needed = runner.needs(needed)
            by_cut.insert(0, needed)
        missing = by_cut[0] - self.plan.source_schema.keys()
        if missing:
            raise PlanError(
                f"query {self.plan.query!r} reads columns {sorted(missing)} that {self.plan.source!r} lacks"
            )
        source = {TIME_COLUMN: "int64", **{c: t for c, t in self.plan.source_schema.items() if c in by_cut[0]}}
        rows, schemas = empty(source), [source]
        names = {dtype: kind for kind, dtype in COLUMN_TYPES.items()}
        for runner, wanted in zip(self._stages, by_cut[1:], strict=True):
            try:
                rows = runner.run(rows, [TIME_COLUMN, *sorted(wanted - {TIME_COLUMN})], coded=False)
                schemas.append({column: names[dtype] for column, dtype in rows.schema.items()})
            except (pl.exceptions.PolarsError, KeyError) as error:
                raise PlanError(f"query {self.plan.query!r}: stage {len(schemas)} does not fit: {error}") from error
        return schemas

    def _join_runners(self) -> list["_Join"]:
        return [runner for runner in self._stages if isinstance(runner, _Join)]

    def _labels_untouched(self) -> set[str]:
        """Joined columns that only ever become labels as they are; the others must stay text for expressions."""
        labels: set[str] = set()
        used: list[str] = []
        for runner in self._stages:
            if isinstance(runner, _Project):
                for name, expression in runner.stage.columns.items():
                    roots = pl.sql_expr(expression).meta.root_names()
                    bare = roots and expression == f'"{roots[0]}"' and name in self._aggregate.labels
                    (labels.add(roots[0]) if bare else used.extend(roots))
            else:
                used.extend(runner.reads())
        return labels - set(used)


class _Filter:
    def __init__(self, stage: FilterStage) -> None:
        self.predicate = pl.sql_expr(stage.predicate)
        self.roots = set(self.predicate.meta.root_names())

    def reads(self) -> set[str]:
        return self.roots - {ONES}

    def needs(self, after: set[str]) -> set[str]:
        return after | self.reads()

    def run(self, rows: pl.DataFrame, keep: list[str], *, coded: bool) -> pl.DataFrame:  # noqa: ARG002
        kept = _with_ones(rows, self.roots).filter(self.predicate).select(keep)
        return kept.head(rows.height)


class _Join:
    def __init__(self, stage: JoinStage, table: StaticTable, known: dict[tuple[str, str], TableRows]) -> None:
        self.stage = stage
        try:
            keyed = table.keyed_by(stage.right_key)
            columns = [pl.col(stage.right_key).alias("#key")]
            columns += [pl.col(source).alias(name) for name, source in stage.columns.items()]
            self.table = keyed.select(columns)
        except pl.exceptions.ColumnNotFoundError as error:
            raise PlanError(f"table {stage.table!r} has no such column: {error}") from error
        self.coded_table = self.table
        # One for all joins by one key of a table: two would push each other out of the processor's caches.
        self.rows = known.setdefault((stage.table, stage.right_key), TableRows(self.table["#key"]))

    def encode_text(self, columns: set[str]) -> None:
        """Prepares a second table in which these text columns are Enums, "" among their categories for NULL."""
        table = self.table
        for name in columns & set(table.columns):
            if table.schema[name] == pl.String:
                categories = table[name].drop_nulls().unique().sort().to_list()
                enum = pl.Enum(["", *(text for text in categories if text)])
                table = table.with_columns(pl.col(name).cast(enum))
        self.coded_table = table

    def reads(self) -> set[str]:
        return {self.stage.left_key}

    def needs(self, after: set[str]) -> set[str]:
        return (after - self.stage.columns.keys()) | self.reads()

    def run(self, rows: pl.DataFrame, keep: list[str], *, coded: bool) -> pl.DataFrame:
        table = self.coded_table if coded else self.table
        found = self.rows.of(rows[self.stage.left_key])
        if found is not None:
            return self._looked_up(rows, table, found, keep)
        how = "left" if self.stage.outer else "inner"
        joined = rows.join(table, left_on=self.stage.left_key, right_on="#key", how=how, maintain_order="left")  # type: ignore[arg-type]
        return joined.select(keep)

    def _looked_up(self, rows: pl.DataFrame, table: pl.DataFrame, found: pl.Series, keep: list[str]) -> pl.DataFrame:
        joined = self.stage.columns.keys() & set(keep)
        if not found.null_count():
            return pl.DataFrame([table[name][found] if name in joined else rows[name] for name in keep])
        if self.stage.outer:
            columns = table.select(pl.col(name).gather(found) for name in joined)  # NULL where the place is
            return pl.DataFrame([columns[name] if name in joined else rows[name] for name in keep])
        here = found.is_not_null()
        found = found.filter(here)
        return pl.DataFrame([table[name][found] if name in joined else rows[name].filter(here) for name in keep])


class _Extract:
    """Each text is matched once per regular expression, however many of its groups are wanted."""

    def __init__(self, stage: ExtractStage) -> None:
        self.stage = stage
        self.groups = {one.pattern: groups_of(one.pattern) for one in stage.columns.values()}
        for one in stage.columns.values():
            if not 0 <= one.group <= len(self.groups[one.pattern]):
                raise PlanError(f"regular expression {one.pattern!r} has no group {one.group}; compile the query again")

    def reads(self) -> set[str]:
        return {one.source for one in self.stage.columns.values()}

    def needs(self, after: set[str]) -> set[str]:
        made = self.stage.columns
        return (after - made.keys()) | {made[name].source for name in after if name in made}

    def run(self, rows: pl.DataFrame, keep: list[str], *, coded: bool) -> pl.DataFrame:  # noqa: ARG002
        wanted = {name: one for name, one in self.stage.columns.items() if name in keep}
        times = Counter((one.source, one.pattern) for one in wanted.values() if one.group)
        matches = {match: f"#match{place}" for place, match in enumerate(times) if times[match] > 1}
        structs = [pl.col(s).str.extract_groups(p).alias(name) for (s, p), name in matches.items()]
        columns = []
        for name, one in wanted.items():
            match = matches.get((one.source, one.pattern)) if one.group else None
            if match is None:
                columns.append(pl.col(one.source).str.extract(one.pattern, one.group).alias(name))
            else:
                field = self.groups[one.pattern][one.group - 1]
                columns.append(pl.col(match).struct.field(field).alias(name))
        return rows.with_columns(structs).with_columns(columns).select(keep)


class _Project:
    def __init__(self, stage: ProjectStage) -> None:
        self.stage = stage
        self.expressions = {name: pl.sql_expr(text).alias(name) for name, text in stage.columns.items()}
        self.roots = {name: set(e.meta.root_names()) for name, e in self.expressions.items()}

    def reads(self) -> set[str]:
        return set().union(*self.roots.values()) - {ONES}

    def needs(self, after: set[str]) -> set[str]:
        return set().union({TIME_COLUMN}, *(self.roots[name] for name in after if name in self.roots)) - {ONES}

    def run(self, rows: pl.DataFrame, keep: list[str], *, coded: bool) -> pl.DataFrame:  # noqa: ARG002
        roots = set().union(*(self.roots[name] for name in keep if name in self.roots))
        columns = [self.expressions.get(name, pl.col(name)) for name in keep]
        return _with_ones(rows, roots).select(columns).head(rows.height)


def _runner(
    stage: RowStage, tables: Mapping[str, StaticTable], known: dict[tuple[str, str], TableRows]
) -> _Filter | _Join | _Extract | _Project:
    if isinstance(stage, FilterStage):
        return _Filter(stage)
    if isinstance(stage, JoinStage):
        return _Join(stage, tables[stage.table], known)
    if isinstance(stage, ExtractStage):
        return _Extract(stage)
    return _Project(stage)


def _with_ones(rows: pl.DataFrame, roots: set[str]) -> pl.DataFrame:
    """The rows with the column ONES where an expression names it; a lone row twice, so that it is no constant."""
    if ONES not in roots:
        return rows
    if rows.height == 1:
        rows = pl.concat([rows, rows])
    return rows.with_columns(pl.Series(ONES, np.ones(rows.height)))


def _columns_of(stage: AggregateStage) -> set[str]:
    return {TIME_COLUMN, *stage.labels, *(column for a in stage.aggregates for column in a.columns)}


def _check_tables(plan: Plan, tables: Mapping[str, StaticTable]) -> None:
    for name, wanted in plan.tables.items():
        if name not in tables:
            raise TableError(
                f"query {plan.query!r} joins table {name!r}, which is not configured here; add it under tables"
            )
        if tables[name].content_hash != wanted:
            raise TableError(
                f"table {name!r} here has content {tables[name].content_hash}, query {plan.query!r} (version "
                f"{plan.version}) was compiled with {wanted}; use the same file on every machine"
            )
