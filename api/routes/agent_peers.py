"""GET /api/v1/agents/{agent}/peers: whom an agent is to probe, asked for every minute or so."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from api.errors import ParameterError
from api.fleet_models import PeersAnswer
from api.params import PeersParameters
from api.peer_choice import RULES, Rule
from api.peer_directory import reachable
from api.responses import json_answer
from api.service import Parts

router = APIRouter(tags=["fleet"])

_MOST_PER_GROUP = 16
_MOST_PEERS = 10_000
_Agent = Annotated[str, Path(description="The agent's id.", max_length=1_000, examples=["rack7-host12"])]


@router.get(
    "/api/v1/agents/{agent:path}/peers",
    operation_id="get_agent_peers",
    summary="Whom an agent is to probe",
    response_model=PeersAnswer,
)
def get_peers(request: Request, agent: _Agent, given: Annotated[PeersParameters, Query()], service: Parts) -> Response:
    """Agents that announce an address for probes, by the rules given; the same for everybody who asks.

    An agent that nobody has heard of gets an answer, too: it has no rack yet. An address that means the machine itself
    is told to agents of the same machine only.
    """
    rules = _rules(given.choose)
    per_group = _whole(given.per_group, "per_group", _MOST_PER_GROUP)
    most = _whole(given.most, "most", _MOST_PEERS)
    with service.database.reading() as connection:
        fleet, machines = service.peers.fleet(connection, service.now_ns())
    machine_id = machines.get(agent, "")
    peers = [
        {"agent": one.agent, "address": one.address, "rack": one.rack, "tor": one.tor, "dc": one.dc}
        for one in fleet.peers_of(agent, rules, per_group, most)
        if reachable(one, machine_id)
    ]
    return json_answer(request, {"agent": agent, "peers": peers})


def _rules(text: str) -> Sequence[Rule]:
    known = {str(rule): rule for rule in RULES}
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise ParameterError(
                f"choose: {name[:60]!r} is no rule; want some of {', '.join(RULES)}", parameter="choose"
            )
    return [known[name] for name in dict.fromkeys(names)]


def _whole(text: str, parameter: str, highest: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= highest):
        raise ParameterError(
            f"{parameter}={text[:60]!r} is out of range; want a whole number from 1 to {highest}", parameter=parameter
        )
    return int(text)
