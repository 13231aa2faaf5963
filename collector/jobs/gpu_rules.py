"""The rules that job logs are read with: those shipped and a site's own, read again when its file has changed.

A site's file that cannot be used does not keep jobs from being diagnosed: the shipped rules, or those that were read
before, go on.
"""

import logging
from functools import cache
from pathlib import Path
from typing import Final

from analytics.errors import SignatureFileError
from analytics.gpu.reported import rules_version
from analytics.gpu.scanning import Scanner
from analytics.gpu.signature_files import shipped_signatures, with_site_file
from collector import own_metrics

log = logging.getLogger(__name__)

#: What reading logs needs beside what every collector has.
LIBRARIES: Final = ("re2",)


class RuleShelf:
    """Rules made ready, kept between rounds; used by one thread."""

    def __init__(self, site_path: str) -> None:
        """`site_path` is a site's own file, "" for none."""
        self._path = Path(site_path) if site_path else None
        self._seen: tuple[int, int] | None = None
        self._held: tuple[Scanner, str] | None = None

    def scanner(self) -> tuple[Scanner, str]:
        """A scanner with the rules of now, and their version.

        Raises:
            MissingLibraryError: the extra is not installed.
        """
        state = self._state()
        if self._held is None or state != self._seen:
            self._seen = state
            self._held = self._read()
        return self._held

    def _state(self) -> tuple[int, int] | None:
        """What tells that the file has changed; None where it is not there."""
        try:
            found = self._path.stat() if self._path else None
        except OSError:
            return None
        return None if found is None else (found.st_mtime_ns, found.st_size)

    def _read(self) -> tuple[Scanner, str]:
        if self._path is None:
            return _shipped()
        try:
            signatures = with_site_file(self._path)
        except SignatureFileError as error:
            own_metrics.gpu_failures.labels("rules").inc()
            kept = "those read before" if self._held else "the shipped ones alone"
            log.warning("rules for GPU jobs cannot be used, %s go on: %s", kept, error)
            return self._held or _shipped()
        return Scanner(signatures), rules_version(signatures)


@cache
def _shipped() -> tuple[Scanner, str]:
    """Made once in a process: it takes most of a second."""
    signatures = shipped_signatures()
    return Scanner(signatures), rules_version(signatures)
