"""A Grafana for the tests of `tailwatch grafana`, a fake one or a real one, and a person who works in it."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tailwatch.cli import main
from tests.counterparts.fake_grafana import ADMIN, FakeGrafana, asks

FOLDER = "tailwatch"
DASHBOARD = "tailwatch-fleet"


class World:
    """An organisation of a Grafana, the configuration that leads to it, and what people do there by hand."""

    def __init__(self, address: str, folder: Path, fake: FakeGrafana | None, org_id: int) -> None:
        parts = urlsplit(address)
        self.address, self.fake, self.org_id, self.folder = address, fake, org_id, folder
        self.url = f"{parts.scheme}://{parts.hostname}:{parts.port}{parts.path}"
        (folder / "password").write_text(f"{parts.password}\n")
        login = {"username": parts.username, "password_path": "password", "org_id": org_id}
        self.settings: dict[str, Any] = {"url": self.url, **login}

    def run(self, action: str, *flags: str, **settings: Any) -> int:
        """`tailwatch grafana` with these settings on top."""
        path = self.folder / "tailwatch.yaml"
        path.write_text(json.dumps({"grafana": self.settings | settings}))
        return main(["grafana", action, "--config", str(path), *flags])

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Over the HTTP API, as its administrator."""
        return asks(self.address, method, path, body, self.org_id)

    def rules(self) -> dict[str, dict[str, Any]]:
        return {rule["uid"]: rule for rule in self.ask("GET", "/api/v1/provisioning/alert-rules")}

    def edit_rule(self, uid: str, **changes: Any) -> None:
        self.ask("PUT", f"/api/v1/provisioning/alert-rules/{uid}", self.rules()[uid] | changes)

    def add_rule(self, like: str, **changes: Any) -> None:
        """A copy of a rule with changes, as Duplicate makes it: labels and annotations come along."""
        copied = {key: value for key, value in self.rules()[like].items() if key not in ("id", "updated", "provenance")}
        self.ask("POST", "/api/v1/provisioning/alert-rules", copied | changes)

    def edit_dashboard(self, message: str = "", **changes: Any) -> None:
        model = self.ask("GET", f"/api/dashboards/uid/{DASHBOARD}")["dashboard"]
        body = {"dashboard": model | changes, "folderUid": FOLDER, "message": message, "overwrite": False}
        self.ask("POST", "/api/dashboards/db", body)

    def edit_source(self, **changes: Any) -> None:
        source = self.ask("GET", "/api/datasources/uid/tailwatch")
        self.ask("PUT", "/api/datasources/uid/tailwatch", source | changes)


@contextmanager
def organisation(address: str, folder: Path, fake: FakeGrafana | None) -> Iterator[World]:
    """A new organisation, removed in the end."""
    made = asks(address, "POST", "/api/orgs", {"name": f"tailwatch-test-{uuid.uuid4().hex[:12]}"})
    yield World(address, folder, fake, int(made["orgId"]))
    if fake is None:
        asks(address, "DELETE", f"/api/orgs/{made['orgId']}")


def login_of(fake: FakeGrafana) -> str:
    """The fake's address with its administrator."""
    return fake.url.replace("://", f"://{ADMIN[0]}:{ADMIN[1]}@")
