"""A running Grafana over its HTTP API: who we are there, and every refusal as one sentence that says what to do.

The library grafana-client sends the requests. Nothing that it raises leaves this module: wrong addresses, programs that
are no Grafana, tokens that may not write and servers that fail all become a GrafanaError. Credentials come from files
or from the environment, and stand in no message. Redirects are not followed: a POST would arrive as a GET.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote, urlsplit

import niquests
from grafana_client import GrafanaApi
from grafana_client.client import GrafanaClientError, GrafanaException, GrafanaServerError, GrafanaTimeoutError

from tailwatch.errors import GrafanaError
from tailwatch.grafana.alert_rules import Json
from tailwatch.grafana.config import GrafanaSettings
from tailwatch.grafana.credentials import TOKEN_VARIABLE, credential

log = logging.getLogger(__name__)

#: Provisioned rules with a folder's uid, reduce and threshold expressions, and heat maps of native histograms.
OLDEST: Final = (10, 0)
_TIMEOUT_S: Final = 20.0
_SHOWN_CHARACTERS: Final = 400


class Server:
    """One organisation of a Grafana, reached and found fit; `close` when done."""

    def __init__(self, settings: GrafanaSettings) -> None:
        """Reach it, and check its version and our credentials.

        Raises:
            GrafanaError: nothing there, no Grafana, too old, or it does not know us.
        """
        self.url = settings.url.rstrip("/")
        shown_to_it, self._credential = credential(settings)
        parts = urlsplit(self.url)
        self._api = GrafanaApi(
            shown_to_it,
            protocol=parts.scheme,
            host=f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname,
            port=parts.port,
            url_path_prefix=f"{parts.path.strip('/')}/" if parts.path.strip("/") else "",
            # As for the other commands; the library itself knows other names of variables.
            verify=os.environ.get("SSL_CERT_FILE") or True,
            timeout=_TIMEOUT_S,
            organization_id=settings.org_id or None,
        )
        self._api.client.s.max_redirects = 0
        self.version = self._checked_version()
        self.org_id, self.org_name = self._checked_org(settings.org_id)

    def close(self) -> None:
        """Let go of its connections."""
        self._api.client.s.close()

    # What is there.

    def datasources(self) -> list[Json]:
        """All data sources, without their secrets and without some of their fields."""
        with self._asking("read", "the list of data sources"):
            return _objects(self._api.datasource.list_datasources())

    def datasource(self, uid: str) -> Json | None:
        """One data source whole; None where there is none."""
        return self._found(f"/datasources/uid/{quote(uid, safe='')}", f"data source {uid}")

    def folder(self, uid: str) -> Json | None:
        """One folder; None where there is none."""
        return self._found(f"/folders/{quote(uid, safe='')}", f"folder {uid}")

    def folders(self) -> list[Json]:
        """The folders at the top."""
        with self._asking("read", "the list of folders"):
            return _objects(self._api.folder.get_all_folders())

    def dashboard(self, uid: str) -> Json | None:
        """`dashboard` and `meta` of one dashboard; None where there is none."""
        return self._found(f"/dashboards/uid/{quote(uid, safe='')}", f"dashboard {uid}")

    def last_message(self, uid: str) -> str | None:
        """What was said when the dashboard was saved last; None where that cannot be read."""
        try:
            with self._asking("read", f"the versions of dashboard {uid}"):
                # Not by the library's own method, which sends the limit in a body.
                answer = self._api.client.GET(f"/dashboards/uid/{quote(uid, safe='')}/versions", params={"limit": 10})
        except GrafanaError as error:
            log.info("versions unreadable dashboard=%s: %s", uid, error)
            return None
        versions = _objects(answer.get("versions") if isinstance(answer, dict) else answer)
        newest = max(versions, key=lambda each: int(each.get("version") or 0), default=None)
        return None if newest is None else str(newest.get("message") or "")

    def rules(self) -> list[Json]:
        """All alert rules that Grafana itself evaluates, of every folder."""
        with self._asking("read", "the alert rules"):
            return _objects(self._api.alertingprovisioning.get_alertrules_all())

    def interval_s(self, folder_uid: str, group: str) -> int | None:
        """How often a group of rules is evaluated; None where there is no such group."""
        found = self._found(_group_path(folder_uid, group), f"rule group {group}")
        return None if found is None else int(found.get("interval") or 0)

    # What is changed there. Alert rules stay editable: X-Disable-Provenance is set, unless they are locked already.

    def create_datasource(self, body: Json) -> Json:
        """Gives what Grafana made of it."""
        with self._asking("create", f"data source {body['name']}"):
            return _made(self._api.datasource.create_datasource(body), "datasource", body)

    def update_datasource(self, uid: str, body: Json) -> Json:
        """Gives what Grafana made of it."""
        with self._asking("change", f"data source {body['name']}"):
            return _made(self._api.datasource.update_datasource_by_uid(uid, body), "datasource", body)

    def create_folder(self, uid: str, title: str) -> None:
        """At the top."""
        with self._asking("create", f"folder {title}"):
            self._api.folder.create_folder(title, uid)

    def rename_folder(self, uid: str, title: str, version: int) -> None:
        """Refused when somebody else changed it since it was read as this version."""
        with self._asking("change", f"folder {title}"):
            self._api.folder.update_folder(uid, title, version)

    def save_dashboard(self, model: Json, folder_uid: str, message: str) -> None:
        """Refused when somebody else saved it since it was read with the model's version."""
        body = {"dashboard": model, "folderUid": folder_uid, "message": message, "overwrite": False}
        with self._asking("save", f"dashboard {model['title']}"):
            self._api.dashboard.update_dashboard(body)

    def create_rule(self, rule: Json) -> None:
        """Into its group, whose interval stays."""
        with self._asking("create", f"alert rule {rule['title']}"):
            self._api.alertingprovisioning.create_alertrule(rule, disable_provenance=True)

    def update_rule(self, rule: Json, *, locked: bool) -> None:
        """`locked` rules were made over the API without X-Disable-Provenance, and must be changed without it."""
        with self._asking("change", f"alert rule {rule['title']}"):
            uid = quote(rule["uid"], safe="")
            self._api.alertingprovisioning.update_alertrule(uid, rule, disable_provenance=not locked)

    def delete_rule(self, uid: str, title: str) -> None:
        """It may be gone already. Without the header: so Grafana deletes locked and open rules."""
        with self._asking("delete", f"alert rule {title}"):
            self._api.alertingprovisioning.delete_alertrule(quote(uid, safe=""))

    def write_group(self, folder_uid: str, group: str, interval_s: int, rules: list[Json] | None = None) -> None:
        """The interval alone; with rules, the whole group at once: rules of it that are not among them are deleted."""
        body: Json = {"title": group, "folderUid": folder_uid, "interval": interval_s}
        if rules is not None:
            body["rules"] = rules
        with self._asking("write", f"rule group {group}"):
            self._api.alertingprovisioning.update_rule_group(
                folder_uid, quote(group, safe=""), body, disable_provenance=True
            )

    def _found(self, path: str, what: str) -> Json | None:
        try:
            with self._asking("read", what):
                answer = self._api.client.GET(path)
        except _NotFoundError:
            return None
        if not isinstance(answer, dict):
            raise GrafanaError(
                f"{self.url} answers for {what} with something that is no JSON object; check grafana.url"
            )
        return answer

    def _checked_version(self) -> str:
        with self._asking("read", "its health"):
            try:
                health = self._api.client.GET("/health")
            except GrafanaServerError as error:  # 503: its database fails, and it says so in its usual form
                health = error.response
        if not isinstance(health, dict) or "database" not in health:
            raise GrafanaError(
                f"{self.url} answers, but not as a Grafana does (no health at {self.url}/api/health); set grafana.url "
                "to Grafana's root_url, with the path below which it is served"
            )
        if health["database"] != "ok":
            raise GrafanaError(f"Grafana at {self.url} has trouble with its own database; look at its log")
        version = str(health.get("version") or "") or self._version_inside()
        found = re.match(r"(\d+)\.(\d+)", version)
        if found is not None and (int(found[1]), int(found[2])) < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            raise GrafanaError(f"Grafana at {self.url} is {version}; {oldest} or newer is wanted: upgrade it")
        if found is None:
            log.warning("Grafana at %s does not say its version; %s or newer is wanted", self.url, OLDEST)
        return version

    def _version_inside(self) -> str:
        """The version as those see it who have logged in: it may be hidden from strangers."""
        try:
            with self._asking("read", "its settings"):
                return str((self._api.health.check() or {}).get("version") or "")
        except GrafanaError:
            return ""

    def _checked_org(self, wanted: int) -> tuple[int, str]:
        with self._asking("read", "the organisation"):
            org = self._api.organization.get_current_organization()
        number, name = int(org.get("id") or 0), str(org.get("name") or "")
        if wanted and number != wanted:
            raise GrafanaError(
                f"{self._credential} belongs to organisation {number} ({name}), but grafana.org_id is {wanted}; "
                "make a token in that organisation, or correct grafana.org_id"
            )
        return number, name

    @contextmanager
    def _asking(self, verb: str, what: str) -> Iterator[None]:
        """Whatever goes wrong in the block becomes a GrafanaError."""
        try:
            yield
        except GrafanaTimeoutError as error:
            raise GrafanaError(
                f"Grafana at {self.url} did not answer within {_TIMEOUT_S:.0f} s ({verb} {what}); see whether it is "
                "overloaded, then run this again: it goes on where it stopped"
            ) from error
        except GrafanaException as error:
            raise self._refusal(error, verb, what) from error
        except niquests.exceptions.TooManyRedirects as error:
            raise GrafanaError(
                f"{self.url} sends us elsewhere{_elsewhere(error)}; set grafana.url to the address at which Grafana "
                "itself answers"
            ) from error
        except niquests.exceptions.SSLError as error:
            raise self._no_tls(_reason(error)) from error
        except niquests.exceptions.JSONDecodeError as error:
            raise GrafanaError(f"{self.url} answers, but not with JSON ({verb} {what}); check grafana.url") from error
        except (niquests.exceptions.RequestException, OSError) as error:
            raise GrafanaError(
                f"no Grafana answers at {self.url} ({_reason(error)}); start it, or set grafana.url (--url)"
            ) from error

    def _no_tls(self, reason: str) -> GrafanaError:
        if "certificate" not in reason.lower():
            return GrafanaError(
                f"{self.url} does not speak TLS ({reason}); if it is plain HTTP, write http:// in grafana.url"
            )
        return GrafanaError(
            f"the certificate of {self.url} is not trusted ({reason}); add its authority to the system's, or name it "
            "in SSL_CERT_FILE"
        )

    def _refusal(self, error: GrafanaException, verb: str, what: str) -> GrafanaError:
        """What a status means to somebody who can do something about it."""
        said = _said(error)
        status = int(error.status_code or 0)
        if status == 401:
            return GrafanaError(
                f"Grafana at {self.url} does not know {self._credential} ({said}); make a service account with role "
                f"Admin and a token, put it into a file and set grafana.token_path, or set {TOKEN_VARIABLE}"
            )
        if status == 403:
            return GrafanaError(
                f"{self._credential} may not {verb} {what} ({said}); data sources want the role Admin, dashboards and "
                "alert rules Editor: give it to the service account or user"
            )
        if status == 404:
            return _NotFoundError(
                f"Grafana at {self.url} finds nothing to {verb}: {what} ({said}); if this is no Grafana, correct "
                "grafana.url; if something was deleted just now, run this again"
            )
        if status in (409, 412):
            return GrafanaError(
                f"Grafana did not {verb} {what} ({said}): somebody else changed it just now, or its name or uid is "
                "taken; run `tailwatch grafana diff`, rename what is in the way, and run this again"
            )
        if isinstance(error, GrafanaClientError):
            return GrafanaError(
                f"Grafana refused to {verb} {what} with status {status} ({said}); if it says that a title is taken, "
                "rename the other object; else this Grafana and this Tailwatch do not fit"
            )
        return GrafanaError(
            f"Grafana at {self.url} failed to {verb} {what} with status {status} ({said}); look at its log, then run "
            "this again: it goes on where it stopped"
        )


class _NotFoundError(GrafanaError):
    """Status 404, which a question may expect."""


def _group_path(folder_uid: str, group: str) -> str:
    return f"/v1/provisioning/folder/{quote(folder_uid, safe='')}/rule-groups/{quote(group, safe='')}"


def _objects(answer: Any) -> list[Json]:
    if not isinstance(answer, list) or not all(isinstance(each, dict) for each in answer):
        raise GrafanaError(
            "Grafana answers with something that is no list of objects; is it newer than this Tailwatch?"
        )
    return answer


def _made(answer: Any, key: str, sent: Json) -> Json:
    found = answer.get(key) if isinstance(answer, dict) else None
    return found if isinstance(found, dict) else sent


def _said(error: GrafanaException) -> str:
    response = error.response
    text = response.get("message") if isinstance(response, dict) else response
    return _short(text or error.message or "no reason given")


def _reason(error: Exception) -> str:
    """What lies below the library's wrapping, which tells of its retries and where its objects are in memory."""
    wrapped = error.args[0] if error.args else error
    reason = getattr(wrapped, "reason", None) or wrapped
    return _short(re.sub(r"<[^<>]* object at 0x[0-9a-f]+>:? *", "", str(reason)))


def _short(text: object) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= _SHOWN_CHARACTERS else line[: _SHOWN_CHARACTERS - 1] + "…"


def _elsewhere(error: niquests.exceptions.TooManyRedirects) -> str:
    response = getattr(error, "response", None)
    location = response.headers.get("Location") if response is not None else None
    return f", to {_short(str(location).partition('?')[0])}" if location else ""
