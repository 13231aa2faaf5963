"""What the series of a page are: readings, counters, buckets of histograms; worked out once for all pages that have the
same series and types.

Series get the columns of the stream here: name and kind, job and instance, and of their labels those that are declared.
Labels of the target win over those of the page, which then are those called `exported_...`, as Prometheus does it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from agents.sources.scrape_targets import Target

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

_EXPORTED: Final = "exported_"
_LE: Final = r'(^|,)[ \t]*le[ \t]*=[ \t]*"[^"\\]*"[ \t]*'
_READING, _COUNTER, _BUCKET, _SUM, _COUNT, _CREATED = range(6)
_HISTOGRAMS: Final = ("histogram", "gaugehistogram")
_OWN_KINDS: Final = {"gaugehistogram": "gauge_histogram", "stateset": "state_set", "untyped": "unknown"}
_READINGS: Final = frozenset({"gauge", "summary", "info", "state_set", "unknown"})
_ESCAPES: Final = re.compile(r"\\(.)", re.DOTALL)
_NONE: Final = -1


class Histograms(NamedTuple):
    """The classic histograms of a page.

    Attributes:
        lines: where the buckets stand on the page, of one histogram after the other, by ascending bound.
        offsets: int64[n + 1], where in `lines` each begins.
        bounds: float64, one of each of `lines`.
        sums, created: int64[n], where those stand; -1 where there are none.
        gauges: bool[n], those that stand for themselves and do not count on.
    """

    lines: Ints
    offsets: Ints
    bounds: Floats
    sums: Ints
    created: Ints
    gauges: Bools


class Layout(NamedTuple):
    """All that is known of a page without its numbers.

    Attributes:
        keys, families: the page's.
        heads: name, kind, job, instance and the declared columns of readings, counters and histograms, in this order.
        readings, counters: where they stand on the page.
        created: int64, of each counter where the time stands since when it counts, or -1.
        undeclared: labels that become no column, with how many series have them.
        malformed: buckets without a bound that can be read.
    """

    keys: pl.Series
    families: Mapping[str, str]
    heads: pl.DataFrame
    readings: Ints
    counters: Ints
    created: Ints
    histograms: Histograms
    undeclared: Mapping[str, int]
    malformed: int


def layout_of(keys: pl.Series, families: Mapping[str, str], target: Target, declared: Sequence[str]) -> Layout:
    """`declared` are the columns that become of labels."""
    lines = _lines(keys, families)
    bounds = lines["labels"].str.extract(r'(?:^|,)[ \t]*le[ \t]*=[ \t]*"([^"\\]*)"').cast(pl.Float64, strict=False)
    roles, bound = lines["role"].to_numpy().copy(), bounds.to_numpy()
    unreadable = (roles == _BUCKET) & np.isnan(bound)
    buckets = np.flatnonzero((roles == _BUCKET) & ~unreadable)
    rest = lines.select(
        (pl.col("base") + "{" + pl.col("labels").str.replace(_LE, "").str.strip_chars(", \t")).alias("group")
    ).to_series()
    group_texts = rest[buckets].unique(maintain_order=True)
    # The group of each line, -1 where it belongs to no histogram.
    groups = _place_in(rest, group_texts)
    parts = np.isin(roles, (_SUM, _COUNT))
    roles[parts & (groups < 0)] = _COUNTER  # of a histogram without buckets
    order = np.lexsort((bound[buckets], groups[buckets]))
    buckets = buckets[order]
    n = len(group_texts)
    sizes = np.bincount(groups[buckets], minlength=n)
    first = np.flatnonzero(np.diff(groups[buckets], prepend=-1))
    created_lines = np.flatnonzero(roles == _CREATED)
    readings, counters = np.flatnonzero(roles == _READING), np.flatnonzero(roles == _COUNTER)
    histograms = Histograms(
        buckets, np.concatenate([[0], np.cumsum(sizes)]), bound[buckets],
        _where(groups, np.flatnonzero(roles == _SUM), n), _where(groups, created_lines, n),
        (lines["kind"] == "gauge_histogram").to_numpy()[buckets[first]],
    )  # fmt: skip
    created_places = _place_in(rest[counters], rest[created_lines])
    created = np.where(created_places < 0, _NONE, np.append(created_lines, _NONE)[created_places])
    chosen = np.concatenate([readings, counters, buckets[first]])
    # A histogram has no bound of its own.
    without_bound = pl.when(pl.col("role") == _BUCKET).then(pl.col("labels").str.replace(_LE, "")).otherwise("labels")
    heads = heads_of(lines[chosen].select("name", "kind", without_bound.alias("labels")), target, declared)
    return Layout(
        keys, families, heads, readings, counters, created, histograms, _undeclared(lines["labels"], target, declared),
        int(unreadable.sum()),
    )  # fmt: skip


def heads_of(series: pl.DataFrame, target: Target, declared: Sequence[str]) -> pl.DataFrame:
    """Name, kind, job, instance and the declared columns, from name, kind and the text of the labels."""
    own = dict(target.labels)
    columns: list[pl.Series | pl.Expr] = [pl.col("name"), pl.col("kind")]
    columns += [pl.lit(own[name] or None, pl.String).alias(name) for name in ("job", "instance")]
    columns += [_label_column(series["labels"], own, name).alias(name) for name in declared]
    return series.select(columns)


def _lines(keys: pl.Series, families: Mapping[str, str]) -> pl.DataFrame:
    """Of each line its labels as text, and what its name makes of it: role, kind, base and the name in the stream."""
    split = pl.DataFrame([keys.alias("key")]).select(
        pl.col("key").str.extract(r"^([^ \t{]+)").alias("sample"),
        pl.col("key").str.extract(r"(?s)\{(.*)\}$").fill_null("").alias("labels"),
    )
    rows = [(name, *_meaning(name, families)) for name in split["sample"].unique(maintain_order=True).to_list()]
    schema = {"sample": pl.String, "role": pl.Int64, "kind": pl.String, "base": pl.String, "name": pl.String}
    meanings = pl.DataFrame(rows, schema=schema, orient="row")
    return split.join(meanings, on="sample", how="left", maintain_order="left")


def _meaning(name: str, families: Mapping[str, str]) -> tuple[int, str, str, str]:
    """Role, kind, base, and the name in the stream."""
    if name in families:
        kind = _kind(families[name])
        return (_COUNTER, "counter", name.removesuffix("_total"), name) if kind == "counter" else (
            _READING, kind if kind in _READINGS else "unknown", name, name,
        )  # fmt: skip
    base, _, suffix = name.rpartition("_")
    family = families.get(base, "")
    counts_on = family in ("counter", "histogram", "summary")
    if suffix == "created" and (counts_on or families.get(base + "_total") == "counter"):
        return _CREATED, "", base, name
    if (family, suffix) in (("counter", "total"), ("summary", "sum"), ("summary", "count")):
        return _COUNTER, "counter", base, name
    if family == suffix == "info":
        return _READING, "info", base, name
    if family in _HISTOGRAMS:
        role = {"bucket": _BUCKET, "sum": _SUM, "count": _COUNT, "gsum": _SUM, "gcount": _COUNT}.get(suffix)
        if role is not None:
            return role, _kind(family) if role == _BUCKET else "counter", base, base if role == _BUCKET else name
    return _READING, "unknown", name, name


def _kind(family: str) -> str:
    return _OWN_KINDS.get(family, family)


def _place_in(texts: pl.Series, among: pl.Series) -> Ints:
    """Where each stands among these; -1: nowhere."""
    places = pl.DataFrame([among.alias("text")]).unique("text", keep="first", maintain_order=True)
    indexed = pl.DataFrame([among.alias("text")]).with_row_index("place").join(places, on="text", how="semi")
    indexed = indexed.unique("text", keep="first", maintain_order=True)
    found = pl.DataFrame([texts.alias("text")]).join(indexed, on="text", how="left", maintain_order="left")
    return found["place"].cast(pl.Int64).fill_null(_NONE).to_numpy()


def _where(groups: Ints, lines: Ints, n: int) -> Ints:
    """The line of each of n groups among these; -1: none."""
    found = np.full(n, _NONE)
    mine = lines[groups[lines] >= 0]
    found[groups[mine]] = mine
    return found


def _label_column(labels: pl.Series, own: Mapping[str, str], name: str) -> pl.Series:
    if name in own:
        return pl.repeat(own[name] or None, len(labels), dtype=pl.String, eager=True)
    found = _label(labels, name)
    base = name.removeprefix(_EXPORTED)
    if name.startswith(_EXPORTED) and base in own:
        found = found.zip_with(found.is_not_null(), _label(labels, base))
    return found


def _label(labels: pl.Series, name: str) -> pl.Series:
    # A quote inside a value has a backslash before it, so that this matches at no place within one.
    found = labels.str.extract(rf'(?s)(?:^|,)[ \t]*{name}[ \t]*=[ \t]*"((?:[^"\\]|\\.)*)"')
    if found.str.contains("\\", literal=True).any():
        found = pl.Series(name, [_unescaped(text) for text in found.to_list()], dtype=pl.String)
    return found.set(found == "", None)


def _unescaped(text: str | None) -> str | None:
    if text is None:
        return None
    return _ESCAPES.sub(lambda found: "\n" if found[1] == "n" else found[1], text)


def _undeclared(labels: pl.Series, target: Target, declared: Iterable[str]) -> dict[str, int]:
    names = labels.str.extract_all(r'(?:^|,)[ \t]*[a-zA-Z0-9_]+[ \t]*=[ \t]*"').explode(empty_as_null=False)
    counts = names.drop_nulls().str.strip_chars(', \t="').value_counts()
    known = {*declared, "le", *(name for name, _ in target.labels)}
    return {name: count for name, count in counts.rows() if name not in known}
