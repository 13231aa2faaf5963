"""Gives memory that is free inside the process back to the system: an agent shares its host with what it measures."""

import ctypes
import logging

log = logging.getLogger(__name__)


def release_free_memory() -> None:
    """Have the C library return free pages; measured 5 MB of 100 after start-up. Elsewhere than on glibc, nothing."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        log.debug("this C library does not trim its heap")
