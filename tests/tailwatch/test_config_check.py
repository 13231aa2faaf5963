"""Trees against Structs: each fault named with place, full key and nearest known key, all of them at once."""

from typing import Annotated, Literal

import msgspec
import pytest

from tailwatch.config_check import checked
from tailwatch.config_tree import Branch, Place
from tailwatch.errors import ConfigError
from tailwatch.yaml_tree import parse


class Cat(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="cat"):
    lives: Annotated[int, msgspec.Meta(ge=1, le=9)] = 9


class Dog(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="dog"):
    name: str


class House(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    doors: int = 1
    windows: int = 2

    def __post_init__(self) -> None:
        if self.doors > self.windows:
            raise ValueError(f"{self.doors} doors and {self.windows} windows; want at least as many windows")


class Farm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    owner: str = "nobody"
    size: Literal["small", "large"] = "small"
    area_m2: float | None = None
    house: House = House()
    animals: tuple[Cat | Dog, ...] = ()
    fields: dict[Annotated[str, msgspec.Meta(pattern="^[a-z]+$")], dict[str, int]] = {}


def problems(text: str) -> list[str]:
    tree = parse(text, Place("f"))
    assert isinstance(tree, Branch)
    with pytest.raises(ConfigError) as caught:
        checked(tree, Farm)
    return list(caught.value.problems)


def farm(text: str) -> Farm:
    tree = parse(text, Place("f"))
    assert isinstance(tree, Branch)
    return checked(tree, Farm)


def test_a_sound_tree_becomes_its_struct() -> None:
    got = farm(
        "{owner: Ann, area_m2: 2, house: {doors: 2}, "
        "animals: [{kind: dog, name: Rex}, {kind: cat}], fields: {north: {rows: 3}}}"
    )
    assert got == Farm("Ann", "small", 2.0, House(2), (Dog("Rex"), Cat()), {"north": {"rows": 3}})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("oner: x", "f:1:1: oner: unknown key; did you mean owner?"),
        ("zzz: x", "f:1:1: zzz: unknown key; known here: animals, area_m2, fields, house, owner, size"),
        ("house:\n  dors: 1", "f:2:3: house.dors: unknown key; did you mean doors?"),
        ("owner: 7", "f:1:8: owner: expected str, got int: 7; put quotes around it"),
        ("owner: [a]", "f:1:8: owner: expected one value, got a list"),
        ("house: 3", "f:1:8: house: expected a map with keys of doors, windows, got 3"),
        ("house: {doors: two}", "f:1:16: house.doors: expected int, got str: 'two'"),
        ("house: {doors: true}", "f:1:16: house.doors: expected int, got bool: True"),
        ("house: {doors: 3}", "f:1:8: house: 3 doors and 2 windows; want at least as many windows"),
        ("size: lrge", "f:1:7: size: no such value: 'lrge'; did you mean large?"),
        ("area_m2: wide", "f:1:10: area_m2: expected float | null, got str: 'wide'"),
        ("animals: {kind: cat}", "f:1:10: animals: expected a list, got a map"),
        ("animals: [cat]", "f:1:11: animals[0]: expected a map with a key kind, got 'cat'"),
        ("animals: [{lives: 3}]", "f:1:11: animals[0].kind: is required here: one of cat, dog"),
        ("animals: [{kind: cta}]", "f:1:18: animals[0].kind: unknown 'cta'; did you mean cat?"),
        ("animals: [{kind: cat, lives: 10}]", "f:1:30: animals[0].lives: expected int <= 9: 10"),
        ("animals: [{kind: cat, name: Tom}]", "f:1:23: animals[0].name: unknown key; known here: kind, lives"),
        ("animals: [{kind: dog}]", "f:1:11: animals[0].name: is required here and missing"),
        ("fields: {north: {rows: many}}", "f:1:24: fields.north.rows: expected int, got str: 'many'"),
        ("fields: {n1: {}}", "f:1:10: fields.n1: the key: expected str matching regex '^[a-z]+$'"),
        ("fields: [a]", "f:1:9: fields: expected a map, got a list"),
    ],
)
def test_a_fault_is_named_with_place_key_and_remedy(text: str, problem: str) -> None:
    assert problems(text) == [problem]


def test_all_faults_are_named_at_once() -> None:
    found = problems("oner: x\nhouse: {dors: 1, doors: x}\nanimals: [{kind: cow}, {kind: dog, nam: Rex}]\n")
    assert [line.split(": ")[1] for line in found] == [
        "oner",
        "house.dors",
        "house.doors",
        "animals[0].kind",
        "animals[1].nam",
        "animals[1].name",
    ]


def test_a_section_without_keys_asks_for_its_defaults() -> None:
    assert farm("house:\nanimals:\nfields:\narea_m2:\n") == Farm()
