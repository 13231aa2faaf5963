"""The example as a program: a server under load that polls its degree table and sends samples of its requests.

python -m examples.parallel_service.server --api http://127.0.0.1:8080 --service pricing --policy table
"""

import argparse
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from examples.parallel_service.client import mixed_traffic, send
from examples.parallel_service.degree_table import TablePoller
from examples.parallel_service.policies import ByTable, FixedDegree
from examples.parallel_service.pricing import measured_speed
from examples.parallel_service.request_samples import RequestSample, SampleSender
from examples.parallel_service.worker_pool import WorkerPool

#: How long a thread may keep the interpreter to itself: work of half a millisecond must not wait five for it.
SWITCH_S = 0.0005
_ROUND_S = 5.0


class Recent:
    """Latencies of the newest requests, for what is printed; and on to the sender."""

    def __init__(self, sender: SampleSender | None, most: int = 20_000) -> None:
        """Bounded: the newest `most` stay."""
        self._sender, self._latencies_ms = sender, deque[float](maxlen=most)
        self.requests = self.corrected = 0

    def __call__(self, sample: RequestSample) -> None:
        """One that is done."""
        self.requests += 1
        self.corrected += sample.degree_final > sample.degree
        self._latencies_ms.append((sample.wait_us + sample.service_us) / 1e3)
        if self._sender is not None:
            self._sender.add(sample)

    def line(self, table_version: int) -> str:
        """As JSON: what was served so far; quantiles of the newest."""
        latencies = list(self._latencies_ms)
        p50, p99 = np.quantile(latencies, (0.5, 0.99)).round(2).tolist() if latencies else (None, None)
        sender = self._sender
        sent = {} if sender is None else {
            "samples_accepted": sender.accepted, "samples_dropped": sender.dropped + sender.refused,
        }  # fmt: skip
        told = {"requests": self.requests, "p50_ms": p50, "p99_ms": p99, "corrected": self.corrected}
        return json.dumps(told | {"table_version": table_version} | sent)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve for a while; 0 at the end, also after SIGINT or SIGTERM."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    sys.setswitchinterval(SWITCH_S)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    poller = sender = None
    if options.api:
        poller = TablePoller(options.api, options.service, options.table_file, every_s=options.poll_s, key=options.key)
        sender = SampleSender(options.api, options.service, options.instance, key=options.key)
        poller.start()
        sender.start()
    otherwise = FixedDegree(options.degree, options.explore, options.max_degree)
    by_table = ByTable(lambda: poller.table if poller else None, otherwise)
    recent = Recent(sender)
    pool = WorkerPool(options.workers, by_table if options.policy == "table" else otherwise, recent)
    speed, rng, left_s = measured_speed(), np.random.default_rng(options.seed), options.seconds
    try:
        while left_s > 0 and not stopped.is_set():
            span_s = min(left_s, _ROUND_S)
            send(mixed_traffic(span_s, options.load, options.threads, rng), pool, speed, stopped)
            left_s -= span_s
            table = poller.table if poller else None
            print(recent.line(table.version if table else -1), flush=True)
    finally:
        pool.stop()
        if sender is not None:
            sender.stop()
        if poller is not None:
            poller.stop()
    print(recent.line(poller.table.version if poller and poller.table else -1), flush=True)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(prog="python -m examples.parallel_service.server", description=__doc__)
    parser.add_argument("--api", default="", help="where Tailwatch's API is; without it nothing is polled or sent")
    parser.add_argument("--service", default="pricing", help="its name there")
    parser.add_argument("--instance", default=f"{socket.gethostname()}-{os.getpid()}", help="of this process")
    parser.add_argument("--key", default=os.environ.get("API_KEY", ""), help="API key (scopes read and ingest)")
    parser.add_argument("--table-file", type=Path, help="holds the last good table for the next start")
    parser.add_argument("--poll-s", type=float, default=10.0, help="seconds between two polls")
    parser.add_argument("--policy", choices=("fixed", "table"), default="table", help="table: as Tailwatch says")
    parser.add_argument("--degree", type=int, default=1, help="with fixed, and before there is a table")
    parser.add_argument("--explore", type=float, default=0.05, help="share of degrees by chance, with --degree")
    parser.add_argument("--threads", type=int, default=cores, help="hardware threads that the load is for")
    parser.add_argument("--workers", type=int, default=2 * cores, help="threads of the pool")
    parser.add_argument("--max-degree", type=int, default=min(2, 2 * cores), help="most threads of a request")
    parser.add_argument("--load", type=float, default=0.5, help="share of the hardware threads, on one thread each")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long")
    parser.add_argument("--seed", type=int, default=1, help="of the requests")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
