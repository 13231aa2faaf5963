"""How late a 1 ms timer fires, measured in a process of its own: inside a busy one the interpreter lock is measured.

Run as `python -I -S hiccups_sampler.py` with pipes at stdin and stdout; only the standard library is loaded. Each
tick gives one record (ts_ns, late_ns), two little-endian int64, written to stdout in chunks small enough to be atomic.
Ticks overdue after a stall fire at once, each with its own lateness: a stall of 50 ms counts 50 times, not once.
Records with a negative number are no samples: (-ts_ns, n) says that the full pipe refused n samples, (ts_ns, -n)
that n ticks were skipped because a stall was too long to make up for. The pipe is never waited for.
The process ends when its parent does: stdin then reads as closed, or the parent's id changes.
"""

import fcntl
import gc
import os
import select
import signal
import struct
import sys
import time

INTERVAL_NS = 1_000_000
CHUNK_SAMPLES = 50  # 800 bytes and two more records, below PIPE_BUF: such a write is taken whole or refused whole
MAX_BEHIND_NS = 10_000_000_000
RECORD = struct.Struct("<qq")


def main() -> None:
    """Sample until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the agent decides when we end
    gc.disable()
    out = sys.stdout.fileno()
    fcntl.fcntl(out, fcntl.F_SETFL, fcntl.fcntl(out, fcntl.F_GETFL) | os.O_NONBLOCK)
    closed = select.poll()
    closed.register(sys.stdin.fileno(), select.POLLIN | select.POLLHUP)
    parent = os.getppid()
    chunk = bytearray()
    refused = skipped = 0
    due = time.monotonic_ns() + INTERVAL_NS
    while True:
        ahead = due - time.monotonic_ns()
        if ahead > 0:
            time.sleep(ahead * 1e-9)
        late = max(time.monotonic_ns() - due, 0)
        now = time.time_ns()
        chunk += RECORD.pack(now, late)
        due += INTERVAL_NS
        if late > MAX_BEHIND_NS:
            skipped += late // INTERVAL_NS
            due += late // INTERVAL_NS * INTERVAL_NS
        if len(chunk) < CHUNK_SAMPLES * RECORD.size:
            continue
        if closed.poll(0) or os.getppid() != parent:
            return
        if refused:
            chunk += RECORD.pack(-now, refused)
        if skipped:
            chunk += RECORD.pack(now, -skipped)
        try:
            os.write(out, chunk)
            refused = skipped = 0
        except BlockingIOError:
            refused += CHUNK_SAMPLES
        except OSError:
            return
        chunk.clear()


if __name__ == "__main__":
    main()
