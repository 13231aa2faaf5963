"""The project seen from outside: its files, its documentation, its packages. Shared by the architecture tests."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("agents", "analytics", "api", "collector", "pipeline", "quantiles", "store", "tailwatch", "wire")


@cache
def files() -> tuple[Path, ...]:
    """Every file that is, or with the next commit would be, part of the project."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = (ROOT / name for name in listed.split("\0") if name)
    return tuple(sorted(path for path in found if path.is_file()))


def sources(*folders: str) -> Iterator[Path]:
    """Python files of the given top-level folders."""
    for path in files():
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders:
            yield path


@cache
def tree_of(path: Path) -> ast.Module:
    """The parsed module."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def documentation() -> str:
    """All pages users read."""
    pages = [path for path in files() if path.suffix == ".md"]
    return "\n".join(page.read_text(encoding="utf-8") for page in pages)


def page(name: str) -> str:
    """One page below docs/."""
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """What stands below a heading line, up to the next heading of the same or a higher level."""
    level = len(heading) - len(heading.lstrip("#"))
    below: list[str] = []
    inside = fenced = False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        hashes = len(line) - len(line.lstrip("#")) if not fenced else 0
        if inside and 0 < hashes <= level:
            break
        if inside:
            below.append(line)
        inside = inside or line == heading
    return "\n".join(below)
