"""`tailwatch key create|list|revoke`: API keys, made and revoked where the database is.

The key itself goes to stdout, alone, so that a script can take it from there; what is said about it goes to stderr.
"""

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    import sqlalchemy as sa

    from store.api_keys import ApiKey

_Said = list[tuple[TextIO, str]]


def run(args: argparse.Namespace) -> int:
    """Do what the action says, on a database with this release's tables."""
    from tailwatch.open_database import open_database
    from tailwatch.settings_flags import loaded_from

    url = loaded_from(args).settings.database.url
    actions = {"create": _create, "list": _list, "revoke": _revoke}
    with open_database(url) as engine, engine.begin() as connection:
        said = actions[args.action](args, connection)
    for stream, text in said:  # only now: a key that was not stored must not be shown
        print(text, file=stream, flush=True)
    return 0


def _create(args: argparse.Namespace, connection: "sa.Connection") -> _Said:
    from store.api_keys import create_key, keep_key

    now_ns = time.time_ns()
    expires_ns = now_ns + args.expires * 10**9 if args.expires else None
    scopes = args.scopes or ["read"]
    if args.key_path:
        # What is no text has not the shape of a key either, and is refused as such.
        given = Path(args.key_path).read_text(encoding="utf-8", errors="replace").strip()
        row, new = keep_key(connection, given, args.name, scopes, now_ns, expires_ns)
        state = "is kept now" if new else "is there already"
        return [(sys.stderr, f"key {row.id} {row.name!r} with scope {_scopes(row)} {state}")]
    row, key = create_key(connection, args.name, scopes, now_ns, expires_ns)
    until = f"until {_time(expires_ns)}" if expires_ns else "until it is revoked"
    note = f"key {row.id} {row.name!r} with scope {_scopes(row)}, {until}; it is shown this once, keep it safe"
    return [(sys.stderr, note), (sys.stdout, key)]


def _list(args: argparse.Namespace, connection: "sa.Connection") -> _Said:
    from store.api_keys import api_keys
    from tailwatch.terminal import table

    now_ns = time.time_ns()
    known = api_keys(connection)
    if args.output == "json":
        return [(sys.stdout, json.dumps({"keys": [_as_json(key, now_ns) for key in known]}, indent=2))]
    if not known:
        return [(sys.stdout, "no keys; make one with `tailwatch key create NAME --scope read`")]
    rows = [
        [
            str(key.id),
            key.name,
            key.prefix,
            _scopes(key),
            key.state(now_ns),
            _time(key.created_ns),
            _time(key.expires_ns),
            _time(key.last_used_ns),
        ]
        for key in known
    ]
    headers = ["id", "name", "key", "scopes", "state", "created", "expires", "last used"]
    return [(sys.stdout, table(headers, rows, [True] + [False] * 7))]


def _revoke(args: argparse.Namespace, connection: "sa.Connection") -> _Said:
    from store.api_keys import revoke_key

    key = revoke_key(connection, args.which, time.time_ns())
    if key.revoked_ns is not None:
        return [(sys.stdout, f"key {key.id} {key.name!r} was revoked already, at {_time(key.revoked_ns)}")]
    return [(sys.stdout, f"key {key.id} {key.name!r} is revoked; running APIs refuse it within 5 s")]


def _as_json(key: "ApiKey", now_ns: int) -> dict[str, object]:
    times = {
        "created": key.created_ns,
        "expires": key.expires_ns,
        "last_used": key.last_used_ns,
        "revoked": key.revoked_ns,
    }
    return {
        "id": key.id,
        "name": key.name,
        "key": key.prefix,
        "scopes": _scopes(key).split(", "),
        "state": key.state(now_ns),
        **{name: None if ns is None else _time(ns) for name, ns in times.items()},
    }


def _scopes(key: "ApiKey") -> str:
    from store.api_keys import SCOPES

    return ", ".join(scope for scope in SCOPES if scope in key.scopes)


def _time(ns: int | None) -> str:
    return "-" if ns is None else datetime.fromtimestamp(ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
