"""What an agent is told to run: each version that is valid somewhere near, encoded, with its tables by content.

A JSON document, so that people can read it too; each plan in it is the msgpack that `pipeline.plan.decode_plan` reads,
as base64. An agent of another release reads what it knows: unknown members are ignored, and a plan that it cannot read
costs that version only.
"""

from typing import Annotated, Final

import msgspec

from pipeline.errors import PlanError

FORMAT: Final = 1
# Without bounds a number of any size would be read, which no column of times can be compared with.
TimeNs = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class PlannedTable(msgspec.Struct, frozen=True, kw_only=True):
    """A static table of a version. Without `url` the agent must have it in its own configuration."""

    name: str
    content_hash: str
    url: str | None = None


class PlannedVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version and when it is valid: records of [valid_from_ns, valid_to_ns) are its own; None: no bound."""

    query: str
    version: str
    plan: bytes
    valid_from_ns: TimeNs | None = None
    valid_to_ns: TimeNs | None = None
    tables: list[PlannedTable] = []


class AgentPlan(msgspec.Struct, frozen=True, kw_only=True):
    """All versions to run. A query in `retired`, or one with a version here, is not run from the agent's file."""

    format: int
    queries: list[PlannedVersion] = []
    retired: list[str] = []


_decoder = msgspec.json.Decoder(AgentPlan)


def encode_agent_plan(plan: AgentPlan) -> bytes:
    """The same bytes for the same plan."""
    return msgspec.json.encode(plan)


def decode_agent_plan(data: bytes) -> AgentPlan:
    """The document in `data`.

    Raises:
        PlanError: no such document, or one of a newer format.
    """
    try:
        plan = _decoder.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise PlanError(f"the answer ({len(data)} bytes) is no plan for agents: {error}") from error
    if plan.format > FORMAT:
        raise PlanError(f"the plan has format {plan.format}, this agent reads up to {FORMAT}; upgrade the agent")
    return plan
