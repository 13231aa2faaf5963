"""A stand-in for the API's side of plans: says what a test wants, and remembers what it was asked."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeline.agent_plan import FORMAT, AgentPlan, PlannedTable, PlannedVersion, encode_agent_plan
from pipeline.plan import Plan, encode_plan
from pipeline.tables import StaticTable, table_bytes


class PlanApi:
    """Answers plans and tables until closed; `status` other than 200 answers everything with that."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.body = encode_agent_plan(AgentPlan(format=FORMAT))
        self.status = 200
        self.error = b"refused"
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.answered: list[int] = []
        self._tables: dict[str, bytes] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def say(
        self, *plans: Plan, retired: tuple[str, ...] = (), spans: dict[str, tuple[int | None, int | None]] | None = None
    ) -> None:
        """These versions from now on, each for all time unless `spans` says otherwise."""
        planned = []
        for plan in plans:
            begin, end = (spans or {}).get(plan.version, (None, None))
            tables = [
                PlannedTable(name=name, content_hash=content, url=self.url_of(name, content))
                for name, content in plan.tables.items()
            ]
            planned.append(
                PlannedVersion(
                    query=plan.query, version=plan.version, plan=encode_plan(plan),
                    valid_from_ns=begin, valid_to_ns=end, tables=tables,
                )
            )  # fmt: skip
        self.body = encode_agent_plan(AgentPlan(format=FORMAT, queries=planned, retired=list(retired)))

    def upload(self, table: StaticTable, data: bytes | None = None) -> None:
        """Give this table out, as `data` where that is given."""
        path = self.url_of(table.name, table.content_hash)
        self._tables[path] = table_bytes(table) if data is None else data

    def url_of(self, name: str, content_hash: str) -> str:
        return f"/api/v1/tables/{name}/{content_hash}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                api.asked.append((self.path, dict(self.headers)))
                if api.status != 200:
                    self._answer(api.status, api.error)
                    return
                body = api._tables.get(self.path) if "/tables/" in self.path else api.body
                etag = f'"{sha256(body or b"").hexdigest()}"'
                if body is None:
                    self._answer(404, b"no such table")
                elif self.headers.get("If-None-Match") == etag:
                    self._answer(304, b"", etag)
                else:
                    self._answer(200, body, etag)

            def _answer(self, status: int, body: bytes, etag: str = "") -> None:
                api.answered.append(status)
                self.send_response(status)
                if status in (301, 302):
                    self.send_header("Location", api.url + "/elsewhere")
                if etag:
                    self.send_header("ETag", etag)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Requests are not logged."""

        return Handler


@contextmanager
def plan_api(tls: ssl.SSLContext | None = None) -> Iterator[PlanApi]:
    """One, closed at the end. A first start beside it waits for its answer, however late the machine lets it come."""
    api = PlanApi(tls)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("agents.planner.FIRST_ANSWER_S", 60.0)
            yield api
    finally:
        api.close()
