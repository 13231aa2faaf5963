"""How far jobs have come: by scope and key, each job in a table of its own."""

import sqlalchemy as sa

from store.drive_tables import drive_progress
from store.gpu_tables import gpu_progress
from store.job_progress import Progress, ProgressTable


def test_progress_is_kept_by_scope_and_key_and_forgotten_from_below(engine: sa.Engine) -> None:
    progress, other = ProgressTable(gpu_progress), ProgressTable(drive_progress)
    with engine.begin() as connection:
        other.write(connection, "hours", {5: Progress(7)}, 7)
        progress.write(connection, "hours", {5: Progress(1), 6: Progress(2, "x")}, 7)
        progress.write(connection, "hours", {6: Progress(3), -1: Progress(4)}, 8)
        progress.write(connection, "chunks", {5: Progress(9)}, 8)
        progress.write(connection, "chunks", {}, 8)
        assert progress.read(connection, "hours") == {-1: Progress(4), 5: Progress(1), 6: Progress(3)}
        progress.forget(connection, "hours", below_key=6)
        assert progress.read(connection, "hours") == {6: Progress(3)}
        progress.forget(connection, "hours")
        assert progress.read(connection, "hours") == {}
        assert progress.read(connection, "chunks") == {5: Progress(9)}
        assert other.read(connection, "hours") == {5: Progress(7)}, "another job's"
