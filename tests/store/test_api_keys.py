"""API keys in the database: what is kept of them, names, scopes, times, revoking."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa

from store import tables
from store.api_keys import api_keys, create_key, digest_of, note_uses, prefix_of, revoke_key
from store.errors import ApiKeyError, UnknownKeyError

NOW_NS = 1_795_330_800 * 10**9
DAY_NS = 86_400 * 10**9


def made(engine, name="grafana", scopes=("read",), expires_ns=None, now_ns=NOW_NS):
    with engine.begin() as connection:
        return create_key(connection, name, scopes, now_ns, expires_ns)


def test_a_key_is_found_by_its_prefix_and_only_its_digest_is_kept(engine):
    row, key = made(engine, scopes=["admin", "read"], expires_ns=NOW_NS + DAY_NS)
    assert re.fullmatch(r"tw_[a-z2-7]{8}_[a-z2-7]{52}", key)
    assert prefix_of(key) == row.prefix
    assert row.digest == digest_of(key)
    with engine.connect() as connection:
        assert api_keys(connection) == [row]
        (stored,) = connection.execute(sa.select(tables.api_keys)).all()
    assert key.rpartition("_")[2] not in repr(stored)
    assert (row.scopes, row.expires_ns, row.last_used_ns, row.revoked_ns) == (
        {"read", "admin"},
        NOW_NS + DAY_NS,
        None,
        None,
    )


def test_no_two_keys_are_alike(engine):
    keys = [made(engine, f"k{i}") for i in range(20)]
    assert len({key for _, key in keys}) == len({row.prefix for row, _ in keys}) == 20
    assert [row.id for row, _ in keys] == sorted(row.id for row, _ in keys)


@pytest.mark.parametrize("text", ["", "tw_", "tw_abcdefgh", "tw_abcdefgh_" + "a" * 51, "tw_abcdefgh_" + "A" * 52])
def test_what_has_not_the_shape_of_a_key_has_no_prefix(text):
    assert prefix_of(text) is None
    assert prefix_of("tw_abcdefgh_" + "a" * 52 + "\n") is None


@pytest.mark.parametrize("name", ["", "1st", "a" * 65, "a b", "a\n", "tw_abcdefgh", "näme", "a'; DROP TABLE api_keys"])
def test_names_that_nobody_could_type_again_are_refused(engine, name):
    with pytest.raises(ApiKeyError, match="cannot name a key; want a letter"):
        made(engine, name)


@pytest.mark.parametrize(("scopes", "words"), [(["read", "write"], "'write' is no scope"), ([], "without a scope")])
def test_scopes_that_there_are_not_are_refused(engine, scopes, words):
    with pytest.raises(ApiKeyError, match=f"{words}.*want read, ingest, agent, admin"):
        made(engine, scopes=scopes)


@pytest.mark.parametrize("expires_ns", [NOW_NS, NOW_NS - 1, 2**63])
def test_a_key_that_has_expired_already_is_refused(engine, expires_ns):
    with pytest.raises(ApiKeyError, match="want a time to come"):
        made(engine, expires_ns=expires_ns)


def test_a_name_belongs_to_one_key_until_that_is_revoked(engine):
    first, _ = made(engine)
    with pytest.raises(ApiKeyError, match=r"there is a key named 'grafana'.*tailwatch key revoke grafana"):
        made(engine)
    with engine.begin() as connection:
        assert revoke_key(connection, "grafana", NOW_NS + 1) == first
    second, _ = made(engine)
    with engine.connect() as connection:
        assert api_keys(connection) == [replace(first, revoked_ns=NOW_NS + 1), second]


def test_of_two_who_make_the_same_name_at_once_one_gets_it(engine):
    with ThreadPoolExecutor(2) as threads:
        results = [threads.submit(made, engine, "same") for _ in range(2)]
    errors = [result.exception() for result in results]
    assert sorted(type(error).__name__ for error in errors) == ["ApiKeyError", "NoneType"]


@pytest.mark.parametrize("how", ["id", "name", "prefix"])
def test_a_key_is_revoked_by_number_name_or_prefix_and_only_once(engine, how):
    row, _ = made(engine)
    other, _ = made(engine, "other")
    which = str(getattr(row, how))
    with engine.begin() as connection:
        assert revoke_key(connection, which, NOW_NS + 1).revoked_ns is None
    with engine.begin() as connection:
        assert revoke_key(connection, which, NOW_NS + 2).revoked_ns == NOW_NS + 1
        assert api_keys(connection) == [replace(row, revoked_ns=NOW_NS + 1), other]


def test_a_key_that_is_not_there_cannot_be_revoked(engine):
    made(engine)
    with engine.begin() as connection, pytest.raises(UnknownKeyError, match="did you mean 'grafana'"):
        revoke_key(connection, "grafna", NOW_NS)


def test_a_key_is_active_until_it_expires_or_is_revoked(engine):
    row, _ = made(engine, expires_ns=NOW_NS + 10)
    assert [row.state(NOW_NS + after) for after in (0, 9, 10)] == ["active", "active", "expired"]
    assert replace(row, revoked_ns=NOW_NS).state(NOW_NS) == "revoked"


def test_admin_covers_every_scope_and_the_others_only_themselves(engine):
    row, _ = made(engine)
    assert [row.allows(scope) for scope in ("read", "ingest", "agent", "admin")] == [True, False, False, False]
    assert all(replace(row, scopes=frozenset({"admin"})).allows(scope) for scope in ("read", "ingest", "agent"))


def test_the_last_use_never_moves_back(engine):
    row, _ = made(engine)
    other, _ = made(engine, "other")
    for used_ns in (NOW_NS + 5, NOW_NS + 3):
        with engine.begin() as connection:
            note_uses(connection, {row.id: used_ns, 999: used_ns})
            note_uses(connection, {})
    with engine.connect() as connection:
        assert [key.last_used_ns for key in api_keys(connection)] == [NOW_NS + 5, None]
    assert other.last_used_ns is None
