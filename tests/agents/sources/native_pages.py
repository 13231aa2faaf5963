"""Pages of /metrics as protobuf, put together field by field, and native histograms of given values in them."""

import math
import struct

COUNTER, GAUGE, SUMMARY, UNTYPED, HISTOGRAM, GAUGE_HISTOGRAM = range(6)


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def whole(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def signed(number: int, value: int) -> bytes:
    return whole(number, value * 2 if value >= 0 else -value * 2 - 1)


def double(number: int, value: float) -> bytes:
    return varint(number << 3 | 1) + struct.pack("<d", value)


def message(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def family(name: str, kind: int, *metrics: bytes) -> bytes:
    body = message(1, name.encode()) + message(2, b"help") + whole(3, kind)
    body += b"".join(message(4, metric) for metric in metrics)
    return varint(len(body)) + body


def label(name: str, value: str) -> bytes:
    return message(1, message(1, name.encode()) + message(2, value.encode()))


def native(
    values: list[float], schema: int = 3, threshold: float = 2.0**-128, *, packed: bool = False, created: int = 0
) -> bytes:
    """The field `histogram` of these values, as an instrumented program gives it out."""
    body = whole(1, len(values)) + double(2, float(sum(values))) + signed(5, schema) + double(6, threshold)
    body += whole(7, sum(abs(value) <= threshold for value in values))
    for sign, spans, deltas in ((-1, 9, 10), (1, 12, 13)):
        counts: dict[int, int] = {}
        for value in values:
            if value * sign > threshold:
                index = math.ceil(math.log2(abs(value)) * 2.0**schema)
                counts[index] = counts.get(index, 0) + 1
        last, held, found = None, 0, []
        for index in sorted(counts):
            body += message(spans, signed(1, index if last is None else index - last - 1) + whole(2, 1))
            found.append(counts[index] - held)
            last, held = index, counts[index]
        if packed and found:
            body += message(deltas, b"".join(varint(one * 2 if one >= 0 else -one * 2 - 1) for one in found))
        else:
            body += b"".join(signed(deltas, one) for one in found)
    if created:
        body += message(15, whole(1, created))
    return message(7, body)
