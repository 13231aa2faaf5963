"""A stand-in for Grafana: a small HTTP server that keeps what it is given, as Grafana's documentation says it would.

It knows organisations, service accounts with roles, basic authentication, and every route that `tailwatch grafana`
uses; whatever else is asked for is a 404 and stands in `asked`. Faults can be put in front of routes. The tests that
run against it run against a real Grafana, too, where there is one.
"""

import base64
import json
import re
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.counterparts.fake_grafana_objects import Answer, Json, Organisation, refused

ADMIN = ("admin", "swordfish")
_RANKS = {"Viewer": 0, "Editor": 1, "Admin": 2}


@dataclass
class Fault:
    """What happens to questions instead of an answer: `status` with `body`, after `delay_s`."""

    method: str  # this and the path are regular expressions
    path: str
    status: int = 500
    body: bytes = b'{"message": "database is locked"}'
    delay_s: float = 0.0
    after: int = 0  # so many are let through before
    times: int = 10**9
    location: str = ""


@dataclass
class FakeGrafana:
    """Everything of one server; tests change it as people would, behind the back of the command."""

    url: str = ""
    version: str = "13.0.1"
    hides_version: bool = False
    wraps_versions: bool = True  # newer releases wrap the list of a dashboard's versions
    database: str = "ok"
    orgs: dict[int, Organisation] = field(default_factory=lambda: {1: Organisation(1, "Main Org.")})
    tokens: dict[str, tuple[int, str]] = field(default_factory=lambda: {"glsa_admin": (1, "Admin")})
    faults: list[Fault] = field(default_factory=list)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    @property
    def org(self) -> Organisation:
        return self.orgs[1]

    def writes(self) -> list[str]:
        """Everything that was asked for other than by GET."""
        return [f"{method} {path}" for method, path, _ in self.asked if method != "GET"]

    def answer(self, method: str, path: str, headers: Any, body: Any) -> Answer:
        self.asked.append((method, path, body))
        if (method, path) == ("GET", "/api/health"):
            health = {"database": self.database, "commit": "abc"} | (
                {} if self.hides_version else {"version": self.version}
            )
            return 200 if self.database == "ok" else 503, health
        who = self._who(headers)
        if who is None:
            return refused(401, "Invalid API key" if "Bearer" in headers.get("Authorization", "") else "Unauthorized")
        number, role = who
        if (method, path) == ("POST", "/api/orgs"):
            self.orgs[len(self.orgs) + 1] = Organisation(len(self.orgs) + 1, body["name"])
            return 200, {"orgId": len(self.orgs), "message": "Organization created"}
        if number not in self.orgs:
            return refused(401, "Unauthorized")
        needed = self._needed_role(method, path)
        if _RANKS[role] < _RANKS[needed]:
            return refused(
                403, f"You'll need additional permissions to perform this action. Permissions needed: {needed}"
            )
        provenance = "" if headers.get("X-Disable-Provenance") else "api"
        return self._route(self.orgs[number], method, path, body, provenance)

    def _who(self, headers: Any) -> tuple[int, str] | None:
        """(organisation, role) of whoever asks."""
        kind, _, secret = headers.get("Authorization", "").partition(" ")
        if kind == "Bearer":
            return self.tokens.get(secret)
        if kind == "Basic" and base64.b64decode(secret).decode() == ":".join(ADMIN):
            return int(headers.get("X-Grafana-Org-Id") or 1), "Admin"
        return None

    @staticmethod
    def _needed_role(method: str, path: str) -> str:
        if path.startswith("/api/datasources"):
            return "Admin"
        return "Viewer" if method == "GET" else "Editor"

    def _route(self, org: Organisation, method: str, path: str, body: Any, provenance: str) -> Answer:  # noqa: PLR0911
        match [method, *(unquote(part) for part in path.removeprefix("/api/").split("/"))]:
            case ["GET", "org"]:
                return 200, {"id": org.number, "name": org.name}
            case ["GET", "frontend", "settings"]:
                return 200, {"buildInfo": {"version": self.version}}
            case ["GET", "datasources"]:
                return org.source_list()
            case ["POST", "datasources"]:
                return org.create_source(body)
            case ["GET", "datasources", "uid", uid]:
                there = org.sources.get(uid)
                return refused(404, "Data source not found") if there is None else (200, org.shown_source(there))
            case ["PUT", "datasources", "uid", uid]:
                return org.update_source(uid, body)
            case ["GET", "folders"]:
                return 200, [{key: each[key] for key in ("id", "uid", "title")} for each in org.folders.values()]
            case ["POST", "folders"]:
                return org.create_folder(body)
            case ["GET", "folders", uid]:
                there = org.folders.get(uid)
                return refused(404, "folder not found", status="not-found") if there is None else (200, there)
            case ["PUT", "folders", uid]:
                return org.update_folder(uid, body)
            case ["POST", "dashboards", "db"]:
                return org.save_dashboard(body)
            case ["GET", "dashboards", "uid", uid]:
                return org.dashboard(uid)
            case ["GET", "dashboards", "uid", uid, "versions"]:
                return org.versions(uid, self.wraps_versions)
            case [_, "v1", "provisioning", *rest]:
                return self._alerting(org, [method, *rest], body, provenance)
        return refused(404, "Not found")

    @staticmethod
    def _alerting(org: Organisation, asked: list[str], body: Any, provenance: str) -> Answer:  # noqa: PLR0911
        match asked:
            case ["GET", "alert-rules"]:
                return 200, list(org.rules.values())
            case ["POST", "alert-rules"]:
                return org.create_rule(body, provenance)
            case ["GET", "alert-rules", uid]:
                return (200, org.rules[uid]) if uid in org.rules else (404, None)
            case ["PUT", "alert-rules", uid]:
                return org.update_rule(uid, body, provenance)
            case ["DELETE", "alert-rules", uid]:
                return org.delete_rule(uid, provenance)
            case ["GET", "folder", folder, "rule-groups", group]:
                return org.group(folder, group)
            case ["PUT", "folder", folder, "rule-groups", group]:
                return org.replace_group(folder, group, body, provenance)
        return refused(404, "Not found")

    def fault(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.times <= 0 or not re.fullmatch(fault.method, method) or not re.fullmatch(fault.path, path):
                continue
            if fault.after == 0:
                fault.times -= 1
                return fault
            fault.after -= 1
        return None


@contextmanager
def serving(below: str = "", tls: ssl.SSLContext | None = None) -> Iterator[FakeGrafana]:
    """The server on a free loopback port; `below` is the path under which it is served, as behind a proxy."""
    fake = FakeGrafana()
    lock, stopped = threading.Lock(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: else each answer waits 40 ms for an acknowledgement

        def do(self) -> None:
            path = urlsplit(self.path).path
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = fake.fault(self.command, path)
            if fault is not None:
                stopped.wait(fault.delay_s)
                self.reply(fault.status, fault.body, fault.location)
                return
            if not path.startswith(below + "/api/"):
                self.reply(
                    302 if below else 404, b"<html>not here</html>", f"{fake.url}/login" if below else "", "text/html"
                )
                return
            body = json.loads(text) if text[:1] in (b"{", b"[") else None
            with lock:
                status, content = fake.answer(self.command, path.removeprefix(below), self.headers, body)
                answer = b"" if content is None else json.dumps(content).encode()
            self.reply(status, answer)

        do_GET = do_POST = do_PUT = do_DELETE = do  # noqa: N815

        def reply(self, status: int, body: bytes, location: str = "", media_type: str = "application/json") -> None:
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            if status != 204:
                self.send_header("Content-Type", media_type)
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if status != 204:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    fake.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}{below}"
    try:
        yield fake
    finally:
        stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()


def asks(grafana: str, method: str, path: str, body: Json | None = None, org_id: int = 0) -> Any:
    """One question of a person to the Grafana at http://USER:PASSWORD@HOST:PORT; fails on a refusal."""
    parts = urlsplit(grafana)
    login = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
    headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json", "X-Disable-Provenance": "true"}
    if org_id:
        headers["X-Grafana-Org-Id"] = str(org_id)
    address = f"{parts.scheme}://{parts.hostname}:{parts.port}{parts.path}{path}"
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(address, data, headers, method=method), timeout=30) as answer:
        text = answer.read()
    return json.loads(text) if text else None
