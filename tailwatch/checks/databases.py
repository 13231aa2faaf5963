"""Checks of the database: is it there, has it the right tables, what time is it there, and is there a good API key."""

import time

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from api.config import ApiConfig, is_loopback
from store.api_keys import api_keys
from store.connect import check_schema, open_engine
from store.errors import DatabaseUrlError, SchemaError
from store.fleet import agents
from store.leases import known_clocks_ns
from store.refusals import in_short, reason_of
from tailwatch.checkup import Finding
from tailwatch.database_file import sqlite_file
from tailwatch.secrets_hidden import without_password
from tailwatch.settings import Settings

_S = 1_000_000_000
_CLOCK_WARN_S = 2.0
_CLOCK_FAIL_S = 30.0
_AGENT_AHEAD_S = 5.0
_RECENT_S = 3_600
_EXPIRES_SOON_S = 14 * 86_400
_UPGRADE = "run `tailwatch db upgrade`"
_TODO = {
    "schema": _UPGRADE,
    "damaged": "check database.url; if it is right, restore a copy",
    "disk": "free space where the database is",
    "busy": "raise the server's limit of connections, or end some",
    "locked": "see which process holds the database locked",
}


def check_database(settings: Settings, *, with_keys: bool) -> list[Finding]:
    """Findings on the database, its schema, clocks and, where the API is looked at, its keys."""
    url = settings.database.url
    where = without_password(url)
    file = sqlite_file(url)
    if file is not None and not file.exists():
        return [Finding("database", "fail", f"there is no database at {file}", _UPGRADE)]
    try:
        engine = open_engine(url, read_only=True)
    except DatabaseUrlError as error:
        return [Finding("database", "fail", str(error), "set database.url")]
    try:
        return _on(engine, where, settings.api, with_keys=with_keys)
    finally:
        engine.dispose()


def _on(engine: sa.Engine, where: str, api: ApiConfig, *, with_keys: bool) -> list[Finding]:
    try:
        began_s = time.perf_counter()
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1").scalar_one()
            answered_ms = (time.perf_counter() - began_s) * 1e3
            found = [Finding("database", "ok", f"{where} answers in {answered_ms:.0f} ms"), _clock(connection)]
        found[1:1] = [_schema(engine)]
        if found[1].state == "ok":
            with engine.connect() as connection:
                found.append(_agent_clocks(connection))
                if with_keys:
                    found.append(_keys(connection, api))
    except SQLAlchemyError as error:
        todo = _TODO.get(reason_of(error), "check database.url, and that the server is running and lets us in")
        return [Finding("database", "fail", f"{where}: {in_short(error)}", todo)]
    return found


def _schema(engine: sa.Engine) -> Finding:
    try:
        check_schema(engine)
    except SchemaError as error:
        sentence, _, todo = str(error).partition("; ")
        return Finding("schema", "fail", sentence, todo or _UPGRADE)
    return Finding("schema", "ok", "the tables are those of this release")


def _clock(connection: sa.Connection) -> Finding:
    before_ns = time.time_ns()
    clocks_ns = known_clocks_ns(connection, before_ns)
    after_ns = time.time_ns()
    if len(clocks_ns) == 1:
        text = "not checked: SQLite has no clock but this machine's"
        return Finding("clock", "skip", text, "keep it right with NTP, for example chrony")
    ahead_s = ((before_ns + after_ns) / 2 - clocks_ns[1]) / _S
    # A slow answer says little about the clock: the server looked at its own at some time in between.
    surely_s = max(0.0, abs(ahead_s) - (after_ns - before_ns) / 2 / _S)
    text = f"this machine is {abs(ahead_s):.2f} s {'ahead of' if ahead_s > 0 else 'behind'} the database server"
    if surely_s > _CLOCK_WARN_S:
        state = "fail" if surely_s > _CLOCK_FAIL_S else "warn"
        return Finding("clock", state, text, "find out which of the two is wrong, and keep both right with NTP")  # type: ignore[arg-type]
    return Finding("clock", "ok", text)


def _agent_clocks(connection: sa.Connection) -> Finding:
    earliest_ns = time.time_ns() - _RECENT_S * _S
    known = [row for row in agents(connection) if not row.retired and row.last_seen_ns >= earliest_ns]
    measured = [row for row in known if row.clock_offset_ns is not None]
    if not measured:
        return Finding("agents' clocks", "skip", "not checked: no agent was heard of in the last hour")
    ahead = sorted(row.agent for row in measured if (row.clock_offset_ns or 0) > _AGENT_AHEAD_S * _S)
    if ahead:
        names = ", ".join(ahead[:5]) + (f" and {len(ahead) - 5} more" if len(ahead) > 5 else "")
        text = f"more than {_AGENT_AHEAD_S:g} s ahead of their collector: {names}"
        return Finding("agents' clocks", "warn", text, "set these hosts' clocks right, and keep them so with NTP")
    return Finding("agents' clocks", "ok", f"none of {len(measured)} agents is ahead of its collector")


def _keys(connection: sa.Connection, api: ApiConfig) -> Finding:
    if not api.asks_for_keys:
        if is_loopback(api.host):
            return Finding("keys", "ok", f"not needed: only this machine can connect to {api.host}")
        text = f"everybody who can reach {api.host} may ask, because api.allow_unauthenticated is set"
        return Finding("keys", "warn", text, "take it away and make keys with `tailwatch key create NAME`")
    now_ns = time.time_ns()
    good = [key for key in api_keys(connection) if key.state(now_ns) == "active"]
    if not good:
        return Finding("keys", "fail", "the API wants a key, and none is good", "run `tailwatch key create NAME`")
    soon = [key.name for key in good if key.expires_ns is not None and key.expires_ns - now_ns < _EXPIRES_SOON_S * _S]
    if soon:
        text = f"{len(good)} good keys; expiring within 14 days: {', '.join(soon[:5])}"
        return Finding("keys", "warn", text, "make others and give them to whoever uses these")
    return Finding("keys", "ok", f"{len(good)} good keys")
