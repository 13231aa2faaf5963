"""What one organisation of the fake Grafana holds, and what Grafana's HTTP API says to changes of it.

Written from Grafana's documentation of its HTTP API (data sources, folders, dashboards, alerting provisioning) with its
status codes, its refusals, and the traps: defaults that it fills in, durations and numbers that it spells otherwise,
the interval that belongs to each rule of a group, and the provenance that decides who may change a rule.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
Answer = tuple[int, Any]

_UID = re.compile(r"[A-Za-z0-9_-]{1,40}")
_DEFAULT_INTERVAL_S = 60
_BASE_INTERVAL_S = 10
_UNITS = (("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_RULE_DEFAULTS: Json = {
    "annotations": None,
    "labels": None,
    "isPaused": False,
    "notification_settings": None,
    "record": None,
}


def refused(code: int, message: str, **more: Any) -> Answer:
    """A refusal in its usual form."""
    return code, {"message": message, **more}


@dataclass
class Organisation:
    """Data sources, folders, dashboards and alert rules of one organisation, each by uid."""

    number: int
    name: str
    sources: dict[str, Json] = field(default_factory=dict)
    folders: dict[str, Json] = field(default_factory=dict)
    dashboards: dict[str, Json] = field(default_factory=dict)  # model, folderUid, provisioned, versions
    rules: dict[str, Json] = field(default_factory=dict)
    intervals: dict[str, int] = field(default_factory=dict)  # of each rule
    n_ids: int = 0

    def next_id(self) -> int:
        self.n_ids += 1
        return self.n_ids

    # Data sources.

    def source_list(self) -> Answer:
        kept = ("id", "uid", "orgId", "name", "type", "access", "url", "isDefault", "readOnly", "jsonData")
        return 200, [{key: self.shown_source(each)[key] for key in kept} for each in self.sources.values()]

    def shown_source(self, source: Json) -> Json:
        """As it is answered: secrets are only named."""
        empty = {"database": "", "user": "", "basicAuth": False, "basicAuthUser": "", "withCredentials": False}
        shown = {**empty, "isDefault": False, "readOnly": False, "jsonData": {}, "orgId": self.number, **source}
        shown["secureJsonFields"] = dict.fromkeys(shown.pop("secureJsonData", {}), True)
        return shown

    def create_source(self, body: Json) -> Answer:
        if any(body["name"] == each["name"] for each in self.sources.values()):
            return refused(409, "data source with the same name already exists")
        if body["uid"] in self.sources:
            return refused(409, "data source with the same uid already exists")
        made = self.sources[body["uid"]] = {**body, "id": self.next_id(), "version": 1}
        return 200, {
            "message": "Datasource added",
            "id": made["id"],
            "name": made["name"],
            "datasource": self.shown_source(made),
        }

    def update_source(self, uid: str, body: Json) -> Answer:
        there = self.sources.get(uid)
        if there is None:
            return refused(404, "Data source not found")
        if there.get("readOnly"):
            return refused(403, "Cannot update read-only data source")
        if body.get("version") not in (None, there["version"]):
            return refused(409, "Datasource has already been updated by someone else. Please reload and try again")
        secrets = {**there.get("secureJsonData", {}), **body.get("secureJsonData", {})}
        made = {**body, "uid": uid, "id": there["id"], "version": there["version"] + 1, "secureJsonData": secrets}
        self.sources[uid] = made
        return 200, {
            "message": "Datasource updated",
            "id": made["id"],
            "name": made["name"],
            "datasource": self.shown_source(made),
        }

    # Folders.

    def create_folder(self, body: Json) -> Answer:
        if not body.get("title"):
            return refused(400, "folder title cannot be empty")
        uid = body.get("uid") or f"folder-{self.next_id()}"
        if uid in self.folders or any(body["title"] == each["title"] for each in self.folders.values()):
            return refused(409, "a folder with the same name already exists in the current location")
        self.folders[uid] = {"id": self.next_id(), "uid": uid, "title": body["title"], "version": 1, "canSave": True}
        return 200, self.folders[uid]

    def update_folder(self, uid: str, body: Json) -> Answer:
        folder = self.folders.get(uid)
        if folder is None:
            return refused(404, "folder not found", status="not-found")
        if not body.get("overwrite") and body.get("version") != folder["version"]:
            return refused(412, "the folder has been changed by someone else", status="version-mismatch")
        self.folders[uid] = {**folder, "title": body["title"], "version": folder["version"] + 1}
        return 200, self.folders[uid]

    # Dashboards.

    def dashboard(self, uid: str) -> Answer:
        there = self.dashboards.get(uid)
        if there is None:
            return refused(404, "Dashboard not found")
        meta = {"provisioned": there["provisioned"], "folderUid": there["folderUid"], "slug": uid, "isStarred": False}
        return 200, {"dashboard": there["model"], "meta": {**meta, "version": there["model"]["version"]}}

    def versions(self, uid: str, wrapped: bool) -> Answer:
        there = self.dashboards.get(uid)
        if there is None:
            return refused(404, "Dashboard not found")
        newest_first = there["versions"][::-1]
        return 200, {"continueToken": "", "versions": newest_first} if wrapped else newest_first

    def save_dashboard(self, body: Json) -> Answer:  # noqa: PLR0911
        model, folder = dict(body["dashboard"]), body.get("folderUid") or ""
        uid = model.get("uid") or f"dashboard-{self.next_id()}"
        there = self.dashboards.get(uid)
        if not model.get("title"):
            return refused(400, "Dashboard title cannot be empty", status="empty-name")
        if not _UID.fullmatch(uid):
            return refused(400, "uid contains illegal characters")
        if folder and folder not in self.folders:
            return refused(404, "Folder not found")
        if there is not None and there["provisioned"]:
            return refused(400, "Cannot save provisioned dashboard")
        if there is not None and not body.get("overwrite"):
            if not model.get("id"):
                return refused(412, "A dashboard with the same uid already exists", status="name-exists")
            if model.get("version") != there["model"]["version"]:
                return refused(412, "The dashboard has been changed by someone else", status="version-mismatch")
        version = 1 if there is None else there["model"]["version"] + 1
        saved = {
            **model,
            "uid": uid,
            "version": version,
            "id": self.next_id() if there is None else there["model"]["id"],
        }
        entry = {
            "id": self.next_id(),
            "version": version,
            "message": body.get("message") or "",
            "createdBy": "sa-tailwatch",
        }
        self.dashboards[uid] = {
            "model": json.loads(json.dumps(saved)),
            "folderUid": folder,
            "provisioned": False,
            "versions": [*(there["versions"] if there else []), entry],
        }
        return 200, {
            "id": saved["id"],
            "uid": uid,
            "version": version,
            "status": "success",
            "slug": uid,
            "url": f"/d/{uid}",
        }

    # Alert rules.

    def rule_problem(self, rule: Json, group: str, folder: str) -> Answer | None:  # noqa: PLR0911
        """What is wrong with a rule that shall stand there."""
        names = [query["refId"] for query in rule.get("data") or []]
        if not rule.get("title") or len(rule["title"]) > 190 or not group or not names:
            return refused(400, "invalid alert rule: title, rule group and data have to be set")
        if rule.get("condition") not in names:
            return refused(
                400, f"invalid alert rule: condition {rule.get('condition')} does not exist, must be one of {names}"
            )
        if rule.get("uid") and not _UID.fullmatch(rule["uid"]):
            return refused(400, f"invalid alert rule: cannot create rule with UID '{rule['uid']}'")
        if folder not in self.folders:
            return refused(400, "invalid alert rule: folder does not exist")
        if rule.get("noDataState") not in ("NoData", "Alerting", "OK", "KeepLast"):
            return refused(400, f"unknown NoData state option {rule.get('noDataState')}")
        same = [r for r in self.rules.values() if r["title"] == rule["title"] and r["folderUID"] == folder]
        if any(each["uid"] != rule.get("uid") for each in same):
            return refused(
                400, "[alerting.alert-rule.conflict] rule title under the same organisation and folder should be unique"
            )
        return None

    def store_rule(self, rule: Json, group: str, folder: str, interval_s: int, provenance: str) -> Json:
        uid = rule.get("uid") or f"rule-{self.next_id()}"
        number = self.rules[uid]["id"] if uid in self.rules else self.next_id()
        stored = {**_RULE_DEFAULTS, **json.loads(json.dumps(_whole(rule)))}
        place = {"id": number, "uid": uid, "orgID": self.number, "folderUID": folder, "ruleGroup": group}
        stored |= {**place, "for": _duration(rule["for"]), "updated": "2026-11-22T10:00:00Z"}
        for query in stored["data"]:
            query["model"] = {"intervalMs": 1_000, "maxDataPoints": 43_200, **query["model"]}
        stored.pop("provenance", None)
        self.rules[uid] = stored | ({"provenance": provenance} if provenance else {})
        self.intervals[uid] = interval_s
        return self.rules[uid]

    def create_rule(self, rule: Json, provenance: str) -> Answer:
        group, folder = rule.get("ruleGroup") or "", rule.get("folderUID") or ""
        if rule.get("uid") in self.rules:
            return refused(409, "rule UID under the same organisation should be unique")
        if problem := self.rule_problem(rule, group, folder):
            return problem
        interval_s = next((self.intervals[each["uid"]] for each in self.members(folder, group)), _DEFAULT_INTERVAL_S)
        return 201, self.store_rule(rule, group, folder, interval_s, provenance)

    def update_rule(self, uid: str, rule: Json, provenance: str) -> Answer:
        there = self.rules.get(uid)
        if there is None:
            return 404, None
        stored, rule = there.get("provenance") or "", {**rule, "uid": uid}
        if problem := self.rule_problem(rule, rule["ruleGroup"], rule["folderUID"]):
            return problem
        if stored not in ("", provenance):
            return refused(500, f"cannot change provenance from '{stored}' to '{provenance}'")
        # The interval stays that of the group it comes from.
        return 200, self.store_rule(rule, rule["ruleGroup"], rule["folderUID"], self.intervals[uid], provenance)

    def delete_rule(self, uid: str, provenance: str) -> Answer:
        stored = self.rules.get(uid, {}).get("provenance") or ""
        if stored not in ("", provenance):
            return refused(500, f"cannot delete with provided provenance '{provenance}', needs '{stored}'")
        self.rules.pop(uid, None)
        self.intervals.pop(uid, None)
        return 204, None

    def members(self, folder: str, group: str) -> list[Json]:
        return [r for r in self.rules.values() if r["folderUID"] == folder and r["ruleGroup"] == group]

    def group(self, folder: str, group: str) -> Answer:
        members = self.members(folder, group)
        if not members:
            return refused(404, "rule group not found")
        interval_s = self.intervals[members[0]["uid"]]
        return 200, {"title": group, "folderUid": folder, "interval": interval_s, "rules": members}

    def replace_group(self, folder: str, group: str, body: Json, provenance: str) -> Answer:
        """Without rules the interval alone changes; with them, rules of the group that are not among them go."""
        interval_s, members = int(body.get("interval") or 0), self.members(folder, group)
        if interval_s <= 0 or interval_s % _BASE_INTERVAL_S:
            return refused(
                400, f"interval ({interval_s}s) should be non-zero and divided exactly by scheduler interval: 10s"
            )
        rules = body.get("rules") or members
        for rule in rules:
            if problem := self.rule_problem(rule, group, folder):
                return problem
        kept = {rule.get("uid") for rule in rules}
        for gone in [each["uid"] for each in members if each["uid"] not in kept]:
            del self.rules[gone]
        for rule in rules:
            stored = self.rules.get(rule.get("uid"), {}).get("provenance") or ""
            if stored not in ("", provenance) and not (stored == "api" and not provenance):
                return refused(500, f"cannot update with provided provenance '{provenance}', needs '{stored}'")
            self.store_rule(rule, group, folder, interval_s, provenance if body.get("rules") else stored)
        return 200, {**body, "title": group, "folderUid": folder}


def _duration(text: str) -> str:
    """300s as 5m, 90s as 1m30s, as Go's Prometheus durations are written."""
    seconds = sum(int(n) * dict(_UNITS)[unit] for n, unit in re.findall(r"(\d+)([wdhms])", text))
    parts = []
    for unit, length in _UNITS:
        if seconds >= length:
            parts.append(f"{seconds // length}{unit}")
            seconds %= length
    return "".join(parts) or "0s"


def _whole(value: Any) -> Any:
    """Numbers as Go writes them: 30.0 is 30."""
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
