"""Table 1: megabytes of logs read per CPU second of one core, and the memory that a gigabyte takes.

The text is made up: jobs that pass, with harmless warnings and words that failures use on many lines. Ours reads bytes,
cleans and keeps what a diagnosis wants; the peers get decoded text: the same rules tried on each line, and drain3.
"""

import resource
from collections.abc import Iterator

from analytics.gpu.cleaning import Origin
from analytics.gpu.passed_logs import passed_logs
from analytics.gpu.scanning import Scanner
from analytics.gpu.signature_files import shipped_signatures
from benchmarks.gpu.goals import LOG_RATE
from benchmarks.gpu.peers import FirstMatch, drain
from benchmarks.gpu.sizing import Sizing
from benchmarks.rounds import Candidate, interleaved
from benchmarks.tables import Column, Row, Table
from benchmarks.targets import Scoreboard

OURS, RULES, TEMPLATES = "tailwatch", "the same rules on each line (RE2)", "drain3 alone"
_CHUNK_BYTES = 1 << 20
COLUMNS = [
    Column("who", "who"), Column("median", "MB per CPU s", 2), Column("low", "lowest", 2),
    Column("high", "highest", 2), Column("ratio", "ours / it", 1), Column("state", ""),
]  # fmt: skip


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """Rates in rounds, then the whole once."""
    signatures = shipped_signatures()
    scanner, rules = Scanner(signatures), FirstMatch(signatures)
    text = "\n".join(line for _, lines in passed_logs(size.jobs) for line in lines)
    data = text.encode()
    part, few = data[: size.round_bytes], text[: size.slow_bytes]
    found = interleaved(
        {
            OURS: Candidate(lambda _: scanner.scan(_chunks(part), Origin("log")), per_run=len(part) / 1e6),
            RULES: Candidate(lambda _: rules.hits(few), per_run=len(few) / 1e6),
            TEMPLATES: Candidate(lambda _: _mined(few), per_run=len(few) / 1e6),
        },
        size.rounds,
    )
    table = Table("reading", "1. Reading logs", COLUMNS)
    for name in (OURS, RULES, TEMPLATES):
        row: Row = {"who": name, "state": found.failed.get(name, "")}
        if name not in found.failed:
            rate = found.rate(name)
            row |= {"median": rate.median, "low": rate.lowest, "high": rate.highest}
            if name != OURS:
                row["ratio"] = found.speedup(OURS, name).median
        table.rows.append(row)
    before_mb = _peak_mb()
    scan = scanner.scan((chunk for _ in range(size.times) for chunk in _chunks(data)), Origin("log"))
    table.notes = [
        (
            f"synthetic logs of {size.jobs:,} passed jobs, {len(data) / 1e6:,.1f} MB; {len(signatures)} rules; of it "
            f"{len(part) / 1e6:,.1f} MB a round for ours, {len(few) / 1e6:,.2f} MB for the peers"
        ),
        (
            f"read {size.times} times over, {scan.bytes / 1e6:,.0f} MB and {scan.lines:,} lines in one go: peak memory "
            f"rose by {_peak_mb() - before_mb:,.0f} MB to {_peak_mb():,.0f} MB; {len(scan.matches):,} matches kept, "
            f"{sum(scan.dropped.values()):,} counted"
        ),
    ]
    board.score(LOG_RATE, found.rate(OURS).median, f"one core, synthetic logs; {table.notes[1]}")
    return [table]


def _chunks(data: bytes) -> Iterator[bytes]:
    return (data[start : start + _CHUNK_BYTES] for start in range(0, len(data), _CHUNK_BYTES))


def _mined(text: str) -> None:
    miner = drain()
    for line in text.splitlines():
        miner.add_log_message(line)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
