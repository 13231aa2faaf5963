"""How a process is told to end, or to read its configuration again: events that signals set, or the supervisor's end.

The first SIGTERM or SIGINT asks for a clean end, a second SIGINT ends the process at once. Under a supervisor SIGINT is
ignored: Ctrl-C reaches the whole process group, but the parts must end one after the other, agent first.
SIGHUP asks for a reload where there is something to reload, and else changes nothing and says so. It still ends a
process, cleanly, whose terminal has gone: that is what the signal meant first. With `nohup` not even that.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_PARENT_CHECK_S = 0.25
_NOTHING_TO_RELOAD = b"tailwatch: SIGHUP changes nothing here; restart to change settings\n"


def stop_event(supervisor: int | None = None, reload: threading.Event | None = None) -> threading.Event:
    """The event to wait for; call it once, from the main thread.

    Args:
        supervisor: process id of the parent that looks after this process; None outside of a demo.
        reload: set when the configuration is to be read again; None where there is nothing to reload.
    """
    stop = threading.Event()

    def ask(number: int, _frame: FrameType | None) -> None:
        stop.set()
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, ask)
    if supervisor is None:
        signal.signal(signal.SIGINT, ask)
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        watch = threading.Thread(target=_stop_without, args=(supervisor, stop), name="supervisor-watch", daemon=True)
        watch.start()
    terminal = Terminal()

    def hung_up(_number: int, _frame: FrameType | None) -> None:
        if supervisor is None and terminal.has_gone():
            stop.set()
        elif reload is not None:
            reload.set()
        else:
            os.write(2, _NOTHING_TO_RELOAD)  # a signal may come in the middle of a log line, which takes no other

    signal.signal(signal.SIGHUP, hung_up)
    # A supervisor holds the signal back until here: before, it would have ended the process.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    return stop


class Terminal:
    """The terminal that this process was started from, if any; made before SIGHUP gets a handler."""

    def __init__(self) -> None:
        self._wanted = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _has_terminal()

    def has_gone(self) -> bool:
        """Whether it was there and is not any more; never under `nohup`, which asks to run on without it."""
        return self._wanted and not _has_terminal()


@contextmanager
def hang_ups_held_back() -> Iterator[None]:
    """A process started within never gets a SIGHUP, unless it unblocks it; one sent to us is not lost."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within, SIGTERM and SIGHUP end the process as an exception does: what was opened is closed and removed.

    The exit code is that which a shell shows for a process that the signal killed. Under `nohup` SIGHUP stays ignored.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number in [number for number, handler in before.items() if handler is signal.SIG_DFL]:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # a second one must not interrupt the tidying up
    sys.exit(128 + number)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _stop_without(supervisor: int, stop: threading.Event) -> None:
    """Set `stop` once the supervisor is gone: even kill -9 of it leaves no process behind."""
    while not stop.wait(_PARENT_CHECK_S):
        if os.getppid() != supervisor:
            stop.set()
