"""What `tailwatch tail services` prints of the API's answers."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from analytics.tail.policy_documents import policy_from
from tailwatch.tail_whatif_report import forecast_text, shown_policy
from tailwatch.terminal import harmless, table

#: Of a time in RFC 3339; what stands behind says nothing to a person.
_SECONDS: Final = len("2026-11-22T07:00:10")

Row = Mapping[str, Any]


def services_text(services: Sequence[Row]) -> str:
    """One line a service."""
    if not services:
        return "no services yet; docs/how-to/tail-latency.md says how one sends its requests"
    rows = [
        [
            one["service"] + (" (synthetic)" if one["synthetic"] else ""),
            _promised(one),
            "-" if one["latest"] is None else one["latest"][:_SECONDS] + "Z",
        ]
        for one in services
    ]
    return table(["service", "promise", "newest request"], rows, [False, False, False])


def objective_text(found: Row) -> str:
    """All settings; what nobody said has a dash."""
    told = {
        "promise": f"{_promised(found)}, over {found['window_days']} days",
        "fan-out": str(found["fan_out"]),
        "hardware threads": _or_dash(found["threads"]),
        "workers": _or_dash(found["workers"]),
        "most threads of a request": _or_dash(found["max_degree"]),
        "classes of work": _edges(found["class_edges_ms"]),
        "policy now": "-" if found["policy"] is None else shown_policy(policy_from(found["policy"])),
        "explored": f"{found['explore_share']:.1%} of the requests",
    }
    return table([harmless(found["service"]), ""], list(told.items()), [False, False])


def alerts_text(alerts: Sequence[Row], *, quiet_too: bool) -> str:
    """One line an alert, and what it says."""
    if not alerts:
        return "no alerts yet" if quiet_too else "nothing fires"
    rows = [
        [
            one["service"],
            one["name"],
            one["severity"] if one["firing"] else "quiet",
            one["since"][:_SECONDS] + "Z",
            one["cause"] or "-",
            one["text"],
        ]
        for one in alerts
    ]
    return table(["service", "alert", "", "since", "cause", "what"], rows, [False] * 6)


def alert_history_text(changes: Sequence[Row]) -> str:
    """One line a change, the newest first."""
    if not changes:
        return "no alert began, ended or changed in this time"
    rows = [
        [
            one["changed"][:_SECONDS] + "Z",
            one["name"],
            one["severity"] if one["firing"] else "ended",
            one["cause"] or "-",
            one["text"],
        ]
        for one in changes
    ]
    return table(["changed", "alert", "", "cause", "what"], rows, [False] * 5)


def runs_text(runs: Sequence[Row]) -> str:
    """One line a run, the newest first."""
    if not runs:
        return "nothing was asked yet"
    rows = [
        [
            one["id"],
            one["kind"].replace("_", "-"),
            f"{one['state']}, {one['progress']:.0%}" if one["state"] == "running" else one["state"],
            one["asked"][:_SECONDS] + "Z",
            one["asked_by"],
            one["progress_text"] or one["error"] or "-",
        ]
        for one in runs
    ]
    return table(["run", "question", "state", "asked", "by", "what"], rows, [False] * 6)


def run_text(row: Row) -> str:
    """A run that ended with its answer, or why there is none; one that goes on with how to come back to it."""
    if row["state"] in ("waiting", "running"):
        return f"run {row['id']} is {row['state']}; GET {row['href']} says how far it is"
    notes = [f"note: {note}" for note in row.get("notes", [])]
    return "\n".join([*notes, *_answered(row)])


def tables_text(tables: Sequence[Row]) -> str:
    """The newest first."""
    if not tables:
        return "no target tables yet; `tailwatch tail services search SERVICE` looks for one"
    rows = [
        [
            str(one["version"]),
            one["state"].replace("_", " "),
            one["created"][:_SECONDS] + "Z",
            _gain(one["evidence"]),
            shown_policy(policy_from(one["policy"])),
            one["note"] or "-",
        ]
        for one in tables
    ]
    head = ["version", "state", "made", "p99 shorter by", "policy", "note"]
    return table(head, rows, [True, False, False, True, False, False])


def _answered(row: Row) -> list[str]:
    answer = row["answer"]
    forecast = answer and (answer.get("forecast") if row["kind"] == "search" else answer)
    if forecast and "gates" in forecast:
        lines = [forecast_text(forecast, _asked_about(row), row["request"].get("fan_out") or 1)]
        if answer.get("table_version"):
            lines.append(
                f"kept as table {answer['table_version']}, a draft: `tailwatch tail services activate` uses it"
            )
        return lines
    if row["state"] != "done":
        return [f"{row['state']}: {harmless(row['error'] or 'no reason was given')}"]
    return [f"speed-ups {answer['profile_version']} are learned from {answer['requests']:,} requests"]


def _asked_about(row: Row) -> Any:
    if row["kind"] == "search":
        found = row["answer"].get("table")
        return policy_from(found) if found and "kind" in found else None
    return policy_from(row["request"]["candidate"])


def _promised(one: Row) -> str:
    return "none" if one["target_ms"] is None else f"p{one['percentile'] * 100:g} within {one['target_ms']:g} ms"


def _gain(evidence: Row | None) -> str:
    forecast = (evidence or {}).get("forecast", evidence) or {}
    gain = forecast.get("gain_p99_pct")
    return "-" if not isinstance(gain, Mapping) else f"{gain['value']:.1f} %"


def _edges(edges: Sequence[float] | None) -> str:
    return "learned" if edges is None else ", ".join(f"from {edge:g} ms" for edge in edges)


def _or_dash(value: int | None) -> str:
    return "-" if value is None else str(value)
