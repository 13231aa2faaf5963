"""`tailwatch topic create` and `tailwatch topic check`: the Kafka topic that carries the frames."""

import argparse


def run(args: argparse.Namespace) -> int:
    """Make or only look at the topic, and say what it is like."""
    from tailwatch.errors import ConfigError
    from tailwatch.settings_flags import loaded_from

    transport = loaded_from(args).settings.transport
    if transport.kind != "kafka":
        raise ConfigError([f"transport.kind is {transport.kind}, which has no topic; wanted kafka, and kafka.servers"])
    from wire.kafka_topics import create_topic, describe_topic

    if args.create:
        topic, made = create_topic(transport.kafka, transport.partitions)
    else:
        topic, made = describe_topic(transport.kafka), False
    print(
        f"{transport.kafka.where}: topic {topic.name} {'made' if made else 'is there'}, "
        f"{topic.partitions} partitions, {topic.replication} copies of each"
    )
    return 0
