"""One request on its way through a route: its parameters, the clock it is answered against, and when it must end."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from starlette.responses import Response

from api.prometheus.errors import QueryCanceledError, QueryTimeoutError
from api.prometheus.parameters import Parameters
from api.service import Service


@dataclass(frozen=True, slots=True)
class Call:
    """What a route is given. `name` is the label's name in the path, as it stands there."""

    service: Service
    given: Parameters
    name: str
    now_ns: int
    deadline_s: float
    gone: threading.Event = field(default_factory=threading.Event)

    def interrupt(self) -> None:
        """Called now and then while the answer is made.

        Raises:
            QueryCanceledError: nobody waits for the answer any more.
            QueryTimeoutError: the time of the query is up.
        """
        if self.gone.is_set():
            raise QueryCanceledError("query was canceled in expression evaluation")
        if monotonic() > self.deadline_s:
            raise QueryTimeoutError("query timed out in expression evaluation")


@dataclass(frozen=True, slots=True)
class Route:
    """A path below /prometheus. `path` is the whole template, which own metrics are labelled with."""

    path: str
    methods: tuple[str, ...]
    answer: Callable[[Call], Response]
    #: Whether it reads the store or evaluates, and so runs in a thread, one of a bounded number.
    works: bool = True
    #: Whether the parameter `timeout` counts.
    timed: bool = False
