"""A page of /metrics in a text format (Prometheus 0.0.4 or OpenMetrics 1.0) as one column of series and one of values.

Series keep the text they stand under, `name{labels}`: pages of a target hardly ever change theirs, so that the next
page is compared with the one before and only its numbers are read. Exemplars and times of samples are passed over.
A page that was cut off is refused as a whole, since half a number would look like a counter that was reset.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from agents.sources.scrape_native import NativeSeries

Floats = npt.NDArray[np.float64]

_LABEL: Final = r'[ \t]*[a-zA-Z_][a-zA-Z0-9_]*[ \t]*=[ \t]*"(?:[^"\\]|\\.)*"[ \t]*'
_NAME: Final = "[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABELS: Final = rf"[ \t]*\{{(?:{_LABEL}(?:,{_LABEL})*,?)?[ \t]*\}}"
# Series, value, time; what stands behind a # is an exemplar.
_SAMPLE: Final = rf"^({_NAME}(?:{_LABELS})?)[ \t]+([^ \t{{}}]+)(?:[ \t]+(-?[0-9.eE+-]+))?(?:[ \t]+#.*)?$"
# Behind labels the blank may be missing.
_SAMPLE_CLOSE: Final = rf"^({_NAME}{_LABELS})([^ \t{{}}]+)(?:[ \t]+(-?[0-9.eE+-]+))?(?:[ \t]+#.*)?$"
_TYPE: Final = r"^#[ \t]+TYPE[ \t]+(\S+)[ \t]+(\S+)$"
_OFFENDERS: Final = 3
_BLANKS: Final = " \t\r"


class PageError(Exception):
    """A page cannot be used as a whole.

    Attributes:
        reason: a word for counters.
    """

    def __init__(self, reason: str, says: str) -> None:
        super().__init__(says)
        self.reason = reason


class Page(NamedTuple):
    """What stands on a page.

    Attributes:
        keys: the series, none twice.
        values: float64, one of each.
        families: the types that the page declares, by name, in lower case.
        native: native histograms, which only protobuf brings.
        malformed, example: lines left out, and one of them.
        duplicates: lines left out, for their series stood above already.
    """

    keys: pl.Series
    values: Floats
    families: dict[str, str]
    native: tuple[NativeSeries, ...] = ()
    malformed: int = 0
    example: str = ""
    duplicates: int = 0


def text_page(data: bytes, *, openmetrics: bool, before: pl.Series | None = None, most: int | None = None) -> Page:
    """`before` are the keys of the target's last page; `most` is how many samples it may have.

    Raises:
        PageError: it was cut off, is no UTF-8, has too many samples, or is mostly something else.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PageError("bad_utf8", f"byte {error.start} of the page is no UTF-8") from error
    if openmetrics and not text.endswith(("# EOF\n", "# EOF", "# EOF\r\n")):
        raise PageError("cut_off", "the page does not end in '# EOF', as OpenMetrics must")
    if not openmetrics and text and not text.endswith("\n"):
        raise PageError("cut_off", "the last line of the page has no end")
    lines = pl.Series("line", text.split("\n"), dtype=pl.String).str.strip_chars(_BLANKS)
    is_comment = lines.str.starts_with("#")
    families = _families(lines.filter(is_comment))
    lines = lines.filter(~is_comment & (lines != ""))
    if most is not None and len(lines) > most:  # before more memory is spent on it
        raise too_many(lines, len(lines), most)
    values = None if before is None else _values_behind(lines, before)
    if before is not None and values is not None:
        return Page(before, values, families)
    return _taken_apart(lines, families)


def too_many(series: pl.Series, count: int | str, most: int) -> PageError:
    """Says which names have most of these."""
    counts = series.str.extract(r"^([^{ ]+)").value_counts(sort=True).head(_OFFENDERS)
    offenders = ", ".join(f"{name} ({often})" for name, often in counts.rows())
    return PageError(
        "too_many_series",
        f"{count} series where {most} are left of max_series; most of them: {offenders}; drop some, or raise it",
    )


def _families(comments: pl.Series) -> dict[str, str]:
    found = comments.str.extract_groups(_TYPE).struct.unnest().drop_nulls()
    families: dict[str, str] = {}
    for name, kind in found.rows():
        families.setdefault(name, kind.lower())
    return families


def _values_behind(lines: pl.Series, keys: pl.Series) -> Floats | None:
    """The numbers of lines that have these series in this order, and nothing behind the number; else None."""
    if len(lines) != len(keys):
        return None
    both = pl.DataFrame([lines.alias("line"), keys.alias("key")])
    if not both.select(pl.col("line").str.starts_with(pl.col("key")).all()).item():
        return None
    rest = both.select(pl.col("line").str.strip_prefix(pl.col("key"))).to_series()
    if not (rest.str.starts_with(" ") | rest.str.starts_with("\t")).all():
        return None
    values = _numbers(rest.str.strip_chars_start(_BLANKS))
    return None if values.null_count() else values.to_numpy()


def _numbers(texts: pl.Series) -> pl.Series:
    return texts.cast(pl.Float64, strict=False)


def _taken_apart(lines: pl.Series, families: dict[str, str]) -> Page:
    parts = lines.str.extract_groups(_SAMPLE).struct.unnest()
    key, number = parts.to_series(0), parts.to_series(1)
    if key.null_count():  # `name{labels}1` is allowed, and rare
        close = lines.str.extract_groups(_SAMPLE_CLOSE).struct.unnest()
        key, number = (
            key.zip_with(key.is_not_null(), close.to_series(0)),
            number.zip_with(key.is_not_null(), close.to_series(1)),
        )
    values = _numbers(number)
    bad = key.is_null() | values.is_null()
    malformed = int(bad.sum())
    example = str(lines.filter(bad)[0]) if malformed else ""
    if malformed * 2 > len(lines):
        raise PageError("not_metrics", f"{malformed} of {len(lines)} lines are no samples, such as {example[:100]!r}")
    kept = pl.DataFrame([key.alias("key"), values.alias("value")]).filter(~bad)
    once = kept.filter(pl.col("key").is_first_distinct())
    return Page(
        once["key"], once["value"].to_numpy(), families, (), malformed, example, kept.height - once.height
    )  # fmt: skip
