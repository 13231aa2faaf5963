"""How far jobs have come: by scope and key, each job in a table of its own."""

from types import ModuleType

import pytest
import sqlalchemy as sa

from store import drive_progress, gpu_progress
from store.job_progress import Progress


@pytest.mark.parametrize("progress", [drive_progress, gpu_progress])
def test_progress_is_kept_by_scope_and_key_and_forgotten_from_below(engine: sa.Engine, progress: ModuleType) -> None:
    with engine.begin() as connection:
        progress.write_progress(connection, "hours", {5: Progress(1), 6: Progress(2, "x")}, 7)
        progress.write_progress(connection, "hours", {6: Progress(3), -1: Progress(4)}, 8)
        progress.write_progress(connection, "chunks", {5: Progress(9)}, 8)
        progress.write_progress(connection, "chunks", {}, 8)
        assert progress.read_progress(connection, "hours") == {-1: Progress(4), 5: Progress(1), 6: Progress(3)}
        progress.forget_progress(connection, "hours", below_key=6)
        assert progress.read_progress(connection, "hours") == {6: Progress(3)}
        progress.forget_progress(connection, "hours")
        assert progress.read_progress(connection, "hours") == {}
        assert progress.read_progress(connection, "chunks") == {5: Progress(9)}


def test_jobs_do_not_see_each_other_s_progress(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        drive_progress.write_progress(connection, "hours", {5: Progress(1)}, 7)
        gpu_progress.write_progress(connection, "hours", {5: Progress(2)}, 7)
        gpu_progress.forget_progress(connection, "hours")
        assert drive_progress.read_progress(connection, "hours") == {5: Progress(1)}
        assert gpu_progress.read_progress(connection, "hours") == {}
