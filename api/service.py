"""What every route needs, in one place: settings, database, own metrics and the clock."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from api.config import ApiConfig
from api.database import Database
from api.own_metrics import OwnMetrics
from api.peer_directory import PeerDirectory
from api.reads import Reads


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of one API process. `now_ns` is read once per request, so that one answer has one now."""

    config: ApiConfig
    database: Database
    metrics: OwnMetrics
    now_ns: Callable[[], int]
    reads: Reads
    peers: PeerDirectory = field(default_factory=PeerDirectory)


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Parts = Annotated[Service, Depends(_service)]
