"""The pattern `json`: an object per record, its keys as columns.

A column is the key of its name; where no record has that, the key that becomes it when signs are written as `_`, or
one inside of objects: `{"http": {"status-code": 200}}` has the column http_status_code. Where a column's key was found
is remembered, so that only what is wanted is ever made a Python object.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl

from agents.sources.logs_columns import TimeColumn
from agents.sources.logs_lines import Bools, Records
from agents.sources.logs_pattern import Parsed
from agents.sources.logs_text import typed_rows
from pipeline.schema import COLUMN_TYPES, TIME_COLUMN

# Records of a block that are looked through for a key that was not found under the column's name.
_LOOKED_THROUGH: Final = 16
_DEEPEST: Final = 8
_SIGNS: Final = re.compile(r"[^A-Za-z0-9]")
_TIME: Final = "@time"
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class JsonPattern:
    """Takes the wanted keys from objects."""

    def __init__(self, columns: Mapping[str, str], time_column: str, time: TimeColumn) -> None:
        """`columns` are the wanted ones with their types; `time_column` is a key, or ""."""
        self._columns = columns
        self._time = time
        self._paths: dict[str, tuple[str, ...]] = {name: (name,) for name in columns}
        if time_column:
            self._paths[_TIME] = (time_column,)
        self._decoder = self._decoder_of_paths()

    def parse(self, records: Records, now_ns: int) -> Parsed:
        """What is no object is left out; a key that an object does not have is NULL there."""
        del now_ns
        objects, fitting = self._decoded(records)
        if objects and self._found_elsewhere(records.of(fitting), objects):
            objects, fitting = self._decoded(records)
        values = {name: self._values(name, objects) for name in self._paths}
        bad: Counter[str] = Counter()
        ready: dict[str, pl.Series] = {}
        texts: dict[str, pl.Series] = {}
        for name, kind in self._columns.items():
            column = _as_it_is(values[name], kind)
            if column is None:
                texts[name], bad[name] = _texts(values[name])
            else:
                ready[name] = column.alias(name)
        time = None
        if _TIME in values:
            time, bad[TIME_COLUMN] = _texts(values[_TIME])
        rows, misfits = typed_rows(texts, self._columns, time, self._time, len(objects))
        return Parsed(rows.with_columns(**ready), fitting, bad + Counter(misfits))

    def _decoder_of_paths(self) -> msgspec.json.Decoder[Any]:
        """One field per key of the first level."""
        keys = list(dict.fromkeys(path[0] for path in self._paths.values()))
        self._fields = {key: f"f{number}" for number, key in enumerate(keys)}
        fields: Any = [(field, Any, None) for field in self._fields.values()]
        kind = msgspec.defstruct("Line", fields, rename={field: key for key, field in self._fields.items()})
        return msgspec.json.Decoder(kind)

    def _decoded(self, records: Records) -> tuple[list[Any], Bools]:
        decode, view = self._decoder.decode, memoryview(records.data)
        objects: list[Any] = []
        fitting = np.ones(len(records), np.bool_)
        for place, (start, end) in enumerate(zip(records.starts.tolist(), records.ends.tolist(), strict=True)):
            try:
                objects.append(decode(view[start:end]))
            except _UNREADABLE:
                fitting[place] = False
        return objects, fitting

    def _values(self, name: str, objects: Sequence[Any]) -> list[Any]:
        first, *rest = self._paths[name]
        field = self._fields[first]
        found = [getattr(one, field) for one in objects]
        for key in rest:
            found = [value.get(key) if isinstance(value, dict) else None for value in found]
        return found

    def _found_elsewhere(self, records: Records, objects: Sequence[Any]) -> bool:
        """Look for the keys of columns that no record has under their own name; whether one was found."""
        missing = [name for name in self._columns if all(value is None for value in self._values(name, objects))]
        if not missing:
            return False
        known: dict[str, tuple[str, ...]] = {}
        for place in range(min(len(records), _LOOKED_THROUGH)):
            for path in _paths(_whole_object(records.example(place)), ()):
                known.setdefault(_SIGNS.sub("_", "_".join(path)), path)
        found = {name: known[name] for name in missing if known.get(name, self._paths[name]) != self._paths[name]}
        self._paths |= found
        if found:
            self._decoder = self._decoder_of_paths()
        return bool(found)


def _whole_object(record: bytes) -> Any:
    """With what the wanted fields were read around: there may be something that cannot be read."""
    try:
        return msgspec.json.decode(record)
    except _UNREADABLE:
        return None


def _paths(value: Any, above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Where the plain values of an object are."""
    if not isinstance(value, dict):
        if value is not None and not isinstance(value, list):
            yield above
    elif len(above) < _DEEPEST:
        for key, inside in value.items():
            yield from _paths(inside, (*above, key))


def _as_it_is(values: list[Any], kind: str) -> pl.Series | None:
    """The column where all values have its type, as they mostly do."""
    if kind != "string" and any(value is True or value is False for value in values) != (kind == "bool"):
        return None
    try:
        return pl.Series(values, dtype=COLUMN_TYPES[kind], strict=True)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        return None


def _texts(values: list[Any]) -> tuple[pl.Series, int]:
    """Plain values as text, NULL for objects and lists, and how many those were."""
    found: list[str | None] = []
    bad = 0
    for value in values:
        if value is None or isinstance(value, str):
            found.append(value)
        elif isinstance(value, bool):
            found.append("true" if value else "false")
        elif isinstance(value, float):
            found.append(str(int(value)) if value.is_integer() and abs(value) < 2**63 else repr(value))
        elif isinstance(value, int):
            found.append(str(value))
        else:
            found.append(None)
            bad += 1
    return pl.Series(found, dtype=pl.String), bad
