"""The numbers in docs/benchmarks.md, written from the results of an area's last full run and never by hand."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import ROOT
from benchmarks.tables import Table

PAGE = ROOT / "docs" / "benchmarks.md"


def marks(area: str) -> tuple[str, str]:
    """What stands before and behind an area's numbers."""
    return f"<!-- {area}: numbers begin -->", f"<!-- {area}: numbers end -->"


def rewrite(
    area: str, results: Path, page: Path = PAGE, pictures: Callable[[dict[str, Any]], Sequence[str]] = lambda _: ()
) -> Path:
    """Replaces what stands between the area's marks by the numbers of the results; gives the page.

    Args:
        pictures: Markdown to stand before the tables, from the content of the results.
    Raises:
        ValueError: the page lacks the marks, or the results are of a quick run.
    """
    content = json.loads(results.read_text(encoding="utf-8"))
    if content["quick"]:
        raise ValueError(f"{results.name} is of a quick run; wanted a full one for {page.name}")
    text = page.read_text(encoding="utf-8")
    first, last = marks(area)
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"{page.name} lacks the marks {first} and {last}; put them where the numbers go")
    page.write_text(f"{before}{begin}\n\n{section(content, pictures(content))}\n{end}{after}", encoding="utf-8")
    return page


def section(content: dict[str, Any], pictures: Sequence[str] = ()) -> str:
    """Circumstances, targets and all tables, as Markdown."""
    hardware = content["hardware"]
    versions = ", ".join(f"{name} {found}" for name, found in content["versions"].items() if found)
    commit = f"{content['commit'] or 'unknown'}"[:12] + (" with uncommitted changes" if content["dirty"] else "")
    lines = [
        f"Measured {content['date'][:10]} at commit {commit}; the run took {content['took_s']} s.",
        f"Machine: {hardware['cores']} cores of {hardware['cpu']}, {hardware['memory_gib']} GiB, {hardware['system']}.",
        f"Python {content['python']}.",
        f"Versions: {versions}.",
        *(f"{name} is absent: {why}." for name, why in content["absent"].items()),
        "",
        "| target | goal | measured | | of what |",
        "| --- | --- | --- | --- | --- |",
    ]
    for target in content["targets"]:
        _, name, verdict, shown, goal = target["line"].split()
        lines.append(f"| `{name}` | {goal.removeprefix('goal')} | {shown} | {verdict} | {target['remark']} |")
    tables = [Table.from_data(data).markdown() for data in content["tables"]]
    return "\n".join([*lines, "", *pictures, *tables])
