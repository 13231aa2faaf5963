"""GET /api/v1/status/retention: what is left of each width of windows."""

import sqlalchemy as sa

from api.list_models import RetentionPage
from store import tables
from store.connect import open_engine
from store.levels import BEGINNING_NS
from store.registry import load_versions
from tests.api.world import BEGIN_NS, SECOND_NS, WINDOW_NS, asking, fill, probe_records

PATH = "/api/v1/status/retention"


def test_every_width_says_from_when_on_it_is_kept_and_since_when_there_is_data(tmp_path):
    world = fill(tmp_path / "levels.db", probe_records(n=60))
    engine = open_engine(world.url)
    with engine.begin() as connection:
        version_id = load_versions(connection)[world.plan.version].version_id
        connection.execute(sa.delete(tables.level_floors))
        floors = [(0, BEGIN_NS - 60 * SECOND_NS), (1, BEGINNING_NS)]
        connection.execute(
            sa.insert(tables.level_floors),
            [{"version_id": version_id, "level": level, "floor_ns": floor} for level, floor in floors],
        )
    engine.dispose()
    with asking(world.url) as client:
        answer = client.get(PATH)
        RetentionPage.model_validate_json(answer.content, strict=True)
    (query,) = answer.json()["queries"]
    assert query["query"] == "probe_rtt"
    own, minutes, hours = query["levels"]
    assert own == {
        "width_ns": WINDOW_NS,
        "kept_from": "2026-11-22T06:59:00Z",
        "kept_from_ns": BEGIN_NS - 60 * SECOND_NS,
        "oldest": "2026-11-22T07:00:00Z",
        "oldest_ns": BEGIN_NS,
    }
    assert minutes == {
        "width_ns": 60 * SECOND_NS, "kept_from": None, "kept_from_ns": None, "oldest": None, "oldest_ns": None
    }  # fmt: skip
    assert hours["width_ns"] == 3_600 * SECOND_NS
