"""Which known trace a file or folder is, and its attempts."""

from pathlib import Path
from typing import Final

from analytics.errors import DataError
from analytics.gpu.traces import acme, alibaba, philly, slurm
from analytics.gpu.traces.columns import ATTEMPTS
from analytics.gpu.traces.csv_blocks import header_of
from analytics.gpu.traces.json_objects import json_objects
from analytics.gpu.traces.opened_file import opened
from analytics.gpu.traces.own_tables import NEEDED, read_own
from analytics.gpu.traces.trace import Trace, oddities
from analytics.gpu.traces.utilisation import alibaba_busy, philly_busy

FORMS: Final = ("philly", "alibaba", "acme", "slurm", "attempts")
_WANTED: Final = (
    "wanted are Philly's cluster_job_log, a folder with Alibaba's pai_*_table.csv, Acme's trace_seren.csv or "
    "trace_kalos.csv, what sacct --parsable2 prints, or attempts of your own (CSV or JSON with job and outcome)"
)
_SAMPLES: Final = "cluster_gpu_util"
#: What files are called in a folder of each form.
_NAMES: Final = {
    "philly": "cluster_job_log*",
    "alibaba": "pai_job_table.csv*",
    "acme": "trace_*.csv*",
    "slurm": "sacct*",
    "attempts": "attempts.*",
}


def read_trace(path: Path, form: str | None = None, *, utilisation: bool = False) -> Trace:
    """The attempts of a trace.

    Args:
        path: a file, packed with gzip or not, or the folder of a trace.
        form: one of FORMS; None finds it out.
        utilisation: read how busy GPUs were, too, from the large files that lie beside the jobs.
    Raises:
        DataError: no known trace, a file that is missing, or a cell that cannot be used.
    """
    form, path = (form, _within(path, form)) if form else detected(path)
    notes: tuple[str, ...] = ()
    if form == "philly":
        attempts, notes = philly.read_philly(path), philly.NOTES
        if utilisation:
            attempts = attempts.with_columns(philly_busy(_beside(path), attempts))
    elif form == "alibaba":
        attempts, notes = alibaba.read_alibaba(path), alibaba.NOTES
        if utilisation:
            attempts = attempts.with_columns(alibaba_busy(path, attempts["job"]))
    elif utilisation:
        raise DataError(f"{path}: a trace of the form {form} does not tell how busy the GPUs of a job were")
    elif form == "acme":
        attempts, notes = acme.read_acme(path), acme.NOTES
    elif form == "slurm":
        attempts, notes = slurm.read_slurm(path), slurm.NOTES
    else:
        attempts = read_own(path)
    if not attempts.height:
        raise DataError(f"{path} holds no jobs; want some")
    attempts = attempts.select(list(ATTEMPTS))
    return Trace(form, attempts, notes, oddities(attempts))


def detected(path: Path) -> tuple[str, Path]:
    """The form of a trace, and the file or folder that its importer reads.

    Raises:
        DataError: it is none of the known ones, or cannot be read.
    """
    if path.is_dir():
        found = [(form, _within(path, form)) for form in FORMS[:3] if _candidates(path, form)]
        if len(found) == 1:
            return found[0]
        seen = ", ".join(sorted(entry.name for entry in path.iterdir())[:8]) or "nothing"
        raise DataError(f"{path} holds {seen}; {_WANTED}")
    if path.name.startswith("pai_"):
        return "alibaba", path.parent
    with opened(path) as stream:
        start = stream.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    if start[:1] in (b"[", b"{"):
        return _form_of_json(path), path
    if set(slurm.COLUMNS) <= set(start.split(b"\n", 1)[0].decode("utf-8", "replace").strip().split(slurm.SEPARATOR)):
        return "slurm", path
    header = set(header_of(path)) if start else set()
    if {"job_id", "state", "gpu_num"} <= header:
        return "acme", path
    if set(NEEDED) <= header:
        return "attempts", path
    seen = start.split(b"\n", 1)[0][:80].decode("utf-8", "backslashreplace") or "nothing"
    raise DataError(f"{path} begins with {seen!r}; {_WANTED}")


def _form_of_json(path: Path) -> str:
    with opened(path) as stream:
        first = next(json_objects(stream, str(path)), b"")
    if b'"jobid"' in first and b'"attempts"' in first:
        return "philly"
    if b'"job"' in first and b'"outcome"' in first:
        return "attempts"
    shown = first[:80].decode("utf-8", "backslashreplace") or "an empty array"
    raise DataError(f"{path}: its first object is {shown!r}; {_WANTED}")


def _within(path: Path, form: str) -> Path:
    """The file or folder of that form at `path`."""
    if form == "alibaba":
        return path if path.is_dir() else path.parent
    if not path.is_dir():
        return path
    found = _candidates(path, form)
    if len(found) != 1:
        seen = ", ".join(file.name for file in found) or "none"
        raise DataError(f"{path}: of the files of form {form} there are {seen}; name the one to read")
    return found[0]


def _candidates(folder: Path, form: str) -> list[Path]:
    return sorted(path for path in folder.glob(_NAMES[form]) if path.is_file())


def _beside(log: Path) -> Path:
    for name in (_SAMPLES, f"{_SAMPLES}.gz", f"{_SAMPLES}.csv"):
        if (path := log.parent / name).is_file():
            return path
    raise DataError(f"{log.parent} has no {_SAMPLES}; without it there is no utilisation")
