"""A service's minutes: how many requests came in each, how many were slow and why, and how loaded its hardware was.

A request counts in the minute in which it arrived, as often as its weight says. A minute is sums and a sketch of
latencies: those of several servers, or of several minutes, add up to one (`merged`), and the same samples give the same
minute however often it is computed. A minute in which nothing arrived is none: it is not a minute of zeros.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import msgspec
import numpy as np

from analytics.errors import DataError
from analytics.tail.causes import CAUSES, NOT_SLOW, Int8Array, attribute, speedups_of
from analytics.tail.effective import EffectiveTimes, effective_ms
from analytics.tail.learning import LearnedProfile
from analytics.tail.learning import works_ms as learned_works_ms
from analytics.tail.policies import Policy, Predictive, Server, TargetTable, Tpc
from analytics.tail.samples import BoolArray, Samples
from analytics.tail.speedup import Float64Array, Int64Array, SpeedupProfile
from quantiles.sketch import Sketch
from quantiles.sketch_column import SketchColumn

MINUTE_NS: Final = 60_000_000_000
#: Workers that a request left idle at its start, from which on it is said to have met idle ones.
IDLE_WORKERS: Final = 2
_MINUTE_MS: Final = 60_000.0


@dataclass(frozen=True, slots=True)
class Minute:
    """One minute of a service, or of several servers or minutes added up. Counts and sums have weights counted.

    Attributes:
        start_ns: since 1970 UTC.
        requests: that arrived. slow: longer than the target from arrival to end.
        causes: slow ones by cause (CAUSES); empty where no speed-ups are known.
        corrected: got more threads while they ran.
        long, long_missed: of the requests with a prediction, those whose work is long, and of these those that were
            predicted to be short.
        idle_at_dispatch: under-parallel slow ones that left 2 workers or more idle when they began.
        dispatched, last_bucket: requests that began at a load that is known by the target table's metric, and those of
            its last bucket. Both 0 without a table, and where it goes by the queue and only a share of them was kept.
        latency_ms, service_ms, effective_ms, work_ms, thread_ms: sums over the requests: from arrival to end; of that
            their run; of that what sharing the hardware left; alone on one thread; threads times their effective time.
        capacity_ms: what the hardware threads could give.
        profiled: speed-ups are known. Else work_ms is thread_ms, which is never less.
        latencies: a sketch of latencies in milliseconds (quantiles/).
    """

    start_ns: int
    requests: int
    slow: int
    causes: Mapping[str, int]
    corrected: int
    long: int
    long_missed: int
    idle_at_dispatch: int
    dispatched: int
    last_bucket: int
    latency_ms: float
    service_ms: float
    effective_ms: float
    work_ms: float
    thread_ms: float
    capacity_ms: float
    profiled: bool
    latencies: bytes

    @property
    def mean_ms(self) -> float:
        """Mean latency."""
        return self.latency_ms / self.requests

    @property
    def p99_ms(self) -> float:
        """p99 of latencies, within 0.55 %."""
        return self.quantile_ms(0.99)

    @property
    def load(self) -> float:
        """Sequential utilisation: work that came, by what the hardware could give; may be above 1."""
        return self.work_ms / self.capacity_ms

    @property
    def mean_share(self) -> float:
        """Of a hardware thread that each running thread had, min(1, N / T), by time of running requests."""
        return self.effective_ms / self.service_ms

    @property
    def mean_degree(self) -> float:
        """Threads of a running request, by effective time."""
        return self.thread_ms / self.effective_ms

    @property
    def efficiency(self) -> float:
        """Work by the threads' time that it took, 1 where all ran on one thread: avgS(d) / d at the degrees in use."""
        return self.work_ms / self.thread_ms

    @property
    def last_bucket_share(self) -> float:
        """Of the requests whose load is known, those that met the last bucket of the target table; 0 without one."""
        return self.last_bucket / self.dispatched if self.dispatched else 0.0

    def quantile_ms(self, level: float) -> float:
        """A quantile of latencies, within 0.55 %; p99 is 0.99."""
        return Sketch.from_bytes(self.latencies).quantile(level)


def minutes_of(
    samples: Samples,
    server: Server,
    profile: SpeedupProfile | LearnedProfile | None,
    target_ms: float,
    policy: Policy | None = None,
    *,
    since_ns: int | None = None,
    until_ns: int | None = None,
    effective: EffectiveTimes | None = None,
) -> list[Minute]:
    """The minutes in which requests arrived, in order.

    Requests before and after them must be given too, as far as they may have run beside theirs: what shared the
    hardware is put together from who ran. Where `samples.instances` tells several servers apart, each has the hardware
    of `server`, and counts in the minutes in which it got requests.

    Args:
        server: what each instance has.
        profile: None: none is learned yet; causes are then not told, and work is taken to be the threads' time.
        policy: in use: what it takes for long, and its target table. None: not told; long is the last class of work.
        since_ns, until_ns: the first minute's start, and the end of the last; by default the whole minutes that the
            samples cover, without the one in which the last arrived.
        effective: of the samples, where it is known already.
    Raises:
        DataError: the target is no time, or the profile does not know the server's largest degree.
    Cost: that of the reconstruction and some 30 passes over the samples.
    """
    if not len(samples):
        return []
    index = (samples.origin_ns + np.round(samples.arrivals_ms * 1e6).astype(np.int64)) // MINUTE_NS
    first = -(-(samples.origin_ns if since_ns is None else since_ns) // MINUTE_NS)
    last = (int(index[-1]) if until_ns is None else until_ns // MINUTE_NS) - 1
    chosen = (index >= first) & (index <= last)
    if not chosen.any():
        return []
    effective = effective_ms(samples, server.threads) if effective is None else effective
    starts, place = np.unique(index[chosen], return_inverse=True)
    weights = np.round(samples.weights[chosen])
    told, causes = _told(samples, server, profile, target_ms, policy, effective)
    sums = {name: np.bincount(place, column[chosen] * weights, starts.size) for name, column in told.items()}
    by_cause = np.zeros((starts.size, len(CAUSES)))
    slow = causes[chosen] != NOT_SLOW
    np.add.at(by_cause, (place[slow], causes[chosen][slow]), weights[slow])
    servers = np.bincount(np.unique(np.stack([place, samples.instances[chosen]]), axis=1)[0])
    bodies, lengths = SketchColumn.from_values(
        samples.latencies_ms[chosen], place, starts.size, weights=weights.astype(np.int64)
    ).to_bodies()
    ends = np.cumsum(lengths)
    return [
        Minute(
            start_ns=int(start) * MINUTE_NS,
            causes=dict(zip(CAUSES, map(round, by_cause[i].tolist()), strict=True)) if profile is not None else {},
            capacity_ms=float(servers[i]) * server.threads * _MINUTE_MS,
            profiled=profile is not None,
            latencies=bodies[ends[i] - lengths[i] : ends[i]],
            **{name: round(float(sums[name][i])) for name in _COUNTS},
            **{name: float(sums[name][i]) for name in _TIMES},  # type: ignore[arg-type]
        )
        for i, start in enumerate(starts)
    ]


def merged(minutes: Sequence[Minute], start_ns: int | None = None) -> Minute:
    """Minutes of several servers, or several minutes, as one; the order does not matter beyond rounding of sums.

    Args:
        start_ns: of what comes out; by default the earliest.
    Raises:
        DataError: there are none.
    """
    if not minutes:
        raise DataError("no minutes to add up; want one at least")
    sketch = Sketch()
    for one in minutes:
        sketch.merge(Sketch.from_bytes(one.latencies))
    causes = {cause: sum(one.causes.get(cause, 0) for one in minutes) for cause in CAUSES}
    return Minute(
        start_ns=min(one.start_ns for one in minutes) if start_ns is None else start_ns,
        causes=causes if any(one.causes for one in minutes) else {},
        capacity_ms=sum(one.capacity_ms for one in minutes),
        profiled=all(one.profiled for one in minutes),
        latencies=sketch.to_bytes(),
        **{name: sum(getattr(one, name) for one in minutes) for name in (*_COUNTS, *_TIMES)},
    )


def minute_document(minute: Minute) -> dict[str, Any]:
    """The minute as JSON can hold it; the sketch as base64."""
    document: dict[str, Any] = msgspec.to_builtins(minute)
    return document


def minute_from(document: Mapping[str, Any]) -> Minute:
    """The minute of `minute_document`.

    Raises:
        DataError: it is none; the message names the field.
    """
    try:
        return msgspec.convert(document, Minute)
    except msgspec.ValidationError as error:
        raise DataError(f"a minute that cannot be read: {error}; compute it again from the requests") from error


@dataclass(frozen=True, slots=True, eq=False)
class MinuteTable:
    """m minutes as arrays, by start, each start once; what each says is in `Minute`.

    Attributes:
        causes: int64[m, causes], 0 where they are not known.
    """

    start_ns: Int64Array
    requests: Int64Array
    slow: Int64Array
    causes: Int64Array
    corrected: Int64Array
    long: Int64Array
    long_missed: Int64Array
    idle_at_dispatch: Int64Array
    dispatched: Int64Array
    last_bucket: Int64Array
    service_ms: Float64Array
    effective_ms: Float64Array
    work_ms: Float64Array
    thread_ms: Float64Array
    capacity_ms: Float64Array
    profiled: BoolArray

    def __len__(self) -> int:
        """How many."""
        return int(self.start_ns.size)

    def where(self, chosen: BoolArray | slice) -> "MinuteTable":
        """Some of them, in the same order."""
        return MinuteTable(**{one.name: getattr(self, one.name)[chosen] for one in fields(self)})

    def last(self, end_ns: int, minutes: int, but: int = 0) -> "MinuteTable":
        """Those of so many minutes up to an end, without the last `but` of them."""
        bounds = (end_ns - minutes * MINUTE_NS, end_ns - but * MINUTE_NS)
        first, after = np.searchsorted(self.start_ns, bounds)
        return self.where(slice(int(first), int(after)))


def minute_table(minutes: Sequence[Minute]) -> MinuteTable:
    """Minutes as a table; refuses two of one start, which have to be `merged` first."""
    ordered = sorted(minutes, key=lambda one: one.start_ns)
    starts = np.array([one.start_ns for one in ordered], np.int64)
    if (again := np.flatnonzero(np.diff(starts) == 0)).size:
        raise DataError(f"two minutes begin at {starts[again[0]]}; add up those of several servers before")
    columns = {name: np.array([getattr(one, name) for one in ordered], kind) for name, kind in _TABLE_TYPES.items()}
    causes = np.array([[one.causes.get(cause, 0) for cause in CAUSES] for one in ordered], np.int64)
    return MinuteTable(start_ns=starts, causes=causes.reshape(len(ordered), len(CAUSES)), **columns)


def _told(
    samples: Samples,
    server: Server,
    profile: SpeedupProfile | LearnedProfile | None,
    target_ms: float,
    policy: Policy | None,
    effective: EffectiveTimes,
) -> tuple[dict[str, Float64Array], Int8Array]:
    """What adds up, by name, one number per request; and causes."""
    n = len(samples)
    shared_ms, thread_ms = effective.times_ms, _thread_ms(samples, effective)
    if effective.slowdown:  # hardware threads are in use all the same while threads slow each other
        shared_ms = effective.shares * samples.services_ms
        thread_ms = thread_ms * (shared_ms / effective.times_ms)
    if profile is None:
        works, causes = thread_ms, np.full(n, NOT_SLOW, np.int8)
    else:
        works = learned_works_ms(samples, effective, speedups_of(profile))
        causes = attribute(samples, effective, profile, target_ms, server.max_degree, works_ms=works)
    idle = server.workers - samples.active - samples.degrees
    known, last = _last_bucket(samples, policy.table) if isinstance(policy, Tpc) else (np.zeros(n, bool),) * 2
    predicted = ~np.isnan(samples.predictions_ms)
    long_ms = _long_ms(profile, policy)
    is_long = predicted & (works >= long_ms)
    told = {
        "requests": np.ones(n),
        "slow": samples.latencies_ms > target_ms,
        "corrected": samples.last_degrees > samples.degrees,
        "long": is_long,
        "long_missed": is_long & (samples.predictions_ms < long_ms),
        "idle_at_dispatch": (causes == CAUSES.index("under_parallel")) & (samples.active >= 0) & (idle >= IDLE_WORKERS),
        "dispatched": known,
        "last_bucket": last,
        "latency_ms": samples.latencies_ms,
        "service_ms": samples.services_ms,
        "effective_ms": shared_ms,
        "work_ms": works,
        "thread_ms": thread_ms,
    }
    return told, causes


def _thread_ms(samples: Samples, effective: EffectiveTimes) -> Float64Array:
    """Threads times effective time, with those that came later counted from when they came on."""
    before = effective.times_ms if effective.until_raise_ms is None else effective.until_raise_ms
    return np.asarray(samples.degrees * before + samples.last_degrees * (effective.times_ms - before))


def _long_ms(profile: SpeedupProfile | LearnedProfile | None, policy: Policy | None) -> float:
    """What the policy takes for long, or else the last class of work; infinite where neither is known."""
    if isinstance(policy, Predictive):
        return policy.long_ms
    edges_ms = () if profile is None else speedups_of(profile).edges_ms
    return edges_ms[-1] if edges_ms else float("inf")


def _last_bucket(samples: Samples, table: TargetTable) -> tuple[BoolArray, BoolArray]:
    """Whether a request's load at its start is known by the table's metric, and whether it was in the last bucket."""
    if table.metric == "threads_and_queue":
        load = np.where(samples.active >= 0, samples.active + _waiting(samples), np.nan)
    else:
        told = samples.long_active if table.metric == "long_threads" else samples.in_system
        load = np.where(told >= 0, told, np.nan)
    return ~np.isnan(load), load >= table.width * (len(table.targets_ms) - 1)


def _waiting(samples: Samples) -> Float64Array:
    """Requests that had arrived and not begun when each began; NaN where only a share of an instance's was kept."""
    waiting = np.full(len(samples), np.nan)
    for instance in np.unique(samples.instances):
        chosen = np.flatnonzero(samples.instances == instance)
        if np.any(samples.weights[chosen] > 1):
            continue  # of a queue of three, one in ten is none or ten
        arrivals = samples.arrivals_ms[chosen]
        starts = arrivals + samples.waits_ms[chosen]
        begun = np.empty(chosen.size)
        begun[np.argsort(starts, kind="stable")] = np.arange(1, chosen.size + 1)
        waiting[chosen] = np.maximum(np.searchsorted(arrivals, starts, side="right") - begun, 0.0)
    return waiting


_COUNTS: Final = (
    "requests", "slow", "corrected", "long", "long_missed", "idle_at_dispatch", "dispatched", "last_bucket",
)  # fmt: skip
_TIMES: Final = ("latency_ms", "service_ms", "effective_ms", "work_ms", "thread_ms")
_TABLE_TYPES: Final = {
    one.name: np.dtype(np.int64 if one.name in _COUNTS else bool if one.name == "profiled" else np.float64)
    for one in fields(MinuteTable)
    if one.name not in ("start_ns", "causes")
}
