"""The shapes of what is told about agents and collectors: who reports, how they are, the pipeline at a glance."""

from typing import Literal

from pydantic import Field

from api.models import Model, Time, TimeNs


class ProxyEntry(Model):
    """One control proxy: what stands before an operator and decides which records go into it on the agent."""

    operator: str = Field(description="The operator behind it.", examples=["filter"])
    share: float = Field(description="The share of the records that it sends on, in [0, 1].", examples=[0.75])
    reached: int = Field(description="Records that reached it in the last epoch.")
    local: int = Field(description="Of those, the ones that it sent on; the others were drained.")
    overflowed: int = Field(description="Of those, the ones drained because the epoch's CPU was used up.")


class RuntimeQueryEntry(Model):
    """One query version that runs on the agent."""

    query: str = Field(examples=["hiccups"])
    version: str = Field(examples=["8d5f0c2b7a11e94f"])
    proxies: list[ProxyEntry] = Field(description="In the order in which records meet them.")
    wire_bytes_per_s: float = Field(description="What its frames took in the last epochs.")
    predicted_bytes_per_s: float | None = Field(description="What the agent's model says; null: not profiled yet.")


class RuntimeEntry(Model):
    """What the agent's runtime decided, as of its newest status."""

    policy: str = Field(examples=["adaptive"])
    state: str = Field(description="startup, probe, profile or adapt.", examples=["adapt"])
    epochs_in_state: int
    epoch_s: float = Field(description="How long an epoch lasts.", examples=[1.0])
    budget_cores: float = Field(description="CPU that the agent may take, in cores.", examples=[0.5])
    budget_from: str = Field(
        description="Which setting it follows from: cores, idle_share or cgroup_share.", examples=["cores"]
    )
    cpu_cores: float = Field(description="CPU that it took over the last ten epochs, in cores.", examples=[0.48])
    breaker: str = Field(
        description="closed; cheapest: it was over its budget for long and runs what costs least; sampling: that was "
        "not enough, and it leaves live records out.",
        examples=["closed"],
    )
    sampled: float = Field(description="The share of live records that it takes in; below 1 only while it samples.")
    sent: Time
    sent_ns: TimeNs
    age_s: float = Field(description="Seconds since the status was made, by the clocks of agent and API.")
    queries: list[RuntimeQueryEntry]
    queries_left_out: int = Field(description="Queries that run too and had no room in the status.")


class LabelsEntry(Model):
    """Where the agent stands, as its configuration says; "" where it does not."""

    rack: str = Field(examples=["r12"])
    tor: str = Field(examples=["tor-12a"])
    dc: str = Field(examples=["fra1"])


class AgentEntry(Model):
    """An agent as its last heartbeat showed it."""

    agent: str = Field(examples=["rack7-host12"])
    host: str
    labels: LabelsEntry
    probe_address: str | None = Field(
        description="HOST:PORT at which other agents may probe it; null: it does not listen, or does not know.",
        examples=["10.0.7.12:7946"],
    )
    shared_by: list[str] = Field(
        description="Hosts that use this agent id at once, where there are two; give one of them another agent.id."
    )
    state: Literal["alive", "silent", "retired"]
    first_seen: Time
    last_seen: Time
    last_seen_ns: TimeNs
    silent_s: float = Field(description="Seconds since the last heartbeat arrived.")
    incarnation: str = Field(description="Random name of the agent's current run.")
    started: Time
    clock_ahead_s: float | None = Field(
        description="How far the agent's clock is ahead of its collector's, at least; negative: behind by at most "
        "that. Heartbeats take time, so a right clock shows a little below 0. Null: not known.",
        examples=[-0.12],
    )
    lag_s: float | None = Field(
        description="How long ago the event time is up to which all of its live records are in the database: a few "
        "seconds where all is well. Null: it has no live query.",
        examples=[4.2],
    )
    spool_oldest_age_s: int | None = Field(
        description="Age of the oldest frame that waits in its spool, as of the last heartbeat; null: it does not say."
    )
    counters: dict[str, int] = Field(description="The agent's own counters, since its start.")
    runtime: RuntimeEntry | None = Field(description="Null: its newest start has sent no status.")


class PeerEntry(Model):
    """One agent that another one is to probe."""

    agent: str = Field(examples=["rack7-host12"])
    address: str = Field(description="HOST:PORT, as the agent announces it.", examples=["10.0.7.12:7946"])
    rack: str
    tor: str
    dc: str


class PeersAnswer(Model):
    """Whom one agent is to probe."""

    agent: str
    peers: list[PeerEntry]


class AgentQueryEntry(Model):
    """How far an agent's records of one query have come."""

    query: str = Field(examples=["hiccups"])
    version: str = Field(description="Content hash of the version that it computes.", examples=["8d5f0c2b7a11e94f"])
    live: bool = Field(description="False for replays, whose event time is not the clock's.")
    first: Time
    first_ns: int
    watermark: Time = Field(description="All of its records from `first` up to here are in the database.")
    watermark_ns: int
    lag_s: float | None = Field(description="How long ago that was; null for replays.")


class AgentDetail(AgentEntry):
    """One agent and its queries."""

    machine_id: str
    queries: list[AgentQueryEntry] = Field(description="What its newest heartbeat speaks of, by query.")


class AgentsPage(Model):
    """One page of agents, by name."""

    agents: list[AgentEntry]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")


class AgentCounts(Model):
    """Agents by state."""

    alive: int
    silent: int
    retired: int


class SpoolState(Model):
    """The oldest frame that waits at an agent, over all agents alive, as their last heartbeats said."""

    oldest_age_s: int | None = Field(description="Its age; null when no agent alive says so.")
    agent: str | None = Field(description="The agent where it waits.")


class CollectorEntry(Model):
    """A collector by the partitions that it claimed last."""

    collector: str
    partitions: int
    last_flush: Time | None = Field(description="When it last wrote anything, by its clock; null: not yet.")
    last_flush_s: float | None = Field(description="Seconds since then. Partitions without agents are not written.")


class SchemaState(Model):
    """Whether the database has the tables of this release."""

    ok: bool
    detail: str


class StatusAnswer(Model):
    """The pipeline at a glance."""

    time: Time
    time_ns: TimeNs
    version: str = Field(description="Release of this API.", examples=["0.1.0"])
    database_schema: SchemaState
    agents: AgentCounts
    spool: SpoolState
    collectors: list[CollectorEntry] = Field(
        description="By name; a dead one keeps partitions until another claims them."
    )
    totals: dict[str, int] = Field(
        description="Cumulative since the database was made: frames, bytes, records, groups, duplicates, windows, …",
        examples=[{"frames": 120, "bytes": 81234, "records": 120000, "windows": 12}],
    )
