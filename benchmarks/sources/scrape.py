"""Table 5: pages of /metrics, from their bytes to rows of the stream, beside the parsers of prometheus_client.

Ours is all that follows the last byte: samples, columns from labels, what counters and histograms gained, and sketches
of these. The peers only read samples. A page like the one before is the rule; one that is new costs more.
"""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any, Final

import numpy as np

from agents.sources.scrape_increments import Increments
from agents.sources.scrape_page import Page, text_page
from agents.sources.scrape_targets import target_of
from benchmarks.rounds import Candidate, interleaved
from benchmarks.sources.peer_rows import peer_row
from benchmarks.sources.sizing import Sizing
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard

OURS: Final = "tailwatch, a page with the series of the one before"
BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
COLUMNS: Final = [
    Column("who", "who"), Column("median", "samples/s", 0), Column("low", "lowest", 0), Column("high", "highest", 0),
    Column("ratio", "ours / peer", 1), Column("state", ""),
]  # fmt: skip


def run(sizing: Sizing, board: Scoreboard) -> list[Table]:
    """The table."""
    del board  # no goal was set
    old, new = (_page(sizing.page_samples, seed, openmetrics=False) for seed in (1, 2))
    om = _page(sizing.page_samples, 2, openmetrics=True)
    samples = len(text_page(new, openmetrics=False).keys)
    table = Table("scrape", "5. Pages of /metrics to rows of counters, gauges and histograms", COLUMNS)
    table.notes.append(f"{samples:,} samples, {len(new) / 1e6:.1f} MB: half of them buckets of histograms; CPU time")
    table.notes.append(
        "peers read samples and nothing else; ours gives increments and sketches with two columns of labels"
    )
    warm = _begun(old)
    candidates = {
        OURS: partial(_next_page, warm, [old, new]),
        "tailwatch, a page with other series": partial(_first_page, new),
        "tailwatch, samples of a new page only": partial(_parsed, new, samples),
        "prometheus_client, text": partial(_by_their_text, new, samples),
        "prometheus_client, OpenMetrics": partial(_by_their_openmetrics, om, samples),
    }
    found = interleaved({name: _candidate(work, samples) for name, work in candidates.items()}, sizing.rounds)
    table.rows += [peer_row(name, found, None if name == OURS else OURS) for name in candidates]
    return [table]


def _candidate(work: Callable[[], None], samples: int) -> Candidate:
    return Candidate(lambda _: work(), per_run=samples)


def _page(count: int, seed: int, *, openmetrics: bool) -> bytes:
    """What a web server shows: by handler and code a counter, a gauge, and a histogram of 12 buckets."""
    draw = np.random.default_rng(seed)
    lines: dict[str, list[str]] = {"counter": [], "gauge": [], "histogram": []}
    for i in range(count // 24):
        label = f'handler="/api/v1/items/{i}",code="{200 + i % 5}"'
        for name in ("received", "sent", "errors", "retries", "hits"):
            lines["counter"].append(f"http_{name}_total{{{label}}} {seed * 1000 + draw.integers(0, 999)}")
        for name in ("open", "idle", "queued", "limit", "age_seconds"):
            lines["gauge"].append(f"http_{name}{{{label}}} {draw.random():.6g}")
        held = np.cumsum(draw.integers(0, 50, len(BOUNDS) + 1)) + seed * np.arange(1, len(BOUNDS) + 2) * 1000
        for bound, value in zip((*(f"{b:g}" for b in BOUNDS), "+Inf"), held, strict=True):
            lines["histogram"].append(f'http_took_seconds_bucket{{{label},le="{bound}"}} {value}')
        lines["histogram"].append(f"http_took_seconds_sum{{{label}}} {held[-1] * 0.3:.4f}")
        lines["histogram"].append(f"http_took_seconds_count{{{label}}} {held[-1]}")
    text = []
    for kind, found in lines.items():
        families: dict[str, list[str]] = {}
        for line in found:
            name = line.partition("{")[0]
            families.setdefault("http_took_seconds" if kind == "histogram" else name, []).append(line)
        for family, own in families.items():
            declared = family.removesuffix("_total") if openmetrics else family
            text += [f"# HELP {declared} Help.", f"# TYPE {declared} {kind}", *own]
    return "\n".join([*text, "# EOF\n" if openmetrics else ""]).encode()


def _begun(page: bytes) -> Increments:
    one = Increments(target_of("web:80", "web"), ["handler", "code"], 1e12)
    one.rows(text_page(page, openmetrics=False), 0)
    return one


def _next_page(one: Increments, pages: list[bytes]) -> None:
    pages.reverse()
    page = text_page(pages[0], openmetrics=False, before=one.keys)
    if page.keys is not one.keys or one.rows(page, 1).height < len(page.keys) // 4:
        raise AssertionError("the page was not compared with the one before")


def _first_page(data: bytes) -> None:
    if _begun(data).keys is None:
        raise AssertionError("the page has no series")


def _parsed(data: bytes, samples: int) -> None:
    page: Page = text_page(data, openmetrics=False)
    if len(page.keys) != samples or page.malformed:
        raise AssertionError(f"{len(page.keys)} samples, wanted {samples}")


def _by_their_text(data: bytes, samples: int) -> None:
    _wanted("prometheus_client")
    from prometheus_client.parser import text_string_to_metric_families

    _counted(text_string_to_metric_families(data.decode()), samples)


def _by_their_openmetrics(data: bytes, samples: int) -> None:
    _wanted("prometheus_client")
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    _counted(text_string_to_metric_families(data.decode()), samples)  # type: ignore[no-untyped-call]


def _wanted(module: str) -> None:
    if find_spec(module) is None:
        raise ModuleNotFoundError(f"{module} is not installed")


def _counted(families: Any, samples: int) -> None:
    found = sum(len(family.samples) for family in families)
    if found != samples:
        raise AssertionError(f"{found} samples, wanted {samples}")
