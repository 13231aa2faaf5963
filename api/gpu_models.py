"""The shapes of what is told of GPU jobs and reported about them; see api/models.py for how they are used.

Only the *Post models run: they are what bodies are checked against. A diagnosis and an advice stand here as the
command line prints them with `--output json`.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool
from pydantic_core import PydanticCustomError

from api.models import Model, Time, TimeNs

Status = Literal["answered", "abstained", "no_failure"]
Category = Literal["infrastructure", "ai_engine", "user"]
Reaction = Literal["never", "same", "other_node", "more_mem", "backoff"]
LogSource = Literal["stdout", "stderr", "kernel", "scheduler", "events"]
OutcomeName = Literal["passed", "failed", "killed", "preempted", "timeout", "node_failure", "running"]
#: Attempts that one body may bring.
MOST_ATTEMPTS = 10_000
#: Logs that one body may bring.
MOST_LOGS = 1_000
_Probability = Annotated[float, Field(ge=0, le=1, examples=[0.93])]
_Name = Annotated[str, Field(max_length=256)]


def _no_flag(value: object) -> object:
    """True would be taken for a second after 1970."""
    if isinstance(value, bool):
        raise PydanticCustomError("no_time", "no time; write RFC 3339, or seconds since 1970")
    return value


_When = Annotated[str | int | float, Field(examples=["2026-11-22T07:00:10Z"]), BeforeValidator(_no_flag)]


def _only_numbers(value: object) -> object:
    """True would be taken for 1, and "1", too."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PydanticCustomError("no_number", "no number; write it without quotes")
    return value


_Whole = Annotated[int, BeforeValidator(_only_numbers)]
_Number = Annotated[float, BeforeValidator(_only_numbers)]


class EvidenceEntry(Model):
    """A line of a log that speaks for the answer."""

    signature: str = Field(description="Id of the rule that it matches.", examples=["gpu-oom-torch"])
    reason: str = Field(examples=["gpu_oom"])
    role: Literal["root", "cascade", "confirm", "advice"]
    file: str = Field(examples=["rank0.log"])
    number: int = Field(description="Of the line, from 1.", examples=[8_121])
    text: str = Field(examples=["RuntimeError: CUDA out of memory. Tried to allocate 2 GiB"])
    rank: int | None
    node: str | None
    time_ns: int | None


class DiagnosisAnswer(Model):
    """Why a job died."""

    status: Status = Field(
        description="abstained: something failed, and no cause is sure enough; no_failure: nothing says that it failed."
    )
    reason: str | None = Field(description="Null unless answered.", examples=["gpu_oom"])
    category: Category | None
    guess: str | None = Field(description="The best reason found, also where it is not sure enough.")
    confidence: _Probability = Field(description="Calibrated probability that the guess is right.")
    retry: Reaction | None = Field(description="What the rule says of a retry.")
    action: str | None = Field(examples=["lower the batch size, or use a GPU with more memory"])
    rank: int | None = Field(description="Where the root stands.")
    node: str | None
    evidence: list[EvidenceEntry] = Field(description="The root first, then what confirms it.")
    cascades: list[EvidenceEntry] = Field(description="What followed from it.")
    silent_ranks: list[int] = Field(description="Ranks that wrote nothing before a collective's timeout.")
    template: str | None = Field(description="The last lines, masked, of what no rule knows.")
    lines: int = Field(examples=[8_304])
    bytes: int = Field(examples=[734_003])
    notes: list[str] = Field(examples=[["the clock of node n7 is +31 s off the others'"]])


class AdviceEntry(Model):
    """What to do about a failed job."""

    job: str = Field(examples=["train-4711"])
    number: int = Field(description="Of the attempt that failed.", examples=[2])
    reason: str = Field(description="Empty: unknown.")
    decision: Reaction = Field(description="never: hand it back to its owner.")
    probability: _Probability = Field(description="That a retry gets past this failure.")
    wanted: _Probability = Field(description="From which on a retry of so long a run is worth it.")
    prior: _Probability = Field(description="Before any outcome was seen.")
    outcomes: float = Field(description="Of this reason that it rests on; old ones count less.")
    explored: bool = Field(description="It looks hopeless and costs little: tried to learn from.")
    grounds: list[Literal["rule", "repeated", "attempts", "gpu_hours"]] = Field(
        description="What speaks against a retry beside the probability, of `never`."
    )
    wait_s: float
    memory_factor: int
    avoid: list[str] = Field(description="Nodes that the retry should not go to.")
    why: list[str] = Field(description="For a person.")
    model: str = Field(examples=["generation 12, 418 outcomes"])


class ClassifyAnswer(Model):
    """What logs say of a job."""

    job: str | None
    number: int | None
    diagnosis: DiagnosisAnswer
    advice: AdviceEntry | None = Field(description="Of an attempt that is known to have failed.")
    why_no_advice: str = Field(
        description="Empty where there is one.", examples=["attempt 2 of the job was not reported"]
    )
    kept: bool = Field(description="Whether it shows in the lists from now on.")
    why_not_kept: str = Field(examples=["keep was not asked for"])
    href: str | None = Field(description="The job, where it was kept.", examples=["/api/v1/gpu/jobs/train-4711"])


class AttemptEntry(Model):
    """One run of a job, as it was reported."""

    number: int = Field(examples=[2])
    user: str = Field(description="Empty: unknown.", examples=["ana"])
    queue: str
    nodes: list[str] = Field(examples=[["gpu-17", "gpu-18"]])
    gpus: float | None = Field(examples=[16])
    submitted: Time | None
    submitted_ns: int | None
    started: Time | None
    started_ns: int | None
    ended: Time | None
    ended_ns: int | None
    outcome: OutcomeName
    exit_code: int | None
    signal: int | None
    synthetic: bool
    reported: Time = Field(description="When the newest report came that said something new.")
    reported_ns: TimeNs


class FailureEntry(Model):
    """Why an attempt failed, as lists show it."""

    id: int = Field(examples=[91])
    job: str = Field(examples=["train-4711"])
    number: int = Field(examples=[2])
    failed: Time
    failed_ns: TimeNs
    found: Time = Field(description="When this was found.")
    found_ns: TimeNs
    status: Literal["answered", "abstained"]
    reason: str | None = Field(description="Null where no cause is sure enough.", examples=["nccl_timeout"])
    category: str | None = Field(examples=["infrastructure"])
    guess: str | None
    confidence: _Probability
    retry: str | None
    action: str | None
    node: str | None = Field(examples=["gpu-17"])
    rank: int | None
    user: str = Field(examples=["ana"])
    gpus: float | None
    lost_gpu_hours: float | None = Field(description="Of the attempt, up to the failure.", examples=[37.5])
    template: str | None
    origin: Literal["agents", "upload"]
    reported: bool = Field(description="The scheduler says that it failed; else only its log does.")
    synthetic: bool = Field(description="A generator made it up.")
    rules_version: str
    revision: int = Field(description="Counts what was found otherwise later.")
    href: str = Field(examples=["/api/v1/gpu/jobs/train-4711"])


class FailuresPage(Model):
    """One page of failures."""

    failures: list[FailureEntry] = Field(description="The newest first.")
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")


class AdviceAnswer(Model):
    """Advice about one failed attempt."""

    advice: AdviceEntry
    given: Time
    given_ns: TimeNs
    stored: bool = Field(description="The job's, as it was given then; else computed now.")
    model_generation: int | None = Field(description="Of the model behind it; null: the priors alone.")


class JobFailure(FailureEntry):
    """One failure of a job with all that was found."""

    diagnosis: DiagnosisAnswer | None = Field(description="Null where a newer release wrote it.")
    advice: AdviceEntry | None
    advised: Time | None
    advised_ns: int | None


class JobDetail(Model):
    """All that is known of one job."""

    job: str
    attempts: list[AttemptEntry] = Field(description="By number.")
    failures: list[JobFailure] = Field(description="By number of the attempt.")


class FailureCountEntry(Model):
    """Failures of one reason."""

    category: str | None
    reason: str | None = Field(description="Null: no cause was sure enough.")
    failures: int
    lost_gpu_hours: float = Field(description="Of those of which it is known.")


class GpuSummary(Model):
    """Failed jobs at a glance."""

    start: Time
    start_ns: TimeNs
    end: Time
    end_ns: TimeNs
    failures: int
    unexplained: int = Field(description="Of these, those without a cause that is sure enough.")
    unexplained_ratio: float | None = Field(description="Null where nothing failed.", examples=[0.08])
    lost_gpu_hours: float
    synthetic_failures: int = Field(description="Of these, those that a generator made up.")
    reasons: list[FailureCountEntry] = Field(description="Those that took the most GPU time first.")
    nodes_standing_out: list[str]
    nodes_checked: Time | None = Field(description="When nodes were last tested; null: never.")
    nodes_checked_ns: int | None
    last_round: Time | None = Field(
        description="When the newest round of the collectors' job began that did all there was; null: none did."
    )
    last_round_ns: int | None
    jobs_waiting: int = Field(description="Jobs with news that it has not looked into yet.")


class NodeEntry(Model):
    """What the newest test of all nodes says of one."""

    node: str = Field(examples=["gpu-17"])
    failures: int = Field(description="Jobs that failed there.")
    expected: float = Field(description="As many, had it failed like the others.")
    ratio: float | None = Field(description="Failures to expected ones.")
    p_value: float
    q_value: float = Field(description="Corrected over all nodes.")
    stands_out: bool
    checked: Time
    checked_ns: TimeNs


class NodesPage(Model):
    """One page of nodes."""

    nodes: list[NodeEntry] = Field(description="By name.")
    next_cursor: str | None


class RetryModelEntry(Model):
    """A state of the model behind the advice."""

    generation: int = Field(examples=[12])
    digest: str = Field(examples=["sha256:8d5f0c2b7a11e94f"])
    parent: str = Field(description="Digest of the state that it came from; empty of the first.")
    created: Time
    created_ns: TimeNs
    active: bool = Field(description="It is the one that advice comes from.")
    activated: Time = Field(description="When it last became that.")
    activated_ns: TimeNs
    note: str = Field(description="Why it is there, or why somebody went back to it.")
    bytes: int


class RetryModels(Model):
    """States of the model behind the advice."""

    models: list[RetryModelEntry] = Field(description="The newest first.")
    why_no_model: str = Field(description="Empty where one is active.")


class LearnedState(Model):
    """What advice rests on."""

    generation: int
    origin: str
    outcomes: int = Field(description="Learned so far.")
    brier: float | None = Field(description="Mean squared error of the probabilities, each given beforehand.")
    prior_brier: float | None = Field(description="As well as the priors alone would have done.")
    auc: float | None
    prior_auc: float | None


class AdviceList(Model):
    """Advice about attempts that were posted."""

    jobs: int
    failed: int = Field(description="Jobs whose last attempt failed.")
    state: LearnedState
    advice: list[AdviceEntry]


class AttemptsTaken(Model):
    """What became of reported attempts."""

    attempts: int = Field(description="That were reported.", examples=[240])
    changed: int = Field(description="Of these, those that were new or said something new.", examples=[3])


class _Post(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AttemptPost(_Post):
    """One run of a job, as the scheduler tells."""

    job: _Name = Field(description="The same for all attempts of a job.", examples=["train-4711"])
    number: _Whole = Field(default=1, description="Of the attempt, from 1.", examples=[2])
    user: _Name = Field(default="", examples=["ana"])
    queue: _Name = ""
    nodes: list[_Name] = Field(default=[], max_length=65_536, examples=[["gpu-17", "gpu-18"]])
    gpus: _Number | None = Field(default=None, description="Over all nodes.", examples=[16])
    submitted: _When | None = None
    started: _When | None = None
    ended: _When | None = None
    outcome: OutcomeName = "running"
    exit_code: _Whole | None = Field(default=None, examples=[1])
    signal: _Whole | None = None
    synthetic: StrictBool = Field(default=False, description="A generator made it up.")


class AttemptsPost(_Post):
    """What the scheduler tells of attempts; the same again, later or in parts does no harm."""

    attempts: list[AttemptPost] = Field(max_length=MOST_ATTEMPTS)


class FailedAttemptPost(AttemptPost):
    """An attempt with what is known of why it failed."""

    reason: _Name = Field(default="", description="Of the diagnosis; empty: unknown.", examples=["nccl_timeout"])
    category: _Name = ""
    template: str = Field(default="", max_length=16_384, description="Masked text of the error.")


class LimitsPost(_Post):
    """What holds whatever the model thinks."""

    attempts: _Whole = Field(default=4, ge=1, le=1_000, description="Of one job.")
    gpu_hours: _Number = Field(default=2_000, ge=0, description="Lost in failed attempts of one job.")
    handback_h: _Number = Field(default=8, ge=0, description="Hours until a job that was handed back comes again.")
    explore: _Number = Field(default=0.05, ge=0, le=0.5, description="Share of hopeless retries made to learn from.")


class AdvicePost(_Post):
    """Chains of attempts to give advice about; nothing of them is kept."""

    attempts: list[FailedAttemptPost] = Field(max_length=MOST_ATTEMPTS)
    limits: LimitsPost = LimitsPost()


class LogPost(_Post):
    """One log of the job."""

    name: Annotated[str, Field(max_length=1_000, examples=["rank0.log"])] = "log"
    text: str
    rank: _Whole | None = Field(default=None, ge=0, le=1_000_000, description="Of the process that wrote it.")
    node: _Name | None = Field(default=None, examples=["gpu-17"])
    source: LogSource | None = None


class FactsPost(_Post):
    """What is known of the job besides its logs."""

    nodes: list[_Name] = Field(default=[], max_length=65_536)
    start: _When | None = None
    end: _When | None = None
    exit_code: _Whole | None = None
    signal: _Whole | None = None
    gpus_before: dict[_Name, _Whole] = Field(default={}, description="Node to the GPUs that it showed before the job.")
    gpus_after: dict[_Name, _Whole] = {}


class ClassifyPost(_Post):
    """Several logs of one job, with what is known besides."""

    logs: list[LogPost] = Field(min_length=1, max_length=MOST_LOGS)
    facts: FactsPost = FactsPost()


class ActivatePost(_Post):
    """Why to go back."""

    note: str = Field(default="", max_length=1_000, examples=["advice went wrong since Tuesday, ticket 4711"])
