"""Makes the topic that carries the frames, and says what there is.

A topic is never made by accident: clients do not ask for it, and `create_topic` is only called by a person's command
or the demo. Partitions decide how many collectors can work at once and can only be added later.
"""

import time
from dataclasses import dataclass
from typing import Any, Final

from kafka import KafkaAdminClient, errors

from wire.errors import TransportError
from wire.kafka_client import missing_topic, open_client, refused
from wire.kafka_settings import KafkaConfig, client_options

# The largest frame and its envelope; the brokers' own default, but theirs may have been lowered.
_MAX_MESSAGE_BYTES: Final = 1_048_588
_VISIBLE_WITHIN_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the brokers describe it."""

    name: str
    partitions: int
    replication: int


def create_topic(config: KafkaConfig, partitions: int) -> tuple[Topic, bool]:
    """The topic, and whether it was made now.

    Raises:
        TransportSettingError: a file named in the settings cannot be used.
        TransportError: it is there with another number of partitions, or the brokers refuse it.
    """
    admin = _admin(config)
    try:
        found = _described(admin, config)
        if found is None:
            return _made(admin, config, partitions), True
    except errors.KafkaError as error:
        raise refused(error, config) from error
    finally:
        admin.close()
    if found.partitions != partitions:
        raise TransportError(
            f"topic {found.name!r} on {config.where} has {found.partitions} partitions, wanted {partitions}; add "
            "partitions with your broker's tools, ask for as many as there are, or name another topic"
        )
    return found, False


def describe_topic(config: KafkaConfig) -> Topic:
    """The topic as it is.

    Raises:
        TransportSettingError: a file named in the settings cannot be used.
        TopicMissingError: there is none.
        TransportError: the brokers cannot be reached, or refuse us.
    """
    admin = _admin(config)
    try:
        found = _described(admin, config)
    except errors.KafkaError as error:
        raise refused(error, config) from error
    finally:
        admin.close()
    if found is None:
        raise missing_topic(config)
    return found


def _made(admin: Any, config: KafkaConfig, partitions: int) -> Topic:
    wanted = {
        "num_partitions": partitions,
        "replication_factor": config.replication or -1,
        "configs": {
            "cleanup.policy": "delete",
            "retention.ms": str(round(config.retention_s * 1e3)),
            "max.message.bytes": str(_MAX_MESSAGE_BYTES),
            # An agent whose clock is wrong must neither be refused nor have its frames kept for ever.
            "message.timestamp.type": "LogAppendTime",
        },
    }
    try:
        admin.create_topics({config.topic: wanted})
    except errors.InvalidReplicationFactorError as error:
        raise TransportError(
            f"{config.where} cannot keep {config.replication} copies of a partition; set transport.kafka.replication "
            "to at most the number of brokers"
        ) from error
    except errors.TopicAlreadyExistsError:
        pass  # somebody else was faster
    deadline = time.monotonic() + _VISIBLE_WITHIN_S
    while (found := _described(admin, config)) is None:
        if time.monotonic() > deadline:
            raise TransportError(f"{config.where} made topic {config.topic!r}, but does not show it; try again later")
        time.sleep(0.1)
    return found


def _admin(config: KafkaConfig) -> Any:
    options = client_options(config, "tailwatch-topic")
    del options["metrics_enabled"]  # the only client that does not know this one
    return open_client(KafkaAdminClient, config, options)


def _described(admin: Any, config: KafkaConfig) -> Topic | None:
    (found,) = admin.describe_topics([config.topic])
    error = errors.for_code(found["error_code"])
    if error is errors.UnknownTopicOrPartitionError:
        return None
    if error is not errors.NoError:
        raise error(config.topic)
    copies = [len(partition["replica_nodes"]) for partition in found["partitions"]]
    return Topic(config.topic, len(copies), min(copies, default=0))
