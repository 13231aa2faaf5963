"""What `tailwatch gpu report` prints: the tables of a cluster's failures, and what the trace could not tell."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import polars as pl

from analytics.gpu.clustered_shares import Share
from analytics.gpu.node_outliers import Node, NodeTest
from analytics.gpu.repeats import Repeats
from analytics.gpu.report import SYNTHETIC_WARNING, Report

_TITLES: Final = {"node": "node", "gpus": "GPUs"}
_EXPOSURES: Final = {"gpu_hours": "GPU hours", "jobs": "jobs"}
_MOST_NAME: Final = 40


def as_text(found: Report, trace: str, top: int) -> str:
    """The whole report; `top` rows a table."""
    return "\n".join(_lines(found, trace, top))


def _lines(found: Report, trace: str, top: int) -> Iterator[str]:
    yield from _head(found, trace)
    yield ""
    yield "How it ended (jobs by their last attempt):"
    yield from _table(
        found.outcomes,
        {
            "outcome": "",
            "attempts": "attempts",
            "attempt_share": "share",
            "jobs": "jobs",
            "job_share": "share",
            "gpu_hours": "GPU hours",
            "gpu_hours_share": "share",
        },
        top,
    )
    if found.failures:
        yield ""
        yield f"Minutes to failure, 50/90/95 % of failed attempts: {_quantiles(found.to_failure)}"
    for key, table in found.failures.items():
        yield ""
        yield f"Failures by {_TITLES.get(key, key)}{'; on several nodes: on each' if key == 'node' else ''}:"
        yield from _failures(table, key, top)
    if found.repeats is not None:
        yield ""
        yield from _repeats(found.repeats, top)
    if found.nodes is not None:
        yield ""
        yield from _nodes(found.nodes, top)
    for title, waits in (("GPUs", found.waits), ("GPUs and nodes spanned", found.waits_by_locality)):
        if waits.height:
            yield ""
            yield f"Minutes of waiting by {title}:"
            names = {name: _TITLES.get(name, name) for name in waits.columns}
            yield from _table(waits, names, waits.height)
    for key, busy in found.busy.items():
        if busy.height:
            yield ""
            which = " spanned, of attempts with several GPUs" if key == "nodes" else ""
            yield f"Utilisation by {_TITLES.get(key, key)}{which}:"
            names = {
                key: "",
                "attempts": "attempts",
                "mean": "over GPU time",
                "p10": "10 %",
                "p50": "50 %",
                "p90": "90 %",
            }
            yield from _table(busy, names, busy.height, shares=("mean", "p10", "p50", "p90"))


def _head(found: Report, trace: str) -> Iterator[str]:
    overview = found.overview
    made_up = " [synthetic]" if found.synthetic else ""
    yield (
        f"{trace}{made_up} ({found.form}): {overview.jobs:,} jobs, {overview.attempts:,} attempts, "
        f"{overview.users:,} users, {overview.nodes:,} nodes, {_day(overview.first_ns)} to {_day(overview.last_ns)}"
    )
    if found.synthetic:
        yield SYNTHETIC_WARNING
    lost = "" if overview.lost_share is None else f" ({overview.lost_share:.1%})"
    yield (
        f"GPU time: {overview.gpu_hours:,.1f} h; failed attempts took {overview.lost_gpu_hours:,.1f} h{lost}, "
        f"preempted ones {overview.preempted_gpu_hours:,.1f} h, what checkpoints saved included"
    )
    if overview.without_gpus:
        yield f"left out: {overview.without_gpus:,} attempts that asked for no GPU"
    yield from (f"not told: {text}" for text in found.missing)
    yield from (f"odd: {_printable(text)}" for text in found.oddities)
    yield from (f"note: {text}" for text in found.notes)


def _failures(table: pl.DataFrame, key: str, top: int) -> Iterator[str]:
    names = {
        key: "",
        "failures": "failures",
        "share": "share",
        "jobs": "jobs",
        "users": "users",
        "failed_share": "of ended",
        "gpu_hours_lost": "GPU h lost",
        "lost_share": "share",
    }
    if table["failed_share"].is_null().all():
        del names["failed_share"]
    if key == "user":
        del names["users"]
    shown = table.with_columns(
        minutes=pl.concat_str(
            [pl.col(name).round(2).cast(pl.String).fill_null("-") for name in ("p50", "p90", "p95")], separator="/"
        )
    )
    yield from _table(shown, names | {"minutes": "minutes 50/90/95 %"}, top)


def _repeats(found: Repeats, top: int) -> Iterator[str]:
    yield (
        f"Retries: {found.retried:,} of {found.jobs:,} jobs ran more than once. After a failure the next attempt "
        f"failed, too: {_share(found.again)}"
    )
    for number, share in found.by_number:
        later = " or a later one" if number == found.by_number[-1][0] and number >= 5 else ""
        yield f"  after attempt {number}{later}: {_share(share)}"
    if found.same_nodes.trials or found.other_nodes.trials:
        yield f"  on a node of the failed one: {_share(found.same_nodes)}; on other nodes: {_share(found.other_nodes)}"
    for reason, share in found.by_reason[:top]:
        yield f"  again with the same reason, {_plain(reason)}: {_share(share)}"
    yield f"  passed in the end: {_share(found.passed_later)}"
    yield (
        f"  retries took {found.retry_gpu_hours:,.1f} GPU hours, {found.wasted_gpu_hours:,.1f} of them in jobs that "
        "never passed"
    )


def _nodes(found: NodeTest, top: int) -> Iterator[str]:
    what = "infrastructure failures" if found.counted == "infrastructure" else "failures of any kind"
    against = " and ".join(_EXPOSURES[name] for name in found.exposures)
    wider = f", scatter {found.dispersion:.2f} times chance" if found.dispersion > 1 else ""
    yield (
        f"Nodes that stand out: {len(found.outliers)} of {len(found.nodes)} ({what} against {against}, jobs counted "
        f"once a node, false names at most {found.alpha:.0%}{wider})"
    )
    shown: Sequence[Node] = found.outliers[:top]
    width = max((len(_plain(node.name)) for node in shown), default=0)
    if shown:
        yield f"  {'':<{width}} {'failed':>7} {'expected':>9} {'times':>6} {'users':>6} {'GPU hours':>12} {'q':>9}"
    for node in shown:
        times = "-" if node.ratio is None else f"{node.ratio:.1f}"
        doubt = "  one user's jobs make it so" if node.one_user else ""
        yield (
            f"  {_plain(node.name):<{width}} {node.failures:>7,} {node.expected:>9,.1f} {times:>6} {node.users:>6,} "
            f"{node.gpu_hours:>12,.1f} {node.q_value:>9.2g}{doubt}"
        )
    if len(found.outliers) > top:
        yield f"  and {len(found.outliers) - top} more (--top, --output json)"


def _table(table: pl.DataFrame, names: dict[str, str], top: int, shares: Sequence[str] = ()) -> Iterator[str]:
    """Columns aligned, texts to the left; columns whose name ends in share, and `shares`, as percent."""
    cells = [
        [_cell(row[name], name.endswith("share") or name in shares) for name in names]
        for row in table.head(top).select(list(names)).iter_rows(named=True)
    ]
    texts = [table.schema[name] == pl.String and name != "minutes" for name in names]
    widths = [max(len(title), *(len(row[i]) for row in cells), 5) for i, title in enumerate(names.values())]
    for row in [list(names.values()), *cells]:
        aligned = (
            f"{cell:<{width}}" if text else f"{cell:>{width}}"
            for cell, width, text in zip(row, widths, texts, strict=True)
        )
        yield ("  " + "  ".join(aligned)).rstrip()
    if table.height > top:
        yield f"  and {table.height - top:,} more (--top, --output json)"


def _cell(value: Any, is_share: bool) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return _plain(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.1%}" if is_share else f"{value:,.1f}"


def _share(share: Share) -> str:
    if share.value is None:
        return "none"
    interval = "" if share.low is None or share.high is None else f" ({share.low:.1%} to {share.high:.1%})"
    return f"{share.value:.1%}{interval} of {share.trials:,}"


def _quantiles(minutes: dict[str, float | None]) -> str:
    return "/".join("-" if value is None else f"{value:,.2f}" for value in minutes.values())


def _day(time_ns: int | None) -> str:
    return "?" if time_ns is None else f"{datetime.fromtimestamp(time_ns // 1_000_000_000, UTC):%Y-%m-%d}"


def _plain(text: str) -> str:
    """A name of a table: names come from files, and may be as long as a page."""
    shown = _printable(text)
    return shown if len(shown) <= _MOST_NAME else shown[: _MOST_NAME - 1] + "…"


def _printable(text: str) -> str:
    """Without signs that a terminal obeys."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)
