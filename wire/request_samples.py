"""Request samples as services send them, to agents or to the API: from bytes to records, as JSON, lines of it, msgpack.

A batch that is as it should be is decoded in one go. One that is not is taken apart record by record, so that a wrong
one costs itself alone; what it is left out for is one of the words in REASONS.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import msgspec

#: Microseconds per unit that may end a field's name.
UNITS: Final = {"ns": 1e-3, "us": 1.0, "ms": 1e3, "s": 1e6}
DURATIONS: Final = ("wait", "service", "predicted", "cpu", "raised")
COUNTS: Final = (
    "degree", "degree_final", "in_system", "active_threads", "long_threads", "table_version", "weight",
)  # fmt: skip
#: What bodies with records are called.
CONTENT_TYPES: Final = (
    "application/json",
    "application/x-ndjson",
    "application/ndjson",
    "application/msgpack",
    "application/x-msgpack",
    "application/vnd.msgpack",
)
#: Why a record, or a whole batch, is left out.
REASONS: Final = {
    "too_many": "a batch has more than 100,000 records; send several",
    "malformed": "it is neither JSON (which has no NaN), nor lines of JSON, nor msgpack",
    "no_record": "it is no record; want an object, or an array of objects",
    "bad_values": "a field has another type, or is negative, NaN, infinite or too large",
    "no_service": "it does not name its service",
    "no_unit": "a time has no unit; want wait_ms or wait_us, for example, and arrival_s",
    "two_units": "a time is given twice, in two units",
    "no_times": "it has neither a wait nor a service time",
}
# What times are called by those who forget the unit.
_UNITLESS: Final = frozenset({*DURATIONS, "arrival", "service_time", "predicted_time", "cpu_time"}) - {"service"}
_WEIGHT_MAX: Final = 2**32
_BROKEN: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_Text = Annotated[str, msgspec.Meta(max_length=256)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Weight = Annotated[int, msgspec.Meta(ge=1, le=_WEIGHT_MAX)]
_Ns = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_FIELDS: Final[list[tuple[str, Any, Any]]] = [
    ("service", _Text | None, None),
    ("explored", bool | Annotated[int, msgspec.Meta(ge=0, le=1)] | None, None),
    ("arrival_ns", _Ns | None, None),
    *((f"arrival_{unit}", float | None, None) for unit in UNITS if unit != "ns"),
    *((f"{name}_{unit}", float | None, None) for name in DURATIONS for unit in UNITS),
    *((name, (_Weight if name == "weight" else _Count) | None, None) for name in COUNTS),
]
#: A record as it is sent: attributes are None where it says nothing.
Sample: Final[Any] = msgspec.defstruct("Sample", _FIELDS, gc=False)
_Strict: Final[Any] = msgspec.defstruct("_Strict", _FIELDS, gc=False, forbid_unknown_fields=True)
FIELDS: Final = tuple(name for name, _, _ in _FIELDS)
_KNOWN: Final = frozenset(FIELDS)
# A record takes a quarter of a kilobyte while it is looked at, however short it is as it is sent.
_MOST_RECORDS: Final = 100_000
_MOST_COMMAS: Final = 32  # per record of JSON
_ARRAY_HEADS: Final = {0xDC: 2, 0xDD: 4}  # of msgpack: how many bytes have the length
_EXAMPLE_BYTES: Final = 400
# Names from outside must not fill the memory.
_UNKNOWN_KEPT: Final = 20
_NAME_KEPT: Final = 60


@dataclass(slots=True)
class Samples:
    """Records of one batch, and what was left out of it.

    Attributes:
        left_out: records by reason; a batch that cannot be taken apart counts once.
        examples: one record, or the batch, by reason.
        unknown: names of fields that nobody knows, which were ignored.
    """

    records: list[Any] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    examples: dict[str, bytes] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)

    def leave_out(self, reason: str, example: bytes | memoryview, count: int = 1) -> None:
        """Count so many."""
        self.left_out[reason] = self.left_out.get(reason, 0) + count
        self.examples.setdefault(reason, bytes(example[:_EXAMPLE_BYTES]))

    def add(self, other: "Samples") -> None:
        """Those of another batch."""
        self.records += other.records
        for reason, count in other.left_out.items():
            self.leave_out(reason, other.examples[reason], count)
        self.note_unknown(other.unknown)

    def note_unknown(self, names: Iterable[str]) -> None:
        """Names of fields that nobody knows; so many are kept at most."""
        for name in names:
            if len(self.unknown) >= _UNKNOWN_KEPT:
                return
            self.unknown.add(name[:_NAME_KEPT])


def samples_of(data: bytes) -> Samples:
    """The records of a batch; it is JSON or msgpack by its first byte, which cannot be mistaken.

    A batch is an array of records, one record, lines of records (JSON), or an object whose `requests` is an array of
    records and whose `service` is that of all that name none.
    """
    is_json = data.lstrip()[:1] in (b"[", b"{")
    if is_json and data.count(b"{") > _MOST_RECORDS:
        return _refused("too_many", data)
    if is_json and data.count(b",") > _MOST_COMMAS * (data.count(b"{") + 1):
        return _refused("no_record", data)
    return (_JSON if is_json else _MSGPACK).samples(data)


def _refused(reason: str, data: bytes) -> Samples:
    found = Samples()
    found.leave_out(reason, data)
    return found


class _Form:
    """JSON or msgpack: their decoders look alike, but for lines."""

    def __init__(self, module: Any, *, has_lines: bool) -> None:
        self._has_lines = has_lines
        self._many = module.Decoder(list[_Strict])
        self._single = module.Decoder(_Strict)
        self._lenient = module.Decoder(Sample)
        self._raws = module.Decoder(list[msgspec.Raw])
        self._fields = module.Decoder(dict[str, msgspec.Raw])
        self._text = module.Decoder(_Text | None)

    def samples(self, data: bytes) -> Samples:
        """As `samples_of`."""
        if not self._has_lines and _length(data) > _MOST_RECORDS:
            return _refused("too_many", data)
        try:
            if self._has_lines and not data.lstrip().startswith(b"["):
                return Samples(self._single.decode_lines(data))
            return Samples(self._many.decode(data))
        except _BROKEN:
            return self._carefully(data)

    def _carefully(self, data: bytes) -> Samples:
        """What can be used of a batch that is not simply an array or lines of good records."""
        found = Samples()
        try:
            service, raws = self._parts(data)
        except _BROKEN:
            return _refused("malformed", data)
        if len(raws) > _MOST_RECORDS:
            return _refused("too_many", data)
        for raw in raws:
            self._take(raw, service, found)
        return found

    def _parts(self, data: bytes) -> tuple[str | None, Sequence[Any]]:
        """The service that goes for all, and the records as they stand."""
        with suppress(*_BROKEN):
            return None, self._raws.decode(data)
        try:
            fields = self._fields.decode(data)
        except _BROKEN:
            lines = data.splitlines() if self._has_lines else []
            if len(lines) <= 1:
                raise
            return None, [line for line in lines if line.strip()]
        if "requests" not in fields:
            return None, [data]
        service = self._text.decode(fields["service"]) if "service" in fields else None
        requests = fields["requests"]
        if not self._has_lines and _length(memoryview(requests)) > _MOST_RECORDS:
            return None, range(_MOST_RECORDS + 1)
        return service, self._raws.decode(requests)

    def _take(self, raw: Any, service: str | None, found: Samples) -> None:
        try:
            names = self._fields.decode(raw).keys()
        except _BROKEN:
            found.leave_out("no_record", memoryview(raw))
            return
        unknown = names - _KNOWN
        if unknown & _UNITLESS:
            found.leave_out("no_unit", memoryview(raw))
            return
        found.note_unknown(unknown)
        try:
            record = self._lenient.decode(raw)
        except _BROKEN:
            found.leave_out("bad_values", memoryview(raw))
            return
        if record.service is None:
            record.service = service
        found.records.append(record)


def _length(data: bytes | memoryview) -> int:
    """What a long array of msgpack says of its length, before anything of it is made; 0 for anything else."""
    size = _ARRAY_HEADS.get(data[0], 0) if data else 0
    return int.from_bytes(data[1 : 1 + size], "big")


_JSON: Final = _Form(msgspec.json, has_lines=True)
_MSGPACK: Final = _Form(msgspec.msgpack, has_lines=False)
