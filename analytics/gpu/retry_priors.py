"""How often a retry gets past each reason before a cluster has outcomes of its own, as data in retry_priors.yaml."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from analytics.errors import DataError

PRIORS_FILE: Final = Path(__file__).with_name("retry_priors.yaml")
#: A prior worth more outcomes than this would never give way to what a cluster sees.
MOST_WEIGHT: Final = 1_000.0


class Prior(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row.

    Attributes:
        success: probability that an unchanged retry gets past the failure.
        weight: how many outcomes it is worth.
        source: a key of the file's sources.
    """

    success: float
    weight: float
    source: str

    def counts(self) -> tuple[float, float]:
        """The same as pseudo-outcomes: how many got past the failure, how many did not."""
        return self.success * self.weight, (1 - self.success) * self.weight


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    reasons: dict[str, Prior]
    sources: dict[str, str] = {}
    unknown: Prior | None = None


@dataclass(frozen=True, slots=True)
class Priors:
    """All rows. `of` never fails: what has no row is as unknown as what has no reason."""

    reasons: Mapping[str, Prior]
    unknown: Prior
    sources: Mapping[str, str]

    def of(self, reason: str) -> Prior:
        """The row of a reason, or the one for the unknown."""
        return self.reasons.get(reason, self.unknown)


@cache
def shipped_priors() -> Priors:
    """The rows of this release."""
    document = _decoded(PRIORS_FILE.read_text(encoding="utf-8"), PRIORS_FILE.name, {})
    if document.unknown is None:
        raise DataError(f"{PRIORS_FILE.name}: no row `unknown`; want one for reasons that stand in no other")
    return Priors(document.reasons, document.unknown, document.sources)


def with_site_priors(text: str, name: str, below: Priors | None = None) -> Priors:
    """The shipped rows, or `below`, with those of a site's own file in their place.

    Args:
        text: YAML of the same form; `sources` and `unknown` may be left out.
        name: of the file, for messages.
    Raises:
        DataError: not YAML of that form, a number out of range, or a source that is not listed; names file and row.
    """
    base = shipped_priors() if below is None else below
    document = _decoded(text, name, base.sources)
    return Priors(
        {**base.reasons, **document.reasons},
        base.unknown if document.unknown is None else document.unknown,
        {**base.sources, **document.sources},
    )


def _decoded(text: str, name: str, known_sources: Mapping[str, str]) -> _Document:
    try:
        found: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError(f"{name} is no YAML: {' '.join(str(error).split())}") from error
    try:
        document = msgspec.convert(found, _Document)
    except msgspec.ValidationError as error:
        raise DataError(
            f"{name}: {error}; want `reasons:` with rows such as `gpu_ecc: {{success: 0.7, weight: 6, source: ours}}`"
        ) from error
    rows = dict(document.reasons)
    if document.unknown is not None:
        rows["unknown"] = document.unknown
    for reason, row in rows.items():
        _check(row, f"{name}, row {reason!r}", {*known_sources, *document.sources})
    return document


def _check(row: Prior, where: str, sources: set[str]) -> None:
    if not 0 < row.success < 1:  # also refuses NaN
        raise DataError(f"{where}: success {row.success}; want above 0 and below 1, nothing is certain")
    if not (math.isfinite(row.weight) and 0 < row.weight <= MOST_WEIGHT):
        raise DataError(f"{where}: weight {row.weight}; want above 0 and up to {MOST_WEIGHT:g} outcomes")
    if row.source not in sources:
        raise DataError(f"{where}: source {row.source!r}; want one listed under `sources`: {sorted(sources)}")
