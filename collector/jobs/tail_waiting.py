"""Which minutes of which services are to be computed: noted in the database, so that nobody's death forgets any.

A minute waits from the moment that a batch with requests around it was seen until it is written down. Cursor and notes
change in one transaction, and so do notes and minutes: whatever is killed when, each batch is counted in its minutes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Final

import msgspec
import sqlalchemy as sa

from store.job_progress import Progress, ProgressTable
from store.tail_tables import tail_progress

PROGRESS: Final = ProgressTable(tail_progress)
#: Under key 0, the number of the newest batch that was seen.
BATCHES_SCOPE: Final = "tail batches seen"
#: Services whose minutes wait, one entry each.
WAITING_SCOPE: Final = "tail minutes waiting"
#: Services -> requests that came since speed-ups were last asked to be learned.
UNLEARNED_SCOPE: Final = "tail requests to learn"
MINUTE_NS: Final = 60 * 10**9


class _Body(msgspec.Struct, omit_defaults=True):
    service: str
    minutes: list[int] = []
    tries: int = 0
    aside: list[int] = []


@dataclass(frozen=True, slots=True)
class Waiting:
    """One service.

    Attributes:
        minutes: since 1970, those to be computed.
        aside: those of them that could not be; tries: how often in a row. after_ns: these are not tried before.
    """

    service: str
    minutes: frozenset[int] = field(default=frozenset())
    tries: int = 0
    after_ns: int = 0
    aside: frozenset[int] = field(default=frozenset())

    def with_news(self, minutes: Iterable[int]) -> "Waiting":
        """The same with more minutes; what failed before keeps its time."""
        return replace(self, minutes=self.minutes | frozenset(minutes))

    def without(self, minutes: Iterable[int]) -> "Waiting":
        """The same, these made or given up; the first that is made ends the tries of those aside."""
        gone = frozenset(minutes)
        aside = self.aside - gone
        tries, after_ns = (self.tries, self.after_ns) if aside == self.aside and aside else (0, 0)
        return replace(self, minutes=self.minutes - gone, aside=aside, tries=tries, after_ns=after_ns)


def key_of(service: str) -> int:
    """The key of a service's entries: 63 bits of a hash of its name, which stands in the entry."""
    digest = blake2b(service.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def read_waiting(connection: sa.Connection) -> dict[str, Waiting]:
    """All services with minutes that wait."""
    found = {}
    for entry in PROGRESS.read(connection, WAITING_SCOPE).values():
        body = msgspec.json.decode(entry.body or "{}", type=_Body)
        found[body.service] = Waiting(
            body.service, frozenset(body.minutes), body.tries, entry.value, frozenset(body.aside)
        )
    return found


def write_waiting(connection: sa.Connection, services: Iterable[Waiting], now_ns: int) -> None:
    """Note these in place of what was noted of them; one without minutes waits no longer."""
    entries, done = {}, []
    for one in services:
        if one.minutes:
            body = _Body(one.service, sorted(one.minutes), one.tries, sorted(one.aside))
            entries[key_of(one.service)] = Progress(one.after_ns, msgspec.json.encode(body).decode())
        else:
            done.append(key_of(one.service))
    PROGRESS.write(connection, WAITING_SCOPE, entries, now_ns)
    PROGRESS.drop(connection, WAITING_SCOPE, done)


def read_unlearned(connection: sa.Connection) -> dict[str, int]:
    """Service -> requests that came since its speed-ups were last asked to be learned."""
    entries = PROGRESS.read(connection, UNLEARNED_SCOPE).values()
    return {entry.body: entry.value for entry in entries if entry.body}


def write_unlearned(connection: sa.Connection, requests: dict[str, int], now_ns: int) -> None:
    """Note so many for these services; 0 forgets one."""
    kept = {key_of(service): Progress(n, service) for service, n in requests.items() if n}
    PROGRESS.write(connection, UNLEARNED_SCOPE, kept, now_ns)
    PROGRESS.drop(connection, UNLEARNED_SCOPE, [key_of(service) for service, n in requests.items() if not n])
