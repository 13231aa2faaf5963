"""Rules and dashboards in words, as Markdown: what docs/reference/grafana.md shows, and what runbooks link to.

`python -m tailwatch.grafana.described FILE` puts it between the two marks of a file; a test holds the page to it.
"""

import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from api.promql.number_text import number_text
from tailwatch.grafana.config import GrafanaSettings
from tailwatch.grafana.dashboards import DashboardFile, declared_dashboards
from tailwatch.grafana.declared import Rule, RuleGroup
from tailwatch.grafana.wanted import all_groups

BEGIN: Final = "<!-- rendered by `make grafana` from here -->"
END: Final = "<!-- to here -->"
_WIDTH: Final = 120
_NO_DATA: Final = {
    "OK": "No data is all well.",
    "NoData": "No data is an alert of its own, `DatasourceNoData`.",
    "Alerting": "No data is an alert, too.",
    "KeepLast": "No data changes nothing.",
}


def described(settings: GrafanaSettings) -> str:
    """Every dashboard with its panels, every rule with its meaning and what to do."""
    lines = ["## Dashboards", ""]
    for uid, dashboard in declared_dashboards():
        lines += [*_dashboard(uid, dashboard), ""]
    lines += ["## Rules", ""]
    for group in all_groups(settings):
        lines += _group(group)
    return "\n".join(lines).rstrip() + "\n"


def put_into(text: str, rendered: str) -> str:
    """The page with what stands between the marks replaced."""
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n\n{rendered}\n{END}{rest.partition(END)[2]}"


def _dashboard(uid: str, dashboard: DashboardFile) -> Iterator[str]:
    yield f"### {dashboard.title}"
    yield ""
    yield from _wrapped(f"`{uid}`. {dashboard.description}")
    yield ""
    for variable in dashboard.variables:
        yield from _wrapped(f"- `${variable.name}`: {variable.description}")
    for row in dashboard.rows:
        yield ""
        yield f"| {row.title} | unit | what it shows |"
        yield "|---|---|---|"
        for panel in row.panels:
            yield f"| {panel.title} | {panel.unit or '-'} | {' '.join(panel.description.split())} |"


def _group(group: RuleGroup) -> Iterator[str]:
    """A group's rules; those of objectives have one runbook in common, which the page has written out itself."""
    if any(rule.anchor != rule.id for rule in group.rules):
        return
    yield f"### Group {group.name}, every {group.interval_s} s"
    yield ""
    for rule in group.rules:
        yield from _rule(rule)


def _rule(rule: Rule) -> Iterator[str]:
    yield f"#### {rule.id}"
    yield ""
    how = "above" if rule.sign == ">" else "below"
    wait = f" for {rule.wait_s} s" if rule.wait_s else ""
    fires = f"Fires where this is {how} {number_text(rule.limit)}{wait}."
    yield from _wrapped(f"**{rule.title}** ({rule.severity}). {fires} {_NO_DATA[rule.no_data]}")
    yield ""
    yield f"    {rule.value}"
    yield ""
    yield from _wrapped(rule.meaning)
    yield ""
    yield from _wrapped(f"**What to do.** {rule.todo}")
    yield ""


def _wrapped(text: str) -> Sequence[str]:
    return textwrap.wrap(" ".join(text.split()), _WIDTH, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(put_into(page.read_text(encoding="utf-8"), described(GrafanaSettings())), encoding="utf-8")
