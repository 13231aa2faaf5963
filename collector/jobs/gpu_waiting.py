"""Which jobs have something new that is not looked into yet: noted in the database, so that nobody's death forgets it.

A job waits from the moment that lines of it, or a report, came, until all of its attempts that these may tell of are
looked into. What is written down says from when on there is something new, and when its last line was written.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final

import msgspec
import sqlalchemy as sa

from store.gpu_overview import WAITING_SCOPE
from store.gpu_tables import gpu_progress
from store.job_progress import Progress, ProgressTable

PROGRESS: Final = ProgressTable(gpu_progress)
#: Jobs whose reports nobody has learned from yet (gpu_learning.py).
TO_LEARN_SCOPE: Final = "gpu jobs to learn"
#: Nothing is noted, and nothing is known, from then on: every attempt of the job may be meant.
BEGINNING_NS: Final = 0


class _Body(msgspec.Struct, omit_defaults=True):
    job: str
    last_ns: int | None = None
    tries: int = 0
    after_ns: int = 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """One job.

    Attributes:
        from_ns: nothing is new before.
        last_ns: when its last line was written, by the end of the window; None where no line is known.
        tries: how often looking into it failed. after_ns: not to be tried before.
    """

    job: str
    from_ns: int = BEGINNING_NS
    last_ns: int | None = None
    tries: int = 0
    after_ns: int = 0

    def with_news(self, from_ns: int, last_ns: int | None) -> "Waiting":
        """The same with something new; what failed before is tried again."""
        last = self.last_ns if last_ns is None else max(last_ns, self.last_ns or last_ns)
        if from_ns >= self.from_ns and last == self.last_ns and not self.tries:
            return self
        return replace(self, from_ns=min(from_ns, self.from_ns), last_ns=last, tries=0, after_ns=0)


def key_of(job: str) -> int:
    """The key of a job's entries: 63 bits of a hash of its name, which stands in the entry."""
    digest = blake2b(job.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def read_waiting(connection: sa.Connection) -> tuple[dict[str, Waiting], dict[int, str]]:
    """All jobs that wait, by name; and of entries that cannot be read the key, which is a hash of the name, and why."""
    found: dict[str, Waiting] = {}
    damaged: dict[int, str] = {}
    for key, entry in PROGRESS.read(connection, WAITING_SCOPE).items():
        try:
            body = msgspec.json.decode(entry.body or "", type=_Body)
        except msgspec.MsgspecError as error:
            damaged[key] = str(error)
        else:
            found[body.job] = Waiting(body.job, entry.value, body.last_ns, body.tries, body.after_ns)
    return found, damaged


def write_waiting(connection: sa.Connection, jobs: Iterable[Waiting], now_ns: int) -> None:
    """Note these in place of what was noted of them."""
    entries = {}
    for one in jobs:
        body = _Body(one.job, one.last_ns, one.tries, one.after_ns)
        entries[key_of(one.job)] = Progress(one.from_ns, msgspec.json.encode(body).decode())
    PROGRESS.write(connection, WAITING_SCOPE, entries, now_ns)


def drop_waiting(connection: sa.Connection, jobs: Iterable[str]) -> None:
    """These are looked into."""
    PROGRESS.drop(connection, WAITING_SCOPE, [key_of(job) for job in jobs])


def write_to_learn(connection: sa.Connection, jobs: Iterable[str], now_ns: int) -> None:
    """Reports, or diagnoses, of these came."""
    PROGRESS.write(connection, TO_LEARN_SCOPE, {key_of(job): Progress(0, job) for job in jobs}, now_ns)


def read_to_learn(connection: sa.Connection) -> list[str]:
    """Jobs whose reports nobody has learned from, in an order that is always the same."""
    return [entry.body for entry in PROGRESS.read(connection, TO_LEARN_SCOPE).values() if entry.body]


def drop_to_learn(connection: sa.Connection, jobs: Sequence[str]) -> None:
    """These were learned from."""
    PROGRESS.drop(connection, TO_LEARN_SCOPE, [key_of(job) for job in jobs])
