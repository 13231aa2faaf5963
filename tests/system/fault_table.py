"""What the fault run found, as the table that `make test` and `make soak` end with.

Lost and duplicated are counted per window and labels from what the database holds, never taken for granted.
"""

from dataclasses import dataclass, field

import pytest

HEADER = ("fault", "times", "flushing again", "whole again", "lost", "duplicated")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One round: which faults struck, how long until every partition had a flush, until all was stored, what was wrong.

    Both times begin when everything runs again. None is what it did not come to, or what nobody could count.
    """

    faults: tuple[str, ...]
    flushing_s: float | None
    whole_s: float | None
    lost: int | None
    duplicated: int | None


@dataclass(slots=True)
class FaultTable:
    """The outcomes of one run of pytest."""

    seed: int | None = None
    outcomes: list[Outcome] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The table, a line for each kind of fault in the order in which they came; seconds are the slowest round's.

        A round with two faults counts for both.
        """
        rows = [HEADER]
        for fault in dict.fromkeys(fault for outcome in self.outcomes for fault in outcome.faults):
            of_fault = [outcome for outcome in self.outcomes if fault in outcome.faults]
            rows.append(
                (
                    fault,
                    str(len(of_fault)),
                    _slowest([outcome.flushing_s for outcome in of_fault]),
                    _slowest([outcome.whole_s for outcome in of_fault]),
                    _sum([outcome.lost for outcome in of_fault]),
                    _sum([outcome.duplicated for outcome in of_fault]),
                )
            )
        widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
        return [
            "  ".join(
                [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
            )
            for row in rows
        ]


def _slowest(times: list[float | None]) -> str:
    known = [time for time in times if time is not None]
    return f"{max(known):.1f} s" if len(known) == len(times) else "never"


def _sum(counts: list[int | None]) -> str:
    known = [count for count in counts if count is not None]
    return str(sum(known)) if len(known) == len(counts) else "unknown"


TABLE = pytest.StashKey[FaultTable]()
