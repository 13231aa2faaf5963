"""StatsD's own server, which runs on node: started, and asked what it received.

It is looked for where `npm install --prefix .node statsd` puts it, as `make bench-sources` does. Nothing is flushed
while it is measured: it receives, parses and stores values, and computes no percentile.
"""

import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Final

_SCRIPT: Final = Path(__file__).parents[2] / ".node" / "node_modules" / "statsd" / "stats.js"
_NEVER_MS: Final = 10**9
_STARTS_WITHIN_S: Final = 10.0


def why_not() -> str:
    """Empty where it can be started."""
    if shutil.which("node") is None:
        return "not installed: node"
    if not _SCRIPT.exists():
        return "not installed: npm install --prefix .node statsd"
    return ""


class StatsdServer:
    """One that runs, at a UDP port of the loopback."""

    def __init__(self, port: int, console_port: int, folder: Path) -> None:
        """Start it and wait until its console answers."""
        config = folder / "statsd.js"
        config.write_text(
            f'{{address: "127.0.0.1", port: {port}, mgmt_address: "127.0.0.1", mgmt_port: {console_port}, '
            f"flushInterval: {_NEVER_MS}, backends: []}}",
            encoding="ascii",
        )
        self._console_port = console_port
        self._process = subprocess.Popen(
            ["node", str(_SCRIPT), str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + _STARTS_WITHIN_S
        while time.monotonic() < until:
            try:
                self.received()
            except (OSError, AssertionError):
                time.sleep(0.05)
            else:
                return
        self.close()
        raise AssertionError(f"the console at port {console_port} does not answer")

    def received(self) -> int:
        """Lines that it understood since the start."""
        answer = self._asked("counters")
        counts = dict(re.findall(r"'statsd\.(\w+)': (\d+)", answer))
        assert counts, answer
        return int(counts["metrics_received"]) - int(counts["bad_lines_seen"])

    def forget(self) -> None:
        """Delete the values, so that rounds do not add up."""
        self._asked("deltimers api.*")

    def cpu_s(self) -> float:
        """CPU of all its threads."""
        spent = 0
        for task in Path(f"/proc/{self._process.pid}/task").iterdir():
            spent += int((task / "schedstat").read_text(encoding="ascii").split()[0])
        return spent / 1e9

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def _asked(self, command: str) -> str:
        with socket.create_connection(("127.0.0.1", self._console_port), timeout=5) as console:
            console.sendall(f"{command}\n".encode())
            answer = b""
            while b"END" not in answer:
                more = console.recv(2**16)
                if not more:
                    break
                answer += more
        return answer.decode()
