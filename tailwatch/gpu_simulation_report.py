"""What `tailwatch gpu simulate` prints: the worst case against each policy, then every cell of the grid."""

from collections.abc import Iterator

from analytics.gpu.simulation.grid import SIMULATED_NOTE, Cell, Simulation
from analytics.gpu.simulation.parameters import World
from analytics.gpu.simulation.policies import POLICIES, PolicyName
from tailwatch.terminal import table

_WORDS: dict[PolicyName, str] = {
    "always": "always retry",
    "never": "never retry",
    "per_reason": "retry by the reason's rule",
    "unlearned": "the advice without learning",
    "model": "the advice",
}


def as_text(found: Simulation) -> str:
    """The whole report."""
    return "\n".join(_lines(found))


def _lines(found: Simulation) -> Iterator[str]:
    yield f"[simulated] {found.failing_jobs:,} jobs that fail, seed {found.seed}, {len(found.cells)} cells"
    yield SIMULATED_NOTE
    yield ""
    yield "Retry advice against other policies, each in its worst cell; GPU time and times of jobs that fail:"
    others = [name for name in POLICIES if name != "model"]
    rows = []
    for name in others:
        least, latest = found.worst(name), found.latest(name)
        rows.append(
            [
                _WORDS[name],
                f"{least.saved_pct(name):.1f} %",
                _where(least.world),
                f"{latest.sooner_pct(name):.1f} %",
                _where(latest.world),
            ]
        )
    headers = ("against", "GPU time saved", "where", "done sooner", "where")
    yield table(headers, rows, (False, True, False, True, False))
    for cell in found.cells:
        yield ""
        yield from _cell(cell)


def _cell(cell: Cell) -> Iterator[str]:
    said = cell.figures()
    yield (
        f"{_where(cell.world)} [simulated]: failed attempts take {cell.failed_share_pct:.0f} % of all GPU time if "
        "everything is retried"
    )
    yield (
        f"probabilities of the advice (of the priors alone): squared error {said['brier']:.3f} "
        f"({said['prior_brier']:.3f}), AUC {said['auc']:.2f} ({said['prior_auc']:.2f})"
    )
    headers = ("policy", "GPU h", "in vain", "mean h", "median h", "queue h", "retries", "in vain", "handed back")
    rows = [
        [
            _WORDS[name],
            f"{result.gpu_h:,.0f}",
            f"{result.failed_gpu_h:,.0f}",
            f"{result.mean_jct_h:.2f}",
            f"{result.median_jct_h:.2f}",
            f"{result.mean_wait_h:.2f}",
            f"{result.retries:,}",
            f"{result.retries_in_vain:,}",
            f"{result.handed_back:,}",
        ]
        for name, result in cell.results.items()
    ]
    yield table(headers, rows, (False, *(True for _ in headers[1:])))


def _where(world: World) -> str:
    return f"repeat +{world.repeat:g}, stays {world.persistence:g}, load {world.load:g}"
