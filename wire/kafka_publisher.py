"""The sending end over Kafka: every frame to the partition that its incarnation chose, durable on all replicas.

The library's own retries keep the order; they end after `delivery_timeout_s`. What fails then is published again by
the agent, through a new producer: an old one may be in a state it cannot leave, and nothing of it may linger. Frames
that arrive twice on either way are known to the collector by their sequence, so the broker is not asked to know them:
where its memory of producers outlives a crash and the frames do not, it calls a frame known that it never stored.
"""

import functools
import queue
import time
from typing import Any, Final

from kafka import KafkaProducer, errors

from wire.errors import FrameTooLargeError, TransportError
from wire.frame import MAX_FRAME_BYTES
from wire.kafka_client import missing_topic, open_client, refused
from wire.kafka_connection import KafkaConnection
from wire.kafka_settings import KafkaConfig, client_options

# An agent hands over everything that a checkpoint made at once: little is gained by waiting for more.
_LINGER_MS: Final = 5
_BATCH_BYTES: Final = 128 * 1024
# A frame and its envelope in the topic; what brokers take without being configured.
_MAX_REQUEST_BYTES: Final = 1_048_576
_METADATA_WAIT_MS: Final = 2_000
# How long a call may wait for a connection that is being made.
_PATIENCE_S: Final = 0.2
_CLOSE_S: Final = 0.2
# The library gives a frame up after the delivery timeout; this much later it is taken to have forgotten it.
_OVERDUE_S: Final = 10.0


class KafkaPublisher:
    """One agent's producer, made anew after an error; used by one thread."""

    def __init__(self, config: KafkaConfig, client_id: str = "tailwatch-agent") -> None:
        """Nothing is sent yet; call `connect` to know early whether a broker answers.

        Raises:
            TransportSettingError: a certificate, key or password file cannot be used.
        """
        self._config = config
        options = client_options(config, client_id) | {
            "acks": "all",
            "enable_idempotence": False,
            "max_in_flight_requests_per_connection": 1,  # keeps the order, as idempotence would
            "compression_type": None if config.compression == "none" else config.compression,
            "delivery_timeout_ms": round(config.delivery_timeout_s * 1e3),
            "linger_ms": _LINGER_MS,
            "batch_size": _BATCH_BYTES,
            "max_request_size": _MAX_REQUEST_BYTES,
            "max_block_ms": _METADATA_WAIT_MS,
        }
        self._connection = KafkaConnection(config, functools.partial(_make, config, options), _discard)
        self._give_up_s = config.delivery_timeout_s + _OVERDUE_S
        # Token -> the library's promise and when to stop believing in it, oldest first.
        self._outstanding: dict[int, tuple[Any, float]] = {}
        self._reports: queue.SimpleQueue[tuple[Any, int]] = queue.SimpleQueue()
        self._failure: TransportError | None = None

    def connect(self, timeout_s: float) -> None:
        """Wait for the connection.

        Raises:
            TransportError: there is none within `timeout_s`; publishing will try again.
        """
        self._producer(timeout_s)

    def partitions(self) -> int:
        """How many partitions the topic has now.

        Raises:
            TransportError: there is no connection, or no such topic.
        """
        producer = self._producer(_PATIENCE_S)
        try:
            return len(producer.partitions_for(self._config.topic))
        except errors.KafkaError as error:
            raise self._lost(missing_topic(self._config)) from error

    def publish(self, partition: int, token: int, payload: bytes) -> None:
        """Hand one payload to the producer; one that is still on its way is not sent twice.

        Raises:
            FrameTooLargeError: more bytes than any frame may have.
            TransportError: there is no connection or no such partition; this payload was not taken.
        """
        if len(payload) > MAX_FRAME_BYTES:
            raise FrameTooLargeError(f"a frame of {len(payload)} bytes; at most {MAX_FRAME_BYTES}, split its rows")
        if token in self._outstanding:
            return
        count = self.partitions()
        if not 0 <= partition < count:
            raise TransportError(
                f"topic {self._config.topic!r} has no partition {partition}; there are {count}, from 0"
            )
        producer = self._producer(_PATIENCE_S)
        try:
            future: Any = producer.send(self._config.topic, value=payload, partition=partition)
        except (errors.KafkaError, ValueError, AssertionError) as error:
            cause = error if isinstance(error, errors.KafkaError) else errors.KafkaError(str(error))
            raise self._lost(refused(cause, self._config)) from error
        self._outstanding[token] = future, time.monotonic() + self._give_up_s
        future.add_both(lambda _: self._reports.put((future, token)))

    def acknowledged(self, timeout_s: float) -> list[int]:
        """Tokens that are durable on all replicas, waiting at most `timeout_s` for the first.

        Raises:
            TransportError: a frame could not be delivered; everything outstanding must be published again.
        """
        self._raise_failure()
        durable: list[int] = []
        while self._outstanding and self._failure is None:
            report = self._report(0.0 if durable else timeout_s)
            if report is None:
                break
            future, token = report
            if token not in self._outstanding or self._outstanding[token][0] is not future:
                continue  # of a producer that was thrown away
            del self._outstanding[token]
            if future.exception is None:
                durable.append(token)
            else:
                self._failure = self._lost(refused(future.exception, self._config))
        if not durable:
            self._raise_failure()
            self._check_overdue()
        return durable

    def close(self) -> None:
        """Let go of the brokers; what is not acknowledged may or may not be stored."""
        self._outstanding.clear()
        self._connection.close()

    def _producer(self, timeout_s: float) -> Any:
        producer = self._connection.get(timeout_s)
        if producer is None:
            raise TransportError(f"not connected to {self._config.where} yet; still trying")
        return producer

    def _report(self, timeout_s: float) -> tuple[Any, int] | None:
        try:
            return self._reports.get(timeout=timeout_s) if timeout_s > 0 else self._reports.get_nowait()
        except queue.Empty:
            return None

    def _check_overdue(self) -> None:
        _, until = next(iter(self._outstanding.values()), (None, float("inf")))
        if time.monotonic() > until:
            raise self._lost(TransportError(f"{self._config.where}: a frame got no answer in {self._give_up_s:g} s"))

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _lost(self, error: TransportError) -> TransportError:
        """Begin anew with the next call; nothing outstanding is known to be durable."""
        self._outstanding.clear()
        self._connection.drop()
        return error


def _make(config: KafkaConfig, options: dict[str, Any]) -> Any:
    producer = open_client(KafkaProducer, config, options)
    try:
        producer.partitions_for(config.topic)
    except errors.KafkaTimeoutError as error:
        _discard(producer)
        raise missing_topic(config) from error
    except BaseException:
        _discard(producer)
        raise
    return producer


def _discard(producer: Any) -> None:
    """Close without waiting for what cannot be delivered.

    `close` alone would leave the library's thread running for good when it times out on outstanding records (seen in
    kafka-python 3.0.12), so its sender is told first.
    """
    producer._sender.force_close()
    producer.close(timeout=_CLOSE_S)
