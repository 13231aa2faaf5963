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


class JobsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When the scheduled work is done.

    Attributes:
        interval_s: seconds between two rounds.
        settle_s: a coarser window is computed this long after its end, so that late data is mostly in.
    """

    interval_s: _Positive = 30.0
    settle_s: Annotated[float, msgspec.Meta(ge=0)] = 120.0
