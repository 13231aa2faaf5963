"""The rules of smart_rules.yaml: from a SATA drive's vendor attributes to canonical fields.

The same number means other things with other vendors, raw values are packed, and units differ; so a field is filled
only where a rule for that family of drives says how. Pure but for reading that one file.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import yaml

Take: TypeAlias = Literal["raw", "value", "worn_value", "left_raw", "high16", "low16"]

RULES_FILE: Final = Path(__file__).with_name("smart_rules.yaml")
LARGEST: Final = 2**63 - 1
# What firmware writes where it has no value: a counter that reached one of these would be no news either.
_NO_VALUE: Final = frozenset({2**32 - 1, 2**48 - 1, 2**56 - 1, 2**64 - 1})
_UNIT_BYTES: Final = {"": 1, "MiB": 2**20, "32MiB": 2**25, "GiB": 2**30, "GB": 10**9}


@dataclass(frozen=True, slots=True)
class Attribute:
    """One vendor attribute; what the drive did not give, or not as a whole number, is None."""

    id: int
    name: str
    value: int | None
    worst: int | None
    threshold: int | None
    raw: int | None
    failed: str


@dataclass(frozen=True, slots=True)
class Rule:
    """How one field may be read; see the head of the file."""

    id: int | None
    name: re.Pattern[str] | None
    take: Take
    unit: str
    pages: tuple[int, int, int] | None

    def read(self, attributes: Sequence[Attribute], block_bytes: int) -> int | None:
        """The field's value, or None where this rule has nothing to say."""
        if self.pages is not None:
            return _bytes_by_pages(self.pages, attributes, block_bytes)
        for one in attributes:
            if (self.id in (None, one.id)) and (self.name is None or self.name.fullmatch(one.name)):
                taken = _taken(self.take, one)
                if taken is not None:
                    return _in_range(taken * (block_bytes if self.unit == "lba" else _UNIT_BYTES[self.unit]))
        return None


Fields: TypeAlias = Mapping[str, Sequence[Rule]]


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules: those of each family already hold the default ones for the fields that it does not name."""

    default: Fields
    hard_disk: Fields
    unknown_hard_disk: Fields
    families: Sequence[tuple[re.Pattern[str], Fields]]

    def fields_of(self, family: str, *, in_database: bool, hard_disk: bool) -> Fields:
        """The rules for one drive; none where nothing is known of it."""
        if in_database and hard_disk:
            return self.hard_disk
        if in_database:
            return next((fields for match, fields in self.families if match.search(family)), self.default)
        return self.unknown_hard_disk if hard_disk else {}


def canonical(fields: Fields, attributes: Sequence[Attribute], block_bytes: int) -> dict[str, int]:
    """What the rules find; fields that they do not find are left out."""
    found: dict[str, int] = {}
    for field, rules in fields.items():
        for rule in rules:
            value = rule.read(attributes, block_bytes)
            if value is not None and not (field.endswith("_pct") and value > 100):
                found[field] = value
                break
    return found


@cache
def rule_set() -> RuleSet:
    """The rules of the file, read once."""
    document = yaml.safe_load(RULES_FILE.read_text(encoding="utf-8"))
    default = _fields(document["default"])
    families = [
        (re.compile(family["match"]), {**default, **_fields(family["fields"])}) for family in document["families"]
    ]
    hard_disk = {**default, **_fields(document["hard_disk"])}
    return RuleSet(default, hard_disk, _fields(document["unknown_hard_disk"]), families)


def _fields(document: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[Rule]]:
    return {field: [_rule(rule) for rule in rules] for field, rules in document.items()}


def _rule(document: Mapping[str, Any]) -> Rule:
    pages = None
    if "pages_of_host" in document:
        pages = (document["pages_of_host"], document["pages_of_drive"], document["host_blocks"])
    name = document.get("name")
    return Rule(
        document.get("id"),
        None if name is None else re.compile(name),
        document.get("take", "raw"),
        document.get("unit", ""),
        pages,
    )


def _taken(take: Take, one: Attribute) -> int | None:
    raw = None if one.raw in _NO_VALUE else one.raw
    match take:
        case "value":
            return _percentage(one.value)
        case "worn_value":
            left = _percentage(one.value)
            return None if left is None else 100 - left
        case "left_raw":
            left = _percentage(raw)
            return None if left is None else 100 - left
        case "high16":
            return None if raw is None else raw >> 16 & 0xFFFF
        case "low16":
            return None if raw is None else raw & 0xFFFF
        case _:
            return raw


def _percentage(value: int | None) -> int | None:
    return value if value is not None and 0 <= value <= 100 else None


def _in_range(value: int) -> int | None:
    return value if 0 <= value <= LARGEST else None


def _bytes_by_pages(ids: tuple[int, int, int], attributes: Sequence[Attribute], block_bytes: int) -> int | None:
    """Bytes written to flash: the host's bytes times (pages of the host + of the drive) / pages of the host."""
    raws = {one.id: one.raw for one in attributes if one.raw not in _NO_VALUE}
    of_host, of_drive, blocks = (raws.get(number) for number in ids)
    if of_host is None or of_drive is None or blocks is None or of_host == 0:
        return None
    return _in_range(blocks * block_bytes * (of_host + of_drive) // of_host)
