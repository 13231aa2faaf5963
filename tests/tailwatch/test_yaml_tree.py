"""YAML to a tree: types of scalars, places, and every kind of file that must be refused."""

import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tailwatch.config_tree import Branch, Items, Leaf, Node, Place
from tailwatch.errors import ConfigError
from tailwatch.yaml_tree import parse, read_file

ORIGIN = Place("t.yaml")


def plain(node: Node) -> object:
    if isinstance(node, Branch):
        return {key: plain(child) for key, child in node.entries.items()}
    return [plain(item) for item in node.items] if isinstance(node, Items) else node.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("no", "no"),
        ("12:30", "12:30"),
        ("2026-11-22", "2026-11-22"),
        ("1_000", "1_000"),
        ("1e3", 1000.0),
        ("-.5", -0.5),
        ("0x1f", 31),
        ("0o17", 15),
        ("007", 7),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("'null'", "null"),
        ('"42"', "42"),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
        ("sqlite:///x.db", "sqlite:///x.db"),
    ],
)
def test_scalars_follow_the_core_rules_of_yaml_1_2(text: str, value: object) -> None:
    got = plain(parse(text, ORIGIN))
    assert got == value
    assert type(got) is type(value)


def test_nan_is_a_number() -> None:
    got = plain(parse(".nan", ORIGIN))
    assert isinstance(got, float)
    assert math.isnan(got)


def test_every_value_knows_its_line_and_column() -> None:
    tree = parse("a:\n  b: 1\n  c:\n    - x\n    - {d: 2}\n", ORIGIN)
    assert isinstance(tree, Branch)
    a = tree.entries["a"]
    assert isinstance(a, Branch)
    assert str(a.key_place("b")) == "t.yaml:2:3"
    assert str(a.entries["b"].place) == "t.yaml:2:6"
    c = a.entries["c"]
    assert isinstance(c, Items)
    assert str(c.items[1].place) == "t.yaml:5:7"


def test_every_repeated_key_is_named_with_both_places() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("a: 1\nb: 2\na: 3\nc: {d: 1, d: 2}\n", ORIGIN)
    assert caught.value.problems == (
        "t.yaml:3:1: a: written twice, first at t.yaml:1:1; keep one of them",
        "t.yaml:4:11: d: written twice, first at t.yaml:4:5; keep one of them",
    )


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: [1, 2\nb: 3\n", "t.yaml:2:2"),
        ("a: b: c\n", "t.yaml:1:5"),
        ("\tx: 1", "t.yaml:1:1"),
        ("a: 1\n---\nb: 2\n", "t.yaml:2:1"),
    ],
)
def test_broken_yaml_is_refused_with_its_place(text: str, place: str) -> None:
    with pytest.raises(ConfigError, match="not valid YAML") as caught:
        parse(text, ORIGIN)
    assert str(caught.value).startswith(place + ":")


def test_an_alias_that_contains_itself_is_refused() -> None:
    with pytest.raises(ConfigError, match="aliases"):
        parse("a: &x [*x]\n", ORIGIN)


def test_aliases_that_multiply_are_refused_in_little_time() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(ConfigError, match="aliases"):
        parse("\n".join(lines), ORIGIN)


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="nested too deeply"):
        parse("[" * 5000, ORIGIN)


def test_a_plain_alias_may_be_used() -> None:
    assert plain(parse("a: &x {b: 1}\nc: *x\n", ORIGIN)) == {"a": {"b": 1}, "c": {"b": 1}}


@pytest.mark.parametrize("content", [b"", b"# only a comment\n", b"---\n"])
def test_an_empty_file_is_an_empty_configuration(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "c.yaml"
    file.write_bytes(content)
    assert read_file(file).entries == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"- 1\n", "expected a map"), (b"\xff\xfe", "not UTF-8 at byte 0"), (b"a: \x00", "not valid YAML")],
)
def test_a_file_that_is_no_map_of_text_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_file(file)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: cannot be read: No such file"):
        read_file(tmp_path / "absent.yaml")


_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False), st.text(max_size=8)
)
_TREES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)),
    max_leaves=12,
)


@settings(max_examples=60)
@given(_TREES)
def test_what_pyyaml_writes_is_read_back(tree: object) -> None:
    assert plain(parse(yaml.safe_dump(tree, default_flow_style=True, allow_unicode=True), ORIGIN)) == tree


@settings(max_examples=80)
@given(st.text(max_size=60))
def test_any_text_is_a_tree_or_a_config_error(text: str) -> None:
    try:
        node = parse(text, ORIGIN)
    except ConfigError:
        return
    assert isinstance(node, Leaf | Items | Branch)
