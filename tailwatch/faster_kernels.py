"""Compiled sketch kernels for long-running processes, without making their start or their work wait.

A collector or API begins with the NumPy kernels. After a while a child of low priority fills numba's cache; then a
thread imports numba (90 MB, 0.3 s of CPU) and switches over: answers stay the same, reads of many sketches take a
sixth of the time. Where numba cannot be had, or TAILWATCH_KERNELS says which kernels to use, nothing changes.
"""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from quantiles._kernels.choice import VARIABLE, use_kernels
from quantiles.errors import KernelError

log = logging.getLogger(__name__)

# A start is busy enough, and the import stops everything else for half a second.
_AFTER_S = 60.0
_COMPILED_WITHIN_S = 300.0
_LOOK_S = 0.2
# An import cannot be cut short; ending the interpreter in the middle of it could crash.
_IMPORT_S = 5.0


@contextmanager
def faster_kernels_beside(stop: threading.Event, *, after_s: float = _AFTER_S) -> Iterator[None]:
    """Switch to compiled kernels some time after the block began, unless `stop` comes first."""
    if os.environ.get(VARIABLE):
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_switch, args=(stop, ended, after_s), name="kernels", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_IMPORT_S)


def _switch(stop: threading.Event, ended: threading.Event, after_s: float) -> None:
    # A block that fails ends without a stop; one that is stopped ends soon.
    if ended.wait(after_s) or stop.is_set() or not _compiled(stop, ended):
        return
    try:
        use_kernels("numba")
    except KernelError as error:
        log.info("sketch kernels stay numpy reason=%s", error)
    else:
        log.info("sketch kernels are numba now")


def _compiled(stop: threading.Event, ended: threading.Event) -> bool:
    """Whether numba's cache holds all kernels; False also when asked to stop meanwhile."""
    command = [sys.executable, "-P", "-m", "quantiles._kernels.compiling"]
    nothing = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=subprocess.PIPE) as child:
        waited_s = 0.0
        while child.poll() is None:
            if ended.is_set() or stop.wait(_LOOK_S) or waited_s > _COMPILED_WITHIN_S:
                child.kill()
                return False
            waited_s += _LOOK_S
        said = child.stderr.read().decode(errors="replace").strip() if child.stderr else ""
    if child.returncode:
        log.info("sketch kernels stay numpy reason=%s", said.splitlines()[-1] if said else f"exit {child.returncode}")
    return child.returncode == 0
