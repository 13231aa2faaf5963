"""What can go wrong on the SQL side.

StoreError
├── DatabaseUrlError         database.url is no address that Tailwatch can use
├── SchemaError              the database's tables are not the ones this program was written for
├── FencedError              another collector owns the partition now; drop what is in memory
├── LeaseLostError           another process does this job now; nothing was written
├── MetricTakenError         a metric name belongs to another query for good
├── MetricChangedError       a new version of a query means something else by a metric's name
├── SelectionError           a question that makes no sense for the metric (step, range)
├── TooManyGroupsError       an answer would have more groups than the caller takes
├── CorruptPageError         stored bytes that are no page
├── ApiKeyError              an API key cannot be made as asked
├── BackupError              a copy of the database cannot be made
├── DriveActionError         what was said of a drive cannot be kept so
├── DriveModelError          a model for drives cannot be installed or promoted
├── GpuRowError              what was said of a job on GPUs cannot be kept so
├── RetryModelError          a state of retry advice is not there, or not the next one
├── ServiceRowError          what was said of a service, or recorded by it, cannot be kept so
├── ServiceLimitError        there are as many services, or questions that wait, as may be
├── ServiceChangedError      settings or the active table are not those that the change was meant for
├── TargetTableError         there is no such table of targets
└── UnknownNameError         `.nearest` holds the closest known name, or None
    ├── UnknownMetricError
    ├── UnknownLabelError
    ├── UnknownQueryError
    ├── UnknownAgentError
    ├── UnknownDriveError
    ├── UnknownActionError
    ├── UnknownServiceError
    └── UnknownKeyError
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches


class StoreError(Exception):
    """Base of all errors of this package."""


class DatabaseUrlError(StoreError):
    """The database's address is not one that Tailwatch can use."""


class SchemaError(StoreError):
    """The database's schema is missing, older, newer or foreign; the message says what to run."""


class FencedError(StoreError):
    """A flush found another owner or another position; nothing was written."""


class LeaseLostError(StoreError):
    """A job's lease has gone to another process; nothing was written."""


class MetricTakenError(StoreError):
    """A query wants a metric name that belongs to another query; `owners` says whose each one is."""

    def __init__(self, message: str, owners: Mapping[str, str]) -> None:
        super().__init__(message)
        self.owners = dict(owners)


class MetricChangedError(StoreError):
    """A query's new version computes a metric in a way that cannot be merged with what is stored."""


class SelectionError(StoreError):
    """The selection cannot be answered; the message names the limit."""


class TooManyGroupsError(StoreError):
    """An answer would have at least `groups` groups, and the caller takes at most `limit`."""

    def __init__(self, groups: int, limit: int) -> None:
        self.groups = groups
        self.limit = limit
        super().__init__(f"the answer would have {groups} groups or more, at most {limit} are taken; ask for less")


class CorruptPageError(StoreError):
    """The bytes of a stored page do not hold."""


class ApiKeyError(StoreError):
    """A name, scope or time that no API key can have, or a name that another key has."""


class BackupError(StoreError):
    """A copy of the database cannot be made; nothing was left behind."""


class DriveActionError(StoreError):
    """An acknowledgement, a mute or an outcome that says nothing, or contradicts itself."""


class DriveModelError(StoreError):
    """A model is too large, not there, or another one has its place; the message says what to do."""


class GpuRowError(StoreError):
    """An attempt, a diagnosis or advice with a text, number or time that cannot be kept; nothing was written."""


class RetryModelError(StoreError):
    """A state of retry advice is too large, not there, or does not follow the active one; the message says more."""


class ServiceRowError(StoreError):
    """Settings, requests or a question with a text, number or time that cannot be kept; nothing was written."""


class ServiceLimitError(StoreError):
    """One more service, or question that waits, than `limit`; nothing was written."""

    def __init__(self, message: str, limit: int) -> None:
        super().__init__(message)
        self.limit = limit


class ServiceChangedError(StoreError):
    """Somebody changed it meanwhile: `seen` is the version that is there, None where there is none."""

    def __init__(self, message: str, seen: int | None) -> None:
        super().__init__(message)
        self.seen = seen


class TargetTableError(StoreError):
    """There is no such table of targets; the message says which there are."""


class UnknownNameError(StoreError):
    """A name that is not known here."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        candidates = sorted(known)
        close = get_close_matches(name, candidates, n=1, cutoff=0.5)
        self.name = name
        self.nearest = close[0] if close else None
        hint = f"did you mean {self.nearest!r}?" if close else f"known: {', '.join(candidates[:20]) or 'none yet'}"
        super().__init__(f"unknown {what} {name!r}; {hint}")


class UnknownMetricError(UnknownNameError):
    """No query produces a metric of this name."""


class UnknownLabelError(UnknownNameError):
    """The metric has no such label."""


class UnknownKeyError(UnknownNameError):
    """There is no API key of this number, name or prefix."""


class UnknownQueryError(UnknownNameError):
    """There is no query of this name."""


class UnknownAgentError(UnknownNameError):
    """No agent of this id has ever reported."""


class UnknownDriveError(UnknownNameError):
    """There is no drive of this number or serial number."""


class UnknownActionError(UnknownNameError):
    """Nobody has acknowledged, muted or reported anything under this number."""


class UnknownServiceError(UnknownNameError):
    """Nobody has recorded requests of a service of this name, or set its objective."""
