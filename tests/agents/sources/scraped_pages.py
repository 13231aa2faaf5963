"""A server of pages of metrics, and a source that scrapes them, as tests need them."""

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import polars as pl

from agents.sources.configs import ScrapeConfig
from agents.sources.scrape import ScrapeSource
from agents.sources.scrape_fetch import Fetch
from agents.sources.source import Batch
from agents.sources.streams import SCRAPE

TEXT = "text/plain; version=0.0.4"
WITHIN_S = 30.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Pages:
    """A server whose paths answer as they are told."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.over = threading.Event()
        pages = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                pages.seen.append((self.path, dict(self.headers)))
                pages.answers[self.path](self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answer(self, path: str, body: bytes, status: int = 200, **headers: str) -> None:
        def send(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            for name, value in ({"Content_Type": TEXT, "Content_Length": str(len(body))} | headers).items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            handler.wfile.write(body)
            handler.close_connection = True

        self.answers[path] = send

    def close(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


class Run:
    """A source whose clock stands still but for what tests do."""

    def __init__(self, schema: dict[str, str] = SCRAPE, **settings: Any) -> None:
        self.clock = Clock()
        self.config = ScrapeConfig(**{"interval_s": 10.0, "timeout_s": 5.0} | settings)
        self.source = ScrapeSource(self.config, schema, clock=self.clock, fetch=self.patient)
        self.source.open(None)

    def patient(self, url: str, config: ScrapeConfig) -> Fetch:
        """A fetch whose time stands still, too, and that waits for a busy server."""
        patient_s = max(config.timeout_s, WITHIN_S)
        return Fetch(url, msgspec.structs.replace(config, timeout_s=patient_s, interval_s=patient_s), self.clock)

    def scraped(self, wanted: int = 1) -> list[Batch]:
        """One interval later, when so many scrapes more have ended, and told how."""
        self.until(lambda: not self.running())
        before = self.source.counters()["scrapes"]
        self.clock.now += self.config.interval_s
        return self.until(lambda: self.source.counters()["scrapes"] >= before + wanted and not self.running())

    def running(self) -> list[threading.Thread]:
        """The scrapes under way: one that has been counted may still have to say how it ended."""
        return [one.thread for one in self.source._targets.values() if one.thread is not None and one.thread.is_alive()]

    def until(self, done: Callable[[], bool]) -> list[Batch]:
        batches, deadline = self.source.poll(), time.monotonic() + WITHIN_S
        while not done():
            assert time.monotonic() < deadline, self.source.counters()
            time.sleep(0.002)
            batches += self.source.poll()
        return batches + self.source.poll()


def rows(batches: list[Batch]) -> pl.DataFrame:
    return pl.concat([batch.rows for batch in batches if batch.rows.height])


def named(batches: list[Batch], name: str) -> list[float]:
    return rows(batches).filter(pl.col("name") == name)["value"].to_list()
