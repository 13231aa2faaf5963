"""Runs an agent until it is told to stop, and has it take over a new configuration when asked to."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence

from agents.agent import Agent
from agents.config import AgentConfig
from agents.errors import AgentError
from agents.reload import NewSetup, Refusal
from pipeline.errors import PipelineError
from pipeline.plan import Plan
from pipeline.tables import StaticTable
from wire.transport import Publisher

log = logging.getLogger(__name__)


class Reloads:
    """Configurations that are read again when `asked` is set, in a thread of their own: the agent's loop goes on.

    Asked again meanwhile, it is read again afterwards, so that the newest one is the last to come.
    """

    def __init__(self, asked: threading.Event, load: Callable[[], NewSetup]) -> None:
        """`load` reads everything anew; whatever it raises refuses the configuration, with its text as the reason."""
        self._asked = asked
        self._load = load
        self._thread: threading.Thread | None = None
        self._news: NewSetup | Refusal | None = None

    def news(self) -> NewSetup | Refusal | None:
        """What was read, once; to be called every turn."""
        if self._thread is not None:
            if self._thread.is_alive():
                return None
            self._thread = None
            news, self._news = self._news, None
            return news
        if self._asked.is_set():
            self._asked.clear()
            self._thread = threading.Thread(target=self._read, name="reload", daemon=True)
            self._thread.start()
        return None

    def _read(self) -> None:
        try:
            self._news = self._load()
        except Exception as error:  # no mistake in a file, nor one of ours, may end a running agent
            log.debug("reading the configuration again failed", exc_info=True)
            self._news = Refusal(str(error) or type(error).__name__)


def run_agent(
    config: AgentConfig,
    plans: Sequence[Plan],
    tables: Mapping[str, StaticTable],
    publisher: Publisher,
    stop: threading.Event,
    reloads: Reloads | None = None,
) -> None:
    """Blocks until `stop` is set, then ends within 1.5 s with everything accepted on disk; the publisher stays open.

    Raises:
        AgentError: spool, source or metrics port cannot be opened.
        PipelineError: a plan does not fit its tables.
    """
    agent = Agent(config, plans, tables, publisher)
    try:
        while not stop.wait(agent.turn()):
            news = reloads.news() if reloads is not None else None
            if news is not None:
                _take_over(agent, news)
    finally:
        agent.close()


def _take_over(agent: Agent, news: NewSetup | Refusal) -> None:
    if isinstance(news, Refusal):
        agent.refuse(news.reason)
        return
    try:
        agent.reload(news)
    except (AgentError, PipelineError) as error:
        agent.refuse(str(error))
    else:
        news.applied()
