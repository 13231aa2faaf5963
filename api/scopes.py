"""Which scope a request needs, by path and method; what is not named here needs at least `read`."""

_OPEN = frozenset({"/healthz", "/readyz"})
_LOOKING = frozenset({"GET", "HEAD", "OPTIONS"})


def scope_wanted(path: str, method: str) -> str | None:
    """The scope; None where nobody has to show a key."""
    if path in _OPEN:
        return None
    if path == "/prometheus" or path.startswith("/prometheus/"):
        return "read"  # Grafana asks with POST
    if path.startswith("/api/v1/ingest"):
        return "ingest"
    if method not in _LOOKING:
        return "admin"
    if path.startswith("/api/v1/agents/") and path.endswith("/plan"):
        return "agent"
    return "read"
