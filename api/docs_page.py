"""GET /docs: the routes as one plain page, made from the OpenAPI document: no script, nothing loaded from afar."""

from html import escape
from typing import Any

from fastapi import FastAPI
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430; }
h2 { margin-top: 2.5rem; border-top: 1px solid #d5dbe3; padding-top: 1.5rem; font-size: 1.1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: 0.9em; background: #f1f4f8; border-radius: 4px; }
code { padding: 0.1em 0.3em; } pre { padding: 0.8rem; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; } td { padding: 0.3rem 0.8rem 0.3rem 0; vertical-align: top; }
@media (prefers-color-scheme: dark) {
  body { background: #12161c; color: #dde3ea; } code, pre { background: #1f2630; } h2 { border-color: #303a47; }
  a { color: #8ab4f8; }
}
"""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
}
_TRY = "/api/v1/quantiles?metric=hiccup_us&q=0.5,0.99&start=-5m"


def install(app: FastAPI) -> None:
    """Serve the document at /openapi.json and the page at /docs, and send / there."""

    # Not async: the first of them makes the document, for which other requests must not wait.
    @app.get("/openapi.json", include_in_schema=False)
    def show_openapi() -> Response:
        return JSONResponse(app.openapi())

    @app.get("/docs", include_in_schema=False)
    def show_docs() -> Response:
        return HTMLResponse(render(app.openapi()), headers=_HEADERS)

    @app.get("/", include_in_schema=False)
    async def show_start() -> Response:
        return RedirectResponse("/docs")


def render(openapi: dict[str, Any]) -> str:
    """The page for an OpenAPI document; every text in it is escaped."""
    operations = [
        _operation(path, method, operation)
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    ]
    title = escape(openapi["info"]["title"])
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>{title} {escape(openapi['info']['version'])}</h1><p>{escape(openapi['info']['description'])}</p>"
        '<p>Machine-readable: <a href="/openapi.json">/openapi.json</a>. '
        f'Try <a href="{escape(_TRY)}"><code>{escape(_TRY)}</code></a></p>{"".join(operations)}</body></html>'
    )


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    rows = "".join(_parameter(parameter) for parameter in operation.get("parameters", ()))
    table = f"<table>{rows}</table>" if rows else ""
    return (
        f'<h2 id="{escape(operation["operationId"])}"><code>{escape(method.upper())} {escape(path)}</code> '
        f"{escape(operation['summary'])}</h2><p>{escape(operation.get('description', ''))}</p>{table}"
    )


def _parameter(parameter: dict[str, Any]) -> str:
    need = "required" if parameter.get("required") else f"default {_default(parameter['schema'])}"
    return (
        f"<tr><td><code>{escape(parameter['name'])}</code></td><td>{escape(need)}</td>"
        f"<td>{escape(parameter.get('description', ''))}</td></tr>"
    )


def _default(schema: dict[str, Any]) -> str:
    default = schema.get("default")
    if default in (None, []):
        return "none"
    return ", ".join(default) if isinstance(default, list) else str(default)
