"""The configured transport's two ends, and the sockets that sources listen on.

The Kafka client is imported only where Kafka is configured: it costs an agent 19 MB.
"""

import logging
from pathlib import Path

from agents.sources.configs import DatagramsConfig
from tailwatch.data_folder import prepare_data_folder
from tailwatch.settings import Settings
from tailwatch.socket_paths import prepare_folder
from wire.embedded import EmbeddedPublisher, EmbeddedSubscriber
from wire.errors import TransportError, TransportRefusedError
from wire.transport import Publisher, Subscriber

log = logging.getLogger(__name__)

# A broker that is there answers in milliseconds; for one that is not, nobody waits longer than this.
_CONNECT_S = 2.0


def open_publisher(settings: Settings) -> Publisher:
    """The sending end for an agent; a broker that cannot be used now is tried again by the agent's uplink.

    Raises:
        DataFolderError, TransportError: the log cannot be opened.
        TransportSettingError: a file that the Kafka settings name cannot be used.
    """
    prepare_data_folder(settings.data_dir)
    if settings.transport.kind == "embedded":
        return EmbeddedPublisher(Path(settings.transport.path), partitions=settings.transport.partitions)
    from wire.kafka_publisher import KafkaPublisher

    publisher = KafkaPublisher(settings.transport.kafka, f"tailwatch-agent-{settings.agent.agent_id}")
    try:
        publisher.connect(_CONNECT_S)
    except TransportError as error:
        log.warning("no transport yet, frames stay in the spool and it is tried again error=%s", error)
    return publisher


def open_subscriber(settings: Settings) -> Subscriber:
    """The receiving end for a collector; brokers that cannot be reached now are tried again by the collector.

    Raises:
        DataFolderError, TransportError: the log cannot be opened.
        TransportSettingError: a file that the Kafka settings name cannot be used.
        TransportRefusedError: the brokers answer, but there is no such topic, or we may not read it.
    """
    if settings.transport.kind == "embedded":
        prepare_data_folder(settings.data_dir)
        return EmbeddedSubscriber(Path(settings.transport.path), partitions=settings.transport.partitions)
    from wire.kafka_subscriber import KafkaSubscriber

    subscriber = KafkaSubscriber(settings.transport.kafka)
    try:
        subscriber.connect(_CONNECT_S)
    except TransportRefusedError:
        subscriber.close()
        raise
    except TransportError as error:
        log.warning("no transport yet, it is tried again error=%s", error)
    return subscriber


def prepare_sockets(settings: Settings) -> None:
    """Make the folders of the agent's datagram sockets.

    Raises:
        DataFolderError: a folder cannot be made.
    """
    for source in settings.agent.sources:
        if isinstance(source, DatagramsConfig):
            prepare_folder(source.path)
