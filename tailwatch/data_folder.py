"""The folder that holds everything written: made where it is missing, tried out, and used by one demo at a time."""

import fcntl
import os
import tempfile
from pathlib import Path

from tailwatch.errors import DataFolderError


def prepare_data_folder(path: str) -> Path:
    """Make the folder and prove that a file can be written in it.

    Raises:
        DataFolderError: one line with the reason and the setting to change.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0" * 4096)
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        raise DataFolderError(
            f"data folder {folder} cannot be used: {error.strerror}; choose another with --data (setting data_dir)"
        ) from error
    return folder


def hold(folder: Path) -> int:
    """Take the folder for this process; the returned descriptor keeps it until the process ends.

    Raises:
        DataFolderError: another demo has it.
    """
    descriptor = os.open(folder / "demo.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise DataFolderError(
            f"another `tailwatch demo` runs on {folder}; stop it or choose another folder with --data"
        ) from error
    return descriptor
