"""Services whose requests are recorded: which there are, and what each has promised and runs on.

A service comes into being with its first requests or its first settings, whichever is sooner, and stays until nothing
of it is left (store/tail_retention.py). Their number is bounded: names come from outside.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from store.errors import ServiceChangedError, ServiceLimitError, ServiceRowError, UnknownServiceError
from store.tail_tables import NAME_MAX, tail_batches, tail_services
from store.texts import is_storable, storable_text
from store.upsert import insert

#: A fleet of more services than this has a name in it that changes with every request.
SERVICES_MAX: Final = 10_000
THREADS_MAX: Final = 4_096
_CLASSES_MAX = 16
_COMPARED = 1_000  # names that an unknown one is held against
_POLICY_MAX = 64 * 1024
_DAY_MS = 86_400_000.0
_T = tail_services


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """What a service has promised, and what it runs on; None: nobody has said.

    Attributes:
        percentile, target_ms: so large a share of requests is to be done within so many milliseconds.
        fan_out: servers that one request of a user waits for. window_days: over which the promise is kept.
        threads, workers: hardware threads and worker threads of one instance. max_degree: threads of one request.
        class_edges_ms: between classes of requests by predicted time, rising; None: learned.
        policy: what decides on degrees now, as analytics/tail/policy_documents.py writes it; None: not known.
        explore_share: of requests whose degree is drawn by chance, so that speed-ups can be learned.
    """

    percentile: float = 0.99
    target_ms: float | None = None
    fan_out: int = 1
    window_days: int = 28
    threads: int | None = None
    workers: int | None = None
    max_degree: int | None = None
    class_edges_ms: tuple[float, ...] | None = None
    policy: dict[str, Any] | None = None
    explore_share: float = 0.01


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """A service.

    Attributes:
        version: how often its settings were set; 0: never, they are the defaults.
        first_ns: when it was first heard of. changed_ns, changed_by: when its settings were set last, and by whom.
        latest_ns: when the newest recorded request arrived, None where there is none.
        synthetic: its requests were made up.
    """

    service: str
    settings: ServiceSettings
    version: int
    first_ns: int
    changed_ns: int
    changed_by: str = ""
    synthetic: bool = False
    latest_ns: int | None = field(default=None)


def get_service(connection: sa.Connection, service: str) -> ServiceRow | None:
    """A service, None where nobody has heard of it."""
    if not is_storable(service, NAME_MAX):
        return None
    row = connection.execute(_rows().where(_T.c.service == service)).one_or_none()
    return None if row is None else _row(row)


def known_service(connection: sa.Connection, service: str) -> ServiceRow:
    """A service.

    Raises:
        UnknownServiceError: nobody has heard of it.
    """
    found = get_service(connection, service)
    if found is None:
        some = sa.select(_T.c.service).order_by(_T.c.service).limit(_COMPARED)
        raise UnknownServiceError("service", service[:NAME_MAX], connection.execute(some).scalars())
    return found


def list_services(connection: sa.Connection, after: str = "", limit: int = SERVICES_MAX * 2) -> list[ServiceRow]:
    """Services by name, those whose name comes after `after`."""
    query = _rows().where(_T.c.service > storable_text(after, NAME_MAX)).order_by(_T.c.service).limit(limit)
    return [_row(row) for row in connection.execute(query)]


def put_service(
    connection: sa.Connection,
    service: str,
    settings: ServiceSettings,
    now_ns: int,
    expected_version: int | None = None,
    *,
    by: str = "",
) -> ServiceRow:
    """Set a service's settings; the caller commits.

    Args:
        expected_version: of the settings that these are to replace; 0: nobody has set any. None: whichever there are.
    Raises:
        ServiceRowError: a setting that makes no sense. ServiceChangedError: another version is there.
        ServiceLimitError: there are too many services. Nothing was written.
    """
    check_settings(settings)
    ensure_service(connection, service, now_ns)
    change = sa.update(_T).where(_T.c.service == service)
    if expected_version is not None:
        change = change.where(_T.c.version == expected_version)
    written = connection.execute(
        change.values(
            settings=msgspec.json.encode(settings).decode(),
            version=_T.c.version + 1,
            changed_ns=now_ns,
            changed_by=storable_text(by, NAME_MAX),
        )
    )
    found = known_service(connection, service)
    if written.rowcount != 1:
        raise ServiceChangedError(
            f"the settings of {service!r} are of version {found.version} now, and {expected_version} was to be "
            "replaced; read them again and change those",
            found.version,
        )
    return found


def ensure_service(connection: sa.Connection, service: str, now_ns: int, *, synthetic: bool = False) -> None:
    """Have a row of this service; one that was there stays as it is, but what was once made up stays so.

    Raises:
        ServiceRowError: a name that cannot be kept.
        ServiceLimitError: there are SERVICES_MAX others. Processes that ask at the same moment may get a few more.
    """
    check_name("service", service)
    row = connection.execute(sa.select(_T.c.synthetic).where(_T.c.service == service)).one_or_none()
    if row is None:
        if connection.execute(sa.select(sa.func.count()).select_from(_T)).scalar_one() >= SERVICES_MAX:
            raise ServiceLimitError(
                f"service {service[:80]!r} is new, and there are {SERVICES_MAX} services already; give services names "
                "that stay the same from request to request, or wait until old ones are forgotten",
                SERVICES_MAX,
            )
        connection.execute(
            insert(connection, _T)
            .values(
                service=service,
                settings=msgspec.json.encode(ServiceSettings()).decode(),
                version=0,
                first_ns=now_ns,
                changed_ns=now_ns,
                changed_by="",
                synthetic=synthetic,
            )
            .on_conflict_do_nothing()
        )
    elif synthetic and not row.synthetic:
        connection.execute(sa.update(_T).where(_T.c.service == service).values(synthetic=True))


def check_name(what: str, name: str, at_most: int = NAME_MAX) -> None:
    """A name that both databases take as it is.

    Raises:
        ServiceRowError: it is empty, too long, or has NUL or lone surrogates.
    """
    if not name or not is_storable(name, at_most):
        raise ServiceRowError(
            f"{what} is {name[:80]!r} ({len(name)} characters); want 1 to {at_most}, without NUL or lone surrogates"
        )


def check_settings(settings: ServiceSettings) -> None:
    """Refuse what nobody can mean.

    Raises:
        ServiceRowError: the message names the setting, what it is and what is wanted.
    """
    one = settings
    _want(0 < one.percentile < 1, "percentile", one.percentile, "a number between 0 and 1, as 0.99")
    _want(
        one.target_ms is None or 0 < one.target_ms <= _DAY_MS,
        "target_ms", one.target_ms, "a number above 0, at most a day",
    )  # fmt: skip
    _want(1 <= one.fan_out <= 1_000_000, "fan_out", one.fan_out, "1 to 1,000,000")
    _want(1 <= one.window_days <= 366, "window_days", one.window_days, "1 to 366")
    for name in ("threads", "workers", "max_degree"):
        value = getattr(one, name)
        _want(value is None or 1 <= value <= THREADS_MAX, name, value, f"1 to {THREADS_MAX}")
    _want(
        one.max_degree is None or one.workers is None or one.max_degree <= one.workers,
        "max_degree", one.max_degree, f"at most workers, {one.workers}",
    )  # fmt: skip
    _want(0 <= one.explore_share <= 0.5, "explore_share", one.explore_share, "0 to 0.5")
    edges: Sequence[float] = one.class_edges_ms or ()
    rising = all(a < b for a, b in zip((0.0, *edges), edges, strict=False))
    _want(
        rising and len(edges) < _CLASSES_MAX and all(map(math.isfinite, edges)),
        "class_edges_ms", one.class_edges_ms, f"up to {_CLASSES_MAX - 1} rising numbers above 0",
    )  # fmt: skip
    if one.policy is not None:
        size = len(msgspec.json.encode(one.policy))
        _want(size <= _POLICY_MAX, "policy", f"{size} bytes of JSON", f"at most {_POLICY_MAX}")
        degree = one.policy.get("degree", 1)
        for name in ("max_degree", "workers"):
            most = getattr(one, name)
            _want(most is None or degree <= most, "policy.degree", degree, f"at most {name}, {most}")


def _want(holds: bool, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise ServiceRowError(f"{name} is {value!r}; want {wanted}")


def _rows() -> "sa.Select[Any]":
    latest = sa.select(sa.func.max(tail_batches.c.to_ns)).where(tail_batches.c.service == _T.c.service)
    columns = [_T.c[name] for name in ServiceRow.__slots__ if name != "latest_ns"]
    return sa.select(*columns, latest.scalar_subquery().label("latest_ns"))


def _row(row: "sa.Row[Any]") -> ServiceRow:
    values = row._asdict()
    return ServiceRow(**{**values, "settings": msgspec.json.decode(values["settings"], type=ServiceSettings)})
