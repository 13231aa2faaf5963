"""Settings of collectors that take frames of tests, whenever these run."""

from typing import Any

from collector.config import CollectorConfig

# Frames of tests are of a time that stays (tests/fleet.py). Of that age they would be dead letters one day, since an
# older frame may have been counted before.
_TWENTY_YEARS_S = 20 * 365 * 86_400.0


def timeless(**settings: Any) -> CollectorConfig:
    """The settings, for frames of any age unless they say otherwise."""
    return CollectorConfig(**{"spool_age_s": _TWENTY_YEARS_S} | settings)
