"""What all tests of one process share, and how it is put back after each: whatever comes next finds it as it was."""

import locale
import logging
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from prometheus_client import Gauge

from quantiles._kernels import choice
from tailwatch.settings_flags import CHATTY

_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGPIPE, signal.SIGCHLD)


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What was there before a test."""

    environment: dict[str, str]
    folder: str
    umask: int
    signals: dict[signal.Signals, Any]
    handlers: list[logging.Handler]
    level: int
    disabled: int
    kernels: dict[str, choice.Kernels]
    switch_s: float
    locale: str

    @classmethod
    def now(cls) -> Self:
        """As it is now."""
        root = logging.getLogger()
        return cls(
            environment=dict(os.environ),
            folder=str(Path.cwd()),
            umask=_umask(),
            signals={number: signal.getsignal(number) for number in _SIGNALS},
            handlers=list(root.handlers),
            level=root.level,
            disabled=root.manager.disable,
            kernels=dict(choice._chosen),
            switch_s=sys.getswitchinterval(),
            locale=locale.setlocale(locale.LC_ALL),
        )

    def put_back(self) -> None:
        """Undo what the test has changed and not undone."""
        self._put_back_environment()
        os.chdir(self.folder)
        os.umask(self.umask)
        for number, handler in self.signals.items():
            # None stands for a handler that was not set from Python; it cannot be set from here either.
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        # A command that runs in a test sets logging up; its handler writes where that test's output went.
        root = logging.getLogger()
        root.handlers[:] = self.handlers
        root.setLevel(self.level)
        logging.disable(self.disabled)
        for name in CHATTY:
            logging.getLogger(name).setLevel(logging.NOTSET)
        choice._chosen.clear()
        choice._chosen.update(self.kernels)
        if sys.getswitchinterval() != self.switch_s:
            sys.setswitchinterval(self.switch_s)
        if locale.setlocale(locale.LC_ALL) != self.locale:
            locale.setlocale(locale.LC_ALL, self.locale)
        _forget_collectors()

    def _put_back_environment(self) -> None:
        if os.environ == self.environment:
            return
        zone = os.environ.get("TZ")
        for name in os.environ.keys() - self.environment.keys():
            del os.environ[name]
        os.environ.update(self.environment)
        if self.environment.get("TZ") != zone:
            time.tzset()


def _umask() -> int:
    """Read without changing it, as threads may be making files."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return int(status.partition("Umask:")[2].split()[0], 8)


def _forget_collectors() -> None:
    """What collectors of this process show of now: one that a test has killed never took it back, and ages on."""
    own_metrics = sys.modules.get("collector.own_metrics")
    if own_metrics is None:  # nothing has loaded it
        return
    for gauge in vars(own_metrics).values():
        if not isinstance(gauge, Gauge):
            continue
        if gauge._labelnames == ("partition",):
            gauge.clear()
            continue
        for one in gauge._metrics.values() if gauge._labelnames else [gauge]:
            vars(one).pop("_child_samples", None)  # a function of a collector that is no more
            one.set(0)
