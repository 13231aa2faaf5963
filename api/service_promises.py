"""What a service has promised and runs on, as far as a question needs it; where nobody said, the answer says how to."""

import json
from dataclasses import asdict
from typing import Any, Final

import sqlalchemy as sa

from analytics.tail.policies import Server, server_as_told
from api.errors import ConflictError, UnknownNameError
from api.times import rfc_3339
from store.tail_services import ServiceRow, ServiceSettings, known_service

_SAMPLE: Final = {"target_ms": 80, "threads": 12}
_DEFAULTS: Final = ServiceSettings()


def promised_target(row: ServiceRow) -> float:
    """The promised latency in milliseconds.

    Raises:
        ConflictError: nobody promised any; says how to.
    """
    check_settings_told(row, ("target_ms",))
    return float(row.settings.target_ms or 0.0)


def server_of(row: ServiceRow, known_degree: int | None = None) -> Server:
    """What one instance of the service runs on (analytics.tail.policies.server_as_told).

    Args:
        known_degree: up to which speed-ups are known; None: nothing is learned.
    Raises:
        ConflictError: nobody said how many hardware threads there are; says how to.
    """
    check_settings_told(row, ("threads",))
    settings = row.settings
    return server_as_told(settings.threads or 1, settings.workers, settings.max_degree, known_degree)


def check_settings_told(row: ServiceRow, names: tuple[str, ...]) -> None:
    """Return when somebody has said all of these settings.

    Raises:
        ConflictError: some are missing; names them, and the request that tells them.
    """
    missing = [name for name in names if getattr(row.settings, name) is None]
    if not missing:
        return
    # A PUT replaces all settings: those that somebody told must stay.
    body = json.dumps({**_told(row.settings), **{name: _SAMPLE[name] for name in missing}})
    raise ConflictError(
        f"the objective of {row.service[:200]!r} does not say {', '.join(missing)}; "
        f"PUT /api/v1/services/{row.service[:200]}/objective with what is true of it, such as {body}, "
        "then ask again"
    )


def _told(settings: ServiceSettings) -> dict[str, Any]:
    """What differs from what holds where nobody said anything."""
    return {name: value for name, value in asdict(settings).items() if value != getattr(_DEFAULTS, name)}


def service_and_target(connection: sa.Connection, service: str) -> tuple[ServiceRow, float]:
    """A service, and the latency it promised in milliseconds.

    Raises:
        store.errors.UnknownServiceError: nobody has heard of it.
        ConflictError: it promised nothing.
    """
    row = known_service(connection, service)
    return row, promised_target(row)


def promise_entry(settings: ServiceSettings) -> dict[str, object]:
    """What was promised, as answers show it."""
    return {
        "percentile": settings.percentile,
        "target_ms": settings.target_ms,
        "fan_out": settings.fan_out,
        "window_days": settings.window_days,
    }


def nothing_there(row: ServiceRow, start_ns: int, end_ns: int, what: str) -> UnknownNameError:
    """Nothing is known of a stretch of time: what there is instead, and what to do.

    Args:
        what: is missing, in words: `minutes` or `requests`.
    """
    service = row.service[:200]
    if row.latest_ns is None:
        instead = f"none ever were; its servers send them to POST /api/v1/services/{service}/requests"
    elif start_ns <= row.latest_ns < end_ns:
        instead = (
            f"the newest recorded request came at {rfc_3339(row.latest_ns)}, so some are recorded, and not added up "
            "yet; the collectors' job does that when collector.jobs.tail.enabled is true, ask again in a minute or two"
        )
    else:
        instead = f"the newest recorded request came at {rfc_3339(row.latest_ns)}; ask for a stretch up to then"
    return UnknownNameError(
        f"no {what} of service {service!r} are known from {rfc_3339(start_ns)} to {rfc_3339(end_ns)}: {instead}",
        parameter="start",
    )
