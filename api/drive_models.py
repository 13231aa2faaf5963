"""The shapes of what is told of drives and said about them; see api/models.py for how they are used.

Only the *Post models run: they are what bodies are checked against. The three outputs stand apart in every answer:
rules that fired, wear, and probabilities; only the state looks at all of them.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.models import Model, Time, TimeNs

StateName = Literal["unknown", "good", "watch", "replace"]
OutcomeName = Literal["failed", "replaced_healthy", "back"]
_Day = Annotated[str, Field(description="A day, UTC.", examples=["2026-11-22"])]
_Probability = Annotated[
    float | None,
    Field(description="Calibrated probability of a fail-stop within so many days; null: there is none.", ge=0, le=1),
]
_Note = Annotated[
    str, Field(description="For whoever looks at it next.", max_length=1_000, examples=["ordered, ticket 4711"])
]
_Until = Annotated[
    str | None,
    Field(max_length=100, description="When it ends: RFC 3339, Unix seconds, or now+30d.", examples=["now+30d"]),
]


class DriveEntry(Model):
    """A drive and what was last said of it."""

    id: int = Field(description="Number of the drive in this database.", examples=[17])
    drive: str = Field(description="Serial number, or host:device where it tells none.", examples=["S2R4NX0J512345"])
    node: str | None = Field(description="Host that it was last seen in.", examples=["web-7"])
    rack: str | None = Field(examples=["r12"])
    model: str | None = Field(examples=["Samsung SSD 850 PRO 512GB"])
    vendor: str | None = Field(examples=["Samsung"])
    family: str | None
    firmware: str | None = Field(examples=["EXM02B6Q"])
    kind: str | None = Field(description="ata, nvme or scsi; others as the agent calls them.", examples=["ata"])
    state: StateName = Field(description="What to do about it.")
    since: Time | None = Field(description="From when on the state holds; null: nothing was ever said.")
    since_ns: int | None
    probability_7d: _Probability
    probability_30d: _Probability
    wear_used_percent: float | None = Field(description="Rated life used; may exceed 100.", examples=[61.0])
    wear_ends: _Day | None = Field(
        description="When the rated life will be used up, the day that was judged if it is; null: not told, or not to "
        "be told."
    )
    wear_ends_early: _Day | None = Field(description="With 90 % confidence not before this day.")
    wear_ends_late: _Day | None = Field(description="With 90 % confidence not after it.")
    first_reason: str = Field(
        description="What speaks most for the state, in words; why it is unknown; or empty.",
        examples=["reallocated sectors 4 -> 61 in 7 days"],
    )
    synthetic: bool = Field(description="A generator made this drive up: it is no real one.")
    model_synthetic: bool = Field(description="The probability is of a model that learned from made-up drives.")
    first_day: _Day
    last_day: _Day = Field(description="The newest day with readings.")
    assessed: Time | None = Field(description="When it was last judged; null: not yet.")
    assessed_ns: int | None
    href: str = Field(examples=["/api/v1/drives/S2R4NX0J512345"])


class DrivesPage(Model):
    """One page of drives."""

    drives: list[DriveEntry]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")


class RuleEntry(Model):
    """A hard rule that the newest day meets."""

    rule: str = Field(examples=["uncorrectable_grew_30d"])
    severity: Literal["watch", "replace"]
    column: str = Field(description="What it looked at.", examples=["uncorrectable_total"])
    value: int
    before: int | None = Field(description="What stood there `days` days before; null: the rule looks at levels only.")
    days: int | None
    text: str = Field(examples=["uncorrectable errors 0 -> 12 in 7 days"])
    muted: bool = Field(description="The column is muted: from the next round on the rule does not count.")


class WearAnswer(Model):
    """How the rated life goes on."""

    used_percent: float | None
    percent_per_day: float | None
    ends: _Day | None
    ends_early: _Day | None
    ends_late: _Day | None
    confidence: float = Field(description="Of the interval from `ends_early` to `ends_late`.", examples=[0.9])
    basis: Literal["window", "life", ""] | None = Field(
        description="What the slope is of: window (the last days), life (wear over hours powered on), empty for none; "
        "null: not kept.",
        examples=["window"],
    )
    why_not: str = Field(description="Why there is no forecast; empty where there is one.")


class ReasonEntry(Model):
    """One attribute's part in the probability."""

    feature: str = Field(examples=["realloc_total_d7"])
    column: str = Field(examples=["realloc_total"])
    contribution: float = Field(description="SHAP value in log-odds; above 0 speaks for failing.", examples=[1.7])
    text: str = Field(examples=["reallocated sectors 4 -> 61 in 7 days"])


class CauseEntry(Model):
    """What makes the state, and whether somebody has seen it."""

    cause: str = Field(description="A rule's id, probability, or wear.", examples=["probability"])
    level: float = Field(description="How bad it is; a higher one than was acknowledged is news.")
    acknowledged: bool = Field(description="As of now; the state follows with the next round.")


class StateEntry(Model):
    """One change of state."""

    at: Time = Field(description="When it was found.")
    at_ns: TimeNs
    since: Time = Field(description="From when on it was said to hold.")
    since_ns: TimeNs
    was: StateName
    state: StateName
    why: str


class ShadowAnswer(Model):
    """What the model says that runs beside the active one. No state, list or alert looks at it."""

    digest: str = Field(examples=["sha256:8d5f0c2b7a11e94f"])
    probability_7d: _Probability
    probability_30d: _Probability


class ActionEntry(Model):
    """What an operator said of a drive."""

    id: int
    kind: Literal["acknowledge", "mute", "outcome"]
    drive: str | None = Field(description="Null: it was said of a model, or of the fleet.")
    model: str | None = Field(description="Null: of one drive, or of the fleet.")
    cause: str | None = Field(description="What was acknowledged.", examples=["probability"])
    column: str | None = Field(description="What is muted.", examples=["crc_total"])
    outcome: OutcomeName | None
    day: _Day | None = Field(description="On which day the outcome was found.")
    level: float | None = Field(description="How bad the cause was then.")
    note: str
    who: str = Field(description="Name of the API key; with keys off, the address.", examples=["oncall"])
    created: Time
    created_ns: TimeNs
    until: Time | None = Field(description="When it ends by itself; null: it does not.")
    until_ns: int | None
    ended: Time | None = Field(description="When it was taken back; null: it was not.")
    ended_ns: int | None


class DriveDetail(DriveEntry):
    """All that is known of one drive."""

    day: _Day | None = Field(description="The day that was judged; null: none yet.")
    rules: list[RuleEntry] = Field(description="Hard rules that fired.")
    wear: WearAnswer | None
    why_no_probability: str = Field(description="Empty where there is one.", examples=["no model is installed"])
    reasons: list[ReasonEntry] = Field(description="What speaks most for and against failing, strongest first.")
    why_unknown: str
    causes: list[CauseEntry] = Field(description="What makes the state.")
    model_digest: str | None = Field(description="The model that the probability is of.")
    shadow: ShadowAnswer | None = Field(description="What the shadow model says; null: there is none, or it says none.")
    muted: list[str] = Field(
        description="Columns that are left out now: of this drive, of its model or of the fleet.",
        examples=[["crc_total"]],
    )
    states: list[StateEntry] = Field(description="Changes of state, newest first.")
    days: list[dict[str, int | float | bool | str | None]] = Field(
        description="What the drive said of itself, day by day, newest first: columns as in the stream smart; null is "
        "unknown, never 0.",
        examples=[[{"day": "2026-11-22", "realloc_total": 61, "wear_used_pct": None}]],
    )
    actions: list[ActionEntry] = Field(description="What operators said of it, newest first.")


class ModelCounts(Model):
    """Drives of one model by state."""

    model: str | None
    unknown: int
    good: int
    watch: int
    replace: int


class StateCounts(Model):
    """Drives by state."""

    unknown: int
    good: int
    watch: int
    replace: int


class ScoringModelEntry(Model):
    """The essentials of a model's card."""

    digest: str = Field(examples=["sha256:8d5f0c2b7a11e94f"])
    role: Literal["active", "shadow", "retired"]
    installed: Time
    installed_ns: TimeNs
    promoted: Time | None = Field(description="When it became the active one; null: it did not.")
    promoted_ns: int | None
    note: str = Field(description="Why it was promoted, where somebody said so.")
    made: str | None = Field(description="When it was trained, as the card says.")
    origin: str | None = Field(description="Where its data came from.")
    synthetic: bool | None = Field(description="It learned from made-up data; null: the card does not say.")
    horizons: list[int] = Field(description="Days within which it predicts a failure.", examples=[[7, 30]])


class DrivesSummary(Model):
    """The drives at a glance."""

    drives: int
    states: StateCounts
    models: list[ModelCounts] = Field(description="By model; null: the drive does not say.")
    synthetic_drives: int = Field(description="Drives that a generator made up.")
    synthetic: bool = Field(description="Some drives are made up, or the model learned from such.")
    last_round: Time | None = Field(description="When the newest round began that judged all drives; null: none did.")
    last_round_ns: int | None
    last_assessed: Time | None = Field(description="When a drive was last judged; null: none was.")
    last_assessed_ns: int | None
    last_day: _Day | None = Field(description="The newest day that readings came from.")
    scoring_model: ScoringModelEntry | None = Field(description="The model that gives probabilities; null: none does.")
    why_no_model: str = Field(
        description="Empty where there is one.", examples=["no model is installed: rules and wear work without"]
    )


class ModelCard(ScoringModelEntry):
    """A model with its whole card."""

    card: dict[str, object] = Field(description="Data, protocol, results with intervals, limits.")


class ModelCards(Model):
    """The models that judge drives."""

    active: ModelCard | None
    shadow: ModelCard | None = Field(description="Judges beside the active one; what it says counts for nothing.")
    why_no_model: str


class _Post(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AcknowledgePost(_Post):
    """Somebody has seen what is wrong with a drive."""

    causes: list[Annotated[str, Field(max_length=100)]] = Field(
        default=[], max_length=100, description="Rules, probability or wear; empty: all that are there now.",
        examples=[["probability"]],
    )  # fmt: skip
    until: _Until = "now+30d"
    note: _Note = ""


class MutePost(_Post):
    """An attribute is not to be looked at on a drive."""

    column: Annotated[str, Field(max_length=100, description="Of the stream smart.", examples=["crc_total"])]
    until: _Until = None
    note: _Note = ""


class FleetMutePost(MutePost):
    """An attribute is not to be looked at, on any drive or on those of a model."""

    model: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="Only drives of exactly this model.", examples=["SSD 850 PRO"]
    )


class OutcomePost(_Post):
    """What became of a drive: training learns from it."""

    outcome: OutcomeName = Field(
        description="failed; replaced_healthy: taken out although it worked; back: in use again, or it never was gone."
    )
    day: _Day | None = Field(default=None, max_length=40, description="On which day, UTC; without it today.")
    note: _Note = ""


class MutesPage(Model):
    """One page of the mutes that hold."""

    mutes: list[ActionEntry] = Field(description="The newest first; without drive and model it is of the whole fleet.")
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")


class ActionsAnswer(Model):
    """What was written down, or taken back."""

    actions: list[ActionEntry]
    takes_effect: str = Field(
        description="What shows at once, and what with the next round.",
        examples=["shown at once; the state follows with the next round of the job"],
    )
