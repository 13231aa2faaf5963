"""One row of a table: how fast somebody was, and how many times as fast as a peer ours is."""

from typing import Any

from benchmarks.rounds import Rounds

_LONGEST_REASON = 90


def peer_row(who: str, found: Rounds, ours: str | None) -> dict[str, Any]:
    """`ours` is what this peer is compared with; None for ours itself."""
    if who in found.failed:
        reason = found.failed[who][:_LONGEST_REASON]
        return {"who": who, "median": None, "low": None, "high": None, "ratio": None, "state": reason}
    rate = found.rate(who)
    ratio = None if ours is None or ours not in found.seconds else found.speedup(ours, who).median
    return {"who": who, "median": rate.median, "low": rate.lowest, "high": rate.highest, "ratio": ratio, "state": ""}
