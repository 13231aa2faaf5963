"""Settings of the scheduled work: how often, and how long each level is kept.

Agents read the whole configuration too, so nothing of the store may be imported here.
"""

from typing import Annotated

import msgspec

_Positive = Annotated[float, msgspec.Meta(gt=0)]
_DAY_S = 86_400.0


class RetentionConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """For how long windows are kept, by width; each must be kept at least as long as the finer one.

    Attributes:
        own_windows_s: a query's own windows (10 s for the built-in queries).
        minutes_s: windows of about a minute.
        hours_s: windows of about an hour; what is older is gone, and refused when it comes.
    """

    own_windows_s: _Positive = 2 * _DAY_S
    minutes_s: _Positive = 30 * _DAY_S
    hours_s: _Positive = 400 * _DAY_S

    def __post_init__(self) -> None:
        """Refuse a finer level that would outlive a coarser one."""
        if not self.own_windows_s <= self.minutes_s <= self.hours_s:
            raise ValueError(
                f"own_windows_s {self.own_windows_s:g}, minutes_s {self.minutes_s:g} and hours_s {self.hours_s:g} "
                "must not fall: a coarser level is kept at least as long as a finer one"
            )


class DrivesConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How drives are scored (docs/reference/collector.md#drives).

    Attributes:
        enabled: whether this collector takes part; where none does, drives keep the verdicts they have.
        interval_s: seconds between two rounds.
        cpu_share: of one core, at most, on average over a round; between two chunks of drives the job rests.
        keep_days: for how many days a drive's days are kept.
        gone_after_days: a drive not heard of for longer is in no series and no count any more; its row stays.
        forget_after_days: a drive not heard of for longer is deleted with its history, once its days are gone too.
        keep_models_days: for how many days a model is kept that was retired.
        series_max_drives: of up to so many drives series are written; of more only those that are not Good.
    """

    enabled: bool = True
    interval_s: _Positive = 900.0
    cpu_share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5
    keep_days: Annotated[int, msgspec.Meta(ge=90, le=4000)] = 400
    gone_after_days: Annotated[int, msgspec.Meta(ge=4, le=4000)] = 30
    forget_after_days: Annotated[int, msgspec.Meta(ge=90, le=40_000)] = 800
    keep_models_days: Annotated[int, msgspec.Meta(ge=1, le=40_000)] = 400
    series_max_drives: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 20_000

    def __post_init__(self) -> None:
        """Refuse to forget a drive that is still shown, or whose days are kept."""
        if self.forget_after_days < max(self.keep_days, self.gone_after_days):
            raise ValueError(
                f"forget_after_days {self.forget_after_days} is less than keep_days {self.keep_days} or "
                f"gone_after_days {self.gone_after_days}: a drive is kept at least as long as its days and its series"
            )


class GpuConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How failed jobs on GPUs are looked into (docs/reference/collector.md#gpu-jobs).

    Attributes:
        enabled: whether this collector takes part; where none does, nothing is diagnosed.
        interval_s: seconds between two rounds.
        cpu_share: of one core, at most, on average over a round; between two batches of jobs the job rests.
        settle_s: an attempt that is reported failed is looked into so long after its end, when its lines are in.
        quiet_s: one that nobody reported is looked into when its logs have been quiet for so long.
        look_back_s: lines and reports of what ended longer ago change no diagnosis any more.
        keep_days: for how many days attempts, diagnoses and advice are kept.
        keep_models: how many generations of the retry model are kept.
        node_days: nodes are tested by the attempts of so many days.
        rules_path: a site's own rules, "" for none.
        series: whether series are written.
    """

    enabled: bool = True
    interval_s: _Positive = 60.0
    cpu_share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5
    settle_s: Annotated[float, msgspec.Meta(ge=0)] = 60.0
    quiet_s: _Positive = 900.0
    look_back_s: Annotated[float, msgspec.Meta(ge=3600, le=90 * _DAY_S)] = 2 * _DAY_S
    keep_days: Annotated[int, msgspec.Meta(ge=1, le=4000)] = 400
    keep_models: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 24
    node_days: Annotated[int, msgspec.Meta(ge=1, le=400)] = 30
    rules_path: str = ""
    series: bool = True

    def __post_init__(self) -> None:
        """Refuse to forget what is still looked at."""
        if self.keep_days * _DAY_S < max(self.look_back_s, self.node_days * _DAY_S):
            raise ValueError(
                f"keep_days {self.keep_days} is less than node_days {self.node_days} or look_back_s "
                f"{self.look_back_s:g}: attempts are kept at least as long as they are looked at"
            )


class TailConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How recorded requests of services are worked on (docs/reference/collector.md#services).

    Attributes:
        enabled: whether this collector takes part; where none does, requests are kept and nothing is said of them.
        interval_s: seconds between two rounds.
        cpu_share: of one core, at most, on average over a round or a run; in between the job rests.
        settle_s: a minute goes into series so long after its end, so that late requests are mostly in.
        look_back_s: requests that come later than so long after they ended change no minute any more.
        keep_days: for how many days recorded requests are kept.
        keep_minutes_days: for how many days minutes, runs and changes of alerts are kept.
        most_requests: of one service that are looked at in one run, the newest; bounds the memory.
        learn_every_s: speed-ups of a service are learned again so often at most.
        advise_every_s: a better target table is looked for so often at most, and only on request where it is 0.
        series: whether series are written.
    """

    enabled: bool = True
    interval_s: _Positive = 60.0
    cpu_share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5
    settle_s: Annotated[float, msgspec.Meta(ge=30, le=3600)] = 120.0
    look_back_s: Annotated[float, msgspec.Meta(ge=300, le=_DAY_S)] = 3600.0
    keep_days: Annotated[int, msgspec.Meta(ge=1, le=400)] = 14
    keep_minutes_days: Annotated[int, msgspec.Meta(ge=1, le=4000)] = 40
    most_requests: Annotated[int, msgspec.Meta(ge=10_000, le=10_000_000)] = 2_000_000
    learn_every_s: Annotated[float, msgspec.Meta(ge=60, le=400 * _DAY_S)] = 3600.0
    advise_every_s: Annotated[float, msgspec.Meta(ge=0, le=400 * _DAY_S)] = _DAY_S
    series: bool = True

    def __post_init__(self) -> None:
        """Refuse to forget minutes that series or alerts still wait for."""
        if self.settle_s > self.look_back_s:
            raise ValueError(
                f"settle_s {self.settle_s:g} is more than look_back_s {self.look_back_s:g}: a minute settles before "
                "requests come too late for it"
            )


class JobsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When the scheduled work is done.

    Attributes:
        interval_s: seconds between two rounds.
        settle_s: a coarser window is computed this long after its end, so that late data is mostly in.
        drives: the scoring of drives, in rounds of its own.
        gpu: failed jobs on GPUs, in rounds of their own.
        tail: services whose requests are recorded, in rounds of their own.
    """

    interval_s: _Positive = 30.0
    settle_s: Annotated[float, msgspec.Meta(ge=0)] = 120.0
    drives: DrivesConfig = msgspec.field(default_factory=DrivesConfig)
    gpu: GpuConfig = msgspec.field(default_factory=GpuConfig)
    tail: TailConfig = msgspec.field(default_factory=TailConfig)
