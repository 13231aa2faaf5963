"""The shapes of lists: metrics, series, labels, cardinality, frames that were kept, and what retention left."""

from pydantic import Field

from api.models import Model, Time, TimeNs
from pipeline.plan import Function


class MetricEntry(Model):
    """A metric that can be asked for."""

    name: str = Field(examples=["hiccup_us"])
    query: str = Field(examples=["hiccups"])
    function: Function
    unit: str = Field(examples=["us"])
    labels: list[str] = Field(description="What `by` and `where` can name.", examples=[["host"]])
    window_ns: int = Field(examples=[10000000000])
    scale: int | None = Field(description="Bins per octave are 2**scale; null unless function is sketch.", examples=[6])
    href: str = Field(description="Where to ask for it.", examples=["/api/v1/quantiles?metric=hiccup_us"])


class MetricsPage(Model):
    """One page of metrics, by name."""

    metrics: list[MetricEntry]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")


class SeriesRowModel(Model):
    """One label set, and the newest window in which it has data."""

    labels: dict[str, str] = Field(examples=[{"host": "web-7"}])
    start: Time
    end: Time
    start_ns: TimeNs
    end_ns: TimeNs


class SeriesPage(Model):
    """One page of a metric's series, in the order in which they were first stored."""

    metric: str
    series: list[SeriesRowModel]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")


class LabelEntry(Model):
    """A label of some series."""

    label: str = Field(examples=["request_id"])
    values: int = Field(description="How many distinct values it has.", examples=[99_871])


class LabelsPage(Model):
    """One page of labels, by name."""

    labels: list[LabelEntry]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")


class LabelValuesPage(Model):
    """One page of a label's values."""

    label: str
    values: list[str]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")


class RefusedAgentEntry(Model):
    """What an agent was refused because its query had no room for new series."""

    agent: str = Field(examples=["rack7-host12"])
    records: int = Field(description="Records left out, since the database was made.")
    groups: int = Field(description="Groups left out: one per window, label set and frame.")
    last_refused: Time
    last_refused_ns: TimeNs
    example: dict[str, str] = Field(
        description="Labels of one of the groups last left out; values are cut after 200 characters.",
        examples=[{"request_id": "8f14e45f", "route": "/pay"}],
    )


class CardinalityEntry(Model):
    """A query's series beside its limit."""

    query: str = Field(examples=["requests"])
    series: int = Field(description="Series it has: label sets ever stored.", examples=[100_000])
    series_max: int | None = Field(
        description="collector.series_max as the collector that started last applies it; null when none has said so."
    )
    labels: list[LabelEntry] = Field(description="Its labels, the one with the most values first.")
    refused_records: int = Field(description="Records left out, since the database was made; coverage misses them.")
    refused_groups: int
    last_refused: Time | None = Field(description="When something was left out last; null: never.")
    last_refused_ns: int | None
    refused_agents: list[RefusedAgentEntry] = Field(description="The ten agents with the most refused records.")


class CardinalityPage(Model):
    """One page of queries, by name."""

    queries: list[CardinalityEntry]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")


class DeadLetterEntry(Model):
    """A frame that can never be used."""

    agent: str | None = Field(description="Whose it is; null where the frame is damaged, or none at all.")
    reason: str
    received: Time
    received_ns: TimeNs
    topic: str
    partition: int
    offset: int = Field(description="Where it stands in the transport.")
    bytes: int = Field(description="Size of the whole frame.")
    first_bytes: str = Field(description="Base64 of its first 1,024 bytes.")


class QuarantineEntry(DeadLetterEntry):
    """A frame that waits until the collectors know its version of a query."""

    query_version: str = Field(description="The version that it waits for; wire:N for a newer wire format.")


class DeadLettersPage(Model):
    """One page of dead letters, newest first."""

    dead_letters: list[DeadLetterEntry]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")


class QuarantinePage(Model):
    """One page of quarantined frames, newest first."""

    quarantine: list[QuarantineEntry]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")


class KeptReasonEntry(Model):
    """Frames that were kept for the same reason."""

    reason: str = Field(description="Its numbers are written as #.")
    frames: int
    bytes: int
    first: Time
    first_ns: TimeNs
    last: Time
    last_ns: TimeNs


class KeptReasonsAnswer(Model):
    """How many frames are kept, and for which reasons."""

    frames: int = Field(description="Frames kept, of all reasons.")
    bytes: int
    reasons: list[KeptReasonEntry] = Field(description="The hundred reasons with the most frames, most first.")


class KeptLevelEntry(Model):
    """One width of a query's windows."""

    width_ns: int = Field(examples=[10000000000])
    kept_from: Time | None = Field(description="Nothing that starts earlier is left in this width; null: all is.")
    kept_from_ns: int | None
    oldest: Time | None = Field(description="Start of the oldest window with data; null: there is none.")
    oldest_ns: int | None


class RetentionEntry(Model):
    """What retention has left of a query."""

    query: str
    levels: list[KeptLevelEntry] = Field(description="Finest first.")


class RetentionPage(Model):
    """One page of queries, by name."""

    queries: list[RetentionEntry]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")
