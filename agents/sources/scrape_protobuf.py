"""A page of /metrics as protobuf, the only form in which programs give out native histograms.

Only the few fields that are wanted are read, by a reader of the wire format that stands here: the messages
(io.prometheus.client, delimited MetricFamily) have no maintained package for Python, and the agent is not to load a
protobuf library for them. What has no native histogram becomes samples as in the text format.
Unknown fields are passed over; bytes that are no such messages raise PageError.
"""

import math
import re
import struct
import sys
from collections.abc import Iterator
from typing import Final

import numpy as np
import polars as pl

from agents.sources.scrape_native import Native, NativeSeries
from agents.sources.scrape_page import Page, PageError, too_many

_KINDS: Final = ("counter", "gauge", "summary", "unknown", "histogram", "gaugehistogram")
_NAME_SIGNS: Final = re.compile(r"[^a-zA-Z0-9_:]")
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT: Final = 10
_SCHEMAS: Final = range(-4, 9)  # all that programs give out; -53 has bounds of its own, which only Prometheus makes
_MOST_BUCKETS: Final = 100_000
Value = int | float | bytes


def protobuf_page(data: bytes, *, most: int | None = None) -> Page:
    """Everything on the page; `most` is how many samples it may have.

    Raises:
        PageError: it is something else, was cut off, or has too many samples.
    """
    found = _Found(sys.maxsize if most is None else most)
    try:
        at = 0
        while at < len(data):
            size, at = _varint(data, at)
            if at + size > len(data):
                raise PageError("cut_off", f"the page ends {at + size - len(data)} bytes before its last family does")
            found.add_family(data[at : at + size])
            at += size
    except (IndexError, struct.error, ValueError, TypeError, UnicodeDecodeError, OverflowError) as error:
        raise PageError("not_metrics", f"no delimited MetricFamily messages: {error}") from error
    keys = found.keys()
    values = np.fromiter(found.samples.values(), np.float64, len(found.samples))
    return Page(
        keys, values, found.families, tuple(found.native), found.malformed, found.example, found.duplicates
    )  # fmt: skip


class _Found:
    """What the families read so far hold."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.samples: dict[str, float] = {}
        self.families: dict[str, str] = {}
        self.native: list[NativeSeries] = []
        self.malformed = 0
        self.example = ""
        self.duplicates = 0

    def add_family(self, data: bytes) -> None:
        name, kind, metrics = "", "counter", []
        for number, value in _fields(data):
            if number == 1:
                name = _NAME_SIGNS.sub("_", _text(value))
            elif number == 3:
                place = _int(value)
                kind = _KINDS[place] if place < len(_KINDS) else "unknown"
            elif number == 4:
                metrics.append(_bytes(value))
        if not name:
            raise PageError("not_metrics", "a MetricFamily without a name")
        self.families[name] = kind
        for metric in metrics:
            self._add_metric(name, kind, metric)
            count = len(self.samples) + len(self.native)
            if count > self.most:  # before more memory is spent on it
                raise too_many(self.keys(), f"more than {self.most}", self.most)

    def keys(self) -> pl.Series:
        """The series that are no native histograms."""
        return pl.Series("key", list(self.samples), dtype=pl.String)

    def _add_metric(self, name: str, kind: str, data: bytes) -> None:
        labels: list[str] = []
        for number, value in _fields(data):
            if number == 1:
                pair = {part: _text(each) for part, each in _fields(_bytes(value))}
                labels.append(f'{_NAME_SIGNS.sub("_", pair.get(1, ""))}="{_escaped(pair.get(2, ""))}"')
        for number, value in _fields(data):
            if number in (2, 3, 5):  # gauge, counter, untyped
                parts = dict(_fields(_bytes(value)))
                self._sample(_key(name, labels), _float(parts.get(1, 0.0)))
                created = _created(parts.get(3)) if number == 3 else math.nan
                if not math.isnan(created):
                    self._sample(_key(name.removesuffix("_total") + "_created", labels), created)
            elif number == 4:
                self._summary(name, labels, _bytes(value))
            elif number == 7:
                self._histogram(name, kind, labels, _bytes(value))

    def _summary(self, name: str, labels: list[str], data: bytes) -> None:
        count, total = 0, 0.0
        for number, value in _fields(data):
            if number == 1:
                count = _int(value)
            elif number == 2:
                total = _float(value)
            elif number == 3:
                parts = dict(_fields(_bytes(value)))
                quantile = f'quantile="{_float(parts.get(1, 0.0))}"'
                self._sample(_key(name, [*labels, quantile]), _float(parts.get(2, 0.0)))
        self._sample(_key(name + "_count", labels), count)
        self._sample(_key(name + "_sum", labels), total)

    def _histogram(self, name: str, kind: str, labels: list[str], data: bytes) -> None:
        fields = list(_fields(data))
        last = dict(fields)
        numbers = set(last)
        gauge = kind == "gaugehistogram"
        is_native = bool(numbers & {9, 12}) or _float(last.get(6, 0.0)) > 0 or _int(last.get(7, 0)) > 0
        if is_native and numbers & {4, 8, 11, 14}:
            self._bad("histogram_not_whole", name)
        elif is_native:
            self._native(_key(name, labels), fields, gauge=gauge)
        else:
            count = _float(last.get(4, 0.0)) or _int(last.get(1, 0))
            for value in (_bytes(value) for number, value in fields if number == 3):
                parts = dict(_fields(value))
                bound = _float(parts.get(2, 0.0))
                held = _float(parts.get(4, 0.0)) or _int(parts.get(1, 0))
                if bound != math.inf:
                    self._sample(_key(name + "_bucket", [*labels, f'le="{bound!r}"']), held)
            # Go's library leaves out the last bucket.
            self._sample(_key(name + "_bucket", [*labels, 'le="+Inf"']), count)
            self._sample(_key(name + ("_gcount" if gauge else "_count"), labels), count)
            self._sample(_key(name + ("_gsum" if gauge else "_sum"), labels), _float(last.get(2, 0.0)))
            created = _created(last.get(15))
            if not math.isnan(created):
                self._sample(_key(name + "_created", labels), created)

    def _native(self, key: str, fields: list[tuple[int, Value]], *, gauge: bool) -> None:
        spans: dict[int, list[bytes]] = {9: [], 12: []}
        deltas: dict[int, list[int]] = {10: [], 13: []}
        last = dict(fields)
        for number, value in fields:
            if number in spans:
                spans[number].append(_bytes(value))
            elif number in deltas:
                deltas[number] += _signed(value)
        negative, positive = _buckets(spans[9], deltas[10]), _buckets(spans[12], deltas[13])
        schema = _zigzag(_int(last.get(5, 0)))
        if negative is None or positive is None or schema not in _SCHEMAS:
            self._bad("histogram", key)
            return
        histogram = Native(
            schema, _float(last.get(6, 0.0)), _int(last.get(7, 0)), _int(last.get(1, 0)),
            _float(last.get(2, 0.0)), positive, negative,
        )  # fmt: skip
        self.native.append(NativeSeries(key, histogram, _created(last.get(15)), gauge))

    def _sample(self, key: str, value: float) -> None:
        if key in self.samples:
            self.duplicates += 1
        else:
            self.samples[key] = float(value)

    def _bad(self, why: str, key: str) -> None:
        self.malformed += 1
        self.example = f"{why}: {key}"


def _buckets(spans: list[bytes], deltas: list[int]) -> dict[int, int] | None:
    """Counts by index; None where spans and counts do not fit each other."""
    indices: list[int] = []
    index = 0
    for span in spans:
        parts = dict(_fields(span))
        index += _zigzag(_int(parts.get(1, 0)))
        length = _int(parts.get(2, 0))
        if len(indices) + length > min(len(deltas), _MOST_BUCKETS):
            return None
        indices += range(index, index + length)
        index += length
    if len(indices) != len(deltas):
        return None
    counts, held = {}, 0
    for at, delta in zip(indices, deltas, strict=True):
        held += delta
        if not 0 <= held < 2**62 or abs(at) >= 2**31:
            return None
        counts[at] = held
    return counts


def _fields(data: bytes) -> Iterator[tuple[int, Value]]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        form = tag & 7
        if form == _VARINT:
            value, at = _varint(data, at)
            yield tag >> 3, value
        elif form == _BYTES:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise ValueError(f"a field of {size} bytes where {len(data) - at} are left")
            yield tag >> 3, data[at : at + size]
            at += size
        elif form == _FIXED64:
            yield tag >> 3, struct.unpack_from("<d", data, at)[0]
            at += 8
        elif form == _FIXED32:
            yield tag >> 3, struct.unpack_from("<f", data, at)[0]
            at += 4
        else:
            raise ValueError(f"wire type {form}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = data[at]
    if value < 128:
        return value, at + 1
    value &= 127
    for place in range(1, _LONGEST_VARINT):
        byte = data[at + place]
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at + place + 1
    raise ValueError("a number of more than 10 bytes")


def _signed(value: Value) -> list[int]:
    """One number, or many packed."""
    if not isinstance(value, bytes):
        return [_zigzag(_int(value))]
    found, at = [], 0
    while at < len(value):
        one, at = _varint(value, at)
        found.append(_zigzag(one))
    return found


def _zigzag(value: int) -> int:
    return value >> 1 ^ -(value & 1)


def _created(value: Value | None) -> float:
    if value is None:
        return math.nan
    parts = dict(_fields(_bytes(value)))
    return _int(parts.get(1, 0)) + _int(parts.get(2, 0)) / 1e9


def _key(name: str, labels: list[str]) -> str:
    return f"{name}{{{','.join(labels)}}}" if labels else name


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _text(value: Value) -> str:
    return _bytes(value).decode("utf-8")


def _bytes(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"a number, {value!r}, where a message is wanted")
    return value


def _int(value: Value) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{type(value).__name__} where a whole number is wanted")
    return value


def _float(value: Value) -> float:
    if isinstance(value, bytes):
        raise TypeError("a message where a number is wanted")
    return float(value)
