"""docs/reference/grafana.md: every rule and every panel stands there, and every runbook has its anchor."""

import re

from tailwatch.config_check import checked
from tailwatch.config_tree import Branch, Place
from tailwatch.grafana.config import GrafanaSettings
from tailwatch.grafana.dashboards import declared_dashboards
from tailwatch.grafana.described import BEGIN, END, described, put_into
from tailwatch.grafana.wanted import all_groups
from tailwatch.settings import Settings
from tailwatch.yaml_tree import parse
from tests.architecture.project import page

PAGE = page("reference/grafana.md")


def test_the_page_has_what_is_declared() -> None:
    """After a change of rules or dashboards: `make grafana`."""
    assert put_into(PAGE, described(GrafanaSettings())) == PAGE
    assert PAGE.index(BEGIN) < PAGE.index(END)


def test_every_runbook_that_a_rule_links_to_says_what_to_do() -> None:
    anchors = {
        heading: text.split("\n#", 1)[0] for heading, text in re.findall(r"(?ms)^#{3,4} ([\w-]+)\n(.*?)(?=^#|\Z)", PAGE)
    }
    for group in all_groups(GrafanaSettings()):
        for rule in group.rules:
            assert "**What to do.**" in anchors[rule.anchor], rule.id


def test_sentences_of_declarations_are_whole() -> None:
    """A sign such as # ends a text in YAML and takes the rest of it away."""
    texts = [rule.meaning for group in all_groups(GrafanaSettings()) for rule in group.rules]
    texts += [rule.todo for group in all_groups(GrafanaSettings()) for rule in group.rules]
    for _, dashboard in declared_dashboards():
        texts += [dashboard.description, *(variable.description for variable in dashboard.variables)]
        texts += [panel.description for row in dashboard.rows for panel in row.panels]
    assert len(texts) > 90
    for text in texts:
        assert re.search(r"[.)]$", text.strip()), text
        assert text.count("(") == text.count(")"), text


def test_examples_of_settings_are_settings() -> None:
    for name in ("reference/configuration.md", "how-to/use-grafana.md"):
        found = [
            text
            for text in re.findall(r"(?ms)^ *```yaml\n(.*?)^ *```$", page(name))
            if text.lstrip().startswith("grafana:")
        ]
        assert found, name
        for text in found:
            tree = parse(text, Place("example"))
            assert isinstance(tree, Branch)
            assert checked(tree, Settings).grafana.objectives
