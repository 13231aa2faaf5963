"""What was found of an attempt, made into the row that is kept, whoever found it: the collectors' job or an upload.

A diagnosis is analytics' affair, which nothing here knows: whatever has the fields of one will do.
"""

from typing import Protocol

from store.gpu_attempts import AttemptRow
from store.gpu_failures import FailureRow, Origin, Status


class Said(Protocol):
    """The fields of a diagnosis that have columns of their own."""

    @property
    def reason(self) -> str | None: ...
    @property
    def category(self) -> str | None: ...
    @property
    def guess(self) -> str | None: ...
    @property
    def confidence(self) -> float: ...
    @property
    def retry(self) -> str | None: ...
    @property
    def action(self) -> str | None: ...
    @property
    def node(self) -> str | None: ...
    @property
    def rank(self) -> int | None: ...
    @property
    def template(self) -> str | None: ...


def failed_at(told: AttemptRow | None, *, reported: bool, else_ns: int) -> int:
    """When an attempt failed: as reported, where it is reported that it did; else the time given."""
    if told is None or not reported:
        return else_ns
    return told.reported_ns if told.end_ns is None else told.end_ns


def found_row(
    said: Said,
    told: AttemptRow | None,
    *,
    job: str,
    number: int,
    status: Status,
    failed_ns: int,
    found_ns: int,
    lost_gpu_s: float | None,
    diagnosis: str,
    rules_version: str,
    origin: Origin,
    reported: bool,
) -> FailureRow:
    """The row: what was found, whose attempt it was as far as that is told, and the rest as given."""
    return FailureRow(
        job=job,
        number=number,
        failed_ns=failed_ns,
        found_ns=found_ns,
        status=status,
        reason=said.reason,
        category=said.category,
        guess=said.guess,
        confidence=said.confidence,
        retry=said.retry,
        action=said.action,
        node=said.node,
        rank=said.rank,
        user="" if told is None else told.user,
        gpus=None if told is None else told.gpus,
        lost_gpu_s=lost_gpu_s,
        template=said.template,
        diagnosis=diagnosis,
        rules_version=rules_version,
        origin=origin,
        reported=reported,
        synthetic=told is not None and told.synthetic,
    )
