"""How far the job of GPU failures has come (store/job_progress.py)."""

from store.gpu_tables import gpu_progress
from store.job_progress import Progress, ProgressTable

__all__ = ["Progress", "forget_progress", "read_progress", "write_progress"]

_TABLE = ProgressTable(gpu_progress)
read_progress, write_progress, forget_progress = _TABLE.read, _TABLE.write, _TABLE.forget
