"""What a StatsD line means, said once more in plain Python, one line after the other: the fast parser must agree."""

import math
import re
from collections import Counter
from dataclasses import dataclass

KINDS = {"c": "counter", "g": "gauge", "ms": "timer", "h": "histogram", "d": "distribution"}
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Value:
    name: str
    kind: str
    value: float
    signed: bool
    rate: float
    tags: str | None
    time: str | int | None  # as text, or as the number that it says


def values_of(data: bytes, counts: Counter[str]) -> list[Value]:
    """The values of a datagram in order; `counts` is told what cannot be used."""
    found: list[Value] = []
    for raw in re.sub(rb"\r$", b"", data, flags=re.MULTILINE).split(b"\n"):
        if not raw:
            continue
        if any(octet < 32 or octet == 127 for octet in raw):
            counts["malformed"] += 1
            continue
        try:
            line = raw.decode()
        except UnicodeDecodeError:
            counts["bad_utf8"] += 1
            continue
        if line.startswith(("_e{", "_sc|")):
            counts["events" if line.startswith("_e{") else "service_checks"] += 1
            continue
        found += _values(line, counts)
    return found


def _values(line: str, counts: Counter[str]) -> list[Value]:
    head, *fields = line.split("|")
    name, *numbers = head.split(":")
    if not fields or not numbers or not 0 < len(name.encode()) <= 255 or fields[0] not in (*KINDS, "s"):
        counts["malformed"] += 1
        return []
    if fields[0] == "s":
        counts["sets"] += 1
        return []
    extra = {field[0]: field[1:] for field in fields[1:] if field}
    rate: float | None = 1.0
    if "@" in extra:
        rate = _number(extra["@"])
        if rate is None or not 2**-32 <= rate <= 1:
            counts["bad_rate"] += 1
            rate = None
    found = []
    for text in numbers:
        value = _number(text)
        if value is None or abs(value) > 1e290:
            counts["bad_values"] += 1
        elif rate is not None:
            signed = text[0] in "+-"
            found.append(Value(name, KINDS[fields[0]], value, signed, rate, extra.get("#"), extra.get("T")))
    return found


def _number(text: str) -> float | None:
    value = float(text) if NUMBER.fullmatch(text) else math.nan
    return None if math.isnan(value) else value
