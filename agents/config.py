"""The agent's part of the configuration file, checked once when it is decoded.

Paths are taken as they are: the command line fills the defaults in from `data_dir`. Unknown keys are refused.
"""

import platform
import re
from pathlib import Path
from typing import Annotated

import msgspec

from agents.shares import Policy
from agents.sources.configs import HiccupsConfig, HostConfig, NonEmpty, SourceConfig, TailwatchConfig

# As a frame's header takes them: no control characters.
Name = Annotated[str, msgspec.Meta(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
_API_ADDRESS = re.compile(r"https?://[^/?#@\s]+(/[^?#@\s]*)?\Z")

Cores = Annotated[float, msgspec.Meta(gt=0, le=1024)]
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]


class BudgetConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much CPU the agent may take: exactly one of the first three.

    `cores` is a fixed number; `idle_share` a share of what the host leaves idle, `cgroup_share` a share of
    the quota that a container or unit was given; these two are kept between `floor_cores` and `ceiling_cores`.
    """

    cores: Cores | None = None
    idle_share: Share | None = None
    cgroup_share: Share | None = None
    floor_cores: Cores = 0.05
    ceiling_cores: Cores = 2.0

    def __post_init__(self) -> None:
        """Refuse a budget that says nothing, or two things."""
        named = {"cores": self.cores, "idle_share": self.idle_share, "cgroup_share": self.cgroup_share}
        given = [f"{name}: {value:g}" for name, value in named.items() if value is not None]
        if len(given) != 1:
            raise ValueError(
                f"a budget is {' and '.join(given) or 'none of its three kinds'}; "
                "set exactly one of cores, idle_share and cgroup_share"
            )
        if self.floor_cores > self.ceiling_cores:
            raise ValueError(
                f"floor_cores is {self.floor_cores:g}, above ceiling_cores, {self.ceiling_cores:g}; exchange them"
            )


class RuntimeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When the runtime acts. Shares are of an epoch's allowance, or of the records that reached a proxy.

    `congested_overflow`: more overflow than this is congested; `idle_share`: more allowance left than this, while a
    share could rise, is idle; `probe_epochs` such epochs in a row start a profile; `adapt_steps` end the fine-tuning;
    costs that changed by more than `drift_share` are measured anew. `breaker_epochs` in a row with more than
    `breaker_over` budgets taken trip the breaker, with less than `breaker_room` it closes.
    """

    congested_overflow: Share = 0.05
    idle_share: Share = 0.1
    probe_epochs: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3
    adapt_steps: Annotated[int, msgspec.Meta(ge=1, le=100)] = 12
    drift_share: Annotated[float, msgspec.Meta(gt=0, le=10)] = 0.25
    breaker_epochs: Annotated[int, msgspec.Meta(ge=2, le=1000)] = 20
    breaker_over: Annotated[float, msgspec.Meta(ge=1, le=10)] = 1.05
    breaker_room: Share = 0.85


class LabelsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the agent stands: what queries read as the columns of these names where a stream has none of its own."""

    rack: Name = ""
    tor: Name = ""
    dc: Name = ""


class AgentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One agent: who it is, what it reads, what it computes itself, where it keeps what is not yet delivered.

    `streams` holds the columns of streams that are not built in; the command line copies the file's `streams` here.
    """

    id: Name = ""
    host: Name = ""
    labels: LabelsConfig = LabelsConfig()
    policy: Policy = "adaptive"
    budget: BudgetConfig = BudgetConfig(cores=1.0)
    runtime: RuntimeConfig = RuntimeConfig()
    #: Most bytes of partial results held between two checkpoints; records of further keys are drained.
    memory_max_bytes: Annotated[int, msgspec.Meta(ge=2**20)] = 64 * 2**20
    checkpoint_s: Annotated[float, msgspec.Meta(ge=0.05, le=60)] = 2.0
    epoch_s: Annotated[float, msgspec.Meta(ge=0.05, le=60)] = 1.0
    spool_path: NonEmpty = "tailwatch-data/spool.db"
    spool_max_bytes: Annotated[int, msgspec.Meta(ge=16 * 2**20)] = 256 * 2**20
    catch_up_bytes_per_s: Annotated[int, msgspec.Meta(ge=0)] = 256 * 2**10
    streams: dict[str, dict[str, str]] = {}
    sources: tuple[SourceConfig, ...] = (HiccupsConfig(), HostConfig(), TailwatchConfig())
    metrics_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    #: Address that it is opened on. Whoever can connect may read the page: it has no keys.
    metrics_host: NonEmpty = "127.0.0.1"
    #: Address of an API that says what to run, beside the queries of the file; "" asks none.
    plan_url: str = ""
    plan_poll_s: Annotated[float, msgspec.Meta(ge=0.1, le=3600)] = 10.0
    #: Authorities that may have signed the API's certificate; "" is what the system trusts.
    plan_ca_path: str = ""
    #: What the agent shows to the API, given here or as a file that is read with every question.
    api_key: str = ""
    api_key_path: str = ""

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        if self.plan_url and not _API_ADDRESS.match(self.plan_url):
            raise ValueError(f"plan_url is {self.plan_url!r}, wanted the address of an API, such as http://HOST:8080")
        if self.api_key and self.api_key_path:
            raise ValueError("api_key and api_key_path are both set; keep one")
        if not self.plan_url and (self.api_key or self.api_key_path or self.plan_ca_path):
            raise ValueError("an API key or plan_ca_path is set, but plan_url is not; name the API")

    @property
    def plan_folder(self) -> Path:
        """Where the last plan is kept: beside the spool, which one agent alone may use."""
        return Path(self.spool_path).with_suffix(".plan")

    @property
    def host_name(self) -> str:
        """`host`, or else the name the operating system gives this machine."""
        return self.host or platform.node() or "localhost"

    @property
    def place(self) -> dict[str, str]:
        """The labels by name."""
        return msgspec.structs.asdict(self.labels)

    @property
    def agent_id(self) -> str:
        """`id`, or else the host's name: one agent per host needs no id of its own."""
        return self.id or self.host_name
