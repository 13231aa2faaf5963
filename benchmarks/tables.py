"""Tables of results: rows of named cells, shown as aligned text or as Markdown, and kept as data."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

Cell = str | float | int | None
Row = dict[str, Cell]


@dataclass(frozen=True, slots=True)
class Column:
    """A column: the key of its cells in the rows, its heading, and how many digits follow the point."""

    key: str
    heading: str
    digits: int = 1


@dataclass(slots=True)
class Table:
    """Rows under headings, with a title and notes that say what was measured on what."""

    name: str
    title: str
    columns: Sequence[Column]
    notes: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def text(self) -> str:
        """Aligned with spaces: words to the left, numbers to the right."""
        cells = self._cells()
        widths = [max(len(line[i]) for line in cells) for i in range(len(self.columns))]
        numeric = [any(isinstance(row.get(c.key), int | float) for row in self.rows) for c in self.columns]
        lines = [
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(line, widths, numeric, strict=True)
            ).rstrip()
            for line in cells
        ]
        return "\n".join([self.title, *(f"  {note}" for note in self.notes), "", lines[0], *lines[1:], ""])

    def markdown(self) -> str:
        """The same for a page of documentation."""
        head, *body = [[cell.replace("|", "\\|") for cell in line] for line in self._cells()]
        lines = [head, ["---"] * len(head), *body]
        notes = [f"- {note}" for note in self.notes]
        grid = ["| " + " | ".join(line) + " |" for line in lines]
        return "\n".join([f"### {self.title}", "", *notes, *([""] if notes else []), *grid, ""])

    def data(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return asdict(self)

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> "Table":
        """What `data` gave."""
        columns = [Column(**column) for column in data["columns"]]
        return Table(data["name"], data["title"], columns, list(data["notes"]), list(data["rows"]))

    def _cells(self) -> list[list[str]]:
        body = [[_shown(row.get(column.key), column.digits) for column in self.columns] for row in self.rows]
        return [[column.heading for column in self.columns], *body]


def _shown(cell: Cell, digits: int) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "-"
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int):
        return f"{cell:,}"
    return f"{cell:,.{digits}f}"
