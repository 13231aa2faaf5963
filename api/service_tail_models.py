"""The shapes of what is told of services' tails, causes, speed-ups and alerts; see api/models.py for their use."""

from typing import Literal

from pydantic import Field

from api.models import Model, Number, Time, TimeNs
from api.service_tail_params import AlertSeverity

CauseName = Literal["intrinsic", "queueing", "contention", "mispredicted", "under_parallel"]


class PromiseEntry(Model):
    """What the service promises."""

    percentile: float = Field(examples=[0.99])
    target_ms: float = Field(examples=[80.0])
    fan_out: int = Field(description="Servers that one answer of the service waits for.", examples=[1])
    window_days: int = Field(examples=[28])


class TailQuantile(Model):
    """One quantile of latencies, at the nearest rank, requests counted by weight."""

    q: float = Field(examples=[0.99])
    ms: float = Field(examples=[81.4])
    beyond: int = Field(
        description="Requests above its rank; a quantile with fewer than ten is a matter of luck.", examples=[412]
    )


class LoadRange(Model):
    """A level of load: work that came, as a share of what the hardware threads could do one by one."""

    at_least: float = Field(examples=[0.3])
    below: float | None = Field(description="Null for the last level.", examples=[0.4])


class TailGroup(Model):
    """Minutes of a service added up."""

    start: Time
    start_ns: TimeNs
    end: Time
    end_ns: TimeNs
    load_level: LoadRange | None = Field(description="Null unless grouped by load, or where load is not known.")
    minutes: int = Field(description="In which requests came.", examples=[60])
    requests: int = Field(examples=[41_200])
    slow: int | None = Field(
        description="Longer than the target that was promised then, from arrival to end; null where none was.",
        examples=[402],
    )
    slow_ratio: float | None = Field(description="Of the requests in minutes with a target.", examples=[0.0098])
    promise_kept: bool | None = Field(description="No more were slow than the percentile leaves.")
    mean_ms: float = Field(examples=[11.4])
    quantiles: list[TailQuantile]
    fan_out_ms: float | None = Field(
        description="The promised percentile of the slowest of `fan_out` servers alike; null without fan-out."
    )
    load: float | None = Field(
        description="Work that came, as a share of what the hardware threads could do; null where they are not told.",
        examples=[0.42],
    )
    mean_share: float | None = Field(description="Of a hardware thread that each running thread had.", examples=[0.97])
    mean_degree: float | None = Field(description="Threads of a running request.", examples=[1.8])
    corrected: int = Field(description="Got more threads while they ran.", examples=[1_950])
    long: int = Field(description="Requests with a prediction whose work was long.", examples=[1_700])
    long_missed: int = Field(description="Of these, predicted to be short.", examples=[210])
    causes: dict[CauseName, int] | None = Field(
        description="Slow requests by cause; null where no speed-ups or no target were known."
    )


class TailCoverage(Model):
    """How much of the stretch the answer rests on."""

    minutes: int = Field(description="With requests.", examples=[60])
    minutes_asked: int = Field(examples=[60])
    newest_request: Time | None = Field(
        description="When the newest recorded one of the service came, in the stretch or not."
    )
    newest_request_ns: int | None
    unprofiled: int = Field(description="Minutes from before any speed-ups were known.")
    unpromised: int = Field(description="Minutes from before any target was.")
    unmeasured: int = Field(description="Minutes from before the number of hardware threads was.")
    notes: list[str] = Field(description="What to know of the figures.")


class TailAnswer(Model):
    """A service's tail, over time and by load."""

    service: str = Field(examples=["search"])
    start: Time
    start_ns: TimeNs
    end: Time
    end_ns: TimeNs
    step_ns: int | None
    by: list[str] = Field(examples=[["load"]])
    synthetic: bool = Field(description="Its requests were made up.")
    promise: PromiseEntry | None = Field(description="Null: nobody set an objective.")
    error_bound: float = Field(description="Largest relative error of a quantile.", examples=[0.0055])
    groups: list[TailGroup] = Field(
        description="By time, then by load; windows and levels without requests are left out."
    )
    coverage: TailCoverage


class CauseLevel(Model):
    """Slow requests at one level of load, by cause."""

    load_level: LoadRange
    sequential_load: float = Field(description="Mean load at this level.", examples=[0.42])
    share_of_time: float = Field(examples=[0.31])
    requests: int
    slow: int
    counts: dict[CauseName, int]
    shares: dict[CauseName, float] | None = Field(description="Their sum is 1; null where nothing was slow.")


class SlowRequest(Model):
    """One slow request with what was met and decided."""

    arrived: Time
    arrived_ns: TimeNs
    cause: CauseName
    latency_ms: float = Field(examples=[214.0])
    wait_ms: float
    service_ms: float
    effective_ms: float = Field(description="Of its run, without what sharing the hardware took.")
    work_ms: float = Field(description="Alone on one thread, by the learned speed-ups.")
    predicted_ms: float | None
    degree: int
    degree_final: int
    in_system: int | None = Field(description="Other requests at its start.")
    active_threads: int | None
    load_level: LoadRange
    instance: str | None
    weight: int


class UnreachableEntry(Model):
    """Why no policy can keep the promise."""

    share: float = Field(description="Of the requests, too long with all threads that they may have.")
    allowed: float = Field(description="That the percentile leaves.")
    reachable_ms: float = Field(description="The least target that can be kept on an idle server.")
    text: str


class SamplesCoverage(Model):
    """Which requests the answer rests on."""

    requests_read: int
    requests_recorded: int = Field(description="In the stretch.")
    since: Time = Field(description="From here on requests were read: the newest first, as many as may be.")
    since_ns: TimeNs
    left_out: dict[str, int] = Field(description="Requests that cannot be used, by reason.")
    notes: list[str]


class CausesAnswer(Model):
    """Why requests were slow."""

    service: str
    start: Time
    start_ns: TimeNs
    end: Time
    end_ns: TimeNs
    synthetic: bool = Field(description="Its requests were made up.")
    promise: PromiseEntry
    profile_version: int = Field(description="Of the learned speed-ups that work was computed by.")
    basis: Literal["cpu", "reconstructed", "at_start"] = Field(description="What effective times are known from.")
    requests: int
    slow: int
    slow_ratio: float
    predicted_ratio: float = Field(
        description="Of the slow requests, with a prediction: others are never mispredicted."
    )
    counts: dict[CauseName, int]
    shares: dict[CauseName, float] | None = Field(description="Their sum is 1; null where nothing was slow.")
    levels: list[CauseLevel]
    slowest: list[SlowRequest]
    unreachable: UnreachableEntry | None = Field(description="Null: some policy may keep the promise.")
    coverage: SamplesCoverage


class SlowdownEntry(Model):
    """How much longer work takes with all hardware threads busy than with one; 0 where requests tell of no such."""

    value: float = Field(examples=[0.12])
    low: float = Field(description="Of its 95 % interval.")
    high: float


class LearnedEntry(Model):
    """Speed-ups that were learned, by class of predicted time and by threads."""

    version: int = Field(examples=[3])
    active: bool
    created: Time
    created_ns: TimeNs
    age_s: float
    class_edges_ms: list[float] = Field(
        description="Where the next class of predicted time begins.", examples=[[15, 62]]
    )
    speedups: list[list[float]] = Field(description="A row for each class, a column for each degree from 1.")
    low: list[list[Number]] = Field(description="Of their 95 % intervals.")
    high: list[list[Number]]
    counts: list[list[int]] = Field(description="Requests that each rests on.")
    extrapolated: list[list[bool]] = Field(description="Too few requests: Amdahl's law says most of it.")
    requests: int
    explored: int = Field(description="Of them, with a degree drawn by chance.")
    basis: str
    slowdown: SlowdownEntry


class LearningState(Model):
    """How the newest learning went."""

    state: Literal["never", "waiting", "running", "done", "refused", "failed", "cancelled"]
    text: str = Field(description="Why nothing was learned, or how far it is.")
    asked: Time | None
    asked_ns: int | None
    href: str | None = Field(description="Of the run.")


class ProfileAnswer(Model):
    """What is known of a service's speed-ups."""

    service: str
    profile: LearnedEntry | None
    why_no_profile: str = Field(description="Empty where there is one.")
    versions: list[int] = Field(description="That are kept, the newest first.")
    learning: LearningState


class ServiceAlertEntry(Model):
    """One alert of a service."""

    service: str = Field(examples=["search"])
    name: str = Field(examples=["tail_burn"])
    severity: AlertSeverity
    firing: bool
    since: Time = Field(description="When it began to fire, or to be quiet.")
    since_ns: TimeNs
    changed: Time
    changed_ns: TimeNs
    cause: str | None = Field(description="What holds half or more of what is slow.", examples=["queueing"])
    text: str = Field(description="What was seen, what was wanted, and what to do.")
    figures: dict[str, Number]


class ServiceAlertsPage(Model):
    """One page of alerts."""

    alerts: list[ServiceAlertEntry] = Field(description="By service and name.")
    next_cursor: str | None


class AlertChangeEntry(Model):
    """One change of an alert."""

    id: int
    name: str
    severity: AlertSeverity
    firing: bool
    changed: Time
    changed_ns: TimeNs
    cause: str | None
    text: str


class AlertHistoryPage(Model):
    """One page of what alerts of a service did."""

    changes: list[AlertChangeEntry] = Field(description="The newest first.")
    next_cursor: str | None
