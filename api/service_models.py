"""The shapes of services: their requests, objectives, tables of targets; see api/models.py for how they are used.

Only the *Post and *Put models run: they are what bodies are checked against.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.models import Model, Time, TimeNs

TableState = Literal["draft", "active", "retired", "rolled_back"]
_Share = Annotated[float, Field(strict=True, ge=0, le=1)]
_Count = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
_Ms = Annotated[float, Field(strict=True, gt=0)]
_Version = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]
_Note = Annotated[str, Field(max_length=2_000, description="Why; it stands in the list of changes.")]
_Policy = Annotated[
    dict[str, Any],
    Field(description="As `tailwatch tail` writes policies.", examples=[{"kind": "predictive", "degree": 3}]),
]
_TPC = {
    "kind": "tpc",
    "table": {"metric": "threads_and_queue", "width": 4, "targets_ms": [40, 55, 80, 120], "full": False},
}


class RequestsTaken(Model):
    """What became of recorded requests."""

    accepted: int = Field(description="Requests that are kept now.", examples=[500])
    left_out: dict[str, int] = Field(description="Records that are not, by reason.", examples=[{"no_times": 2}])
    why: dict[str, str] = Field(description="Each of these reasons in words.")
    ignored_fields: list[str] = Field(description="Names of fields that nobody knows.")
    duplicate: bool = Field(description="This batch was kept before; nothing was written.")


class ServiceSettingsModel(Model):
    """What a service has promised, and what it runs on."""

    percentile: float = Field(description="Of requests, as a share.", examples=[0.99])
    target_ms: float | None = Field(description="Within so long; null: nothing is promised.", examples=[80.0])
    fan_out: int = Field(description="Servers that one request of a user waits for.")
    window_days: int = Field(description="Over which the promise is kept.")
    threads: int | None = Field(description="Hardware threads of one instance.", examples=[12])
    workers: int | None = Field(description="Worker threads of one instance.", examples=[24])
    max_degree: int | None = Field(description="Threads that one request may have.", examples=[6])
    class_edges_ms: list[float] | None = Field(description="Between classes of predicted time; null: learned.")
    policy: dict[str, Any] | None = Field(description="What decides on degrees now; null: not known.")
    explore_share: float = Field(description="Of requests, with a degree drawn by chance.")


class ObjectiveAnswer(ServiceSettingsModel):
    """The settings of a service, and who set them."""

    service: str = Field(examples=["search"])
    version: int = Field(description="How often they were set; 0: never, these are the defaults. It is the ETag.")
    changed: Time
    changed_ns: TimeNs
    changed_by: str


class ServiceEntry(Model):
    """A service whose requests are recorded, or whose objective is set."""

    service: str = Field(examples=["search"])
    synthetic: bool = Field(description="Its requests were made up.")
    version: int = Field(description="Of its settings.")
    percentile: float
    target_ms: float | None
    first: Time
    first_ns: TimeNs
    latest: Time | None = Field(description="When the newest recorded request arrived.")
    latest_ns: int | None
    href: str


class ServicesPage(Model):
    """Services by name."""

    services: list[ServiceEntry]
    next_cursor: str | None


class ObjectivePut(BaseModel):
    """All settings of a service; what is left out has its default."""

    model_config = ConfigDict(extra="forbid")

    percentile: Annotated[float, Field(strict=True, gt=0, lt=1, examples=[0.99])] = 0.99
    target_ms: _Ms | None = None
    fan_out: _Count = 1
    window_days: Annotated[int, Field(strict=True, ge=1, le=366)] = 28
    threads: _Count | None = None
    workers: _Count | None = None
    max_degree: _Count | None = None
    class_edges_ms: Annotated[list[_Ms], Field(max_length=15)] | None = None
    policy: _Policy | None = None
    explore_share: _Share = 0.01


class TargetTableEntry(Model):
    """A table of targets."""

    version: int
    state: TableState
    follows: int | None = Field(description="The version that was active before it became so.")
    max_degree: int | None = Field(description="Threads of one request; null: as the settings say.")
    created: Time
    created_ns: TimeNs
    created_by: str
    changed: Time
    changed_ns: TimeNs
    changed_by: str
    note: str
    policy: dict[str, Any] = Field(examples=[_TPC])
    evidence: dict[str, Any] | None = Field(description="What speaks for it, as a forecast; null: nothing was given.")


class TargetChangeEntry(Model):
    """A change of a table's state."""

    version: int
    state: TableState
    changed: Time
    changed_ns: TimeNs
    changed_by: str
    note: str


class TargetTablesPage(Model):
    """Tables of targets, the newest version first."""

    active: int | None = Field(description="The version that servers are told; null: none.")
    tables: list[TargetTableEntry]
    changes: list[TargetChangeEntry] = Field(description="The newest 100, the newest first.")
    next_cursor: str | None


class TargetTablePost(BaseModel):
    """A table to keep as a draft."""

    model_config = ConfigDict(extra="forbid")

    policy: Annotated[dict[str, Any], Field(description="Of the kind tpc.", examples=[_TPC])]
    max_degree: _Count | None = None
    note: _Note = ""
    evidence: dict[str, Any] | None = None


class ActivateTablePost(BaseModel):
    """Which version is taken to be the active one now, so that nobody's change is undone unseen."""

    model_config = ConfigDict(extra="forbid")

    expected_active: _Version | None = Field(description="null: none is.", examples=[3])
    note: _Note = ""


class RollBackPost(BaseModel):
    """Why the table is taken back."""

    model_config = ConfigDict(extra="forbid")

    note: _Note = ""


class TableRolledBack(Model):
    """What was taken back, and what is active instead."""

    rolled_back: int
    active: TargetTableEntry | None = Field(description="null: none is; servers choose as they do without a table.")


class CorrectionModel(Model):
    """How running requests get more threads."""

    full: bool = Field(description="To the largest degree at once; else one thread at a time.")
    every_ms: float


class DegreeTable(Model):
    """What a server needs to choose degrees by."""

    service: str
    version: int = Field(description="Of the table of targets; send it with recorded requests as table_version.")
    profile_version: int
    metric: Literal["long_threads", "threads_and_queue", "in_system"]
    width: float = Field(description="Of a bucket of the metric; the last one has no end.")
    targets_ms: list[float] = Field(description="One for each bucket.")
    correction: CorrectionModel | None = Field(description="null: running requests keep their degree.")
    prediction: bool = Field(description="Whether predicted times are looked at.")
    max_degree: int
    class_edges_ms: list[float] = Field(description="Where the next class of predicted time begins.")
    speedups: list[list[float]] = Field(description="A row for each class, a column for each degree from 1.")
    explore_share: float
