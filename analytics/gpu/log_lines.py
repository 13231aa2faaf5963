"""A line of a job's logs, and what is known about where it comes from.

The rank, the node and the time are those that the line itself or its stream tells; a file's name is never an input.
"""

from dataclasses import dataclass
from typing import Literal

Source = Literal["stdout", "stderr", "kernel", "scheduler", "events"]


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line, cleaned: no colours, no progress bars, no line end.

    Attributes:
        source: what wrote it; where nobody says, `stderr`.
        file: the name to show beside it, and nothing more than that.
        number: its place in that file, from 1.
        text: cut to a bounded length.
        rank, node: of the process that wrote it, None where unknown.
        time_ns: UTC by the clock of its own node, None where it tells none.
    """

    source: Source
    file: str
    number: int
    text: str
    rank: int | None = None
    node: str | None = None
    time_ns: int | None = None
