"""Asks the API every few seconds what to run, in a thread of its own, and keeps the last good answer on disk.

Nothing here can stop the agent: whatever fails is counted, told once, shown on /metrics and /healthz, and tried again.
Chains are built here too, so that the agent's loop only swaps them.
"""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

from agents.config import AgentConfig
from agents.errors import PlanUnavailableError
from agents.own_metrics import Sample
from agents.plan_client import NOT_A_PLAN, UNREACHABLE, PlanClient
from agents.plan_folder import KeptPlan, PlanFolder
from agents.planned import Choice, OwnQueries, choose
from pipeline.agent_plan import AgentPlan, PlannedTable, decode_agent_plan
from pipeline.chain import Chain
from pipeline.errors import PlanError
from pipeline.schema import Schema
from pipeline.tables import StaticTable, read_table

log = logging.getLogger(__name__)

# The very first start waits so long for an answer, lest a file be read before it is known who asks for its records.
FIRST_ANSWER_S: Final = 1.0
# However long it fails: a change must reach all agents within three intervals.
_LONGEST_INTERVALS: Final = 2.0
_END_S: Final = 0.2


class Planner:
    """One agent's plan: `start`, then `news` from the agent's loop, `close` at the end."""

    def __init__(
        self, config: AgentConfig, own: OwnQueries, running: Mapping[str, Chain] = MappingProxyType({})
    ) -> None:
        """Nothing is read or asked yet; `running` are chains by version, which need not be built again."""
        self.polls = 0
        self.failures: Counter[str] = Counter()
        self.choice = Choice()
        self._config = config
        self._own = own
        self._client = PlanClient(config)
        self._folder = PlanFolder(config.plan_folder)
        self._path = f"/api/v1/agents/{quote(config.agent_id, safe='')}/plan"
        self._kept = KeptPlan(b"", "")
        self._chains: dict[str, Chain] = dict(running)
        self._known: set[str] = set()
        self._news: Choice | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._ask_at_once = False
        self._first_answer = threading.Event()
        self._failed_in_a_row = 0
        self._told = ""
        self._trouble = ""
        self._good_at_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="planner", daemon=True)

    @property
    def streams(self) -> Mapping[str, Schema]:
        """What the agent's sources feed."""
        return self._own.streams

    @property
    def own_versions(self) -> set[str]:
        """The queries of the agent's own configuration."""
        return {chain.plan.version for chain in self._own.chains}

    @property
    def age_s(self) -> float:
        """Seconds since the API last answered, or since the start."""
        return time.monotonic() - self._good_at_s

    @property
    def notes(self) -> str:
        """What is wrong, as lines for people; empty when nothing is."""
        lines = [f"plan: refused {name}: {reason}" for name, reason in self.choice.refused.items()]
        if self._failed_in_a_row:
            lines.append(
                f"plan: none from the API for {self.age_s:.0f} s, going on with {self._instead}: {self._trouble}"
            )
        return "".join(f"{line.splitlines()[0]}\n" for line in lines)

    @property
    def _instead(self) -> str:
        return "the last plan" if self._kept.body else "the queries of the file; no plan has come yet"

    def counters(self) -> dict[str, int]:
        """What the heartbeat reports."""
        return {
            "plan_failures_total": self.failures.total(),
            "plan_queries_refused": len(self.choice.refused),
            "plan_age_s": int(self.age_s),
        }

    def samples(self, running: int) -> list[Sample]:
        """Own metrics; `running` versions are run now."""
        name = "tailwatch_agents_plan_"
        states = {"running": running, "refused": len(self.choice.refused), "no_source": self.choice.idle}
        return [
            Sample(name + "polls_total", self.polls),
            Sample(name + "age_seconds", self.age_s),
            *(Sample(name + "failures_total", n, (("reason", reason),)) for reason, n in list(self.failures.items())),
            *(Sample(name + "versions", n, (("state", state),)) for state, n in states.items()),
        ]

    def start(self) -> Choice:
        """What to run first: the kept plan, or on a very first start the API's answer if it comes at once."""
        kept = self._folder.load()
        if kept is not None:
            try:
                document = decode_agent_plan(kept.body)
                self._kept = kept
                self._choose(document, kept.body, kept.etag)
            except PlanError as error:
                self._fail(PlanUnavailableError(f"the kept plan: {error}", NOT_A_PLAN))
                kept = None
        if kept is None:
            self._choose(None, b"", "")
            self._ask_at_once = True
        self._thread.start()
        if kept is None:
            self._first_answer.wait(FIRST_ANSWER_S)
        with self._lock:
            self._news = None
            return self.choice

    def news(self) -> Choice | None:
        """What to run from now on, if that has changed."""
        with self._lock:
            news, self._news = self._news, None
        return news

    def close(self) -> None:
        """Ask no more; a question under way is left alone."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_END_S)

    def _run(self) -> None:
        jitter = random.Random()  # agents of one fleet must not ask all at once
        if self._ask_at_once:
            self._try_to_poll()
            self._first_answer.set()
        while True:
            wait_s = self._config.plan_poll_s * jitter.uniform(0.8, 1.0)
            wait_s *= min(1 + self._failed_in_a_row, _LONGEST_INTERVALS)
            if self._stop.wait(wait_s):
                return
            self._try_to_poll()

    def _try_to_poll(self) -> None:
        try:
            self._poll()
        except Exception:  # a mistake of ours must not end the asking, nor the agent
            self.failures["internal"] += 1
            log.exception("asking for the plan failed")

    def _poll(self) -> None:
        self.polls += 1
        # With a table missing, the same answer may be of more use now.
        etag = "" if self.choice.lacking else self._kept.etag
        try:
            reply = self._client.get(self._path, etag)
            if self._stop.is_set():  # another planner may have taken over, and keeps its own plan in the folder
                return
            if reply is not None and (reply.body != self._kept.body or self.choice.lacking):
                self._take(reply.body, reply.etag)
        except PlanUnavailableError as error:
            if not self._stop.is_set():  # nor is it news that nobody listens any more
                self._fail(error)
            return
        if self._told:
            log.info("plan: the API answers again")
        self._failed_in_a_row, self._told = 0, ""
        self._good_at_s = time.monotonic()

    def _take(self, body: bytes, etag: str) -> None:
        try:
            document = decode_agent_plan(body)
        except PlanError as error:
            raise PlanUnavailableError(str(error), NOT_A_PLAN) from error
        self._choose(document, body, etag)
        self._folder.forget_tables_but((one.name, one.content_hash) for q in document.queries for one in q.tables)

    def _choose(self, document: AgentPlan | None, body: bytes, etag: str) -> None:
        choice = choose(document, self._own, self._chains, self._table)
        self._tell_what_is_not_known_any_more(document)
        for name, reason in choice.refused.items():
            if self.choice.refused.get(name) != reason:
                log.warning("plan refused, the other queries go on query=%s reason=%s", name, reason)
        self._chains = {one.chain.plan.version: one.chain for one in choice.wanted}
        with self._lock:
            before, self._kept = self._kept, KeptPlan(body, etag)
            if body and before != self._kept:
                self._folder.keep(self._kept)
            self.choice = self._news = choice

    def _tell_what_is_not_known_any_more(self, document: AgentPlan | None) -> None:
        """An API that has forgotten a query it never retired has another database than before, or an emptied one."""
        known = set() if document is None else {*document.retired, *(one.query for one in document.queries)}
        forgotten = sorted(self._known - known)
        if forgotten:
            log.warning(
                "the API does not know queries any more that it had and never retired, they are run no longer unless "
                "they are in the agent's file; has its database been changed? queries=%s",
                ",".join(forgotten),
            )
        self._known = known

    def _table(self, table: PlannedTable) -> StaticTable:
        found = self._folder.table(table.name, table.content_hash)
        if found is not None:
            return found
        if table.url is None or not table.url.startswith("/"):
            raise PlanError(f"table {table.name!r} with content {table.content_hash} is neither here nor in the API")
        reply = self._client.get(table.url)
        if reply is None:
            raise PlanUnavailableError(f"{table.url} gives no rows", UNREACHABLE)
        found = read_table(table.name, reply.body, table.content_hash)
        self._folder.keep_table(table.name, table.content_hash, reply.body)
        return found

    def _fail(self, error: PlanUnavailableError) -> None:
        self._trouble = str(error)
        self._failed_in_a_row += 1
        # Nobody listening, once, is an API that is only starting; anything else, or that again, is worth a look.
        starting = isinstance(error.__cause__, ConnectionRefusedError) and self._failed_in_a_row == 1
        if not starting and self._told != error.reason:  # another reason is news: first no API, then a wrong key
            log.warning("plan not available, going on with %s error=%s", self._instead, error)
            self._told = error.reason
        self.failures[error.reason] += 1  # last: whoever sees the count finds the reason told
