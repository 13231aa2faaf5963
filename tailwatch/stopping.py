"""How a process is told to end: one event that signals set, or that the supervisor's end sets.

The first SIGTERM or SIGINT asks for a clean end, a second SIGINT ends the process at once. Under a supervisor SIGINT is
ignored: Ctrl-C reaches the whole process group, but the parts must end one after the other, agent first.
"""

import os
import signal
import threading
from types import FrameType

_PARENT_CHECK_S = 0.25


def stop_event(supervisor: int | None = None) -> threading.Event:
    """The event to wait for; call it once, from the main thread.

    Args:
        supervisor: process id of the parent that looks after this process; None outside of a demo.
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
    return stop


def _stop_without(supervisor: int, stop: threading.Event) -> None:
    """Set `stop` once the supervisor is gone: even kill -9 of it leaves no process behind."""
    while not stop.wait(_PARENT_CHECK_S):
        if os.getppid() != supervisor:
            stop.set()
