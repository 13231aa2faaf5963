"""Answers as the JSON of Prometheus' HTTP API, written as bytes without an object per point.

Values are strings, timestamps are numbers in seconds. All numbers become text in one call over the whole array, each
timestamp once; the pieces are laid out by slices and joined. Numbers are as Go's FormatFloat(v, 'f', -1) writes them;
in series those below 1e-6 and from 1e21 on have an exponent, as in Prometheus.
"""

import json
import math
from decimal import Decimal

import numpy as np
import orjson

from api.promql.answer import Answer
from api.promql.histograms import Histograms
from api.promql.samples import Float64Array, Int64Array, Interrupt, Labels
from quantiles.bins import bins_of
from quantiles.converters.prometheus_json import BOTH_INSIDE, FIXED_FROM, FIXED_TO, LOWER_INSIDE, UPPER_INSIDE

_MILLISECOND_NS = 1_000_000
# So many numbers become text between two looks at whether the answer is still wanted.
_AT_ONCE = 1 << 18


def _never() -> None:
    """Interrupts nothing."""


def encoded(answer: Answer, time_ns: int, interrupt: Interrupt = _never) -> bytes:
    """The `data` member: resultType first, then the result. A string stands at `time_ns`."""
    if answer.kind == "scalar":
        result = b'[%s,"%s"]' % (_timestamps(answer.float_times_ns)[0], fixed(float(answer.float_values[0])).encode())
    elif answer.kind == "string":
        result = b"[%s,%s]" % (_timestamps(np.array([time_ns]))[0], _text(answer.text))
    elif answer.kind == "vector":
        result = _listed(_vector(answer, interrupt))
    else:
        result = _listed(_matrix(answer, interrupt))
    return b'{"resultType":"%s","result":%s}' % (answer.kind.encode(), result)


def fixed(value: float) -> str:
    """A number without an exponent, in as few digits as name it."""
    if not math.isfinite(value):
        return _WORDS[repr(value)]
    text = repr(float(value))
    if "e" in text:
        text = format(Decimal(text), "f")
    return text.removesuffix(".0")


def number_texts(values: Float64Array, interrupt: Interrupt = _never) -> list[bytes]:
    """Each number as Prometheus writes it in a series, one call for many of them."""
    texts: list[bytes] = []
    for start in range(0, values.size, _AT_ONCE):
        interrupt()
        texts += _some_texts(values[start : start + _AT_ONCE])
    return texts


def _some_texts(values: Float64Array) -> list[bytes]:
    text = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)
    texts = text[1:-1].replace(b".0,", b",").removesuffix(b".0").split(b",")
    for place in np.flatnonzero(~np.isfinite(values)).tolist():
        texts[place] = _WORDS[repr(float(values[place]))].encode()
    if b"e" in text:
        for place, one in enumerate(texts):
            if b"e" in one:
                texts[place] = _with_exponent(float(values[place])).encode()
    return texts


_WORDS = {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}


def _with_exponent(value: float) -> str:
    """As Prometheus: an exponent only where a number would be very long without."""
    return fixed(value) if value == 0 or FIXED_FROM <= abs(value) < FIXED_TO else repr(value)


def _vector(answer: Answer, interrupt: Interrupt) -> list[bytes]:
    """One entry per series, in the order of the series."""
    entries: list[bytes] = [b""] * len(answer.labels)
    metrics = [_labels(labels) for labels in answer.labels]
    texts = number_texts(answer.float_values, interrupt)
    rows = zip(answer.float_series.tolist(), _timestamps(answer.float_times_ns), texts, strict=True)
    for series, time, value in rows:
        entries[series] = b'{"metric":%s,"value":[%s,"%s"]}' % (metrics[series], time, value)
    histograms = _histograms(answer.histograms, interrupt)
    rows = zip(answer.histogram_series.tolist(), _timestamps(answer.histogram_times_ns), histograms, strict=True)
    for series, time, histogram in rows:
        entries[series] = b'{"metric":%s,"histogram":[%s,%s]}' % (metrics[series], time, histogram)
    return [entry for entry in entries if entry]


def _matrix(answer: Answer, interrupt: Interrupt) -> list[bytes]:
    """One entry per series: its numbers, its histograms, or both."""
    texts, shown = number_texts(answer.float_values, interrupt), _histograms(answer.histograms, interrupt)
    values = _points(answer.float_series, answer.float_times_ns, texts, b'"')
    histograms = _points(answer.histogram_series, answer.histogram_times_ns, shown, b"")
    entries = []
    for series, labels in enumerate(answer.labels):
        parts = [b'{"metric":', _labels(labels)]
        if series in values:
            parts += [b',"values":', values[series]]
        if series in histograms:
            parts += [b',"histograms":', histograms[series]]
        if len(parts) > 2:
            entries.append(b"".join([*parts, b"}"]))
    return entries


def _points(series: Int64Array, times_ns: Int64Array, values: list[bytes], quote: bytes) -> dict[int, bytes]:
    """Series -> [[time,value],...]. Times and values are interleaved by two slice assignments for all series."""
    if not values:
        return {}
    pieces: list[bytes] = [b""] * (2 * len(values))
    pieces[0::2], pieces[1::2] = _timestamps(times_ns, quote + b"],[", b"," + quote), values
    firsts = np.flatnonzero(np.diff(series, prepend=-1)).tolist()
    found, skipped = {}, len(quote + b"],")
    for first, end in zip(firsts, [*firsts[1:], len(values)], strict=True):
        found[int(series[first])] = b"[%s%s]]" % (b"".join(pieces[2 * first : 2 * end])[skipped:], quote)
    return found


def _timestamps(times_ns: Int64Array, before: bytes = b"", after: bytes = b"") -> list[bytes]:
    """Seconds with three decimals where they are needed; a time that comes often is written once."""
    distinct, places = np.unique(times_ns // _MILLISECOND_NS, return_inverse=True)
    texts = []
    for milliseconds in distinct.tolist():
        whole, rest = divmod(abs(milliseconds), 1000)
        sign = b"-" if milliseconds < 0 else b""
        text = b"%s%d.%03d" % (sign, whole, rest) if rest else b"%s%d" % (sign, whole)
        texts.append(before + text + after)
    return [texts[place] for place in places.reshape(-1).tolist()]


def _histograms(histograms: Histograms, interrupt: Interrupt) -> list[bytes]:
    """Each as {"count","sum","buckets":[[rule,low,high,count],...]}, ascending, empty buckets left out."""
    if not len(histograms):
        return []
    distinct, places = np.unique(histograms.cells, return_inverse=True)
    low, high = bins_of(histograms.schema).bounds(distinct)
    low = np.where(distinct == 0, -0.0, low)
    begins = [
        b'[%d,"%s","%s","' % (UPPER_INSIDE if cell > 0 else LOWER_INSIDE if cell else BOTH_INSIDE, one, other)
        for cell, one, other in zip(distinct.tolist(), number_texts(low), number_texts(high), strict=True)
    ]
    cells, counts = places.reshape(-1).tolist(), number_texts(histograms.counts, interrupt)
    empty = histograms.counts == 0
    buckets = [begins[cell] + count + b'"]' for cell, count in zip(cells, counts, strict=True)]
    if empty.any():
        buckets = [b"" if gone else bucket for gone, bucket in zip(empty.tolist(), buckets, strict=True)]
    found = []
    offsets = histograms.offsets.tolist()
    rows = zip(offsets, offsets[1:], number_texts(histograms.totals), number_texts(histograms.sums), strict=False)
    for number, (first, end, count, total) in enumerate(rows):
        if number % 1024 == 0:
            interrupt()
        kept = [bucket for bucket in buckets[first:end] if bucket]
        listed = b',"buckets":[' + b",".join(kept) + b"]" if kept else b""
        found.append(b'{"count":"%s","sum":"%s"%s}' % (count, total, listed))
    return found


def _labels(labels: Labels) -> bytes:
    return _text(dict(sorted(labels.items())))


def _text(content: str | dict[str, str]) -> bytes:
    try:
        return orjson.dumps(content)
    except TypeError:  # half a surrogate pair, which JSON can only say escaped
        return json.dumps(content, separators=(",", ":")).encode()


def _listed(entries: list[bytes]) -> bytes:
    return b"[" + b",".join(entries) + b"]"
