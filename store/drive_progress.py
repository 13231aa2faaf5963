"""How far the job of drives has come (store/job_progress.py)."""

from store.drive_tables import drive_progress
from store.job_progress import Progress, ProgressTable

__all__ = ["Progress", "forget_progress", "read_progress", "write_progress"]

_TABLE = ProgressTable(drive_progress)
read_progress, write_progress, forget_progress = _TABLE.read, _TABLE.write, _TABLE.forget
