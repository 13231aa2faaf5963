"""YAML text to a configuration tree, with line and column kept for every key and value.

Scalars follow YAML 1.2's core rules, not PyYAML's 1.1 ones: `on`, `no` and `12:30` stay text, `1e3` is a number.
Duplicate keys are refused, which PyYAML's own loader does not do.
"""

import re
from pathlib import Path

import yaml

from tailwatch.config_tree import Branch, Items, Leaf, Node, Place, Problem, Scalar
from tailwatch.errors import ConfigError

# An alias may repeat a node many times over ("billion laughs"); no honest configuration comes near this.
MAX_NODES = 20_000


class _Loader(yaml.SafeLoader):
    """SafeLoader that resolves every plain scalar to text; `scalar` gives it its type."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own hook


_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]{1,30}|0o[0-7]{1,30}|0x[0-9a-fA-F]{1,30}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def read_file(path: Path) -> Branch:
    """The tree of a configuration file.

    Raises:
        ConfigError: the file cannot be read, is not YAML, is not a map or repeats a key; every repeated key is named.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}; check the path and its permissions"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: is not UTF-8 at byte {error.start}; save it as UTF-8"]) from error
    tree = parse(text, Place(str(path), folder=str(path.parent.absolute())))
    if isinstance(tree, Leaf) and tree.value is None:
        return Branch({}, tree.place)
    if not isinstance(tree, Branch):
        raise ConfigError([f"{tree.place}: expected a map of settings such as `api: {{port: 8080}}`"])
    return tree


def parse(text: str, origin: Place, *, untyped: bool = False) -> Node:
    """The tree of YAML text; `origin` names the source and, when it has no lines of its own, is every node's place.

    Raises:
        ConfigError: not YAML, or keys are repeated.
    """
    reader = _Reader(origin, untyped)
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = reader.place(mark) if mark else origin
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError([f"{place}: not valid YAML: {what}"]) from error
    except yaml.YAMLError as error:
        raise ConfigError([f"{origin}: not valid YAML: {error}"]) from error
    except RecursionError as error:
        raise ConfigError([f"{origin}: nested too deeply to be read"]) from error
    if root is None:
        return Leaf(None, "", origin, untyped)
    node = reader.node(root, ())
    if reader.problems:
        raise ConfigError([str(problem) for problem in reader.problems])
    return node


def scalar(text: str) -> Scalar:
    """What an unquoted scalar stands for."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if _FLOAT.fullmatch(text) or _NOT_FINITE.fullmatch(text):
        return float(text.replace(".", "") if _NOT_FINITE.fullmatch(text) else text)
    return text


class _Reader:
    """Turns PyYAML's nodes into ours and collects what is wrong on the way."""

    def __init__(self, origin: Place, untyped: bool) -> None:
        self.origin = origin
        self.untyped = untyped
        self.problems: list[Problem] = []
        self.left = MAX_NODES

    def place(self, mark: yaml.Mark) -> Place:
        """A mark of PyYAML as a place; the origin itself where the text is one variable or flag."""
        if self.untyped:
            return self.origin
        return Place(self.origin.source, mark.line + 1, mark.column + 1, self.origin.folder)

    def node(self, node: yaml.Node, above: tuple[int, ...]) -> Node:
        place = self.place(node.start_mark)
        self.left -= 1
        if id(node) in above or self.left < 0:
            raise ConfigError([f"{place}: aliases repeat too much of this file; write the values out"])
        within = (*above, id(node))
        if isinstance(node, yaml.ScalarNode):
            value = scalar(node.value) if node.style is None else node.value
            return Leaf(value, node.value, place, self.untyped)
        if isinstance(node, yaml.SequenceNode):
            return Items(tuple(self.node(child, within) for child in node.value), place)
        assert isinstance(node, yaml.MappingNode)
        return self._branch(node, place, within)

    def _branch(self, node: yaml.MappingNode, place: Place, within: tuple[int, ...]) -> Branch:
        entries: dict[str, Node] = {}
        key_places: dict[str, Place] = {}
        for key_node, value_node in node.value:
            key_place = self.place(key_node.start_mark)
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(Problem(key_place, "", "a key must be plain text, not a list or a map"))
                continue
            key = key_node.value
            if key in entries:
                first = key_places[key]
                self.problems.append(Problem(key_place, key, f"written twice, first at {first}; keep one of them"))
                continue
            key_places[key] = key_place
            entries[key] = self.node(value_node, within)
        return Branch(entries, place, key_places)
