"""Learned speed-ups as JSON documents, and back without a changed bit."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np

from analytics.errors import DataError
from analytics.tail.effective import Basis
from analytics.tail.learning import LearnedProfile
from analytics.tail.slowdown import checked
from analytics.tail.slowdown_learning import NO_SLOWDOWN, Slowdown
from analytics.tail.speedup import SpeedupProfile


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows by class, columns by degree from 1; older documents say nothing of a slowdown, and rest on none."""

    edges_ms: list[float]
    speedups: list[list[float]]
    counts: list[list[int]]
    low: list[list[float]]
    high: list[list[float]]
    extrapolated: list[list[bool]]
    requests: int
    explored: int
    basis: Basis
    slowdown: Slowdown = NO_SLOWDOWN


_TABLES: Final = ("counts", "low", "high", "extrapolated")


def profile_document(learned: LearnedProfile) -> dict[str, Any]:
    """What `profile_from` reads: lists and numbers that any JSON keeps."""
    document = _Document(
        edges_ms=[float(edge) for edge in learned.profile.edges_ms],
        speedups=learned.profile.table.tolist(),
        counts=learned.counts.tolist(),
        low=learned.low.tolist(),
        high=learned.high.tolist(),
        extrapolated=learned.extrapolated.tolist(),
        requests=learned.requests,
        explored=learned.explored,
        basis=learned.basis,
        slowdown=learned.slowdown,
    )
    return dict(msgspec.to_builtins(document))


def profile_from(document: Mapping[str, Any]) -> LearnedProfile:
    """The learned profile of a document.

    Raises:
        DataError: a field is missing, unknown, of another type or shape; the message names it.
    """
    try:
        read = msgspec.convert(document, _Document)
    except msgspec.ValidationError as error:
        raise DataError(f"a speed-up profile that cannot be read: {error}") from error
    checked(read.slowdown.value)
    shape = (len(read.edges_ms) + 1, len(read.speedups[0]) if read.speedups else 0)
    for name in ("speedups", *_TABLES):
        rows = getattr(read, name)
        if len(rows) != shape[0] or any(len(row) != shape[1] for row in rows):
            raise DataError(
                f"{name} of a speed-up profile: want {shape[0]} rows of {shape[1]}, as edges_ms and speedups have"
            )
    return LearnedProfile(
        SpeedupProfile(tuple(read.edges_ms), np.array(read.speedups, np.float64)),
        np.array(read.counts, np.int64),
        np.array(read.low, np.float64),
        np.array(read.high, np.float64),
        np.array(read.extrapolated, np.bool_),
        read.requests,
        read.explored,
        read.basis,
        read.slowdown,
    )
