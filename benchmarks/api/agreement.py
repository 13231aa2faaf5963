"""Table 4: how many generated PromQL expressions the evaluator and a real Prometheus answer alike."""

from collections import Counter

from benchmarks.api.goals import AGREEMENT
from benchmarks.api.peers import prometheus
from benchmarks.api.sizing import Sizing
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard

COLUMNS = [Column("what", "what"), Column("expressions", "expressions")]


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """What the tests compare, counted."""
    try:
        from tests.promql_differential.agreement import COUNT, measure  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        board.fail(AGREEMENT, f"this checkout has no evaluator to compare: {error}")
        return []
    try:
        with prometheus() as server:
            found = measure(server.address, size.expressions or COUNT)
    except FileNotFoundError as error:
        board.fail(AGREEMENT, str(error))
        return []
    table = Table("agreement", f"4. {found.total} expressions beside Prometheus", COLUMNS)
    table.rows.append({"what": "answered alike, at an instant and over a range", "expressions": found.agree})
    reasons = Counter(one.explanation or "not explained" for one in found.differences)
    table.rows += [{"what": f"different: {why}", "expressions": n} for why, n in reasons.most_common()]
    board.score(AGREEMENT, found.share, f"{found.agree} of {found.total}, drawn anew from one seed")
    return [table]
