"""What can rot in the documentation: every flag, setting, variable, metric, route and error class must stand there."""

import argparse
import ast
import re
import types
import typing
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tailwatch.overlays import OTHER_VARIABLES
from tailwatch.parsers import build_parser
from tailwatch.query_set import builtin_queries
from tailwatch.settings import Settings, variable_of
from tests.architecture.project import PACKAGES, ROOT, documentation, files, page, section, sources, tree_of


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    if parser.get_default("command_module"):
        yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from commands(child)


@pytest.mark.parametrize("parser", list(commands(build_parser())), ids=lambda parser: parser.prog)
def test_every_flag_stands_in_the_section_of_its_command(parser: argparse.ArgumentParser) -> None:
    below = section(page("reference/cli.md"), f"## {parser.prog}")
    assert below, f"docs/reference/cli.md needs a section `## {parser.prog}`"
    flags = {option for action in parser._actions for option in action.option_strings} - {"-h", "--help"}
    assert {flag for flag in flags if not re.search(rf"`{re.escape(flag)}[ `]", below)} == set()


def _structs(hint: Any) -> list[type[msgspec.Struct]]:
    """Structs inside a hint: itself, union members, items of a list or values of a map."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return [hint]
    if typing.get_origin(hint) in (typing.Annotated, typing.Union, types.UnionType, tuple, list, dict):
        return [struct for inner in typing.get_args(hint) for struct in _structs(inner)]
    return []


def setting_keys(struct: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(heading to look below, what must stand there) of every setting."""
    for field in msgspec.structs.fields(struct):
        key = f"{prefix}{field.encode_name}"
        yield "", f"`{key}`"
        for inner in _structs(field.type):
            tag = inner.__struct_config__.tag
            if tag is None and typing.get_origin(field.type) is None:
                yield from setting_keys(inner, f"{key}.")
            else:
                heading = f"### kind: {tag}" if tag else f"### {key}"
                yield from ((heading, f"`{inside.encode_name}`") for inside in msgspec.structs.fields(inner))


def test_every_setting_is_described() -> None:
    text = page("reference/configuration.md")
    wanted = [entry for entry in setting_keys(Settings) if entry[1] not in ("`agent.streams`", "`api.streams`")]
    assert len(wanted) > 40
    missing = [
        f"{heading} {key}" for heading, key in wanted if key not in (section(text, heading) if heading else text)
    ]
    assert missing == []


def test_every_section_of_a_source_belongs_to_a_kind_that_exists() -> None:
    described = set(re.findall(r"^### kind: (\w+)$", page("reference/configuration.md"), re.MULTILINE))
    kinds = {str(struct.__struct_config__.tag) for struct in _structs(_agent_sources())}
    assert described == kinds


def _agent_sources() -> Any:
    agent = next(field.type for field in msgspec.structs.fields(Settings) if field.name == "agent")
    return next(field.type for field in msgspec.structs.fields(agent) if field.name == "sources")


def _strings(pattern: str, *folders: str) -> set[str]:
    """String constants in code that match as a whole."""
    found = set()
    for path in sources(*folders):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(pattern, node.value):
                found.add(node.value)
    return found


def test_every_variable_is_described() -> None:
    names = _strings(r"(TAILWATCH|POLARS)(_[A-Z]+)+|NO_COLOR", *PACKAGES, "tests")
    # Variables of settings are named by rule; the last three stand in tests of names that are no settings.
    of_settings = {variable_of(field.encode_name) for field in msgspec.structs.fields(Settings)}
    names -= of_settings | {"TAILWATCH_DATADIR", "TAILWATCH_PORT", "TAILWATCH_SERVICE_HOST"}
    names |= set(OTHER_VARIABLES)
    assert {"TAILWATCH_CONFIG", "NO_COLOR", "POLARS_MAX_THREADS"} <= names
    text = page("reference/configuration.md")
    assert {name for name in names if f"`{name}`" not in text} == set()


def test_every_metric_of_our_own_is_described() -> None:
    names = _strings(r"tailwatch_[a-z_]*[a-z]", *PACKAGES)
    assert len(names) > 20
    assert {name for name in names if name not in documentation()} == set()


def test_every_builtin_metric_is_described() -> None:
    metrics = {name for query in builtin_queries() for name in re.findall(r"\bAS (\w+)(?:,|\nFROM)", query.sql)}
    assert "hiccup_us" in metrics
    text = page("reference/configuration.md")
    assert {name for name in metrics if f"`{name}`" not in text} == set()


def test_every_route_is_described() -> None:
    from api.app import create_app
    from api.config import ApiConfig
    from store.connect import open_engine

    engine = open_engine("sqlite://")
    try:
        paths = set(create_app(ApiConfig(), engine).openapi()["paths"])
    finally:
        engine.dispose()
    assert "/api/v1/quantiles" in paths
    assert {path for path in paths if path not in documentation()} == set()


def test_every_error_class_is_described() -> None:
    classes = {
        node.name
        for package in PACKAGES
        for node in ast.walk(tree_of(ROOT / package / "errors.py"))
        if isinstance(node, ast.ClassDef)
    }
    assert len(classes) > 30
    assert {name for name in classes if name not in documentation()} == set()


def test_every_table_of_the_database_is_described() -> None:
    from store.drive_tables import drives

    names = set(drives.metadata.tables)
    assert {"pages", "drives"} <= names
    text = page("reference/store.md")
    assert {name for name in names if f"`{name}`" not in text} == set()


def test_every_link_between_pages_leads_somewhere() -> None:
    links = [
        (path, target)
        for path in files()
        if path.suffix == ".md"
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
        if "://" not in target
    ]
    assert [f"{path.name}: {target}" for path, target in links if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("name", ["CHANGELOG.md", "ARCHITECTURE.md"])
def test_no_change_and_no_module_is_listed_twice(name: str) -> None:
    entries = re.findall(r"^(?:- |\| `).*$", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
    assert len(entries) > 40
    assert sorted({entry for entry in entries if entries.count(entry) > 1}) == []
