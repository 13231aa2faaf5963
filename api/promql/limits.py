"""How much one expression may ask for, so that no text a user sends can take the server's memory."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one evaluation.

    max_points: instants of a range query, as Prometheus' 11,000.
    max_samples: numbers that any one stage may hold: samples and buckets as read, or points times series.
    max_series: series that one selector may give.
    lookback_ns: how old a sample may be for an instant selector to still see it.
    """

    max_points: int = 11_000
    max_samples: int = 20_000_000
    max_series: int = 50_000
    lookback_ns: int = 300_000_000_000
