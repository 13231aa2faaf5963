"""What the operators of one query cost, and what it would take to ship the rows at each of its cuts.

Batches that run anyway are read: rows in and out of each operator, and of some the CPU. A profile epoch adds what that
leaves open: a probe of rows goes through all operators for real, whatever the shares (they are part of the answer),
and at its end a sample of each cut is run and encoded on trial, which gives the fixed cost of a call and the cost of a
row apart. Only samples are tried, so a profile takes some milliseconds, however many rows an epoch has.
Distinct groups come from what partial results held; while few rows are local, from the sample, by how many of its
groups were met once and twice (Chao 1984).
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import polars as pl

from agents.cost_line import LEAST_S, CostLine
from agents.cost_model import Groups, OperatorCosts, QueryCosts
from agents.group_estimates import Gathered, chao1
from agents.shares import Shares
from agents.shipping import Shipping, Trial
from pipeline.chain import Chain
from pipeline.partial import Partial
from wire.columns import pack_columns
from wire.errors import FrameTooLargeError

log = logging.getLogger(__name__)

#: So many rows of an epoch go into the first operator for a profile.
PROBE_ROWS: Final = 4096
# So many batches are probed, the 1st, 2nd, 4th, ...: operators behind a filter that keeps little would want the whole
# stream, and rows that follow each other may well be of different groups, where a source goes round all of them.
_PROBES: Final = 4
# Calls with up to so many rows tell the fixed cost of a call.
_FEW_ROWS: Final = 256
_TRIAL_ROWS: Final = 64
_TRIAL_GROUPS: Final = 16
# A trial runs on more and more rows until they take this long beside the fixed cost; each twice, the first may be cold.
_TRIALS: Final = 2
_TRIAL_S: Final = 1e-3
_FIRST_TRIAL_ROWS: Final = 1024
# Of operators for which even the few rows of a trial take so long, so many rows tell enough.
_COSTLY_S: Final = 1e-2
_COSTLY_TRIAL_ROWS: Final = 256
_MANY_ROWS: Final = 2**15
_REPEATED: Final = 16
# A batch that was held back is tried as far as it has so many rows, or takes about so long.
_WHOLE_ROWS: Final = 2**17
_WHOLE_S: Final = 1e-2
# And no operator takes longer for it; where that is not good for more rows than a sample has, it is left at the sample.
_WHOLE_MOST_S: Final = 0.1
_FIRST_ROW_S: Final = 1e-7
_TAKEN_IN_S: Final = 1e-8
# One in so many batches is timed outside of profiles; no divisor of the number of partials that become one.
_TIMED_EVERY: Final = 5


class HeldBack(Protocol):
    """What a query has drained in the epoch: real rows to try operators on."""

    def spread_sample(self) -> Partial | None:
        """Groups of rows drawn from all over the epoch; None where few are at hand."""

    def batch_drained(self) -> tuple[int, pl.DataFrame] | None:
        """The cut and the rows of the largest batch that was drained; None where none was."""


class QueryProfile:
    """What is known of one query's costs."""

    def __init__(self, chain: Chain, clock: Callable[[], float]) -> None:
        """`clock` reads the CPU seconds of the process."""
        self.profiling = False
        self._chain = chain
        self._clock = clock
        self._operators = [_Operator(CostLine(_FEW_ROWS, _FIRST_ROW_S)) for _ in range(chain.row_stages + 1)]
        self._taking_in = CostLine(_FEW_ROWS, _TAKEN_IN_S)
        self._batches = 0
        self._timed = False
        self._begun_s = self._mark_s = self._inside_s = 0.0
        self._records = 0.0
        self._met = 0.0
        self._distinct = 0.0
        self._samples: dict[int, pl.DataFrame] = {}
        self._sampled: list[Partial] = []
        self._probed = [0] * len(self._operators)
        self._probes = 0

    def probe_rows(self, *, overflow: bool) -> int:
        """Rows that every proxy sends on of the next batch, whatever its share; of one probe even with no CPU left."""
        if not self._probing or (overflow and self._probed[0]):
            return 0
        return PROBE_ROWS if min(self._probed) < PROBE_ROWS else PROBE_ROWS // 2

    def begin(self) -> None:
        """A batch begins. Only some are read by the clock: a reading takes up to 10 us while Polars has threads."""
        self._batches += 1
        self._timed = self.profiling or self._batches % _TIMED_EVERY == 0
        self.mark()
        self._begun_s, self._inside_s = self._mark_s, 0.0

    def mark(self) -> None:
        """What was done up to now belongs to no operator."""
        if self._timed:
            self._mark_s = self._clock()

    def ran(self, i: int, rows_in: pl.DataFrame, rows_out: int) -> None:
        """Operator i took rows in and gave `rows_out` rows, or as many groups."""
        operator = self._operators[i - 1]
        if self._timed:
            cpu_s = self._since_mark_s()
            if operator.warm:
                operator.cpu.add(rows_in.height, cpu_s)
        operator.warm = True
        operator.taken += rows_in.height
        operator.left += rows_out
        if self.profiling:
            self._probed[i - 1] += rows_in.height
            self._sample(i - 1, rows_in)

    def passed(self, rows: int, partial: Partial | None) -> None:
        """A batch of so many rows has gone all the way; `partial` is what was aggregated of it."""
        if self._timed and self._batches > 1:
            self._taking_in.add(rows, self._clock() - self._begun_s - self._inside_s)
        if self.profiling:
            if partial is not None and self._probing:
                self._sampled.append(partial)
            self._probes += 1

    def merged(self) -> None:
        """Partial results were merged, which is a cost of the aggregate."""
        if self._timed:
            self._operators[-1].cpu.add_more(self._since_mark_s())

    def new_groups(self, groups: int, gathered: Gathered | None) -> float:
        """How many of the groups of one more batch are new in this checkpoint interval, going by the last one.

        Before there was one, by the profile; before there was a profile, all of them.
        """
        distinct = gathered.distinct if gathered is not None else self._distinct
        known = min(1.0, self._met / distinct) if distinct else 0.0
        new = groups * (1.0 - known)
        self._met += new
        return new

    def checkpoint(self) -> None:
        """What was gathered goes; the next batch finds no group."""
        self._met = 0.0

    def predicted_s(self, rows: int, shares: Shares) -> float:
        """CPU that so many rows will take in the operators."""
        cpu_s, reaching = self._taking_in.at(rows), float(rows)
        for operator, share in zip(self._operators, shares, strict=True):
            reaching *= share
            cpu_s += operator.cpu.at(reaching)
            reaching *= operator.selectivity
        return cpu_s

    def start(self, *, profiling: bool) -> None:
        """Say whether the epoch is one to profile; said again within it, what was sampled so far lasts."""
        if profiling == self.profiling:
            return
        self.profiling = profiling
        self._samples.clear()
        self._sampled = []
        self._probed = [0] * len(self._operators)
        self._probes = 0

    def end_epoch(self, records: int) -> None:
        """So many records were offered in the epoch that ends; what was seen counts half from now on."""
        self._records = records if records or not self._records else self._records / 2
        for operator in self._operators:
            operator.forget()
        self._taking_in.forget()
        self.start(profiling=False)

    def costs(self, shipping: Shipping, checkpoint_epochs: float, records: int, held_back: HeldBack) -> QueryCosts:
        """What is known at the end of a profile epoch; samples are tried now."""
        version, last = self._chain.plan.version, len(self._operators)
        for cut, rows in self._samples.items():
            with self._forgiving("sample could not be tried"):
                self._try(cut, rows, shipping)
        with self._forgiving("batch held back could not be tried"):
            self._try_whole(held_back, records * checkpoint_epochs)
        sampled = Partial.merge(self._sampled) if self._sampled else None
        if sampled is not None:
            self._try_groups(sampled, shipping)
        self._distinct = self._distinct_groups(shipping.gathered(version), sampled, held_back)
        return QueryCosts(
            records=float(records) if records else self._records,
            operators=tuple(OperatorCosts(one.cpu.slope_s, one.selectivity) for one in self._operators),
            drained_bytes=tuple(shipping.row_bytes(version, cut) for cut in range(last)),
            drained_s=tuple(shipping.row_s(version, cut) for cut in range(last)),
            groups=Groups(
                distinct=self._distinct,
                group_bytes=shipping.group_bytes(version, last),
                group_s=shipping.group_s(version, last),
                checkpoint_epochs=checkpoint_epochs,
            ),
            taken_in_s=self._taking_in.slope_s,
        )

    def _distinct_groups(self, gathered: Gathered | None, sampled: Partial | None, held_back: HeldBack) -> float:
        drawn = None
        with self._forgiving("rows drawn could not be run"):
            drawn = held_back.spread_sample()
        return _distinct(gathered, sampled) if drawn is None else chao1(drawn.keys["rows"].to_numpy())

    @contextmanager
    def _forgiving(self, what: str) -> Iterator[None]:
        """A trial that fails is no harm: batches fail where they run."""
        try:
            yield
        except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001
            log.debug("%s query=%s error=%s", what, self._chain.plan.query, error)

    @property
    def _probing(self) -> bool:
        """Whether the next batch is one to probe."""
        number = self._probes + 1
        return self.profiling and number < 2**_PROBES and not number & (number - 1)

    def _since_mark_s(self) -> float:
        before_s, self._mark_s = self._mark_s, self._clock()
        self._inside_s += self._mark_s - before_s
        return self._mark_s - before_s

    def _sample(self, cut: int, rows: pl.DataFrame) -> None:
        held = self._samples.get(cut)
        if rows.height and (held is None or held.height < min(rows.height, PROBE_ROWS)):
            self._samples[cut] = rows.head(PROBE_ROWS)

    def try_shipping(self, cut: int, rows: pl.DataFrame, shipping: Shipping) -> None:
        """Encode a sample of rows drained at the cut, so that what they are charged is no guess any more."""
        found = self._trials(lambda n: pack_columns(rows.head(n)), _TRIAL_ROWS, min(rows.height, PROBE_ROWS))
        if found is not None:
            shipping.tried(self._chain.plan.version, cut, *found)

    def _try(self, cut: int, rows: pl.DataFrame, shipping: Shipping) -> None:
        """A few rows through the operator behind the cut, and all where it has run on few; then all encoded."""
        few, cpu = rows.head(_TRIAL_ROWS), self._operators[cut].cpu
        few_s = self._least_s(cut, few)
        if cpu.items >= PROBE_ROWS and cpu.items * cpu.slope_s >= _TRIAL_S:
            cpu.tried(few.height, few_s)
        else:
            cpu.tried(few.height, few_s, *self._many(cut, rows, few_s))
        self.try_shipping(cut, rows, shipping)

    def _try_whole(self, held_back: HeldBack, records_per_checkpoint: float) -> None:
        """A batch that was drained, through the operators that have run on less.

        Samples have few groups, and repeated rows have no more of them: an aggregate of many groups would look cheap.
        Where a checkpoint takes several batches in, their partial results are merged, which is a part of its cost.
        """
        if all(one.cpu.items >= _WHOLE_ROWS for one in self._operators):
            return
        found = held_back.batch_drained()
        if found is None:
            return
        cut, rows = found
        each_s = sum(one.cpu.slope_s for one in self._operators[cut:])
        merging = records_per_checkpoint > 2 * rows.height
        rows = rows.head(max(_MANY_ROWS // 2, min(_WHOLE_ROWS, int(_WHOLE_S / max(each_s, LEAST_S)))))
        for i in range(cut + 1, len(self._operators) + 1):
            operator = self._operators[i - 1]
            affordable = int(_WHOLE_MOST_S / operator.cpu.slope_s)
            if affordable < min(PROBE_ROWS, rows.height):
                return
            rows = rows.head(affordable)
            taken, begun_s = rows.height, self._clock()
            if not taken:
                return
            if i < len(self._operators):
                rows = self._chain.local(i, rows)
                cpu_s = self._clock() - begun_s
            else:
                partial = self._chain.aggregate(rows)
                cpu_s = self._clock() - begun_s
                if merging:
                    Partial.merge([partial, partial])  # two batches' groups
                    cpu_s += (self._clock() - begun_s - cpu_s) / 2
            if operator.cpu.items < taken:
                operator.cpu.tried_whole(taken, cpu_s)

    def _many(self, cut: int, rows: pl.DataFrame, few_s: float) -> tuple[int, float]:
        """How many rows went through the operator in about _TRIAL_S beside its fixed cost, and what that took."""
        wanted = _FIRST_TRIAL_ROWS if few_s < _COSTLY_S else _COSTLY_TRIAL_ROWS
        while True:
            many = _sized(rows, wanted)
            many_s = self._least_s(cut, many)
            found_s = many_s - few_s
            if found_s >= _TRIAL_S / 2 or wanted >= _MANY_ROWS or many.height < wanted:
                return many.height, many_s
            wanted = min(_MANY_ROWS, wanted * max(2, int(_TRIAL_S / max(found_s, 1e-6))))

    def _trials(self, encode: Callable[[int], bytes], few: int, many: int) -> tuple[Trial, Trial] | None:
        """A few encoded, and as many as the wire takes at once: of long texts fewer. None if not even one."""
        while many:
            few = min(few, many)
            try:
                self._trial(encode, few)  # the first call takes far longer
                return self._least_trial(encode, few), self._least_trial(encode, many)
            except FrameTooLargeError:
                many //= 2
        return None

    def _least_trial(self, encode: Callable[[int], bytes], rows: int) -> Trial:
        """Of some runs the one that took least, as with operators."""
        return min((self._trial(encode, rows) for _ in range(_TRIALS)), key=lambda trial: trial.cpu_s)

    def _trial(self, encode: Callable[[int], bytes], rows: int) -> Trial:
        begun_s = self._clock()
        size_bytes = len(encode(rows))
        return Trial(rows, size_bytes, self._clock() - begun_s)

    def _least_s(self, cut: int, rows: pl.DataFrame) -> float:
        """The least that some runs of the operator behind the cut took: other threads only ever add to it."""
        taken_s: list[float] = []
        for _ in range(_TRIALS):
            begun_s = self._clock()
            if cut < self._chain.row_stages:
                self._chain.local(cut + 1, rows)
            else:
                self._chain.aggregate(rows)
            taken_s.append(self._clock() - begun_s)
        return min(taken_s)

    def _try_groups(self, partial: Partial, shipping: Shipping) -> None:
        version, cut = self._chain.plan.version, len(self._operators)
        if shipping.recent(version, cut):
            return
        found = self._trials(
            lambda n: pack_columns(partial.take(np.arange(n)).sorted().to_columns()), _TRIAL_GROUPS, len(partial)
        )
        if found is not None:
            shipping.tried(version, cut, *found, groups=True)


def _sized(rows: pl.DataFrame, wanted: int) -> pl.DataFrame:
    """So many of the rows, some of them repeatedly: the more, the less a jitter of the fixed cost matters."""
    return pl.concat([rows] * min(-(-wanted // rows.height), _REPEATED)).head(wanted)


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


def _distinct(gathered: Gathered | None, sampled: Partial | None) -> float:
    """From what was shipped, unless the sample says that it had met only a part of the groups so far."""
    found = gathered.distinct if gathered is not None else 1.0
    if gathered is not None and gathered.records >= PROBE_ROWS * 4:
        return found
    return max(found, chao1(sampled.keys["rows"].to_numpy()) if sampled is not None else 1.0)
