"""`tailwatch doctor`: looks at everything a part needs, says how it is and what to do; never waits for long."""

import argparse
import json
import logging
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tailwatch.checkup import Check, Finding, findings_of
from tailwatch.errors import ConfigError
from tailwatch.terminal import paint

if TYPE_CHECKING:
    from tailwatch.settings import Loaded, Settings

_WITHIN_S = 10.0
_PARTS = frozenset({"agent", "collector", "api"})
_STYLES = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "dim"}
_STORING = {"collector", "api"}
_SENDING = {"agent", "collector"}


def run(args: argparse.Namespace) -> int:
    """Check, print, and return 1 when something has failed."""
    from tailwatch.settings_flags import loaded_from

    parts = frozenset(args.parts or _PARTS)
    try:
        loaded = loaded_from(args)
    except ConfigError as error:
        found = [*_wrong(error), Finding("everything else", "skip", "not checked: the configuration is wrong")]
    else:
        if not args.log_level:
            for handler in logging.getLogger().handlers:  # what the log would say, the findings say
                handler.setLevel(logging.CRITICAL + 1)
        found = findings_of(_checks(loaded, parts), _WITHIN_S)
    if args.output == "json":
        failed = any(finding.state == "fail" for finding in found)
        print(json.dumps({"ok": not failed, "checks": [_as_json(finding) for finding in found]}, indent=2))
    else:
        print(as_text(found))
    return 1 if any(finding.state == "fail" for finding in found) else 0


def as_text(found: list[Finding]) -> str:
    """A line for each finding, what to do below it, and a last line that counts."""
    width = max(len(finding.check) for finding in found)
    lines = []
    for finding in found:
        state = paint(finding.state.ljust(4), _STYLES[finding.state], sys.stdout)
        lines.append(f"{state}  {finding.check.ljust(width)}  {finding.detail}")
        if finding.todo and finding.state != "ok":
            lines.append(f"{' ' * (width + 8)}-> {finding.todo}")
    counts = {state: sum(finding.state == state for finding in found) for state in ("fail", "warn")}
    lines += ["", f"{counts['fail']} failed, {counts['warn']} to look at, of {len(found)} checks"]
    return "\n".join(lines)


def _checks(loaded: "Loaded", parts: frozenset[str]) -> dict[str, Check]:
    """What to look at for these parts, in the order in which it is shown."""
    from tailwatch.checks.disks import check_folders
    from tailwatch.checks.transports import check_transport

    settings = loaded.settings
    checks: dict[str, Check] = {"config": partial(_config, loaded)}
    if parts & _STORING:
        checks["database"] = partial(_database, settings, with_keys="api" in parts)
    if parts & _SENDING:
        checks["transport"] = partial(check_transport, settings.transport)
    checks["disk"] = partial(check_folders, _folders(settings, parts))
    if "agent" in parts:
        checks["spool"] = partial(_spool, settings)
    if "api" in parts:
        checks["api"] = partial(_api, settings)
    return checks


def _config(loaded: "Loaded") -> list[Finding]:
    from tailwatch.query_set import compiled

    try:
        queries = compiled(loaded)
    except ConfigError as error:
        return _wrong(error)
    metrics = sum(len(plan.metrics) for plan in queries.plans)
    text = f"{len(queries.plans)} queries, {metrics} metrics, {len(queries.tables)} tables"
    return [Finding("config", "ok", text)]


def _database(settings: "Settings", *, with_keys: bool) -> list[Finding]:
    from tailwatch.checks.databases import check_database

    return check_database(settings, with_keys=with_keys)


def _spool(settings: "Settings") -> list[Finding]:
    from tailwatch.checks.spools import check_spool

    return check_spool(settings.agent)


def _api(settings: "Settings") -> list[Finding]:
    from tailwatch.checks.served import check_api

    return check_api(settings.api)


def _folders(settings: "Settings", parts: frozenset[str]) -> dict[Path, str]:
    """Folder -> what it holds, each folder once."""
    from tailwatch.database_file import sqlite_file

    held = {Path(settings.data_dir): "data_dir"}
    if "agent" in parts:
        held.setdefault(Path(settings.agent.spool_path).parent, "the spool")
    if settings.transport.kind == "embedded" and parts & _SENDING:
        held.setdefault(Path(settings.transport.path).parent, "the log")
    database = sqlite_file(settings.database.url)
    if database is not None and parts & _STORING:
        held.setdefault(database.parent, "the database")
    return held


def _wrong(error: ConfigError) -> list[Finding]:
    return [Finding("config", "fail", problem, "correct it where it stands") for problem in error.problems]


def _as_json(finding: Finding) -> dict[str, str]:
    return {"check": finding.check, "state": finding.state, "detail": finding.detail, "todo": finding.todo}
