"""Rows of GPU jobs in the database of which a part cannot be read: counted and told, and the rest goes on."""

import logging
from collections.abc import Iterable

from collector import own_metrics
from store.gpu_attempts import AttemptRow

log = logging.getLogger(__name__)


def tell_damaged(what: str, why: str) -> None:
    """A row was left out, or is taken for what can be read of it."""
    own_metrics.gpu_failures.labels("damaged").inc()
    log.warning("a row of GPU jobs in the database is damaged, the others go on row=%s error=%s", what, why)


def tell_damaged_attempts(rows: Iterable[AttemptRow]) -> None:
    """Attempts whose nodes cannot be read count as those whose nodes nobody told."""
    for one in rows:
        if one.damaged:
            tell_damaged(f"attempt {one.number} of {one.job[:80]!r}", one.damaged)
