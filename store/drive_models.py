"""Models for drives, kept by content: one may be active, one in its shadow, the others are retired.

What the bytes mean is the trainer's affair, and so is the digest that a model calls itself by; here a checksum proves
that they are the ones installed. A model becomes active as the first one, or from the shadow by `promote`. Retired ones
stay for a while (store/drive_retention.py), so that what they said can be explained, and one that is installed again
may come back.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa

from store.drive_tables import drive_models
from store.errors import CorruptPageError, DriveModelError
from store.postgresql import binary
from store.upsert import insert

Role: TypeAlias = Literal["active", "shadow", "retired"]

#: A model of 200 trees has 0.3 MB; much more than this would stall everybody who loads it.
MODEL_MAX_BYTES = 64 * 2**20
_CARD_MAX = 2**20
_T = drive_models


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model without its bytes; `note` says why it was promoted."""

    digest: str
    role: Role
    installed_ns: int
    promoted_ns: int | None
    retired_ns: int | None
    note: str
    card: dict[str, Any]
    size_bytes: int


def digest_of(data: bytes) -> str:
    """What a model is named by that has no digest of its own."""
    return f"sha256:{_checksum(data)}"


def install(
    connection: sa.Connection,
    data: bytes,
    card: Mapping[str, Any],
    role: Literal["active", "shadow"],
    now_ns: int,
    *,
    digest: str | None = None,
) -> tuple[ModelRow, bool]:
    """Keep a model in a role; (its row, whether anything changed). Another shadow is retired.

    Args:
        digest: what the model calls itself (default: the digest of its bytes). Equal digests are one model.
    Raises:
        DriveModelError: it is empty or too large, it is the active one already and wanted as a shadow, or another one
            is active: then install it as a shadow and promote it.
    """
    if not 0 < len(data) <= MODEL_MAX_BYTES:
        raise DriveModelError(f"a model of {len(data)} bytes; want 1 to {MODEL_MAX_BYTES}")
    text = json.dumps(card, sort_keys=True)
    if len(text) > _CARD_MAX:
        raise DriveModelError(f"a model card of {len(text)} characters; at most {_CARD_MAX} are kept")
    digest = digest_of(data) if digest is None else digest
    contents = {"data": data, "checksum": _checksum(data)}
    active, same = in_role(connection, "active"), in_role(connection, role)
    if same is not None and same.digest == digest:
        connection.execute(sa.update(_T).where(_T.c.digest == digest, _T.c.data != data).values(contents))
        return same, False
    if active is not None and role == "active":
        raise DriveModelError(
            f"{active.digest} is active; install this one with --shadow, and `tailwatch ssd promote` it"
        )
    if active is not None and active.digest == digest:
        raise DriveModelError(f"{digest} is the active model; it cannot be its own shadow")
    if same is not None:
        _retire(connection, same.digest, now_ns)
    times = {"installed_ns": now_ns, "promoted_ns": now_ns if role == "active" else None, "retired_ns": None}
    row = {"digest": digest, "role": role, "card": text, "note": "", **contents, **times}
    statement = insert(connection, _T)
    changed = {name: statement.excluded[name] for name in row if name != "digest"}
    connection.execute(statement.on_conflict_do_update(index_elements=["digest"], set_=changed), [row])
    return _one(connection, digest), True


def promote(connection: sa.Connection, digest: str, note: str, now_ns: int) -> ModelRow:
    """Make the shadow of this digest the active model, and retire the one before; `note` says why.

    Raises:
        DriveModelError: no shadow, or not this one: somebody has installed another since.
    """
    shadow, active = in_role(connection, "shadow"), in_role(connection, "active")
    if shadow is None or shadow.digest != digest:
        seen = "there is none" if shadow is None else f"that is {shadow.digest}"
        raise DriveModelError(f"{digest} is not the shadow ({seen}); see `tailwatch ssd models`")
    if active is not None:
        _retire(connection, active.digest, now_ns)
    connection.execute(sa.update(_T).where(_T.c.digest == digest).values(role="active", promoted_ns=now_ns, note=note))
    return _one(connection, digest)


def models(connection: sa.Connection) -> list[ModelRow]:
    """All models: the active one, its shadow, then the retired ones, newest first."""
    rank = {"active": 0, "shadow": 1, "retired": 2}
    rows = [_row(row) for row in connection.execute(_rows())]
    return sorted(rows, key=lambda row: (rank[row.role], -row.installed_ns, row.digest))


def in_role(connection: sa.Connection, role: Literal["active", "shadow"]) -> ModelRow | None:
    """The model in this role, without its bytes; cheap, for asking whether it is still the same."""
    row = connection.execute(_rows().where(_T.c.role == role)).one_or_none()
    return None if row is None else _row(row)


def model_bytes(connection: sa.Connection, digest: str) -> bytes:
    """The bytes of a model.

    Raises:
        DriveModelError: there is no such model.
        CorruptPageError: they are not what was installed.
    """
    query = sa.select(_T.c.data, _T.c.checksum).where(_T.c.digest == digest)
    row = binary(connection).execute(query).one_or_none()
    if row is None:
        raise DriveModelError(f"there is no model {digest}; see `tailwatch ssd models`")
    if _checksum(row.data) != row.checksum:
        raise CorruptPageError(f"the stored bytes of model {digest} are damaged; install it again")
    return bytes(row.data)


def _checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _rows() -> "sa.Select[Any]":
    columns = [_T.c[name] for name in ModelRow.__slots__ if name != "size_bytes"]
    return sa.select(*columns, sa.func.length(_T.c.data).label("size_bytes"))


def _row(row: "sa.Row[Any]") -> ModelRow:
    return ModelRow(**{**row._asdict(), "card": json.loads(row.card)})


def _one(connection: sa.Connection, digest: str) -> ModelRow:
    return _row(connection.execute(_rows().where(_T.c.digest == digest)).one())


def _retire(connection: sa.Connection, digest: str, now_ns: int) -> None:
    connection.execute(sa.update(_T).where(_T.c.digest == digest).values(role="retired", retired_ns=now_ns))
