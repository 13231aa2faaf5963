"""Making one of the library's clients, or a good error: what was seen at the brokers, and what to do about it.

Before the library is let in, the servers are knocked at: it would retry in silence until its time is over, and wait
without limit for a TLS handshake that never ends (kafka-python 3.0.12). What it leaves behind when it fails, a thread
and its sockets, is closed here.
"""

import logging
from contextlib import suppress
from typing import Any, Final

from kafka import errors
from kafka.net.compat import KafkaNetClient
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector

from wire.errors import TopicMissingError, TransportError, TransportRefusedError
from wire.kafka_reach import why_unreachable
from wire.kafka_settings import KafkaConfig

log = logging.getLogger(__name__)

_STOP_MS: Final = 500


def open_client(kind: type[Any], config: KafkaConfig, options: dict[str, Any]) -> Any:
    """A connected client of the library's class `kind`; takes at most a few seconds.

    Raises:
        TransportRefusedError: the brokers do not let us in.
        TransportError: they cannot be reached, or are none.
    """
    reason = why_unreachable(config)
    if reason:
        raise TransportError(f"no broker answers: {reason}")
    made: list[KafkaNetClient] = []

    def make(**settings: Any) -> KafkaNetClient:
        net = NetworkSelector(**settings)
        made.append(KafkaNetClient(net=net, manager=_Manager(net, **settings), **settings))
        return made[0]

    try:
        return kind(**options, kafka_client=make)
    except BaseException as error:
        for client in made:
            with suppress(errors.KafkaError, RuntimeError, OSError):
                client._net.stop(_STOP_MS)
                client.close()
        if isinstance(error, _OUT_OF_REACH):
            raise TransportError(
                f"{config.where} listens, but does not answer as a Kafka broker would; check the port, and whether it "
                "wants TLS (transport.kafka.tls) or a user (transport.kafka.sasl)"
            ) from error
        if isinstance(error, errors.KafkaError):
            raise refused(error, config) from error
        raise


def refused(error: errors.KafkaError, config: KafkaConfig) -> TransportError:
    """The library's error as ours."""
    words = " ".join(str(argument) for argument in error.args)[:300] or str(error)
    for kind, classes, text in _TEXTS:
        if isinstance(error, classes):
            return kind(f"{config.where}: {text.format(config=config)} ({type(error).__name__}: {words})")
    return TransportError(f"{config.where}: {type(error).__name__}: {words}")


def missing_topic(config: KafkaConfig) -> TopicMissingError:
    """What to say when the brokers do not know the topic."""
    return TopicMissingError(
        f"{config.where}: there is no topic {config.topic!r}, or it is not shown to us; create it with "
        "`tailwatch topic create`, or name another one in transport.kafka.topic"
    )


class _Manager(KafkaConnectionManager):  # type: ignore[misc]  # the library has no types
    """Gives up at once when the brokers refuse us; the library's own would try on, and only log why.

    Nor does it let asking for a topic make one: the library takes that option but does not pass it on.
    """

    def __init__(self, net: NetworkSelector, **settings: Any) -> None:
        super().__init__(net, **settings)
        self.refusal: errors.KafkaError | None = None
        self.cluster.config["allow_auto_create_topics"] = False

    def get_connection(self, *args: Any, **options: Any) -> Any:
        if self.refusal is not None:
            raise self.refusal
        connection = super().get_connection(*args, **options)
        if not connection.init_future.is_done:
            connection.init_future.add_errback(self._note)
        return connection

    def _note(self, error: BaseException) -> None:
        if isinstance(error, _REFUSALS):
            self.refusal = error


_REFUSALS: Final = (errors.SaslAuthenticationFailedError, errors.UnsupportedSaslMechanismError)
_OUT_OF_REACH: Final = (errors.KafkaTimeoutError, errors.KafkaConnectionError, errors.NodeNotReadyError)
_TEXTS: Final[tuple[tuple[type[TransportError], Any, str], ...]] = (
    (
        TransportRefusedError,
        _REFUSALS,
        "user {config.sasl_user!r} is refused by {config.sasl}; check transport.kafka.sasl, sasl_user and the password",
    ),
    (
        TransportRefusedError,
        errors.GroupAuthorizationFailedError,
        "user {config.sasl_user!r} may not join group {config.group!r}; allow READ on the group",
    ),
    (
        TransportRefusedError,
        errors.AuthorizationError,
        "user {config.sasl_user!r} may not use topic {config.topic!r}; allow DESCRIBE, and WRITE or READ",
    ),
    (
        TransportError,
        (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError),
        "topic {config.topic!r} takes no frame of this size; set its max.message.bytes to 1048588 or more",
    ),
    (
        TransportRefusedError,
        (errors.UnsupportedVersionError, errors.UnrecognizedBrokerVersion),
        "too old, or no Kafka broker; wanted Kafka 2.1 or newer",
    ),
    (
        TransportError,
        (errors.UnknownProducerIdError, errors.OutOfOrderSequenceNumberError, errors.InvalidProducerEpochError),
        "the broker does not know this producer any more; going on with a new one",
    ),
    (TransportError, _OUT_OF_REACH, "no answer in time; still trying"),
)
