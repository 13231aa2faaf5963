"""Models by content: one active, one shadow; promoted, retired, back again; damage and wrong uses are refused."""

import pytest
import sqlalchemy as sa

from store import drive_models
from store.drive_models import digest_of, in_role, install, model_bytes, models, promote
from store.drive_tables import drive_models as table
from store.errors import CorruptPageError, DriveModelError
from tests.store.drives_world import NOW_NS

CARD = {"synthetic": True, "horizons": [7, 30]}


def roles(connection: sa.Connection) -> list[tuple[str, str]]:
    return [(model.digest, model.role) for model in models(connection)]


def test_a_shadow_takes_the_active_models_place_and_an_old_one_may_come_back(engine: sa.Engine) -> None:
    a, b, c = (digest_of(data) for data in (b"a", b"b", b"c"))
    with engine.begin() as connection:
        assert in_role(connection, "active") is None
        row, new = install(connection, b"a", CARD, "active", NOW_NS)
        assert (row.digest, row.role, row.card, row.size_bytes, new) == (a, "active", CARD, 1, True)
        assert (row.installed_ns, row.promoted_ns, row.retired_ns) == (NOW_NS, NOW_NS, None)
        assert install(connection, b"a", CARD, "active", NOW_NS + 1) == (row, False)
        install(connection, b"b", CARD, "shadow", NOW_NS + 1)
        install(connection, b"c", CARD, "shadow", NOW_NS + 2)
        assert roles(connection) == [(a, "active"), (c, "shadow"), (b, "retired")]
        promoted = promote(connection, c, "gate: not worse", NOW_NS + 3)
        assert (promoted.role, promoted.promoted_ns, promoted.note) == ("active", NOW_NS + 3, "gate: not worse")
        assert roles(connection) == [(c, "active"), (b, "retired"), (a, "retired")]
        install(connection, b"a", {"synthetic": False}, "shadow", NOW_NS + 4)
        back = promote(connection, a, "the new one cried wolf", NOW_NS + 5)
        assert (back.card, back.installed_ns, back.retired_ns) == ({"synthetic": False}, NOW_NS + 4, None)
        assert roles(connection) == [(a, "active"), (c, "retired"), (b, "retired")]
        assert {digest: model_bytes(connection, digest) for digest in (a, b, c)} == {a: b"a", b: b"b", c: b"c"}


def test_what_would_go_around_the_gate_or_make_no_sense_is_refused(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drive_models, "MODEL_MAX_BYTES", 10)
    with engine.begin() as connection:
        with pytest.raises(DriveModelError, match=r"is not the shadow \(there is none\)"):
            promote(connection, digest_of(b"a"), "", NOW_NS)
        install(connection, b"a", CARD, "active", NOW_NS)
        with pytest.raises(DriveModelError, match=r"is active; install this one with --shadow, and .*promote"):
            install(connection, b"b", CARD, "active", NOW_NS)
        with pytest.raises(DriveModelError, match="cannot be its own shadow"):
            install(connection, b"a", CARD, "shadow", NOW_NS)
        install(connection, b"b", CARD, "shadow", NOW_NS)
        with pytest.raises(DriveModelError, match=r"is not the shadow \(that is sha256:"):
            promote(connection, digest_of(b"c"), "", NOW_NS)
        for data in (b"", b"x" * 11):
            with pytest.raises(DriveModelError, match="want 1 to 10"):
                install(connection, data, CARD, "shadow", NOW_NS)
        with pytest.raises(DriveModelError, match="a model card of"):
            install(connection, b"c", {"text": "x" * 2**20}, "shadow", NOW_NS)
        with pytest.raises(DriveModelError, match="there is no model sha256:0; see `tailwatch ssd models`"):
            model_bytes(connection, "sha256:0")
        assert roles(connection) == [(digest_of(b"a"), "active"), (digest_of(b"b"), "shadow")]


def test_damaged_bytes_of_a_model_are_never_given_out_and_installing_it_again_mends_them(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        install(connection, b"a", CARD, "active", NOW_NS)
        connection.execute(sa.update(table).values(data=b"b"))
        with pytest.raises(CorruptPageError, match=r"are damaged; install it again"):
            model_bytes(connection, digest_of(b"a"))
        install(connection, b"a", CARD, "active", NOW_NS)
        assert model_bytes(connection, digest_of(b"a")) == b"a"
        packed_otherwise = {"digest": digest_of(b"a")}
        assert install(connection, b"A", CARD, "active", NOW_NS, **packed_otherwise)[1] is False
        assert model_bytes(connection, digest_of(b"a")) == b"A"


def test_the_database_itself_takes_no_second_model_in_a_role(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        install(connection, b"a", CARD, "active", NOW_NS)
    row = {"digest": "d", "role": "active", "installed_ns": 1, "card": "{}", "checksum": "", "data": b"d"}
    with engine.connect() as connection, pytest.raises(sa.exc.IntegrityError):
        connection.execute(sa.insert(table).values(row))
