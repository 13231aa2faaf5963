"""Checks a configuration tree against msgspec Structs and names every fault with its place and nearest known key.

msgspec alone stops at the first fault and knows no lines; so the tree is walked along the Structs' own type
hints, each leaf is converted by itself, and a Struct's own `__post_init__` runs once its fields are sound.
"""

import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from tailwatch.config_tree import Branch, Items, Leaf, Node, Place, Problem
from tailwatch.errors import ConfigError
from tailwatch.renamed_keys import Renamed

S = TypeVar("S", bound=msgspec.Struct)

_BAD = object()  # stands for a value that already has its Problem


def checked(tree: Branch, struct: type[S], renamed: Mapping[str, Renamed] = types.MappingProxyType({})) -> S:
    """The Struct a tree describes; `renamed` holds keys that are known under another name, by their full old one.

    Raises:
        ConfigError: with one problem for each fault in the whole tree.
    """
    walk = _Walk(renamed)
    value = walk.struct(tree, struct, "")
    if not walk.problems:
        try:
            return msgspec.convert(value, struct)
        except msgspec.ValidationError as error:  # a limit on a list or map as a whole, which no leaf shows
            walk.report(tree.place, "", str(error).replace("`", ""))
    raise ConfigError([str(problem) for problem in walk.problems])


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known word most like `word`, or None when none is close."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return found[0] if found else None


def unknown_hint(word: str, known: Iterable[str]) -> str:
    """`did you mean x?` or, when nothing is close, the list of what is known."""
    names = sorted(known)
    near = nearest(word, names)
    return f"did you mean {near}?" if near else f"known here: {', '.join(names) or 'nothing'}"


class _Walk:
    """One pass over a tree; returns plain values and gathers problems."""

    def __init__(self, renamed: Mapping[str, Renamed]) -> None:
        self.problems: list[Problem] = []
        self.renamed = renamed

    def report(self, place: Place, key: str, message: str) -> object:
        self.problems.append(Problem(place, key, message))
        return _BAD

    def value(self, node: Node, hint: Any, key: str) -> Any:
        """The plain value of `node` as `hint` wants it, or _BAD."""
        options = _options(hint)
        structs = [option for option in options if _is_struct(option)]
        null = isinstance(node, Leaf) and node.value is None
        if null and type(None) in options:
            return None
        if structs:
            # A section whose keys are all commented out reads as null: it asks for the defaults.
            branch = Branch({}, node.place) if null and len(structs) == 1 else node
            return self.struct(branch, structs[0], key) if len(structs) == 1 else self.tagged(node, structs, key)
        container = next((option for option in options if typing.get_origin(option) in (dict, list, tuple)), None)
        if container is None:
            return self.leaf(node, hint, key)
        if typing.get_origin(container) is dict:
            return self.map(Branch({}, node.place) if null else node, typing.get_args(container), key)
        return self.list(Items((), node.place) if null else node, typing.get_args(container)[0], key)

    def struct(self, node: Node, struct: type[msgspec.Struct], key: str) -> Any:
        if not isinstance(node, Branch):
            known = ", ".join(field.encode_name for field in msgspec.structs.fields(struct))
            return self.report(node.place, key, f"expected a map with keys of {known}, got {_shown(node)}")
        fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
        tag = struct.__struct_config__.tag_field
        plain: dict[str, Any] = {}
        before = len(self.problems)
        for name, child in node.entries.items():
            full = f"{key}.{name}" if key else name
            if name == tag:
                plain[name] = child.value if isinstance(child, Leaf) else None
            elif full in self.renamed and name not in fields:
                self.report(node.key_place(name), full, self.renamed[full].said(name, child))
            elif name not in fields:
                known_names = [*fields, tag] if tag else fields
                self.report(node.key_place(name), full, f"unknown key; {unknown_hint(name, known_names)}")
            else:
                plain[name] = self.value(child, fields[name].type, full)
        for name, field in fields.items():
            if field.required and name not in node.entries:
                self.report(node.place, f"{key}.{name}" if key else name, "is required here and missing")
        if len(self.problems) > before:
            return _BAD
        try:
            msgspec.convert(plain, struct)
        except msgspec.ValidationError as error:
            return self.report(node.place, key, _without_path(str(error)))
        return plain

    def tagged(self, node: Node, structs: list[type[msgspec.Struct]], key: str) -> Any:
        """One of several Structs, told apart by their tag field."""
        tag_field = structs[0].__struct_config__.tag_field or "type"
        by_tag = {str(struct.__struct_config__.tag): struct for struct in structs}
        if not isinstance(node, Branch):
            return self.report(node.place, key, f"expected a map with a key {tag_field}, got {_shown(node)}")
        tag = node.entries.get(tag_field)
        if tag is None:
            return self.report(node.place, f"{key}.{tag_field}", f"is required here: one of {', '.join(by_tag)}")
        name = tag.text if isinstance(tag, Leaf) else ""
        if name not in by_tag:
            return self.report(tag.place, f"{key}.{tag_field}", f"unknown {_shown(tag)}; {unknown_hint(name, by_tag)}")
        return self.struct(node, by_tag[name], key)

    def map(self, node: Node, hints: tuple[Any, ...], key: str) -> Any:
        """A map with free keys; `hints` are those of its keys and of its values."""
        if not isinstance(node, Branch):
            return self.report(node.place, key, f"expected a map, got {_shown(node)}")
        plain = {}
        for name, child in node.entries.items():
            plain[name] = self.value(child, hints[1], f"{key}.{name}")
            try:
                msgspec.convert(name, hints[0])
            except msgspec.ValidationError as error:
                self.report(node.key_place(name), f"{key}.{name}", f"the key: {_without_path(str(error))}")
        return plain

    def list(self, node: Node, hint: Any, key: str) -> Any:
        if not isinstance(node, Items):
            return self.report(node.place, key, f"expected a list, got {_shown(node)}")
        return [self.value(child, hint, f"{key}[{index}]") for index, child in enumerate(node.items)]

    def leaf(self, node: Node, hint: Any, key: str) -> Any:
        if not isinstance(node, Leaf):
            return self.report(node.place, key, f"expected one value, got {_shown(node)}")
        try:
            return msgspec.to_builtins(msgspec.convert(node.value, hint))
        except msgspec.ValidationError as error:
            if node.untyped:  # a variable or flag has no quotes of its own: 42 may well be meant as text
                try:
                    return msgspec.to_builtins(msgspec.convert(node.text, hint))
                except msgspec.ValidationError:
                    pass
            allowed = _allowed(hint)
            if allowed:
                return self.report(
                    node.place, key, f"no such value: {_shown(node)}; {unknown_hint(node.text, allowed)}"
                )
            quote = (
                "; put quotes around it" if "Expected `str" in str(error) and not isinstance(node.value, str) else ""
            )
            return self.report(node.place, key, f"{_without_path(str(error))}: {_shown(node)}{quote}")


def _options(hint: Any) -> tuple[Any, ...]:
    """The members of a union (or the hint alone), stripped of Annotated."""
    if typing.get_origin(hint) is typing.Annotated:
        return _options(typing.get_args(hint)[0])
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return tuple(option for member in typing.get_args(hint) for option in _options(member))
    return (hint,)


def _allowed(hint: Any) -> list[str]:
    """The values a Literal takes."""
    options = [option for option in _options(hint) if typing.get_origin(option) is typing.Literal]
    return [str(value) for option in options for value in typing.get_args(option)]


def _is_struct(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def _shown(node: Node) -> str:
    if isinstance(node, Leaf):
        return "nothing" if node.value is None else repr(node.text if isinstance(node.value, str) else node.value)
    return "a list" if isinstance(node, Items) else "a map"


def _without_path(message: str) -> str:
    """msgspec's text without its own path and back-ticks; the place and key stand in front already."""
    text = message.partition(" - at `")[0].replace("`", "")
    return text[:1].lower() + text[1:]
