"""Configuration as a tree in which every value knows where it was written.

YAML, environment and flags all become this one tree, so that the checks in config_check.py run once and
every message names a file and line, a variable or a flag. Overlays: maps merge key by key, lists and values
are replaced whole. Invariant: a tree is never changed, only rebuilt.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Scalar = None | bool | int | float | str


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was written: a file with line and column, or a named source such as a flag."""

    source: str
    line: int = 0
    column: int = 0
    folder: str = ""  # the folder that relative paths of this source start from; "" is the current one

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True, slots=True)
class Leaf:
    """One scalar. `text` is what was typed; where `untyped` is set (variables, flags) it may stand in for the value."""

    value: Scalar
    text: str
    place: Place
    untyped: bool = False


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: tuple["Node", ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Branch:
    """A map from keys to nodes; `key_places` says where each key stands."""

    entries: Mapping[str, "Node"]
    place: Place
    key_places: Mapping[str, Place] = field(default_factory=dict)

    def key_place(self, key: str) -> Place:
        """Where `key` was written."""
        return self.key_places.get(key, self.place)


Node = Leaf | Items | Branch


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: its place, the full dotted key (may be empty) and what is wrong in words."""

    place: Place
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.key}: {self.message}" if self.key else f"{self.place}: {self.message}"


def overlaid(below: Node, above: Node) -> Node:
    """`below` with everything `above` says on top of it."""
    if not (isinstance(below, Branch) and isinstance(above, Branch)):
        return above
    entries = dict(below.entries)
    for key, node in above.entries.items():
        entries[key] = overlaid(entries[key], node) if key in entries else node
    return Branch(entries, below.place, {**below.key_places, **above.key_places})


def nested(keys: tuple[str, ...], node: Node, place: Place) -> Branch:
    """The tree that holds only `node`, below the given keys."""
    for key in reversed(keys):
        node = Branch({key: node}, place, {key: place})
    assert isinstance(node, Branch), "at least one key is needed"
    return node


def places(node: Node, key: str = "") -> dict[str, Place]:
    """Full dotted key of every leaf and list, `queries[0].sql` for those inside a list -> where it was written."""
    found: dict[str, Place] = {}
    if isinstance(node, Branch):
        for name, child in node.entries.items():
            found |= places(child, f"{key}.{name}" if key else name)
        return found
    found[key] = node.place
    if isinstance(node, Items):
        for index, item in enumerate(node.items):
            found |= places(item, f"{key}[{index}]")
    return found
