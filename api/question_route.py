"""A route for questions: parameters read at once, the answer computed in a thread that can be ended.

The framework solves every route's dependencies anew for each request and takes a thread for each plain function among
them; for a question that is answered in half a millisecond that is half of it. What a question's route takes is known
when it is made: the request, its parameters, the service. OpenAPI is made from the same function as ever.
"""

import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from api.params import refuse_repeated
from api.running import run_question
from api.service import Service

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class QuestionRoute(APIRoute):
    """For plain functions of (request: Request, given: a model of query parameters, service: Parts).

    Dependencies of the router are for OpenAPI only; the one that all have, `refuse_repeated`, is called here.
    """

    def get_route_handler(self) -> Handler:
        """The function that answers a request; raises TypeError for a route that takes anything else."""
        model = _model_of(self.endpoint)
        lists = frozenset(name for name, info in model.model_fields.items() if get_origin(info.annotation) is list)
        call = _Call(self.endpoint, model, lists)

        async def handle(request: Request) -> Response:
            service: Service = request.app.state.service
            return await run_question(request, service.reads, lambda: call.answer(request, service))

        return handle


@dataclass(frozen=True, slots=True)
class _Call:
    """What is called for a request."""

    endpoint: Callable[..., Any]
    model: type[BaseModel]
    lists: frozenset[str]

    def answer(self, request: Request, service: Service) -> Response:
        refuse_repeated(request)
        response: Response = self.endpoint(request=request, given=self._given(request), service=service)
        return response

    def _given(self, request: Request) -> BaseModel:
        values: dict[str, Any] = {}
        for name, value in request.query_params.multi_items():
            if name in self.lists:
                values.setdefault(name, []).append(value)
            else:
                values[name] = value
        try:
            return self.model.model_validate(values)
        except ValidationError as error:
            complaints = error.errors(include_url=False)
            raise RequestValidationError(
                [{**complaint, "loc": ("query", *complaint["loc"])} for complaint in complaints]
            ) from error


def _model_of(endpoint: Callable[..., Any]) -> type[BaseModel]:
    parameters = inspect.signature(endpoint).parameters
    if set(parameters) != {"request", "given", "service"}:
        raise TypeError(f"{endpoint.__name__} takes {', '.join(parameters)}; wanted request, given and service")
    model: type[BaseModel] = get_args(inspect.get_annotations(endpoint, eval_str=True)["given"])[0]
    return model
