"""Which scopes a request needs, by path and method; what is not named here needs at least `read`."""

_OPEN = frozenset({"/healthz", "/readyz"})
_LOOKING = frozenset({"GET", "HEAD", "OPTIONS"})


def scopes_wanted(path: str, method: str) -> tuple[str, ...]:
    """Scopes of which the key must have one; none where nobody has to show a key."""
    path = path.removesuffix("\n")  # routes are found by patterns that end in $, which lets one line break pass
    if path in _OPEN:
        return ()
    if path == "/prometheus" or path.startswith("/prometheus/"):
        return ("read",)  # Grafana asks with POST
    if _brings(path):
        return ("ingest",)
    if path == "/api/v1/gpu/classify":
        return ("read", "ingest")  # the route looks again: keeping what was found is no reading
    if path == "/api/v1/gpu/retry-advice":
        return ("read",)  # POST asks about attempts that are not stored
    return _to_look(path) if method in _LOOKING else ("admin",)


def _brings(path: str) -> bool:
    return path.startswith("/api/v1/ingest") or path == "/api/v1/gpu/attempts" or _is_of_service(path, "requests")


def _is_of_service(path: str, what: str) -> bool:
    """/api/v1/services/{service}/what; a service's name holds no slash."""
    return path.startswith("/api/v1/services/") and path.count("/") == 5 and path.endswith(f"/{what}")


def _to_look(path: str) -> tuple[str, ...]:
    if path.startswith("/api/v1/agents/") and path.endswith("/plan"):
        return ("agent",)
    if path.startswith("/api/v1/agents/") and path.endswith("/peers"):
        return ("read", "agent")
    if _is_of_service(path, "degree-table"):
        return ("read", "ingest")  # polled by the servers whose requests are recorded
    if path.startswith("/api/v1/tables/"):
        return ("read", "agent")  # plans name the tables that agents fetch
    return ("read",)
