"""The configured transport's two ends, and the sockets that sources listen on."""

from pathlib import Path

from agents.config import DatagramsConfig
from tailwatch.data_folder import prepare_data_folder
from tailwatch.settings import Settings
from tailwatch.socket_paths import prepare_folder
from wire.embedded import EmbeddedPublisher, EmbeddedSubscriber
from wire.transport import Publisher, Subscriber


def open_publisher(settings: Settings) -> Publisher:
    """The sending end for an agent.

    Raises:
        DataFolderError, TransportError: the log cannot be opened.
    """
    return EmbeddedPublisher(_log_path(settings), partitions=settings.transport.partitions)


def open_subscriber(settings: Settings) -> Subscriber:
    """The receiving end for a collector.

    Raises:
        DataFolderError, TransportError: the log cannot be opened.
    """
    return EmbeddedSubscriber(_log_path(settings), partitions=settings.transport.partitions)


def prepare_sockets(settings: Settings) -> None:
    """Make the folders of the agent's datagram sockets.

    Raises:
        DataFolderError: a folder cannot be made.
    """
    for source in settings.agent.sources:
        if isinstance(source, DatagramsConfig):
            prepare_folder(source.path)


def _log_path(settings: Settings) -> Path:
    prepare_data_folder(settings.data_dir)
    return Path(settings.transport.path)
