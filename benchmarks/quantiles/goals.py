"""What the sketches are to reach, and the answers of the window experiment that count towards it."""

import math
from pathlib import Path
from typing import Any

from benchmarks.targets import Scoreboard, Target

MAX_ERROR, TAIL_EXACT = "quantiles.max_error_pct", "quantiles.tail_exact"
TARGETS = (
    Target("quantiles.add_vs_fastest_peer", 20, ">="),
    Target("quantiles.add_vs_npsort", 3, ">="),
    Target("quantiles.add_vs_npsum", 0.35, ">="),
    Target("quantiles.numpy_vs_fastest_peer", 6, ">="),
    Target("quantiles.decode_merge_vs_fastest_peer", 2.5, ">="),
    Target("quantiles.bytes_sigma05", 430, "<="),
    Target("quantiles.bytes_sigma1", 630, "<="),
    Target(MAX_ERROR, 0.5416, "<="),
    Target(TAIL_EXACT, 1, ">="),
    Target("quantiles.worst_cliff", 6, "<="),
)


def windows(quick: bool, pictures: Path) -> tuple[Any, list[Path], str]:
    """The window experiment's results, or None, its plots, and why something is absent."""
    try:
        from benchmarks.quantiles import window_experiment

        results = window_experiment.run(quick)
    except Exception as error:  # noqa: BLE001  # the other tables and their targets are still worth having
        return None, [], f"the window experiment is absent: {type(error).__name__}: {error}"
    results.print_tables()
    try:
        from benchmarks.quantiles import plots

        pictures.mkdir(parents=True, exist_ok=True)
        drawn = plots.draw(results, pictures)
    except Exception as error:  # noqa: BLE001  # numbers without pictures are still worth having
        return results, [], f"the plots are absent: {type(error).__name__}: {error}"
    return results, list(drawn), ""


def score_errors(board: Scoreboard, in_tables: float, experiment: Any, why_absent: str) -> None:
    """The error target covers the tables and the windows; without either of them it is missed."""
    if experiment is None:
        board.fail(MAX_ERROR, f"{in_tables:.4f} without windows, but {why_absent}")
        board.fail(TAIL_EXACT, why_absent)
        return
    board.score(TAIL_EXACT, 1.0 if experiment.tail_exact else 0.0, "few-k answers against exact ones, over all windows")
    remark = f"without windows {in_tables:.4f}, over all windows {experiment.max_error_pct:.4f}"
    if math.isnan(in_tables):
        board.fail(MAX_ERROR, f"the accuracy table failed; {remark}")
    else:
        board.score(MAX_ERROR, max(in_tables, experiment.max_error_pct), remark)
