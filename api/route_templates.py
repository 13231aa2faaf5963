"""The template of a path, such as /api/v1/agents/{agent}/plan: what requests are counted by, in bounded number.

Found by the path alone, not by the router, so that requests which no route has seen are counted where they belong too.
"""

import re

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import compile_path

UNMATCHED = "unmatched"
_CONVERTER = re.compile(r":\w+(?=\})")


class RouteTemplates:
    """The routes of an app, read at the first request, when all are there."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._literal: frozenset[str] | None = None
        self._patterns: list[tuple[re.Pattern[str], str]] = []

    def of(self, path: str) -> str:
        """The template, or `unmatched`."""
        if self._literal is None:
            self._literal = self._read()
        if path in self._literal:
            return path
        return next((template for pattern, template in self._patterns if pattern.match(path)), UNMATCHED)

    def _read(self) -> frozenset[str]:
        paths = [path for route in iter_route_contexts(self._app.routes) if isinstance(path := route.path, str)]
        templates = list(dict.fromkeys(path for path in paths if "{" in path))
        self._patterns = [(compile_path(template)[0], _CONVERTER.sub("", template)) for template in templates]
        return frozenset(path for path in paths if "{" not in path)
