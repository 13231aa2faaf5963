"""What an agent would run now: asked of the API once, with nothing kept; for a dry run.

Without an answer it is what an agent would begin with: the queries of its file.
"""

from typing import TYPE_CHECKING
from urllib.parse import quote

from agents.config import AgentConfig
from agents.errors import PlanUnavailableError
from agents.planned import Choice, OwnQueries, choose
from pipeline.agent_plan import AgentPlan, PlannedTable, decode_agent_plan
from pipeline.errors import PlanError
from pipeline.tables import StaticTable, read_table

if TYPE_CHECKING:
    from agents.plan_client import PlanClient


def planned_once(config: AgentConfig, own: OwnQueries, *, asks_api: bool = True) -> tuple[Choice, list[str]]:
    """What to run, and what people should know about it."""
    if not config.plan_url or not asks_api:
        remarks = [f"the API at {config.plan_url} is not asked"] if config.plan_url else []
        choice = choose(None, own, {}, _no_table)
        return choice, remarks + _unfed(choice)
    from agents.plan_client import PlanClient  # noqa: PLC0415  # an HTTP client, only where one is needed

    client = PlanClient(config)

    def table(planned: PlannedTable) -> StaticTable:
        if planned.url is None or not planned.url.startswith("/"):
            raise PlanError(f"table {planned.name!r} with content {planned.content_hash} is not in the API")
        return read_table(planned.name, _get(client, planned.url), planned.content_hash)

    try:
        document = _document(client, config)
    except (PlanUnavailableError, PlanError) as error:
        remark = f"the API's plan is not known, so only the queries of the file are looked at: {error}"
        return choose(None, own, {}, _no_table), [remark]
    choice = choose(document, own, {}, table)
    refused = [f"the API's query {name} cannot run here: {reason}" for name, reason in choice.refused.items()]
    return choice, refused + _unfed(choice)


def _unfed(choice: Choice) -> list[str]:
    names = ", ".join(choice.unfed)
    return [f"no source here feeds the streams of these queries, so they do not run: {names}"] if names else []


def _document(client: "PlanClient", config: AgentConfig) -> AgentPlan:
    return decode_agent_plan(_get(client, f"/api/v1/agents/{quote(config.agent_id, safe='')}/plan"))


def _get(client: "PlanClient", path: str) -> bytes:
    reply = client.get(path)
    assert reply is not None, "nothing is known that could still be so"
    return bytes(reply.body)


def _no_table(planned: PlannedTable) -> StaticTable:
    raise PlanError(f"table {planned.name!r} is not asked for")
