"""Checks of the way between agents and collectors: the embedded log's file, or the Kafka brokers and their topic."""

import sqlite3
from contextlib import closing
from pathlib import Path

from tailwatch.checkup import Finding
from tailwatch.settings import TransportConfig
from wire.embedded import DEFAULT_MAX_BYTES
from wire.errors import TopicMissingError, TransportError, TransportSettingError

_FULL = 0.8


def check_transport(transport: TransportConfig) -> list[Finding]:
    """One finding, and with Kafka one more on its clock."""
    if transport.kind == "embedded":
        return [_embedded(Path(transport.path))]
    from wire.kafka_topics import describe_topic

    kafka = transport.kafka
    clock = Finding("broker clock", "skip", "not checked: Kafka brokers do not say what time it is")
    try:
        topic = describe_topic(kafka)
    except TopicMissingError as error:
        return [Finding("broker", "fail", str(error), "run `tailwatch topic create`")]
    except (TransportError, TransportSettingError) as error:
        return [Finding("broker", "fail", str(error), "check transport.kafka, and that the brokers run")]
    text = f"{kafka.where}: topic {topic.name}, {topic.partitions} partitions, {topic.replication} copies of each"
    return [Finding("broker", "ok", text), clock]


def _embedded(path: Path) -> Finding:
    if not path.exists():
        return Finding("transport", "skip", f"not checked: there is no log at {path} yet; the first start makes it")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=2.0)) as log:
            (held,) = log.execute("SELECT coalesce(sum(held_bytes), 0) FROM partitions").fetchone()
    except sqlite3.Error as error:
        todo = "check transport.path; move the file away if it is not a log of Tailwatch"
        return Finding("transport", "fail", f"{path}: {error}", todo)
    share = held / DEFAULT_MAX_BYTES
    text = f"{path} holds {held / 2**20:.1f} of at most {DEFAULT_MAX_BYTES / 2**20:.0f} MiB"
    if share > _FULL:
        return Finding("transport", "warn", text, "see whether a collector runs and keeps up")
    return Finding("transport", "ok", text)
