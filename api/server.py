"""Runs the API until told to stop: binds the socket itself, so that a taken port is one clear sentence.

uvicorn neither handles signals nor configures logging here; the command line does both. A stop closes the listener,
ends reads that are running in the database, lets answers go out for a moment, and returns within about half a second.
"""

import errno
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from api.app import create_app
from api.config import ApiConfig, is_loopback
from api.connections import guarded
from api.errors import BindError, PortInUseError
from api.service import Service
from api.tls import tls_context
from store.connect import open_engine

log = logging.getLogger(__name__)

_BACKLOG = 512


def serve(config: ApiConfig, database_url: str, stop: threading.Event, listener: socket.socket | None = None) -> None:
    """Answer requests until `stop` is set; works in any thread.

    Args:
        listener: a socket from `bind`, for callers that must know the port before anything answers; closed at the end.

    Raises:
        PortInUseError, BindError, TlsError: nothing could be bound, or not as asked; nothing was started.
    """
    tls = tls_context(config)
    listener = listener or bind(config)
    engine = open_engine(database_url, read_only=True)
    try:
        app = create_app(config, engine)
        service: Service = app.state.service
        settings = uvicorn.Config(
            app,
            http=guarded(config.max_header_bytes, lambda reason: service.metrics.refused_requests.labels(reason).inc()),
            ssl_context_factory=None if tls is None else lambda _config, _default: tls,
            log_config=None,
            access_log=False,
            server_header=False,
            ws="none",
            lifespan="on",
            timeout_graceful_shutdown=1,
        )
        url = url_of(listener, tls=tls is not None)
        log.info("api listening url=%s keys=%s", url, "on" if config.asks_for_keys else "off")
        if config.asks_for_keys and tls is None and not is_loopback(config.host):
            log.warning("api keys come unencrypted; set api.tls_certificate_path, or let a proxy in front speak TLS")
        _StoppableServer(settings, stop, service).run(sockets=[listener])
        log.info("api stopped")
    finally:
        listener.close()
        engine.dispose()


def bind(config: ApiConfig) -> socket.socket:
    """A listening socket on the configured address.

    Raises:
        PortInUseError: another process listens there.
        BindError: no such address on this machine, or no right to the port.
    """
    place = f"{config.host}:{config.port}"
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            config.host.strip("[]"), config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind)
    except OSError as error:
        raise BindError(
            f"cannot listen on {place}: {error.strerror or error}; set api.host to an address of this machine"
        ) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"{place} is in use by another process; set api.port (--port) to a free one"
            ) from error
        setting = "api.port above 1023" if error.errno == errno.EACCES else "api.host to an address of this machine"
        raise BindError(f"cannot listen on {place}: {error.strerror}; set {setting}") from error
    return listener


def url_of(listener: socket.socket, *, tls: bool = False) -> str:
    """Where a bound listener is reached."""
    host, port = listener.getsockname()[:2]
    scheme = "https" if tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


class _StoppableServer(uvicorn.Server):
    """uvicorn that ends when an event is set, instead of on signals."""

    def __init__(self, config: uvicorn.Config, stop: threading.Event, service: Service) -> None:
        super().__init__(config)
        self._stop = stop
        self._service = service

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        return self._stop.is_set() or await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.database.interrupt()
        await super().shutdown(sockets)
