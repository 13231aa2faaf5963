"""The sketches' part of docs/benchmarks.md: numbers and plots of the last full run."""

from pathlib import Path
from typing import Any

from benchmarks import documented
from benchmarks.documented import PAGE

BEGIN, END = documented.marks("quantiles")


def rewrite(results: Path, page: Path = PAGE) -> Path:
    """As benchmarks.documented.rewrite, with the plots of the window experiment."""
    return documented.rewrite("quantiles", results, page, _plots)


def _plots(content: dict[str, Any]) -> list[str]:
    return [f"![{name.removesuffix('.png')}](images/quantiles/{name})\n" for name in content["windows"]["plots"]]
