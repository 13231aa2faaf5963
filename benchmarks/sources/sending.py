"""Sends datagrams from a process of its own, so that what sending takes is not counted with what receiving takes.

`python -m benchmarks.sources.sending FILE LINES ADDRESS MOST`: the lines of FILE, LINES to a datagram, to
127.0.0.1:PORT or a path, once for each line on standard input; then it says "sent". No more than MOST bytes wait in
the receiver's queue, as the kernel counts them: what is measured is what a receiver takes, not what it drops.
"""

import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

# How long the queue is, is asked after so many bytes. The kernel reckons with more than a datagram has.
_AT_ONCE_BYTES: Final = 2**15
_LEAST_BYTES: Final = 768


class Sender:
    """That process, seen from the one that measures."""

    def __init__(self, path: Path, lines: int, address: str, most_bytes: int) -> None:
        """Start it; it reads the file and waits."""
        command = [sys.executable, "-m", "benchmarks.sources.sending", str(path), str(lines), address, str(most_bytes)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it is ready

    def go(self) -> None:
        """Send everything once."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def wait(self) -> None:
        """Until all of it is sent."""
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


def main(path: str, lines: int, address: str, most_bytes: int) -> None:
    """See above."""
    each = Path(path).read_bytes().splitlines()
    datagrams = [b"\n".join(each[i : i + lines]) for i in range(0, len(each), lines)]
    unix = "/" in address
    host, _, port = address.rpartition(":")
    print("ready", flush=True)
    for _ in sys.stdin:
        with socket.socket(socket.AF_UNIX if unix else socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect(address if unix else (host, int(port)))
            unasked = 0
            for datagram in datagrams:
                sender.send(datagram)
                unasked += _LEAST_BYTES + 2 * len(datagram)
                if unasked > _AT_ONCE_BYTES and not unix:
                    unasked = 0
                    while _waiting_bytes(int(port)) > most_bytes:
                        time.sleep(0.001)
        print("sent", flush=True)


def _waiting_bytes(port: int) -> int:
    """In the queue of whoever is bound to that port."""
    wanted = f"{port:04X}"
    for row in Path("/proc/net/udp").read_text(encoding="ascii").splitlines()[1:]:
        fields = row.split()
        if fields[1].partition(":")[2] == wanted:
            return int(fields[4].partition(":")[2], 16)
    return 0


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
