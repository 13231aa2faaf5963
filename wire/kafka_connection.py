"""A client of the library, made in a thread of its own, so that nobody's loop stands still while no broker answers.

`get` gives the client as soon as there is one. An attempt that fails is reported once, by the next `get`, which at
the same time lets the following one begin: who asks decides how often it is tried.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any

from kafka import errors

from wire.errors import TransportError
from wire.kafka_client import refused
from wire.kafka_settings import KafkaConfig

log = logging.getLogger(__name__)


class KafkaConnection:
    """Makes clients with `make` and throws them away with `close`; `get` and `drop` belong to one thread."""

    def __init__(self, config: KafkaConfig, make: Callable[[], Any], close: Callable[[Any], None]) -> None:
        """Nothing is started before the first `get`."""
        self._config = config
        self._make = make
        self._close_client = close
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._client: Any = None
        self._error: TransportError | None = None
        self._trying = False
        self._closed = False

    def get(self, timeout_s: float) -> Any:
        """The client; None when it is not known within `timeout_s` whether there will be one.

        Raises:
            TransportError: the attempt failed.
        """
        if self._client is not None:
            return self._client
        if not self._trying:
            self._trying = True
            self._done.clear()
            threading.Thread(target=self._try, name="kafka-connect", daemon=True).start()
        if not self._done.wait(timeout_s):
            return None
        self._trying = False
        error, self._error = self._error, None
        if error is not None:
            raise error
        return self._client

    def drop(self) -> None:
        """Throw the client away; the next `get` begins anew."""
        client, self._client = self._client, None
        if client is not None:
            # Even an abrupt end may have to wait for the library's own thread.
            threading.Thread(target=self._closed_quietly, args=(client,), name="kafka-close", daemon=True).start()

    def close(self) -> None:
        """Throw the client away for good; one that is being made will be as well."""
        with self._lock:
            self._closed = True
            client, self._client = self._client, None
        if client is not None:
            self._closed_quietly(client)

    def _try(self) -> None:
        client, failure = None, None
        try:
            client = self._make()
        except TransportError as error:
            failure = error
        except errors.KafkaError as error:
            failure = refused(error, self._config)
        # A thread has nobody to raise to: whoever waits in `get` must hear of it.
        except Exception as error:
            log.exception("no connection to the broker")
            failure = TransportError(f"no connection to {self._config.where}: {error!r}")
        with self._lock:
            self._client, self._error = client, failure
            unwanted = self._closed
            if unwanted:
                self._client = None
        self._done.set()
        if unwanted and client is not None:
            self._closed_quietly(client)

    def _closed_quietly(self, client: Any) -> None:
        try:
            self._close_client(client)
        # What is thrown away may be broken in any way.
        except Exception as error:  # noqa: BLE001
            log.debug("a Kafka client did not close cleanly error=%r", error)
