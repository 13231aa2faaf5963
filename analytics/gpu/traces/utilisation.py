"""How busy the GPUs of each attempt were, from what traces measured beside their jobs, in bounded memory.

Philly samples every GPU once a minute, whoever uses it: a sample belongs to the attempt that held that GPU then.
Alibaba's sensors give means over the life of each worker, in percent of one GPU, against what it had asked for.
"""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from analytics.errors import DataError
from analytics.gpu.traces.alibaba import read_tasks, table
from analytics.gpu.traces.csv_blocks import csv_blocks

_GPUS: Final = 8
#: The published file ends each row with a comma.
_SAMPLES: Final = ("time", "machineId", *(f"gpu{number}_util" for number in range(_GPUS)), "end")
SENSORS: Final = (
    "job_name", "task_name", "worker_name", "inst_id", "machine", "gpu_name", "cpu_usage", "gpu_wrk_util", "avg_mem",
    "max_mem", "avg_gpu_wrk_mem", "max_gpu_wrk_mem", "read", "write", "read_count", "write_count",
)  # fmt: skip
_Int64Array = npt.NDArray[np.int64]
_SHIFT: Final = 1 << 40  # seconds since 1970 need 31 bits; the device stands above them


def philly_busy(log: Path, attempts: pl.DataFrame) -> pl.Series:
    """Mean utilisation of the GPUs of each attempt (philly.PHILLY), 0 to 1; NULL where no sample was taken.

    Args:
        log: `cluster_gpu_util`, also packed with gzip.
    Raises:
        DataError: the file cannot be read, or a cell cannot be used.
    """
    machines, held = _held(attempts)
    sums = np.zeros(attempts.height)
    counts = np.zeros(attempts.height, dtype=np.int64)
    for cells in csv_blocks(log, _SAMPLES[:-1], _SAMPLES, ragged=True):
        offsets = cells.frame["time"].str.replace(" PDT$", "-07:00").str.replace(" PST$", "-08:00")
        time_s = cells.with_column(offsets).times_with_offset("time") // 1_000_000_000
        machine = cells.texts("machineId").replace_strict(machines, default=-1, return_dtype=pl.Int64)
        samples = pl.DataFrame(
            {"machine": machine, "time_s": time_s}
            | {f"gpu{number}": cells.numbers(f"gpu{number}_util") for number in range(_GPUS)}
        )
        # In the order of the intervals: looking up sorted keys finds most of its memory in the cache.
        samples = samples.filter(pl.col("machine") >= 0).drop_nulls("time_s").sort("machine", "time_s")
        for number in range(_GPUS):
            rows = samples.select("machine", "time_s", busy=f"gpu{number}").drop_nulls("busy")
            owner = held.owners(rows["machine"].to_numpy() * _GPUS + number, rows["time_s"].to_numpy())
            owned = owner >= 0
            sums += np.bincount(owner[owned], rows["busy"].to_numpy()[owned], attempts.height)
            counts += np.bincount(owner[owned], minlength=attempts.height)
    return _means(sums / 100, counts.astype(np.float64))


def alibaba_busy(folder: Path, jobs: pl.Series) -> pl.Series:
    """GPUs used over GPUs asked for, of those workers of each job that have sensors; above 1 where more was used.

    Args:
        folder: holds pai_sensor_table.csv and pai_task_table.csv.
        jobs: the names of the jobs, in the order wanted.
    """
    sensors = table(folder, "pai_sensor_table")
    if sensors is None:
        raise DataError(f"{folder} has no pai_sensor_table.csv; without it there is no utilisation")
    places = pl.DataFrame({"job_name": jobs}).with_row_index("place").unique("job_name", keep="first")
    tasks = read_tasks(folder).unique(["job_name", "task_name"], keep="first").join(places, on="job_name")
    plans = tasks.filter(pl.col("plan") > 0).select("job_name", "task_name", "place", "plan")
    used = np.zeros(jobs.len())
    asked = np.zeros(jobs.len())
    for cells in csv_blocks(sensors, ("job_name", "task_name", "gpu_wrk_util"), SENSORS):
        rows = pl.DataFrame(
            {
                "job_name": cells.names("job_name"),
                "task_name": cells.texts("task_name").fill_null(""),
                "used": cells.numbers("gpu_wrk_util") / 100,
            }
        )
        workers = rows.drop_nulls("used").join(plans, on=["job_name", "task_name"])
        place = workers["place"].to_numpy()
        used += np.bincount(place, workers["used"].to_numpy(), jobs.len())
        asked += np.bincount(place, workers["plan"].to_numpy(), jobs.len())
    return _means(used, asked)


class _Held:
    """Which attempt held which device when: by device and start, one after the other."""

    def __init__(self, attempt: _Int64Array, device: _Int64Array, start_s: _Int64Array, end_s: _Int64Array) -> None:
        keys = device * _SHIFT + start_s
        order = np.argsort(keys, kind="stable")
        self._keys, self._attempt = keys[order], attempt[order]
        self._device, self._end_s = device[order], end_s[order]

    def owners(self, device: _Int64Array, time_s: _Int64Array) -> _Int64Array:
        """The attempt that held each device at each time, -1 where none did."""
        if not self._keys.size:
            return np.full(device.size, -1, dtype=np.int64)
        place = np.searchsorted(self._keys, device * _SHIFT + time_s, side="right") - 1
        inside = (place >= 0) & (self._device[place] == device) & (time_s < self._end_s[place])
        return np.where(inside, self._attempt[place], -1)


def _held(attempts: pl.DataFrame) -> tuple[dict[str, int], _Held]:
    over = (pl.col("start_ns") >= 0) & (pl.col("end_ns") > pl.col("start_ns"))
    devices = (
        attempts.with_row_index("attempt")
        .filter(over)
        .explode("devices")
        .with_columns(pl.col("devices").str.extract_groups(r"^(?<machine>.*)/gpu(?<gpu>[0-7])$"))
        .unnest("devices")
        .drop_nulls("machine")
    )
    names = devices["machine"].unique(maintain_order=True)
    machines = {name: code for code, name in enumerate(names)}
    code = devices["machine"].replace_strict(machines, return_dtype=pl.Int64)
    device = (code * _GPUS + devices["gpu"].cast(pl.Int64)).to_numpy()
    start_s, end_s = (devices[name].to_numpy() // 1_000_000_000 for name in ("start_ns", "end_ns"))
    return machines, _Held(devices["attempt"].cast(pl.Int64).to_numpy(), device, start_s, end_s)


def _means(sums: npt.NDArray[np.float64], counts: npt.NDArray[np.float64]) -> pl.Series:
    means = np.divide(sums, counts, out=np.full(sums.size, np.nan), where=counts > 0)
    return pl.Series("busy", means).fill_nan(None)
