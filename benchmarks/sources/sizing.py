"""How much is measured: a full run, or a quick one that touches everything."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizing:
    """Amounts of work.

    Attributes:
        log_lines: in the file that is read.
        statsd_lines: that are sent.
        slow_lines: of its first lines, as many as peers that go line by line get.
        otlp_requests: of a thousand data points each.
        page_samples: of a page of /metrics.
    """

    quick: bool
    rounds: int
    log_lines: int
    statsd_lines: int
    slow_lines: int
    otlp_requests: int
    page_samples: int


FULL = Sizing(
    quick=False,
    rounds=7,
    log_lines=1_000_000,
    statsd_lines=500_000,
    slow_lines=200_000,
    otlp_requests=20,
    page_samples=100_000,
)
QUICK = Sizing(
    quick=True,
    rounds=1,
    log_lines=20_000,
    statsd_lines=20_000,
    slow_lines=5_000,
    otlp_requests=2,
    page_samples=5_000,
)
