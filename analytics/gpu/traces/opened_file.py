"""Files of traces as streams of bytes, unpacked on the way, with errors that name the file."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from analytics.errors import DataError


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file; `.gz` is unpacked.

    Raises:
        DataError: it cannot be read, also when that shows only while reading.
    """
    try:
        with path.open("rb") as packed:
            if path.name.lower().endswith(".gz"):
                with gzip.GzipFile(fileobj=packed) as unpacked:
                    yield cast("IO[bytes]", unpacked)
            else:
                yield packed
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
