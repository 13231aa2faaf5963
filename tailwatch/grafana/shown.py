"""Differences in words: a line for each object, a unified diff for those that exist on both sides, and a summary.

Objects are shown as YAML with sorted keys, because an edit in the middle of a dashboard is a few lines there and a
wall in JSON. What is new is one line: it is all in the package. Secrets are not among what is shown.
"""

import difflib
from collections.abc import Iterable, Sequence
from typing import TextIO

import yaml

from tailwatch.grafana.differences import Difference, Verdict
from tailwatch.terminal import paint

_SIGNS: dict[Verdict, tuple[str, str]] = {
    "create": ("+", "green"),
    "change": ("~", "yellow"),
    "delete": ("-", "red"),
    "edited": ("!", "yellow"),
    "locked": ("!", "yellow"),
    "clash": ("x", "red"),
}
#: No line is broken: broken lines would shift, and a changed word would look like a changed paragraph.
_WIDTH = 10**6


def shown(found: Sequence[Difference], stream: TextIO) -> str:
    """All that differs, object by object, as a text that ends in a summary; coloured where `stream` is a terminal."""
    lines: list[str] = []
    for one in found:
        if one.verdict != "same":
            lines += _object(one, stream)
    return "\n".join([*lines, summary(found)])


def summary(found: Iterable[Difference]) -> str:
    """How many objects are how, in one line."""
    verdicts = [one.verdict for one in found]
    names: dict[Verdict, str] = {
        "create": "to create",
        "change": "to change",
        "delete": "to delete",
        "edited": "edited by hand, left alone without --force",
        "locked": "not ours to change",
        "clash": "in the way",
    }
    counts = [f"{verdicts.count(verdict)} {text}" for verdict, text in names.items() if verdict in verdicts]
    same = verdicts.count("same")
    if not counts:
        return f"nothing to do: all {same} objects are as wanted"
    return f"{', '.join(counts)}; {same} as wanted"


def title(one: Difference) -> str:
    """The object in one line."""
    name = f'{one.kind} "{one.title}"'
    return name if one.uid == one.title else f"{name} ({one.uid})"


def _object(one: Difference, stream: TextIO) -> list[str]:
    sign, colour = _SIGNS[one.verdict]
    head = f"{sign} {title(one)}" + (f": {one.note}" if one.note else "")
    lines = [paint(head, colour, stream)]
    if one.before is not None and one.after is not None:
        lines += ["    " + line for line in _diff(one, stream)]
    return lines


def _diff(one: Difference, stream: TextIO) -> list[str]:
    before, after = (_yaml(form) for form in (one.before, one.after))
    found = list(difflib.unified_diff(before, after, "in Grafana", "wanted", n=2, lineterm=""))
    colours = {"+": "green", "-": "red", "@": "dim"}
    return [paint(line, colours[line[0]], stream) if line[0] in colours else line for line in found]


def _yaml(form: object) -> list[str]:
    text = yaml.safe_dump(form, sort_keys=True, allow_unicode=True, width=_WIDTH, default_flow_style=False)
    return text.splitlines()
