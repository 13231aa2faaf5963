"""API keys: who may ask for what, until when; made and revoked by the command line, checked by the API.

A key is `tw_<8 characters>_<52 characters>`: the first part is public and finds the row, the second is 256 random bits.
The database keeps a SHA-256 of the whole key. A slow hash with salt is for passwords, which people choose and can be
guessed; nobody guesses 256 random bits, and a digest that costs a microsecond can be checked on every request.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from store import tables
from store.errors import ApiKeyError, UnknownKeyError

SCOPES: Final = ("read", "ingest", "agent", "admin")
_SHAPE: Final = re.compile(r"(tw_[a-z2-7]{8})_[a-z2-7]{52}")
_PREFIX: Final = re.compile(r"tw_[a-z2-7]{8}")
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
_LATEST_NS: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A stored key. `digest` is of the whole key; times are ns UTC, None meaning never."""

    id: int
    name: str
    prefix: str
    digest: bytes
    scopes: frozenset[str]
    created_ns: int
    expires_ns: int | None
    last_used_ns: int | None
    revoked_ns: int | None

    def state(self, now_ns: int) -> str:
        """`revoked`, `expired` or `active`."""
        if self.revoked_ns is not None:
            return "revoked"
        return "expired" if self.expires_ns is not None and self.expires_ns <= now_ns else "active"

    def allows(self, scope: str) -> bool:
        """Whether its scopes cover this one; admin covers all."""
        return scope in self.scopes or "admin" in self.scopes


def prefix_of(key: str) -> str | None:
    """The public part of a key; None when the text has not the shape of one."""
    found = _SHAPE.fullmatch(key)
    return found[1] if found else None


def digest_of(key: str) -> bytes:
    """What of a key is kept and compared."""
    return hashlib.sha256(key.encode()).digest()


def create_key(
    connection: sa.Connection, name: str, scopes: Iterable[str], now_ns: int, expires_ns: int | None = None
) -> tuple[ApiKey, str]:
    """A new key: its row, and the key itself, which nobody can learn again. The caller commits.

    Raises:
        ApiKeyError: no such name or scope can be, the time has passed, or a key that is not revoked has the name.
    """
    wanted = frozenset(scopes)
    _check(name, wanted, now_ns, expires_ns)
    prefix = f"tw_{_random_text(5)}"
    key = f"{prefix}_{_random_text(32)}"
    return _stored(connection, key, prefix, name, wanted, now_ns, expires_ns), key


def keep_key(
    connection: sa.Connection, key: str, name: str, scopes: Iterable[str], now_ns: int, expires_ns: int | None = None
) -> tuple[ApiKey, bool]:
    """A key that was made elsewhere: its row, and whether that is new. The caller commits.

    Raises:
        ApiKeyError: it has not the shape of a key, or is known under other terms; else as `create_key`.
    """
    wanted = frozenset(scopes)
    prefix = prefix_of(key)
    if prefix is None:
        raise ApiKeyError(
            "the given key has not the shape of one; want tw_, 8 characters, _ and 52 characters, all of a-z and 2-7"
        )
    for known in api_keys(connection):
        if known.prefix != prefix and (known.name != name or known.state(now_ns) == "revoked"):
            continue
        if known.digest != digest_of(key):
            raise ApiKeyError(
                f"there is another key named {known.name!r}, number {known.id}; choose another name, or revoke it "
                f"first: `tailwatch key revoke {known.id}`"
            )
        if (known.name, known.scopes, known.state(now_ns)) != (name, wanted, "active"):
            raise ApiKeyError(
                f"this key is number {known.id} already: {known.name!r} with scope {', '.join(sorted(known.scopes))}, "
                f"{known.state(now_ns)}; draw another one"
            )
        return known, False
    _check(name, wanted, now_ns, expires_ns)
    return _stored(connection, key, prefix, name, wanted, now_ns, expires_ns), True


def api_keys(connection: sa.Connection) -> list[ApiKey]:
    """All keys ever made, in that order."""
    return [_key(row) for row in connection.execute(sa.select(tables.api_keys).order_by(tables.api_keys.c.id))]


def revoke_key(connection: sa.Connection, which: str, now_ns: int) -> ApiKey:
    """Revoke a key, named by its number, name or prefix; returns it as it was before. The caller commits.

    A name means the key that is not revoked, or else the newest that had it.

    Raises:
        UnknownKeyError: there is none.
    """
    known = api_keys(connection)
    found = [key for key in known if which in (str(key.id), key.name, key.prefix)]
    if not found:
        raise UnknownKeyError("key", which, {key.name for key in known})
    key = min(found, key=lambda key: (key.revoked_ns is not None, -key.id))
    table = tables.api_keys
    connection.execute(
        sa.update(table).where(table.c.id == key.id, table.c.revoked_ns.is_(None)).values(revoked_ns=now_ns)
    )
    return key


def note_uses(connection: sa.Connection, uses: Mapping[int, int]) -> None:
    """Write down when keys (by id) were last used; never moves a time back. The caller commits."""
    table = tables.api_keys
    older = sa.or_(table.c.last_used_ns.is_(None), table.c.last_used_ns < sa.bindparam("used_ns"))
    statement = sa.update(table).where(table.c.id == sa.bindparam("key_id"), older)
    if uses:
        connection.execute(
            statement.values(last_used_ns=sa.bindparam("used_ns")),
            [{"key_id": key, "used_ns": used_ns} for key, used_ns in sorted(uses.items())],
        )


def _check(name: str, scopes: frozenset[str], now_ns: int, expires_ns: int | None) -> None:
    if not _NAME.fullmatch(name) or _PREFIX.match(name):
        raise ApiKeyError(
            f"{name[:80]!r} cannot name a key; want a letter and then letters, digits, '.', '_' or '-', at most 64, "
            "for example grafana"
        )
    unknown = sorted(scopes.difference(SCOPES))
    if unknown or not scopes:
        seen = f"{unknown[0][:80]!r} is no scope" if unknown else "a key without a scope could do nothing"
        raise ApiKeyError(f"{seen}; want {', '.join(SCOPES)}")
    if expires_ns is not None and not now_ns < expires_ns <= _LATEST_NS:
        raise ApiKeyError("the key would have expired already, or later than any clock goes; want a time to come")


def _stored(
    connection: sa.Connection,
    key: str,
    prefix: str,
    name: str,
    scopes: frozenset[str],
    now_ns: int,
    expires_ns: int | None,
) -> ApiKey:
    table = tables.api_keys
    statement = sa.insert(table).values(
        name=name,
        prefix=prefix,
        hash=digest_of(key).hex(),
        scopes=" ".join(scope for scope in SCOPES if scope in scopes),
        created_ns=now_ns,
        expires_ns=expires_ns,
    )
    try:
        row = connection.execute(statement.returning(*table.c)).one()
    except sa.exc.IntegrityError as error:
        raise ApiKeyError(
            f"there is a key named {name!r}; choose another name, or revoke it first: `tailwatch key revoke {name}`"
        ) from error
    return _key(row)


def _random_text(n_bytes: int) -> str:
    """Letters and digits only, in one case: it is marked by a double click, and can be read out."""
    return base64.b32encode(secrets.token_bytes(n_bytes)).decode().rstrip("=").lower()


def _key(row: sa.Row[tuple[object, ...]]) -> ApiKey:
    values = row._asdict()
    digest, scopes = bytes.fromhex(values.pop("hash")), frozenset(values.pop("scopes").split())
    return ApiKey(digest=digest, scopes=scopes, **values)
