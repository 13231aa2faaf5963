"""What the operators of one query cost, and what it would take to ship the rows at each of its cuts.

Every batch that runs is read anyway: CPU per operator, rows in and out. A profile epoch adds what that leaves open:
a probe of rows goes through all operators for real, whatever the shares (they are part of the answer), and at its end
a sample of each cut is encoded on trial, a few rows of it run on trial for the fixed cost of a call. Only samples
are tried, so a profile takes some milliseconds, however many rows an epoch has.
Distinct groups come from what partial results held; while few rows are local, from the sample, by how many of its
groups were met once and twice (Chao 1984).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import polars as pl

from agents.cost_line import LEAST_S, CostLine
from agents.cost_model import Groups, OperatorCosts, QueryCosts
from agents.group_estimates import Gathered, chao1
from agents.shares import Shares
from agents.shipping import Shipping
from pipeline.chain import Chain
from pipeline.partial import Partial
from wire.columns import pack_columns

log = logging.getLogger(__name__)

#: So many rows of an epoch should reach each operator for a profile.
PROBE_ROWS: Final = 4096
# Operators behind a filter that keeps little would want the whole stream: this much of it is enough.
_MOST_PROBE_ROWS: Final = 3 * PROBE_ROWS
# Calls with up to so many rows tell the fixed cost of a call.
_FEW_ROWS: Final = 256
_TRIAL_ROWS: Final = 64
# Runs of a trial, as long as they take no more than this together.
_TRIALS: Final = 3
_TRIALS_S: Final = 0.006
_MANY_ROWS: Final = 2**15
_REPEATED: Final = 16
_FIRST_ROW_S: Final = 1e-7


class QueryProfile:
    """What is known of one query's costs."""

    def __init__(self, chain: Chain, clock: Callable[[], float]) -> None:
        """`clock` reads the CPU seconds of the process."""
        self.profiling = False
        self._chain = chain
        self._clock = clock
        self._operators = [_Operator(CostLine(_FEW_ROWS, _FIRST_ROW_S)) for _ in range(chain.row_stages + 1)]
        self._records = 0.0
        self._met = 0.0
        self._samples: dict[int, pl.DataFrame] = {}
        self._sampled: Partial | None = None
        self._probed = [0] * len(self._operators)

    def probe_rows(self, *, overflow: bool) -> int:
        """Rows that every proxy sends on of the next batch, whatever its share; of one probe even with no CPU left."""
        enough = min(self._probed) >= PROBE_ROWS or self._probed[0] >= _MOST_PROBE_ROWS
        if not self.profiling or enough or (overflow and self._probed[0]):
            return 0
        return PROBE_ROWS

    def ran(self, i: int, rows_in: pl.DataFrame, rows_out: int, cpu_s: float) -> None:
        """Operator i took rows in and gave `rows_out` rows, or as many groups."""
        operator = self._operators[i - 1]
        if operator.warm:
            operator.cpu.add(rows_in.height, cpu_s)
        operator.warm = True
        operator.taken += rows_in.height
        operator.left += rows_out
        if self.profiling:
            self._probed[i - 1] += rows_in.height
            self._sample(i - 1, rows_in)

    def passed(self, partial: Partial | None) -> None:
        """A batch has gone all the way; `partial` is what was aggregated of it."""
        if self.profiling and partial is not None and (self._sampled is None or len(self._sampled) < len(partial)):
            self._sampled = partial

    def merged(self, cpu_s: float) -> None:
        """Partial results were merged, which is a cost of the aggregate."""
        self._operators[-1].cpu.add_more(cpu_s)

    def new_groups(self, groups: int, gathered: Gathered | None) -> float:
        """How many of the groups of one more batch are new in this checkpoint interval, going by the last one."""
        known = min(1.0, self._met / gathered.distinct) if gathered is not None else 0.0
        new = groups * (1.0 - known)
        self._met += new
        return new

    def checkpoint(self) -> None:
        """What was gathered goes; the next batch finds no group."""
        self._met = 0.0

    def predicted_s(self, rows: int, shares: Shares) -> float:
        """CPU that so many rows will take in the operators."""
        cpu_s, reaching = 0.0, float(rows)
        for operator, share in zip(self._operators, shares, strict=True):
            reaching *= share
            cpu_s += operator.cpu.at(reaching)
            reaching *= operator.selectivity
        return cpu_s

    def start(self, *, profiling: bool) -> None:
        """Say whether the epoch that begins is one to profile."""
        self.profiling = profiling
        self._samples.clear()
        self._sampled = None
        self._probed = [0] * len(self._operators)

    def end_epoch(self, records: int) -> None:
        """So many records were offered in the epoch that ends; what was seen counts half from now on."""
        self._records = records if records or not self._records else self._records / 2
        for operator in self._operators:
            operator.forget()
        self.start(profiling=False)

    def costs(self, shipping: Shipping, checkpoint_epochs: float, records: int) -> QueryCosts:
        """What is known at the end of a profile epoch; samples are tried now."""
        version, last = self._chain.plan.version, len(self._operators)
        for cut, rows in self._samples.items():
            try:
                self._try(cut, rows, shipping)
            except Exception as error:  # noqa: BLE001  # rows that made a batch fail are given up where they are run
                log.debug("sample could not be tried query=%s cut=%d error=%s", self._chain.plan.query, cut, error)
        if self._sampled is not None:
            self._try_groups(self._sampled, shipping)
        return QueryCosts(
            records=float(records) if records else self._records,
            operators=tuple(OperatorCosts(one.cpu.slope_s, one.selectivity) for one in self._operators),
            drained_bytes=tuple(shipping.row_bytes(version, cut) for cut in range(last)),
            drained_s=tuple(shipping.row_s(version, cut) for cut in range(last)),
            groups=Groups(
                distinct=self._distinct(shipping.gathered(version)),
                group_bytes=shipping.group_bytes(version, last),
                group_s=shipping.group_s(version, last),
                checkpoint_epochs=checkpoint_epochs,
            ),
        )

    def _sample(self, cut: int, rows: pl.DataFrame) -> None:
        held = self._samples.get(cut)
        if rows.height and (held is None or held.height < min(rows.height, PROBE_ROWS)):
            self._samples[cut] = rows.head(PROBE_ROWS)

    def _try(self, cut: int, rows: pl.DataFrame, shipping: Shipping) -> None:
        """A few rows through the operator behind the cut, and all where it has run on few; then all encoded."""
        few, cpu = rows.head(_TRIAL_ROWS), self._operators[cut].cpu
        few_s = self._least_s(cut, few)
        if cpu.items >= _MOST_PROBE_ROWS:
            cpu.tried(few.height, few_s)
        else:
            rows_s = self._least_s(cut, rows)
            many = _repeated(rows, max(rows_s - few_s, rows_s / 10))
            cpu.tried(few.height, few_s, many.height, self._least_s(cut, many))
        version = self._chain.plan.version
        if shipping.recent(version, cut):
            return
        few, rows = self._chain.plain(cut, few), self._chain.plain(cut, rows)
        for part in (few, few, rows):  # what runs for the first time takes far longer
            begun_s = self._clock()
            size = len(pack_columns(part))
            shipping.tried(version, cut, part.height, size, self._clock() - begun_s)

    def _least_s(self, cut: int, rows: pl.DataFrame) -> float:
        """The least that some runs of the operator behind the cut took: other threads only ever add to it."""
        taken_s: list[float] = []
        while len(taken_s) < _TRIALS and sum(taken_s[1:]) < _TRIALS_S:
            begun_s = self._clock()
            if cut < self._chain.row_stages:
                self._chain.local(cut + 1, rows)
            else:
                self._chain.aggregate(rows)
            taken_s.append(self._clock() - begun_s)
        return min(taken_s)

    def _try_groups(self, partial: Partial, shipping: Shipping) -> None:
        version, cut = self._chain.plan.version, len(self._operators)
        if shipping.recent(version, cut) or not len(partial):
            return
        begun_s = self._clock()
        size = len(pack_columns(partial.sorted().to_columns()))
        shipping.tried(version, cut, len(partial), size, self._clock() - begun_s, groups=True)

    def _distinct(self, gathered: Gathered | None) -> float:
        """From what was shipped, unless the sample says that it had met only a part of the groups so far."""
        found = gathered.distinct if gathered is not None else 1.0
        sampled = chao1(self._sampled.keys["rows"].to_numpy()) if self._sampled is not None else 1.0
        few = gathered is None or gathered.records < PROBE_ROWS * 4
        return max(found, sampled) if few else found


def _repeated(rows: pl.DataFrame, cpu_s: float) -> pl.DataFrame:
    """The rows as often as is cheap, where once they take so long: the jitter of the fixed cost matters less then."""
    most = _TRIALS_S / 4 / max(cpu_s / rows.height, LEAST_S)
    return pl.concat([rows] * max(1, min(int(most) // rows.height, _MANY_ROWS // rows.height, _REPEATED)))


@dataclass(slots=True)
class _Operator:
    """What one operator was read to do, old batches counting less."""

    cpu: CostLine
    taken: float = 0.0
    left: float = 0.0
    guess: float = 1.0
    warm: bool = False  # the first run fills caches and builds tables: it says nothing of the next

    @property
    def selectivity(self) -> float:
        """Rows out per row in."""
        return self.left / self.taken if self.taken >= 1 else self.guess

    def forget(self) -> None:
        self.guess = self.selectivity
        self.taken /= 2
        self.left /= 2
        self.cpu.forget()
