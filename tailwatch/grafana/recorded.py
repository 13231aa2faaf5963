"""What `tailwatch grafana apply` notes in what it writes, so that it knows its own work and edits by hand again.

Two hashes: of what was wanted, and of what Grafana made of it. The second one tells an edit from a default that Grafana
filled in. They stand where Grafana keeps them and shows them to nobody: in a data source's jsonData; in an annotation
of a rule, whose name makes notifications leave it out (two underscores on both sides); for dashboards in the message of
the saved version, which every save by hand replaces by its own. Secrets are hashed with the rest, and cannot be guessed
from 64 bits of it.

Forms: `…_form` of an object is what of it counts. What Grafana adds and what operators may change freely (a
rule's pause, which data source is the default, in which folder a dashboard lies) is left out.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Final

from tailwatch.grafana.alert_rules import OWNER, Json

ANNOTATION: Final = "__tailwatch__"
_SOURCE_OWNER: Final = "managedBy"
_SOURCE_NOTE: Final = "tailwatchApplied"
_MESSAGE: Final = "tailwatch grafana apply"
_SOURCE_FIELDS: Final = ("name", "type", "access", "url", "basicAuth", "jsonData")
_RULE_FIELDS: Final = ("uid", "folderUID", "ruleGroup", "title", "condition", "noDataState", "execErrState")
_FILLED_IN: Final = ("intervalMs", "maxDataPoints")
_DURATION: Final = re.compile(r"(\d+)(ms|[smhdwy])")
_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800, "y": 31_536_000}


@dataclass(frozen=True, slots=True)
class Note:
    """What an object says about its own writing.

    Attributes:
        uid: the object it was written for; a copy made by hand has another.
        wanted, stored: hash of what was wanted, and of what Grafana made of it.
        interval_s: of rules, how often their group was to be evaluated.
    """

    uid: str
    wanted: str
    stored: str
    interval_s: int = 0

    def text(self) -> str:
        """As it is written."""
        return f"{self.uid} {self.wanted} {self.stored} {self.interval_s}"


def hash_of(form: Any) -> str:
    """16 hex digits over the canonical JSON."""
    text = json.dumps(plain(form), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def plain(value: Any) -> Any:
    """The same JSON with whole numbers as such: Grafana answers 30 where 30.0 was sent."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def source_form(source: Json) -> Json:
    """What counts of a data source; of its secrets, which there are."""
    form = {field: source.get(field) for field in _SOURCE_FIELDS}
    form["basicAuth"] = bool(form["basicAuth"])
    hidden = (_SOURCE_OWNER, _SOURCE_NOTE)
    form["jsonData"] = {key: value for key, value in (form["jsonData"] or {}).items() if key not in hidden}
    secrets = source.get("secureJsonData") or {
        k for k, is_set in (source.get("secureJsonFields") or {}).items() if is_set
    }
    form["secrets"] = sorted(secrets)
    return form


def noted_source(source: Json, note: Note) -> Json:
    """The data source with the note in it."""
    return {**source, "jsonData": {**source["jsonData"], _SOURCE_OWNER: "tailwatch", _SOURCE_NOTE: note.text()}}


def source_note(source: Json) -> Note | None:
    """The note; None where it is not ours."""
    options = source.get("jsonData") or {}
    if options.get(_SOURCE_OWNER) != "tailwatch":
        return None
    return _note(options.get(_SOURCE_NOTE)) or Note("", "", "")


def rule_form(rule: Json) -> Json:
    """What counts of an alert rule, in whatever spelling."""
    form = {field: rule.get(field) for field in _RULE_FIELDS}
    form["for"] = _seconds(rule.get("for"))
    form["keep_firing_for"] = _seconds(rule.get("keep_firing_for"))
    form["labels"] = dict(rule.get("labels") or {})
    form["annotations"] = {k: v for k, v in (rule.get("annotations") or {}).items() if k != ANNOTATION}
    form["data"] = [_query_form(query) for query in rule.get("data") or []]
    if rule.get("notification_settings"):
        form["notification_settings"] = rule["notification_settings"]
    return form


def noted_rule(rule: Json, note: Note) -> Json:
    """The rule with the note in it."""
    return {**rule, "annotations": {**(rule.get("annotations") or {}), ANNOTATION: note.text()}}


def rule_note(rule: Json) -> Note | None:
    """The note; None where the rule has none of ours."""
    return _note((rule.get("annotations") or {}).get(ANNOTATION))


def is_ours(rule: Json) -> bool:
    """Whether a rule's label says that it is Tailwatch's."""
    return (rule.get("labels") or {}).get(OWNER[0]) == OWNER[1]


def dashboard_form(model: Json) -> Json:
    """What counts of a dashboard."""
    return {key: value for key, value in model.items() if key not in ("id", "version", "iteration")}


def dashboard_message(model: Json) -> str:
    """What the version is saved with."""
    return f"{_MESSAGE} {model['uid']} {hash_of(dashboard_form(model))}"


def was_applied(message: str | None) -> bool:
    """Whether a version was saved by us."""
    return message is not None and message.startswith(_MESSAGE)


def holds(there: Any, wanted: Any) -> bool:
    """Whether everything that is wanted is there; further keys of objects are left out of account."""
    if isinstance(wanted, dict):
        return isinstance(there, dict) and all(
            key in there and holds(there[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list | tuple):
        same = isinstance(there, list | tuple) and len(there) == len(wanted)
        return same and all(holds(one, other) for one, other in zip(there, wanted, strict=True))
    return bool(there == wanted)


def _note(text: object) -> Note | None:
    parts = str(text or "").split(" ")
    if len(parts) != 4 or not parts[3].isdigit():
        return None
    return Note(parts[0], parts[1], parts[2], int(parts[3]))


def _query_form(query: Json) -> Json:
    model = {key: value for key, value in (query.get("model") or {}).items() if key not in _FILLED_IN}
    times = query.get("relativeTimeRange") or {}
    return {
        "refId": query.get("refId"),
        "queryType": query.get("queryType") or "",
        "datasourceUid": query.get("datasourceUid"),
        "relativeTimeRange": {"from": times.get("from") or 0, "to": times.get("to") or 0},
        "model": model,
    }


def _seconds(duration: object) -> float | str:
    """5m and 300s are the same; what is no duration stays as it is."""
    text = str(duration or "0s")
    parts = _DURATION.findall(text)
    if "".join(number + unit for number, unit in parts) != text:
        return 0.0 if text == "0" else text
    return float(sum(int(number) * _SECONDS[unit] for number, unit in parts))
