"""Carrying out differences in a running Grafana, in an order that leaves something sound behind wherever it ends.

Data source and folder come first, for the rest refers to them; then what is deleted, so that its titles are free; a new
group arrives whole, with its interval. In groups that exist rules are written one by one, and never by replacing the
group: what others put into it would go with it. In the end everything that was written is read back. Where Grafana made
something else of it, that is noted as its work, lest it be taken for an edit by hand next time.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from tailwatch.grafana.differences import Difference
from tailwatch.grafana.recorded import (
    dashboard_message,
    hash_of,
    noted_rule,
    noted_source,
    rule_form,
    rule_note,
    source_form,
    source_note,
)
from tailwatch.grafana.server import Server


def write(server: Server, found: Sequence[Difference], folder_uid: str, written: Callable[[Difference], None]) -> None:
    """Do what the differences say.

    Args:
        written: told of each one once Grafana has taken it.
    Raises:
        GrafanaError: Grafana refused one; those before it are done, and the next run goes on from there.
    """
    todo = [one for one in found if one.is_written]
    parts = {kind: [one for one in todo if one.kind == kind] for kind in ("data source", "folder", "dashboard")}
    for one in parts["data source"]:
        _write_source(server, one)
        written(one)
    for one in parts["folder"]:
        _write_folder(server, one)
        written(one)
    for one in parts["dashboard"]:
        assert one.body is not None
        server.save_dashboard(one.body, one.group or folder_uid, dashboard_message(one.body))
        written(one)
    _write_rules(server, found, folder_uid, written)
    _note_what_grafana_made(server, todo)


def _write_source(server: Server, one: Difference) -> None:
    assert one.body is not None
    if one.verdict == "create":
        made = server.create_datasource(one.body)
    else:
        made = server.update_datasource(one.uid, one.body)
    note, stored = source_note(one.body), hash_of(source_form(made))
    if note is not None and note.stored != stored and "jsonData" in made:
        body = {**noted_source(one.body, replace(note, stored=stored)), "version": made.get("version")}
        server.update_datasource(one.uid, body)


def _write_folder(server: Server, one: Difference) -> None:
    assert one.body is not None
    if one.verdict == "create":
        server.create_folder(one.uid, one.title)
    else:
        server.rename_folder(one.uid, one.title, int(one.body.get("version") or 0))


def _write_rules(
    server: Server, found: Sequence[Difference], folder_uid: str, written: Callable[[Difference], None]
) -> None:
    rules = [one for one in found if one.kind == "alert rule" and one.is_written]
    groups = {one.uid: one for one in found if one.kind == "rule group"}
    for one in rules:
        if one.verdict == "delete":
            server.delete_rule(one.uid, one.title)
            written(one)
    for name, group in groups.items():
        if group.verdict == "create":
            assert group.body is not None
            server.write_group(folder_uid, name, group.body["interval_s"], group.body["rules"])
            written(group)
        elif group.verdict == "change":
            assert group.body is not None
            server.write_group(folder_uid, name, group.body["interval_s"])
            written(group)
    touched = {one.group for one in rules if one.verdict != "delete" and one.body is not None}
    for one in rules:
        if one.verdict == "delete" or one.body is None:
            continue
        if one.verdict == "create":
            server.create_rule(one.body)
        else:
            server.update_rule(one.body, locked=one.locked)
        written(one)
    for group in (groups[name] for name in sorted(touched) if name in groups):
        # A rule that comes from another group brings that one's interval.
        wanted_s = (group.after or {})["interval_s"]
        if group.verdict != "edited" and server.interval_s(folder_uid, group.uid) != wanted_s:
            server.write_group(folder_uid, group.uid, wanted_s)


def _note_what_grafana_made(server: Server, todo: Sequence[Difference]) -> None:
    """Read the rules that were written back, and put right what is noted of those that look different now."""
    ours = {one.uid: one for one in todo if one.kind == "alert rule" and one.verdict != "delete"}
    if not ours:
        return
    for rule in server.rules():
        one, note = ours.get(str(rule.get("uid"))), rule_note(rule)
        if one is None or note is None:
            continue
        stored = hash_of(rule_form(rule))
        if stored != note.stored:
            locked = bool(rule.get("provenance"))
            server.update_rule(noted_rule(rule, replace(note, stored=stored)), locked=locked)
