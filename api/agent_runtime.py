"""What an agent's runtime decided, as lists show it: its newest status, and how old that is.

An agent has none whose newest start has sent no status that could be used: an older release, or one that has only just
begun. What an earlier start said is not shown, for it tells nothing about this one; but for where the agent stands.
"""

import logging
from dataclasses import dataclass

import msgspec

from api.times import rfc_3339
from store.agent_status import StatusRow
from store.fleet import AgentRow
from wire.errors import CorruptFrameError
from wire.status import Labels, Status, status_of_text

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shown:
    """The members of RuntimeEntry, None where nothing is known of the newest start; those of LabelsEntry; and where
    other agents may probe this one, None where it does not say."""

    runtime: dict[str, object] | None
    labels: dict[str, str]
    probes: str | None = None


def shown_status(agent: AgentRow, row: StatusRow | None, now_ns: int) -> Shown:
    """What lists show of an agent's newest status."""
    status = None if row is None or agent.retired else _read(agent, row)
    if row is None or status is None:
        return Shown(None, msgspec.to_builtins(Labels()))
    labels = Labels() if status.labels is msgspec.UNSET else status.labels
    current = row.incarnation == agent.incarnation
    return Shown(
        _shown(status, row.sent_ns, now_ns) if current else None,
        msgspec.to_builtins(labels),
        None if status.probes is msgspec.UNSET else status.probes,
    )


def _read(agent: AgentRow, row: StatusRow) -> Status | None:
    try:
        return status_of_text(row.body)
    except CorruptFrameError as error:  # written by another release
        log.warning("status cannot be read agent=%s error=%s", agent.agent, error)
        return None


def _shown(status: Status, sent_ns: int, now_ns: int) -> dict[str, object]:
    return {
        "policy": status.policy,
        "state": status.state,
        "epochs_in_state": status.epochs_in_state,
        "epoch_s": status.epoch_s,
        "budget_cores": status.budget_cores,
        "budget_from": status.budget_from,
        "cpu_cores": status.cpu_cores,
        "breaker": status.breaker,
        "sampled": status.sampled,
        "sent": rfc_3339(sent_ns),
        "sent_ns": sent_ns,
        "age_s": round(max(0, now_ns - sent_ns) / 1e9, 3),
        "queries": msgspec.to_builtins(status.queries),
        "queries_left_out": status.left_out,
    }
