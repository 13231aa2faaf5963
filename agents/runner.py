"""Runs an agent until it is told to stop."""

import threading
from collections.abc import Mapping, Sequence

from agents.agent import Agent
from agents.config import AgentConfig
from pipeline.plan import Plan
from pipeline.tables import StaticTable
from wire.transport import Publisher


def run_agent(
    config: AgentConfig,
    plans: Sequence[Plan],
    tables: Mapping[str, StaticTable],
    publisher: Publisher,
    stop: threading.Event,
) -> None:
    """Blocks until `stop` is set, then ends within 1.5 s with everything accepted on disk; the publisher stays open.

    Raises:
        AgentError: spool, source or metrics port cannot be opened.
        PipelineError: a plan does not fit its tables.
    """
    agent = Agent(config, plans, tables, publisher)
    try:
        while not stop.wait(agent.turn()):
            pass
    finally:
        agent.close()
