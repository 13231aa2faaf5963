"""Table 3: how often a job that passed is said to have failed. The jobs are made up, and full of words of failures."""

from analytics.gpu.classifier import diagnose
from analytics.gpu.cleaning import Origin
from analytics.gpu.passed_logs import passed_logs
from analytics.gpu.scanning import Scanner
from analytics.gpu.signature_files import shipped_signatures
from benchmarks.gpu.goals import FALSE_HITS
from benchmarks.gpu.peers import FirstMatch
from benchmarks.gpu.sizing import Sizing
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard

#: None that anything was chosen on.
SEED = 20_261
COLUMNS = [
    Column("who", "who"), Column("jobs", "passed jobs"), Column("answered", "answered, %", 2),
    Column("abstained", "said to have failed of something unknown, %", 2),
]  # fmt: skip


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """Ours, and the first match."""
    scanner = Scanner(shipped_signatures())
    first = FirstMatch(scanner.signatures)
    statuses, matched = [], 0
    for _, lines in passed_logs(size.passed, SEED):
        text = "\n".join(lines)
        statuses.append(diagnose([scanner.scan([text.encode()], Origin("log"))]).status)
        matched += first(text) is not None
    false_pct = 100 * statuses.count("answered") / len(statuses)
    table = Table("passing", "3. Jobs that passed", COLUMNS)
    table.notes = ["synthetic jobs: how they speak was chosen by us"]
    table.rows = [
        {
            "who": "tailwatch", "jobs": len(statuses), "answered": false_pct,
            "abstained": 100 * statuses.count("abstained") / len(statuses),
        },
        {"who": "the same rules, first match", "jobs": len(statuses), "answered": 100 * matched / len(statuses)},
    ]  # fmt: skip
    board.score(FALSE_HITS, false_pct, f"of {len(statuses):,} synthetic jobs, seed {SEED}")
    return [table]
