"""Unix sockets whose path is too long for the system, moved to a short one that every process computes alike.

The kernel takes 107 bytes; a data folder deep below a home directory has more. The stand-in lives in a folder
of the temp directory that only this user can enter.
"""

import hashlib
import os
import tempfile
from pathlib import Path

from tailwatch.errors import DataFolderError

# sockaddr_un holds 108 bytes with the closing NUL; some room is left for a source that adds a suffix.
MAX_SOCKET_BYTES = 100


def short_socket(path: str) -> str:
    """`path` itself where it fits, else its stand-in."""
    if len(os.fsencode(path)) <= MAX_SOCKET_BYTES:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return str(_stand_in_folder() / f"{digest}.sock")


def prepare_folder(path: str) -> None:
    """Make the folder of a socket where it is missing; the stand-in's folder must be ours alone.

    Raises:
        DataFolderError: it cannot be made, or somebody else made it.
    """
    folder = Path(path).parent
    private = folder == _stand_in_folder()
    try:
        folder.mkdir(mode=0o700 if private else 0o777, parents=True, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise DataFolderError(f"{folder}: cannot be made for the socket {path}: {error.strerror}") from error
    if private and (status.st_uid != os.getuid() or status.st_mode & 0o077):
        raise DataFolderError(
            f"{folder}: belongs to uid {status.st_uid} with mode {status.st_mode & 0o777:o}, wanted uid {os.getuid()} "
            "and 700; remove it or set api.telemetry_socket to a path of at most 100 bytes"
        )


def _stand_in_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"tailwatch-{os.getuid()}"
