"""What servers choose degrees by, ready as bytes: asked for every few seconds by all servers of a fleet.

A question costs one small query, and none within a second of the last one about its service: what this process
changes itself shows at once, what another one changes a second later. The tables are made once per version.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, Final, Generic, TypeVar

import orjson
import sqlalchemy as sa
from fastapi import Depends
from starlette.requests import Request

from api.database import Database
from api.errors import NoActiveTableError
from store.tail_profiles import get_profile
from store.tail_services import get_service, known_service
from store.tail_targets import Versions, get_table, table_changes, versions_now

KEPT_S: Final = 1.0
_MOST_SERVICES: Final = 1_000
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Table:
    """The table of a service as bytes, and its entity tag."""

    body: bytes
    etag: str


class DegreeTables:
    """The tables of one API process; safe to use from any thread."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        """`clock_s` never goes back."""
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._now: _Newest[tuple[float, Table | str]] = _Newest(_MOST_SERVICES)
        self._made: _Newest[Table] = _Newest(_MOST_SERVICES)

    def of(self, service: str, database: Database) -> Table:
        """The table that the servers of a service are to use.

        Raises:
            NoActiveTableError: none is active. UnknownServiceError: there is no such service.
        """
        with self._lock:
            kept = self._now.get(service)
        now_s = self._clock_s()
        if kept is None or now_s - kept[0] >= KEPT_S:
            with database.reading() as connection:
                kept = now_s, self._read(service, connection)
            with self._lock:
                self._now.put(service, kept)
        found = kept[1]
        if isinstance(found, str):
            raise NoActiveTableError(found)
        return found

    def forget(self, service: str) -> None:
        """Something of the service has changed here."""
        with self._lock:
            self._now.drop(service)

    def _read(self, service: str, connection: sa.Connection) -> Table | str:
        versions = versions_now(connection, service)
        if versions is None:
            return _why_none(connection, service)
        key = service, versions
        with self._lock:
            made = self._made.get(key)
        if made is None:
            made = _made(connection, service, versions)
            with self._lock:
                self._made.put(key, made)
        return made


class _Newest(Generic[_Item]):
    """The items used last, so many of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: OrderedDict[Hashable, _Item] = OrderedDict()

    def get(self, key: Hashable) -> _Item | None:
        if key in self._items:
            self._items.move_to_end(key)
        return self._items.get(key)

    def put(self, key: Hashable, item: _Item) -> None:
        self._items[key] = item
        self._items.move_to_end(key)
        while len(self._items) > self._most:
            self._items.popitem(last=False)

    def drop(self, key: Hashable) -> None:
        self._items.pop(key, None)


def table_document(connection: sa.Connection, service: str, versions: Versions) -> dict[str, object]:
    """The table of these versions.

    Raises:
        analytics.errors.DataError: the stored table or profile cannot be read, as by an older release.
    """
    # What learns profiles brings numba; most APIs are never asked for this.
    from analytics.tail.policies import Tpc  # noqa: PLC0415
    from analytics.tail.policy_documents import degree_table, policy_from  # noqa: PLC0415
    from analytics.tail.profile_documents import profile_from  # noqa: PLC0415

    row, profile = get_table(connection, service, versions.table), get_profile(connection, service, versions.profile)
    known = get_service(connection, service)
    assert known is not None
    assert profile is not None
    policy, learned = policy_from(row.document), profile_from(profile.document)
    assert isinstance(policy, Tpc)
    most = learned.profile.max_degree
    told = degree_table(policy, learned.profile, min(row.max_degree or known.settings.max_degree or most, most))
    return {
        "service": service,
        "version": row.version,
        "profile_version": profile.version,
        **told,
        "explore_share": known.settings.explore_share,
    }


def _made(connection: sa.Connection, service: str, versions: Versions) -> Table:
    body = orjson.dumps(table_document(connection, service, versions))
    # By its content, too: the same numbers may stand for another table in a database that was put back.
    digest = blake2b(body, digest_size=6).hexdigest()
    return Table(body, f'"t{versions.table}-p{versions.profile}-s{versions.settings}-{digest}"')


def _why_none(connection: sa.Connection, service: str) -> str:
    known_service(connection, service)
    changes = table_changes(connection, service, 1)
    if changes and changes[0].state == "rolled_back":
        return (
            f"no table of targets of {service!r} is active since version {changes[0].version} was rolled back; choose "
            "degrees as without one"
        )
    return (
        f"no table of targets of {service!r} is active; GET /api/v1/services/{service}/target-tables lists drafts, "
        "and POST to the activate path of one puts it in use"
    )


async def _tables(request: Request) -> DegreeTables:
    tables: DegreeTables = request.app.state.degree_tables
    return tables


Tables = Annotated[DegreeTables, Depends(_tables)]
