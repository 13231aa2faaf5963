"""The pages of sources in docs/sources: their configuration can be copied, and they name every column and counter."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from agents.config import AgentConfig
from agents.sources.configured import configured_sources
from agents.sources.kinds import KINDS as ALL_KINDS
from agents.sources.kinds import Kind
from agents.sources.streams import known_streams
from pipeline.sql import compile_query

PAGES = Path(__file__).parents[3] / "docs" / "sources"
KINDS = ["logs", "smart", "gpu", "statsd", "otlp", "scrape", "tailwatch", "requests", "probes"]


def page(kind: str) -> str:
    return (PAGES / f"{kind}.md").read_text(encoding="utf-8")


def first_configuration(kind: str) -> dict[str, Any]:
    found = re.search(r"```yaml\n(.*?)```", page(kind), re.DOTALL)
    assert found is not None
    settings: dict[str, Any] = yaml.safe_load(found.group(1))
    return settings


def config_of(settings: dict[str, Any]) -> AgentConfig:
    return msgspec.convert({**settings["agent"], "streams": settings.get("streams", {})}, AgentConfig)


@pytest.mark.parametrize("kind", KINDS)
def test_the_configuration_of_a_page_can_be_copied(kind: str) -> None:
    settings = first_configuration(kind)
    (source,) = configured_sources(config_of(settings), [])
    assert source.name.partition(":")[0] == kind
    # The built-in queries read some sources, so that their pages need none of their own.
    for query in settings.get("queries", []):
        plan = compile_query(query["name"], query["sql"], known_streams(settings.get("streams", {})), {})
        assert plan.source in source.streams


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_names_every_column_and_counter_of_its_source(kind: str) -> None:
    settings = first_configuration(kind)
    (source,) = configured_sources(config_of(settings), [])
    text = page(kind)
    declared = {column for columns in settings.get("streams", {}).values() for column in columns}
    names = {column for schema in source.streams.values() for column in schema} - {"ts", "host"} - declared
    names |= set(source.streams) | set(source.counters())
    assert {name for name in names if f"`{name}`" not in text} == set()


@pytest.mark.parametrize("kind", ALL_KINDS.values(), ids=lambda kind: kind.name)
def test_the_list_of_sources_links_to_the_page_of_every_kind(kind: Kind) -> None:
    row = next((line for line in page("README").splitlines() if line.startswith(f"| [`{kind.name}`](")), "")
    target = row.partition("](")[2].partition(")")[0].partition("#")[0]
    assert (PAGES / target).resolve() == (PAGES.parent / kind.page).resolve()
    assert {stream for stream in kind.streams if f"`{stream}`" not in row} == set()
