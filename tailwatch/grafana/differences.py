"""What is wanted in a Grafana beside what is there: for every object, what would have to happen to it.

Nothing is written here. Ours is what says so (recorded.py). What is not ours is never changed: where it stands in our
way, that is a clash, and then nothing at all is written. What is ours and was edited by hand since is shown, and left
alone unless it is forced; so is what a file of Grafana's provisioning made, for that can only be changed in the file.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tailwatch.grafana.alert_rules import Json
from tailwatch.grafana.dashboards import OWNER_TAG
from tailwatch.grafana.recorded import (
    Note,
    dashboard_form,
    dashboard_message,
    hash_of,
    holds,
    is_ours,
    noted_rule,
    noted_source,
    plain,
    rule_form,
    rule_note,
    source_form,
    source_note,
    was_applied,
)
from tailwatch.grafana.server import Server
from tailwatch.grafana.wanted import Wanted, WantedGroup

Kind = Literal["data source", "folder", "dashboard", "rule group", "alert rule"]
#: edited, locked and clash are not written: by hand since, by a file, in our way.
Verdict = Literal["same", "create", "change", "delete", "edited", "locked", "clash"]
_WRITTEN: tuple[Verdict, ...] = ("create", "change", "delete")


@dataclass(frozen=True, slots=True)
class Difference:
    """One object and what has to happen to it.

    Attributes:
        uid: of a rule group, its name.
        before, after: what counts of it, there and as wanted; None for what is not there or shall not be.
        note: why it is so and what to do, where that is not plain.
        body: what to send; None for rules that come with their group.
        group: the rule's group.
        locked: a rule made over the API by somebody who wanted it to be read-only in Grafana's pages.
    """

    kind: Kind
    uid: str
    title: str
    verdict: Verdict
    before: Json | None = None
    after: Json | None = None
    note: str = ""
    body: Json | None = None
    group: str = ""
    locked: bool = False

    @property
    def is_written(self) -> bool:
        """Whether applying changes it."""
        return self.verdict in _WRITTEN


def differences(server: Server, wanted: Wanted, authorization: str, *, force: bool) -> list[Difference]:
    """Every wanted object, and every rule of ours that is wanted no more, in the order of writing.

    Args:
        authorization: header for the data source, "" for none.
        force: whether edits by hand give way.
    Raises:
        GrafanaError: what is there cannot be read.
    """
    found = [
        _source(server, wanted.datasource, authorization),
        _folder(server, wanted.folder),
        *(_dashboard(server, model) for model in wanted.dashboards),
        *_rules(server, wanted),
    ]
    return [_forced(one) if force and one.verdict == "edited" else one for one in found]


def _source(server: Server, plain_source: Json, authorization: str) -> Difference:
    wanted = dict(plain_source)
    if authorization:
        wanted["secureJsonData"] = {"httpHeaderValue1": authorization}
    uid, name = wanted["uid"], wanted["name"]
    form = plain(source_form(wanted))
    note = Note(uid, hash_of([form, wanted.get("secureJsonData")]), hash_of(form))
    there = server.datasource(uid)
    if there is None:
        other = next((each for each in server.datasources() if each.get("name") == name), None)
        if other is not None:
            why = f"a data source of this name has the uid {other.get('uid')}; rename it, or delete it"
            return Difference("data source", uid, name, "clash", note=why)
        return Difference("data source", uid, name, "create", None, form, body=noted_source(wanted, note))
    body = {**noted_source(wanted, note), "isDefault": bool(there.get("isDefault")), "version": there.get("version")}
    change = Difference("data source", uid, name, "change", plain(source_form(there)), form, body=body)
    return _judged_source(change, there, note)


def _judged_source(change: Difference, there: Json, note: Note) -> Difference:
    """`change`, or why there is none."""
    known, same = source_note(there), holds(change.before, change.after)
    if there.get("readOnly"):
        return _locked(change, same=same)
    if known is None and there.get("type") != (change.after or {})["type"]:
        why = f"a data source of type {there.get('type')} has this uid; delete it, our dashboards need the uid"
        return replace(change, verdict="clash", note=why)
    if known is None:
        return _locked(change, same=same, why="made by hand; delete it to have it made and kept up to date")
    outdated = note.wanted != known.wanted
    if change.before == change.after and outdated:
        return replace(change, note="the API key is another one")
    return _judged(change, edited=hash_of(change.before) != known.stored, outdated=outdated)


def _folder(server: Server, wanted: Json) -> Difference:
    uid, title = wanted["uid"], wanted["title"]
    there = server.folder(uid)
    if there is None:
        other = next((each for each in server.folders() if each.get("title") == title), None)
        if other is not None:
            why = f"a folder of this name has the uid {other.get('uid')}; rename that one"
            return Difference("folder", uid, title, "clash", note=why)
        return Difference("folder", uid, title, "create", None, {"title": title}, body=wanted)
    body = {**wanted, "version": there.get("version")}
    change = Difference("folder", uid, title, "change", {"title": there.get("title")}, {"title": title}, body=body)
    return _judged(change, edited=there.get("title") != title, outdated=False)


def _dashboard(server: Server, wanted: Json) -> Difference:
    uid, title, form = wanted["uid"], wanted["title"], plain(dashboard_form(wanted))
    there = server.dashboard(uid)
    if there is None:
        return Difference("dashboard", uid, title, "create", None, form, body={**wanted, "id": None})
    model, meta = there.get("dashboard") or {}, there.get("meta") or {}
    seen = plain(dashboard_form(model))
    body = {**wanted, "id": model.get("id"), "version": model.get("version")}
    change = Difference(
        "dashboard", uid, title, "change", seen, form, body=body, group=str(meta.get("folderUid") or "")
    )
    if meta.get("provisioned"):
        return _locked(change, same=holds(seen, form))
    if OWNER_TAG not in (model.get("tags") or []):
        why = f"{model.get('title')!r} has this uid and lacks the tag {OWNER_TAG}: not ours; give it another uid"
        return replace(change, verdict="clash", note=why)
    message = server.last_message(uid)
    if was_applied(message):
        return _judged(change, edited=False, outdated=message != dashboard_message(wanted))
    return replace(change, verdict="same") if holds(seen, form) else _edited(change)


def _rules(server: Server, wanted: Wanted) -> Iterable[Difference]:
    folder = wanted.folder["uid"]
    there = {str(rule.get("uid")): rule for rule in server.rules()}
    inside = [rule for rule in there.values() if rule.get("folderUID") == folder]
    kept = {rule["uid"] for group in wanted.rule_groups for rule in group.rules}
    removals = list(_removals(rule for rule in inside if rule.get("uid") not in kept))
    yield from removals
    gone = {one.uid for one in removals if one.verdict == "delete"}
    for group in wanted.rule_groups:
        members = [rule for rule in inside if rule.get("ruleGroup") == group.name and rule.get("uid") not in gone]
        single = [_rule(there, inside, rule, group, server.org_id) for rule in group.rules]
        if members:
            yield _interval(server, folder, group, members)
        elif whole := [one.body for one in single if one.is_written]:
            # All at once, so that nobody ever sees a part of it, or rules that are evaluated at another pace.
            body = {"interval_s": group.interval_s, "rules": whole}
            form = {"interval_s": group.interval_s, "rules": len(whole)}
            yield Difference("rule group", group.name, group.name, "create", None, form, body=body)
            single = [replace(one, body=None) if one.is_written else one for one in single]
        yield from single


def _removals(others: Iterable[Json]) -> Iterable[Difference]:
    """What to do about rules in our folder that are wanted no more; copies and other people's rules are passed over."""
    for rule in others:
        known = rule_note(rule)
        if not is_ours(rule) or known is None or known.uid != rule.get("uid"):
            continue
        uid, title, form = str(rule["uid"]), str(rule.get("title")), plain(rule_form(rule))
        change = Difference("alert rule", uid, title, "delete", form, None, body=rule, group=str(rule.get("ruleGroup")))
        if rule.get("provenance") not in (None, "", "api"):
            yield _locked(change, same=False)
        elif hash_of(form) != known.stored:
            yield _edited(change, "edited by hand since, and wanted no more: --force deletes it")
        else:
            yield replace(change, note="no longer among the rules of this Tailwatch")


def _rule(
    there: Mapping[str, Json], inside: Sequence[Json], wanted: Json, group: WantedGroup, org_id: int
) -> Difference:
    uid, title, form = wanted["uid"], wanted["title"], plain(rule_form(wanted))
    note = Note(uid, hash_of(form), hash_of(form), group.interval_s)
    body = noted_rule({**wanted, "orgID": org_id or wanted.get("orgID")}, note)
    rule = there.get(uid)
    clash = Difference("alert rule", uid, title, "clash", group=group.name)
    namesake = next((one for one in inside if one.get("title") == title and one.get("uid") != uid), None)
    if namesake is not None and not _is_removed(namesake):
        why = f"another rule in the folder has this title, uid {namesake.get('uid')}; rename it, or move it elsewhere"
        return replace(clash, note=why)
    if rule is None:
        return Difference("alert rule", uid, title, "create", None, form, body=body, group=group.name)
    if not is_ours(rule):
        why = f"a rule without the label managed_by=tailwatch has the uid {uid}: not ours; give it another uid"
        return replace(clash, note=why)
    seen, known, origin = plain(rule_form(rule)), rule_note(rule), rule.get("provenance") or ""
    body["isPaused"] = bool(rule.get("isPaused"))
    paused = "paused; it stays so" if body["isPaused"] else ""
    change = Difference(
        "alert rule", uid, title, "change", seen, form, paused, body, group=group.name, locked=origin == "api"
    )
    if origin not in ("", "api"):
        return _locked(change, same=holds(seen, form))
    if known is None or known.uid != uid:
        return replace(change, verdict="same") if holds(seen, form) else _edited(change)
    return _judged(change, edited=hash_of(seen) != known.stored, outdated=known.wanted != note.wanted)


def _interval(server: Server, folder: str, group: WantedGroup, members: Sequence[Json]) -> Difference:
    now = server.interval_s(folder, group.name)
    noted = {note.interval_s for note in map(rule_note, members) if note is not None}
    before, after = {"interval_s": now}, {"interval_s": group.interval_s}
    change = Difference("rule group", group.name, group.name, "change", before, after, body=after)
    if now == group.interval_s:
        return replace(change, verdict="same")
    return change if now in noted else _edited(change)


def _is_removed(rule: Json) -> bool:
    """Whether the rule is ours, no copy and not edited: wanted no more, it is deleted before others are written."""
    known = rule_note(rule)
    return (
        is_ours(rule)
        and known is not None
        and known.uid == rule.get("uid")
        and hash_of(rule_form(rule)) == known.stored
    )


def _judged(change: Difference, *, edited: bool, outdated: bool) -> Difference:
    if change.before == change.after or not (edited or outdated):
        return replace(change, verdict="same")
    return _edited(change) if edited else change


def _edited(change: Difference, note: str = "edited by hand since: --force overwrites it") -> Difference:
    return replace(change, verdict="edited", note=note)


def _forced(change: Difference) -> Difference:
    verdict: Verdict = "delete" if change.after is None else "change"
    return replace(change, verdict=verdict, note="was edited by hand; that gives way to --force")


def _locked(change: Difference, *, same: bool, why: str = "") -> Difference:
    if same:
        return replace(change, verdict="same")
    why = (
        why
        or "comes from a file of Grafana's provisioning; change it there (tailwatch grafana export), or remove it there"
    )
    return replace(change, verdict="locked", note=why)
