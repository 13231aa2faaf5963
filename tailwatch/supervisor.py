"""Child processes kept alive and ended in order: the demo's agent, collector and API.

All stay in the caller's process group, so a signal to the group reaches everything, and each also ends by itself when
the supervisor is gone. Parts are stopped first to last, each given time to hand over what it holds to the next.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# -P: the current folder must not come before our packages on the path.
TAILWATCH = (sys.executable, "-P", "-m", "tailwatch.cli")

_FIRST_BACK_OFF_S = 0.5
_LONGEST_BACK_OFF_S = 30.0
# A part that ran this long was well: its next failure starts the back-off anew.
_HEALTHY_AFTER_S = 60.0
_GIVE_UP_AFTER = 8
_LOG_MAX_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Part:
    """One process: its name, its arguments behind `tailwatch`, the longest it may take to end."""

    name: str
    arguments: tuple[str, ...]
    stop_s: float


class Supervisor:
    """Starts parts, restarts the ones that die, stops them in order; used from one thread."""

    def __init__(self, parts: Sequence[Part], log_folder: Path, program: Sequence[str] = TAILWATCH) -> None:
        """`program` is the command that each part's arguments are for; nothing is started yet."""
        self._running = [_Running((*program, *part.arguments), part, log_folder / f"{part.name}.log") for part in parts]

    def start(self) -> None:
        """Start every part."""
        for running in self._running:
            running.start()

    def look_after(self) -> list[str]:
        """Restart what died and is due; returns one sentence for each death and each restart."""
        return [sentence for running in self._running for sentence in running.look_after()]

    @property
    def given_up(self) -> bool:
        """Whether a part keeps dying at once, so that trying on is no use."""
        return any(running.failures >= _GIVE_UP_AFTER for running in self._running)

    def stop(self, names: Sequence[str]) -> list[str]:
        """End the named parts, one after the other; returns a sentence for each that did not end cleanly."""
        wanted = [running for running in self._running if running.part.name in names]
        return [sentence for running in wanted for sentence in running.stop()]

    def kill(self) -> None:
        """End everything at once; what the agent had not checkpointed is lost, and will be shown as such."""
        for running in self._running:
            running.kill()

    def pass_on(self, number: int, name: str) -> None:
        """Send a signal to a part; one that does not run reads everything anew when it is started again."""
        for running in self._running:
            if running.part.name == name and running.process is not None:
                running.process.send_signal(number)

    def process_ids(self) -> dict[str, int]:
        """Name -> process id of the parts that run now."""
        return {r.part.name: r.process.pid for r in self._running if r.process is not None}


class _Running:
    """One part and its process."""

    def __init__(self, command: tuple[str, ...], part: Part, log_path: Path) -> None:
        self.part = part
        self._command = command
        self.process: subprocess.Popen[bytes] | None = None
        self.failures = 0
        self._log_path = log_path
        self._started = 0.0
        self._restart_at = 0.0

    def start(self) -> None:
        _make_room(self._log_path)
        command = [*self._command, "--supervisor", str(os.getpid())]
        # Blocked here, SIGINT stays blocked in the child and its own children: Ctrl-C is the supervisor's to act on.
        # SIGHUP waits there until the part has a handler for it.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
        try:
            with self._log_path.open("ab") as log_file:
                self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log_file, stderr=log_file)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self._started = time.monotonic()

    def look_after(self) -> list[str]:
        now = time.monotonic()
        if self.process is None:
            if now < self._restart_at:
                return []
            self.start()
            return [f"{self.part.name} started again"]
        code = self.process.poll()
        if code is None:
            return []
        self.process = None
        self.failures = 1 if now - self._started > _HEALTHY_AFTER_S else self.failures + 1
        wait_s = min(_LONGEST_BACK_OFF_S, _FIRST_BACK_OFF_S * 2 ** (self.failures - 1))
        self._restart_at = now + wait_s
        return [f"{self.part.name} ended {_how(code)}{self._last_words()}; starting it again in {wait_s:g} s"]

    def stop(self) -> list[str]:
        process = self.process
        if process is None:
            return []
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(self.part.stop_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return [f"{self.part.name} did not end within {self.part.stop_s:g} s and was killed; see {self._log_path}"]
        self.process = None
        # A part that was still starting had no handler yet, and nothing to hand over either.
        return [] if code in (0, -signal.SIGTERM) else [f"{self.part.name} ended {_how(code)}{self._last_words()}"]

    def kill(self) -> None:
        # Also called from a signal handler in the middle of `stop`, which therefore forgets the process last.
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _last_words(self) -> str:
        try:
            with self._log_path.open("rb") as log_file:
                log_file.seek(max(0, self._log_path.stat().st_size - 4096))
                lines = log_file.read().decode("utf-8", "replace").strip().splitlines()
        except OSError:
            lines = []
        return f" ({lines[-1].strip()[:300]}; more in {self._log_path})" if lines else f" (see {self._log_path})"


def _how(code: int) -> str:
    if code >= 0:
        return f"with exit code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"


def _make_room(log_path: Path) -> None:
    """Keep one older log beside the current one once that has grown large."""
    if log_path.exists() and log_path.stat().st_size > _LOG_MAX_BYTES:
        log_path.replace(log_path.with_suffix(".log.1"))
