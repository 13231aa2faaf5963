"""Checks of the folders that are written to: are they there, may we write, is there room."""

import os
from collections.abc import Mapping
from pathlib import Path

from tailwatch.checkup import Finding

_FAIL_BYTES = 100 * 2**20
_WARN_BYTES = 2**30
_WARN_SHARE = 0.05


def check_folders(folders: Mapping[Path, str]) -> list[Finding]:
    """One finding for each folder; `folders` says what each holds."""
    return [check_folder(folder, holds) for folder, holds in folders.items()]


def check_folder(folder: Path, holds: str) -> Finding:
    """How a folder is; of one that is not there yet, the one that it will be made in."""
    name = f"disk of {holds}"
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        return Finding(name, "fail", f"{there} is no folder", "move it away, or choose another place")
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding(
            name, "fail", f"{there} cannot be written by this user", "run as its owner, or change its rights"
        )
    disk = os.statvfs(there)
    free, size = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    text = f"{folder}: {_size(free)} of {_size(size)} free"
    if folder != there:
        text += ", the folder is made at the first start"
    if free < _FAIL_BYTES:
        return Finding(name, "fail", text, "free space now: nothing more can be kept soon")
    if free < _WARN_BYTES or free < _WARN_SHARE * size:
        return Finding(name, "warn", text, "free space, or shorten collector.retention")
    if disk.f_files and disk.f_favail < 1_000:
        return Finding(name, "warn", f"{folder}: room for {disk.f_favail} more files", "remove files on this disk")
    return Finding(name, "ok", text)


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 2**30:.1f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:.0f} MiB"
