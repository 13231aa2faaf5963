"""Check of the agent's spool: what waits there, for how long, and whether there is room for more."""

import time
from pathlib import Path

from agents.config import AgentConfig
from agents.errors import SpoolError
from agents.spool_state import spool_state
from tailwatch.checkup import Finding

_OLD_S = 60.0
_FULL = 0.8


def check_spool(config: AgentConfig) -> list[Finding]:
    """One finding; an agent that never ran here is no fault."""
    path = Path(config.spool_path)
    try:
        state = spool_state(path)
    except SpoolError as error:
        sentence, _, todo = str(error).partition("; ")
        return [Finding("spool", "fail", sentence, todo)]
    if state is None:
        return [Finding("spool", "skip", f"not checked: there is no spool at {path} yet; the agent's start makes it")]
    now_ns = time.time_ns()
    beat = "never" if state.heartbeat_ns is None else f"{_age_s(now_ns, state.heartbeat_ns):.0f} s ago"
    text = f"{path}: {state.frames} frames wait, {state.bytes / 2**20:.1f} of at most "
    text += f"{config.spool_max_bytes / 2**20:.0f} MiB; last heartbeat {beat}"
    if state.bytes > _FULL * config.spool_max_bytes:
        todo = "see why the transport does not take them; beyond the limit rows of live sources are dropped, counted"
        return [Finding("spool", "warn", text, todo)]
    if state.oldest_ns is not None and (waits_s := _age_s(now_ns, state.oldest_ns)) > _OLD_S:
        text += f", the oldest for {waits_s:.0f} s"
        return [
            Finding("spool", "warn", text, "start the agent if it does not run; else see its log for the transport")
        ]
    return [Finding("spool", "ok", text)]


def _age_s(now_ns: int, then_ns: int) -> float:
    return max(0, now_ns - then_ns) / 1e9
