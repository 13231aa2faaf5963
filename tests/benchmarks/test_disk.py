"""The disk benchmark on a small scale: it stores what it says, and its figures add up."""

from pathlib import Path

import sqlalchemy as sa

from benchmarks.disk import stored
from benchmarks.disk.sizing import Sizing
from collector.jobs.config import RetentionConfig
from store.connect import open_engine, upgrade

SMALL = Sizing(series=8, agents=4, cases=((3, 2),), hours=1, flushes=1)


def test_an_hour_of_windows_is_stored_at_every_level_and_measured(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'tailwatch.db'}"
    upgrade(url)
    engine = open_engine(url)
    try:
        row = stored._measured("SQLite", engine, 3, 2, SMALL, RetentionConfig())
        with engine.connect() as connection:
            counted = connection.execute(
                sa.text("SELECT level, count(DISTINCT window_ns), count(DISTINCT partition) FROM pages GROUP BY level")
            )
            assert [tuple(each) for each in counted] == [(0, 360, 2), (1, 60, 2), (2, 1, 2)]
            manifests = connection.execute(sa.text("SELECT count(*) FROM manifests WHERE level = 0")).scalar_one()
            assert manifests == 360 * SMALL.agents
    finally:
        engine.dispose()
    own, minutes, hours = (float(row[key]) for key in ("own", "minutes", "hours"))
    assert own > minutes > hours > 0
    assert float(row["total"]) * 1e3 == 2 * own + 30 * minutes + 400 * hours
    assert float(row["manifests"]) > 0
