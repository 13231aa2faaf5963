"""The models that drives are scored with: the active one and its shadow, loaded again when another one is installed.

Without a model, or with one that cannot be used, rules and wear go on; what is shown then says why there is no
probability. A model is never let near the process in any other form than its own file (analytics/ssd/model_file.py).
"""

import logging
from dataclasses import dataclass
from typing import Final, Literal

import sqlalchemy as sa

from analytics.errors import AnalyticsError
from analytics.ssd.verdicts import Scorer
from collector import own_metrics
from store.drive_models import in_role, model_bytes
from store.errors import StoreError

log = logging.getLogger(__name__)

NO_MODEL: Final = "no model"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model, or why there is none: `scorer` None, and `why_not` in words; `synthetic` as its card says."""

    digest: str
    scorer: Scorer | None
    why_not: str
    synthetic: bool = False


NONE: Final = Loaded("", None, f"{NO_MODEL}: none is installed")


@dataclass(frozen=True, slots=True)
class Scorers:
    """What to score with just now. The shadow never decides anything."""

    active: Loaded = NONE
    shadow: Loaded = NONE


class ScorerShelf:
    """Keeps loaded models between rounds; those of another digest are loaded anew."""

    def __init__(self) -> None:
        self._held: dict[str, Loaded] = {}

    def scorers(self, connection: sa.Connection) -> Scorers:
        """The models in use as this transaction sees them."""
        active, shadow = (self._in_role(connection, role) for role in ("active", "shadow"))
        self._held = {one.digest: one for one in (active, shadow) if one.digest}
        return Scorers(active, shadow)

    def give_up(self, digest: str, error: Exception) -> Loaded:
        """A model that was loaded cannot score: do without it until another one is installed."""
        self._held[digest] = _refused(digest, error)
        return self._held[digest]

    def as_they_are(self, scorers: Scorers) -> Scorers:
        """The same, without those that were given up since."""
        return Scorers(
            self._held.get(scorers.active.digest, scorers.active), self._held.get(scorers.shadow.digest, scorers.shadow)
        )

    def _in_role(self, connection: sa.Connection, role: Literal["active", "shadow"]) -> Loaded:
        row = in_role(connection, role)
        if row is None:
            return NONE
        if row.digest not in self._held:
            self._held[row.digest] = _loaded(connection, row.digest, synthetic=bool(row.card.get("synthetic", False)))
        return self._held[row.digest]


def scorer_in(data: bytes) -> Scorer:
    """The model in a model file.

    Raises:
        AnalyticsError: none of this release, or a library for it is not installed.
    """
    from analytics.ssd.model_file import load_model  # noqa: PLC0415  # collectors without a model need no xgboost

    scorer: Scorer = load_model(data)
    return scorer


def _loaded(connection: sa.Connection, digest: str, *, synthetic: bool) -> Loaded:
    try:
        scorer = scorer_in(model_bytes(connection, digest))
    except (AnalyticsError, StoreError) as error:
        return _refused(digest, error)
    except sa.exc.SQLAlchemyError:
        raise
    # Whatever a library makes of bytes that it does not like: drives must be judged without it all the same.
    except Exception as error:
        log.exception("model of drives cannot be loaded digest=%s", digest)
        return _refused(digest, error)
    log.info("model of drives loaded digest=%s synthetic=%s", digest, synthetic)
    return Loaded(digest, scorer, "", synthetic)


def _refused(digest: str, error: Exception) -> Loaded:
    own_metrics.drives_failures.labels("model").inc()
    said = (str(error) or type(error).__name__).splitlines()[0]
    log.warning("model of drives cannot be used, rules and wear go on digest=%s error=%s", digest, said)
    return Loaded(digest, None, f"{NO_MODEL}: {digest[:19]} cannot be used: {said}")
