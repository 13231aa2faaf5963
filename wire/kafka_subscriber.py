"""The receiving end over Kafka: a member of the consumer group, reading from offsets that the database gives.

The group only shares the partitions out. A partition that was assigned is not read before `seek` has placed it, there
is no automatic reset, and what is committed to the group is for people's lag displays, never read back.
The library tells of a rebalance in a thread of its own while `poll` waits for it; the callbacks run then, beside that
thread, so that heartbeats go on while a collector flushes.
"""

import functools
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition, errors
from kafka.consumer.subscription_state import AsyncConsumerRebalanceListener
from kafka.future import Future
from kafka.structs import MemberState

from wire.errors import OffsetOutOfRangeError, TransportError
from wire.kafka_client import missing_topic, open_client, refused
from wire.kafka_connection import KafkaConnection
from wire.kafka_joining import go_on_joining
from wire.kafka_reach import connects, why_unreachable
from wire.kafka_settings import KafkaConfig, client_options
from wire.transport import AssignmentCallback, Record

log = logging.getLogger(__name__)

# Memory bound of what is fetched ahead, over all partitions.
_FETCH_BYTES: Final = 16 * 2**20
_FETCH_WAIT_MS: Final = 200
# So soon it is known that partitions were added, or that the topic was made anew.
_METADATA_AGE_MS: Final = 10_000
_BOUNDS_WAIT_MS: Final = 5_000
# What the group decides is taken up inside the library's `poll` only: during a rebalance the gaps between two calls
# must be few.
_REBALANCE_WAIT_S: Final = 0.5
_ADVISE_EVERY_S: Final = 1.0
_ANSWERED_S: Final = 2.0
# Without a record for so long, see whether any broker is still there: the library would wait in silence.
_SILENCE_S: Final = 5.0
# Ends of paused partitions, which no fetch tells, are asked for this often; a broker that is away costs one wait.
_ASK_ENDS_S: Final = 5.0
_ENDS_WAIT_MS: Final = 1_000
_CLOSE_MS: Final = 300
# A collector busy for longer than this, with the database say, loses its partitions to the others.
_MAX_POLL_INTERVAL_MS: Final = 300_000


class KafkaSubscriber:
    """One collector's consumer, made anew after an error it cannot leave; used by one thread."""

    def __init__(self, config: KafkaConfig, client_id: str = "tailwatch-collector") -> None:
        """Nothing is read yet; call `connect` to know early whether a broker answers.

        Raises:
            TransportSettingError: a certificate, key or password file cannot be used.
        """
        self._config = config
        options = client_options(config, client_id) | {
            "group_id": config.group,
            "auto_offset_reset": "none",
            "enable_auto_commit": False,
            "session_timeout_ms": round(config.session_timeout_s * 1e3),
            "heartbeat_interval_ms": round(config.heartbeat_s * 1e3),
            "max_poll_interval_ms": _MAX_POLL_INTERVAL_MS,
            "metadata_max_age_ms": _METADATA_AGE_MS,
            "fetch_max_bytes": _FETCH_BYTES,
            "fetch_max_wait_ms": _FETCH_WAIT_MS,
        }
        self._connection = KafkaConnection(config, functools.partial(_make, config, options), _discard)
        self._consumer: Any = None
        self._assigned: frozenset[int] = frozenset()
        self._listener: _Listener | None = None
        # Where each placed partition goes on, and since when this cannot be another one's old knowledge.
        self._positions: dict[int, int] = {}
        self._placed_s: dict[int, float] = {}
        self._paused: set[int] = set()
        self._advice: dict[int, int] = {}
        self._advised_s = 0.0
        self._asked_ends: dict[int, int] = {}
        self._asked_s = float("-inf")
        self._log_id = ""
        self._heard_s = time.monotonic()
        self._failure: BaseException | None = None
        self._on_assign: AssignmentCallback = _ignore
        self._on_revoke: AssignmentCallback = _ignore

    def connect(self, timeout_s: float) -> None:
        """Wait for the connection.

        Raises:
            TopicMissingError: the brokers do not have the topic.
            TransportError: there is no connection within `timeout_s`; `poll` will try again.
        """
        if self._connection.get(timeout_s) is None:
            raise TransportError(f"not connected to {self._config.where} yet; still trying")

    def subscribe(self, on_assign: AssignmentCallback, on_revoke: AssignmentCallback) -> None:
        """Join the group with the next `poll`."""
        self._on_assign, self._on_revoke = on_assign, on_revoke

    def assigned(self) -> frozenset[int]:
        """The partitions held now."""
        return self._assigned

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        """The next records, and on the way whatever the group has decided; during a rebalance it waits up to 0.5 s."""
        started_s = time.monotonic()
        if not self._joined(timeout_s):
            return []
        left_s = timeout_s - (time.monotonic() - started_s)
        if self._consumer.group_metadata().state is not MemberState.STABLE:
            left_s = max(left_s, _REBALANCE_WAIT_S)
            go_on_joining(self._consumer)
        try:
            self._advise()
            found = self._consumer.poll(timeout_ms=max(0, round(1e3 * left_s)), max_records=max(1, max_records))
        except errors.OffsetOutOfRangeError as error:
            self._raise_failure()
            raise self._out_of_range(*next(iter(error.args[0].items()))) from error
        except errors.KafkaError as error:
            self._raise_failure()
            raise self._lost(refused(error, self._config)) from error
        except RuntimeError as error:  # the library's thread has ended
            raise self._lost(TransportError(f"{self._config.where}: the client broke down: {error!r}")) from error
        self._raise_failure()
        self._check_log()
        records = [
            Record(place.partition, record.offset, record.value or b"")
            for place, records in found.items()
            for record in records
        ]
        for record in records:
            self._positions[record.partition] = record.offset + 1
        if not records:
            self._check_positions()
        self._check_silence(bool(records))
        return records

    def seek(self, partition: int, offset: int) -> None:
        """Continue `partition` at `offset`; one that was lost meanwhile is left alone."""
        if partition in self._assigned:
            self._consumer.seek(self._place(partition), offset)
            self._positions[partition], self._placed_s[partition] = offset, time.monotonic()
            self._hold(frozenset({partition}))

    def log_id(self) -> str:
        """The topic's id, as the brokers give it since Kafka 2.8; a topic made anew has another."""
        found = None if self._consumer is None else self._consumer._client.cluster.topic_id(self._config.topic)
        return "" if found is None or not found.int else str(found.hex)

    def pause(self, partitions: frozenset[int]) -> None:
        """Hand out nothing of these partitions until `resume`."""
        self._paused |= partitions
        self._hold(partitions)

    def resume(self, partitions: frozenset[int]) -> None:
        """Undo `pause`."""
        self._paused -= partitions
        self._hold(partitions)

    def committed(self, partition: int, next_offset: int) -> None:
        """Tell the group, once a second and without waiting, for lag displays."""
        self._advice[partition] = next_offset

    def ends(self) -> Mapping[int, int]:
        """End offsets as the last fetch of each assigned partition told them; none where nothing was fetched yet.

        From fetches, because some brokers answer a direct question for the end with the start of the last batch. For
        paused partitions, which are not fetched, that answer counts where it is further: it may be low, never high.
        """
        fetched = self._fetched_ends()
        self._ask_ends()
        return fetched | {n: max(end, fetched.get(n, 0)) for n, end in self._asked_ends.items() if n in self._assigned}

    def close(self) -> None:
        """Leave the group without further callbacks; the partitions go to others at once."""
        self._on_assign = self._on_revoke = _ignore
        if self._consumer is not None and self._advice:
            try:
                self._consumer.commit(self._offsets(), timeout_ms=_CLOSE_MS)
            except (errors.KafkaError, RuntimeError) as error:
                log.debug("last advisory commit failed error=%r", error)
        self._forget_consumer()
        self._connection.close()

    def _fetched_ends(self) -> dict[int, int]:
        if self._consumer is None:
            return {}
        known = {partition: self._consumer.highwater(self._place(partition)) for partition in self._assigned}
        return {partition: end for partition, end in known.items() if end is not None}

    def _ask_ends(self) -> None:
        """Ask for the ends of paused partitions, when it is time; what was answered before holds until then."""
        paused = [self._place(partition) for partition in self._paused & self._assigned]
        if self._consumer is None or not paused:
            self._asked_ends = {}
        elif time.monotonic() - self._asked_s >= _ASK_ENDS_S:
            self._asked_s = time.monotonic()
            try:
                found = self._consumer.end_offsets(paused, timeout_ms=_ENDS_WAIT_MS)
            except (errors.KafkaError, RuntimeError) as error:
                log.debug("ends not known error=%r", error)
            else:
                self._asked_ends = {place.partition: end for place, end in found.items()}

    def _joined(self, timeout_s: float) -> bool:
        """Whether there is a consumer; subscribes a new one."""
        if self._consumer is None:
            consumer = self._connection.get(timeout_s)
            if consumer is None:
                return False
            self._listener = _Listener(self._changed, self._failed, consumer)
            consumer.subscribe([self._config.topic], listener=self._listener)
            self._consumer = consumer
            self._heard_s = time.monotonic()
        return True

    def _changed(self, gone: frozenset[int], new: frozenset[int]) -> None:
        """Runs while `poll` waits, or in `_lost`; what it raises is raised by `poll`."""
        if gone:
            self._on_revoke(gone)
            self._assigned -= gone
            self._paused -= gone
            for memory in (self._positions, self._placed_s, self._advice):
                for partition in gone & memory.keys():
                    del memory[partition]
        if new:
            self._assigned |= new
            for partition in new:
                self._consumer.seek(self._place(partition), 0)  # a placeholder: not read before `seek`
            self._hold(new)
            self._on_assign(new)

    def _failed(self, error: BaseException) -> None:
        self._failure = error

    def _hold(self, partitions: frozenset[int]) -> None:
        """Pause or resume in the library what is to be paused or read now."""
        for partition in partitions & self._assigned:
            held = partition in self._paused or partition not in self._positions
            (self._consumer.pause if held else self._consumer.resume)(self._place(partition))

    def _advise(self) -> None:
        if self._advice and time.monotonic() - self._advised_s >= _ADVISE_EVERY_S:
            self._advised_s = time.monotonic()
            self._consumer.commit_async(self._offsets())
            self._advice.clear()

    def _offsets(self) -> dict[Any, Any]:
        return {self._place(number): OffsetAndMetadata(offset, "", -1) for number, offset in self._advice.items()}

    def _check_positions(self) -> None:
        """A position beyond the end is one of another topic of this name; not every broker says so."""
        now = time.monotonic()
        for partition, end in self._fetched_ends().items():
            position = self._positions.get(partition, end)
            # Only once a fetch must have been answered since the position was set: the end may be older.
            if position > end and partition not in self._paused and now - self._placed_s[partition] > _ANSWERED_S:
                error = self._out_of_range(self._place(partition), position)
                if not isinstance(error, OffsetOutOfRangeError) or position > error.end:
                    raise error

    def _out_of_range(self, place: Any, wanted: int) -> TransportError:
        try:
            earliest = self._consumer.beginning_offsets([place], timeout_ms=_BOUNDS_WAIT_MS)[place]
            end = self._consumer.end_offsets([place], timeout_ms=_BOUNDS_WAIT_MS)[place]
        except errors.KafkaError as error:
            return self._lost(refused(error, self._config))
        return OffsetOutOfRangeError(
            place.partition, wanted, earliest, max(end, self._fetched_ends().get(place.partition, 0))
        )

    def _check_log(self) -> None:
        """In a topic made anew our positions mean nothing, though it may have records there."""
        found = self.log_id()
        if self._log_id and found and found != self._log_id:
            raise self._lost(
                TransportError(f"topic {self._config.topic!r} was made anew: it was {self._log_id} and is {found}")
            )
        self._log_id = found or self._log_id

    def _check_silence(self, heard: bool) -> None:
        now = time.monotonic()
        if not heard and now - self._heard_s > _SILENCE_S and not any(map(connects, self._config.servers)):
            raise TransportError(f"no broker answers: {why_unreachable(self._config)}")
        if heard or now - self._heard_s > _SILENCE_S:
            self._heard_s = now

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _lost(self, error: TransportError) -> TransportError:
        """Give everything up; the next `poll` begins with a new consumer."""
        self._changed(self._assigned, frozenset())
        self._forget_consumer()
        self._connection.drop()
        return error

    def _forget_consumer(self) -> None:
        if self._listener is not None:
            self._listener.muted = True
        self._assigned = frozenset()
        self._consumer = self._listener = None
        self._asked_ends = {}
        self._log_id = ""

    def _place(self, partition: int) -> Any:
        return TopicPartition(self._config.topic, partition)


class _Listener(AsyncConsumerRebalanceListener):  # type: ignore[misc]  # the library has no types
    """Runs the callback in a thread; the library's own goes on with heartbeats until it is through."""

    def __init__(
        self,
        changed: Callable[[frozenset[int], frozenset[int]], None],
        failed: Callable[[BaseException], None],
        consumer: Any,
    ) -> None:
        self.muted = False
        self._changed = changed
        self._failed = failed
        self._loop = consumer._net  # the only way to let the library's thread go on from another one

    async def on_partitions_revoked(self, revoked: set[Any]) -> None:
        await self._told(_numbers(revoked), frozenset())

    async def on_partitions_assigned(self, assigned: set[Any]) -> None:
        await self._told(frozenset(), _numbers(assigned))

    async def _told(self, gone: frozenset[int], new: frozenset[int]) -> None:
        if self.muted or not (gone or new):
            return
        through = Future()

        def tell() -> None:
            try:
                self._changed(gone, new)
            except BaseException as error:  # noqa: BLE001  # `poll` raises it
                self._failed(error)
            self._loop.call_soon_threadsafe(lambda: through.success(None))

        threading.Thread(target=tell, name="kafka-rebalance", daemon=True).start()
        await through


def _numbers(places: set[Any]) -> frozenset[int]:
    return frozenset(place.partition for place in places)


def _make(config: KafkaConfig, options: dict[str, Any]) -> Any:
    consumer = open_client(KafkaConsumer, config, options)
    try:
        known = bool(consumer.partitions_for_topic(config.topic))
    except BaseException:
        _discard(consumer)
        raise
    if not known:
        _discard(consumer)
        raise missing_topic(config)
    return consumer


def _discard(consumer: Any) -> None:
    consumer.close(autocommit=False, timeout_ms=_CLOSE_MS)


def _ignore(_: frozenset[int]) -> None:
    """Before `subscribe` and after `close` nobody is told."""
