"""Made-up fleets of SSDs with known failures: for tests, demonstrations, load, and figures nothing better exists for.

There is no public data of healthy SSDs beside failed ones. Here the symptoms at failure are those of real failed
drives (symptom_tables.py); everything else is assumed (fleet_parameters.py). Whatever is measured on such a fleet says
how well software finds what was put in, not how well it would do in a data centre: it has to be called synthetic where
it shows. Every drive's name, node and rack begins with "synthetic-", and its family is "synthetic".

Time t counts days from the start; what a drive says on day d is its state at t = d, and one that fails at t is found
dead on day ceil(t). The same parameters, seed and symptoms give the same fleet, bit for bit.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from analytics.ssd.columns import DAYS, FAILURES, FLAGS, SYNTHETIC_FAMILY
from analytics.ssd.fleet_parameters import SYMPTOM_COLUMNS, FleetParameters
from analytics.ssd.symptom_tables import SymptomVectors, bundled_symptoms

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: What is made at a time where a caller leaves it open: 10,000 drives x 30 days are some 100 MB.
CHUNK = 10_000


@dataclass(frozen=True, slots=True)
class Fleet:
    """A made-up fleet.

    Attributes:
        days: drive-days with the columns of columns.DAYS, sorted by drive and day; what is not modelled is NULL.
        failures: columns.FAILURES, sorted by drive; only those within the run.
        drives: one row a drive: drive, node, rack, model, vendor; and what no model may see: write_load, age_d (on day
            0), fails_d (time of the failure, NULL where it lies beyond the run), ticket (row of the symptom vectors).
        synthetic_note: the sentence that has to stand wherever results on this fleet are shown.
    """

    parameters: FleetParameters
    seed: int
    symptoms: str
    drives: pl.DataFrame
    failures: pl.DataFrame
    days: pl.DataFrame

    @property
    def synthetic_note(self) -> str:
        return (
            f"Synthetic: {len(self.drives):,} made-up drives over {self.parameters.run_days} days (seed {self.seed}), "
            f"symptoms at failure from {self.symptoms}; the healthy side, lead times, workload and rates are assumed."
        )


def simulate(
    parameters: FleetParameters, seed: int, symptoms: SymptomVectors | None = None, first_drive: int = 0
) -> Fleet:
    """A fleet of `parameters.drives` drives.

    Args:
        symptoms: of failed drives; the bundled ones where None.
        first_drive: number of the first drive, for fleets made in parts (`fleet_parts`).
    Cost: 20,000 drives of 56 weekly snapshots take about a second and 400 MB.
    """
    symptoms = symptoms or bundled_symptoms()
    draws = _Draws(seed, first_drive)
    hidden = _drives(parameters, symptoms, draws)
    day_numbers = np.array(parameters.snapshot_days())
    seen = _seen(parameters, hidden, day_numbers, draws)
    counts = _symptom_counts(parameters, symptoms, hidden, day_numbers, draws)
    identity = _identity(parameters, hidden, first_drive)
    return Fleet(
        parameters,
        seed,
        symptoms.origin,
        identity.with_columns(
            write_load=pl.Series(hidden.write_load),
            age_d=pl.Series(hidden.age_d),
            fails_d=pl.Series(hidden.fails_d).replace(np.inf, None),
            ticket=pl.Series(hidden.ticket).replace(-1, None),
        ),
        _failures(parameters, identity, hidden),
        _days(parameters, identity, hidden, day_numbers, seen, counts),
    )


def fleet_parts(
    parameters: FleetParameters, seed: int, symptoms: SymptomVectors | None = None, chunk: int = CHUNK
) -> Iterator[Fleet]:
    """A large fleet in parts of `chunk` drives, so that memory is bounded by one part.

    The parts are other drives than `simulate` would make in one go, with the same laws.
    """
    for first in range(0, parameters.drives, chunk):
        part = replace(parameters, drives=min(chunk, parameters.drives - first))
        yield simulate(part, seed, symptoms, first)


def daily(parameters: FleetParameters, drives: int, days: int) -> FleetParameters:
    """The same fleet with `drives` drives, read on each of the last `days` days of the run."""
    return replace(parameters, drives=drives, first_snapshot=parameters.run_days - days, snapshot_every=1)


@dataclass(frozen=True, slots=True)
class _Draws:
    """Random streams by name: what is drawn for one thing never shifts what is drawn for another."""

    seed: int
    first_drive: int

    def of(self, name: str) -> np.random.Generator:
        key = [self.seed, self.first_drive, zlib.crc32(name.encode())]
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


@dataclass(frozen=True, slots=True)
class _Hidden:
    """One entry a drive; `model` numbers `models`."""

    models: list[str]
    model: IntArray
    write_load: FloatArray
    age_d: FloatArray
    fails_d: FloatArray  # inf where the drive outlives the run
    ticket: IntArray  # -1 where it does
    amplification: FloatArray


def _drives(p: FleetParameters, symptoms: SymptomVectors, draws: _Draws) -> _Hidden:
    """Who is in the fleet, and when who fails. A vendor's models come in the shares that its failed drives have."""
    n = p.drives
    vendor = draws.of("vendor").choice(len(p.vendors), n, p=[one.share for one in p.vendors])
    models = sorted(symptoms.reported)
    model = np.zeros(n, np.int64)
    pick = draws.of("model").random(n)
    for place, one in enumerate(p.vendors):
        own = [i for i, name in enumerate(models) if name.startswith(one.name)]
        shares = np.cumsum([len(symptoms.rows_of(models[i])) for i in own], dtype=float)
        mine = vendor == place
        model[mine] = np.array(own)[np.searchsorted(shares / shares[-1], pick[mine], side="right")]
    write_load = np.exp(p.write_spread * draws.of("write load").standard_normal(n))
    age = draws.of("age").random(n) * p.oldest_days
    yearly = np.array([one.yearly_failures for one in p.vendors])[vendor]
    hazard = yearly / 365 * (p.hazard_base + p.hazard_writes * write_load)
    hazard *= np.where(age < p.infant_days, p.infant_factor, 1.0)
    fails = draws.of("failure").standard_exponential(n) / hazard
    fails[fails >= p.run_days] = np.inf
    ticket = np.full(n, -1)
    which = draws.of("ticket").random(n)
    for i in np.flatnonzero(np.isfinite(fails)).tolist():
        rows = symptoms.rows_of(models[model[i]])
        ticket[i] = rows[int(which[i] * len(rows))]
    waf = p.amplification * np.exp(p.amplification_spread * draws.of("amplification").standard_normal(n))
    return _Hidden(models, model, write_load, age, fails, ticket, np.maximum(waf, 1.0))


def _seen(p: FleetParameters, hidden: _Hidden, day_numbers: IntArray, draws: _Draws) -> npt.NDArray[np.bool_]:
    """bool[drives, days]: alive, and the reading was not lost."""
    lost = draws.of("missing").random((p.drives, len(day_numbers)), np.float32) < p.missing
    return (day_numbers < hidden.fails_d[:, None]) & ~lost


def _symptom_counts(
    p: FleetParameters, symptoms: SymptomVectors, hidden: _Hidden, day_numbers: IntArray, draws: _Draws
) -> list[tuple[IntArray, npt.NDArray[np.bool_]]]:
    """For each of SYMPTOM_COLUMNS its int64[drives, days], and bool[drives]: whether such drives report it."""
    failing = np.flatnonzero(hidden.ticket >= 0)
    lead = p.lead_median_days * np.exp(p.lead_spread * draws.of("lead").standard_normal(p.drives))
    found = []
    for place, name in enumerate(SYMPTOM_COLUMNS):
        reported = np.array([symptoms.reported[model][place] for model in hidden.models])[hidden.model]
        counts = np.zeros((p.drives, len(day_numbers)), np.int64)
        _add_background(p, symptoms.sorted_positives(place), place, counts, day_numbers, draws)
        mine = failing[symptoms.values[hidden.ticket[failing], place] > 0]
        rng = draws.of(f"failing {name}")
        jitter = np.exp(p.lead_jitter * rng.standard_normal(p.drives))[mine]
        power = rng.choice(p.growth_powers, p.drives)[mine]
        final = symptoms.values[hidden.ticket[mine], place]
        length = lead[mine] * jitter
        onset = hidden.fails_d[mine] - length
        counts[mine] += _grown(final, onset, length, power, day_numbers)
        found.append((counts, reported))
    return found


def _add_background(
    p: FleetParameters, finals: IntArray, place: int, counts: IntArray, day_numbers: IntArray, draws: _Draws
) -> None:
    """Symptoms of drives that live with them: small ones more often, most in a jump, some growing for months."""
    rng = draws.of(f"background {SYMPTOM_COLUMNS[place]}")
    mine = np.flatnonzero(rng.random(p.drives) < p.background[place])
    if not len(finals) or not len(mine):
        return
    onset = p.onset_from_days + rng.random(len(mine)) * (p.run_days - p.onset_from_days)
    final = finals[(rng.random(len(mine)) ** p.background_skew * len(finals)).astype(np.int64)]
    least, most = p.growth_days
    length = least + rng.random(len(mine)) * (most - least)
    length[rng.random(len(mine)) >= p.growing] = p.jump_days
    counts[mine] += _grown(final, onset, length, np.ones(len(mine)), day_numbers)


def _grown(
    final: IntArray, onset: FloatArray, length: FloatArray, power: FloatArray, day_numbers: IntArray
) -> IntArray:
    """int64[symptoms, days]: from 0 before its onset to the final value, at least 1 from the first moment on."""
    way = np.clip((day_numbers - onset[:, None]) / length[:, None], 0.0, 1.0)
    return np.ceil(final[:, None] * way ** power[:, None]).astype(np.int64)


def _identity(p: FleetParameters, hidden: _Hidden, first_drive: int) -> pl.DataFrame:
    number = pl.int_range(first_drive, first_drive + p.drives, eager=True).alias("number").to_frame()
    node = pl.col("number") // p.drives_per_node
    models = pl.Series(hidden.models).gather(hidden.model)
    return number.select(
        drive=_named("", pl.col("number"), 7),
        node=_named("n", node, 6),
        rack=_named("r", node // p.nodes_per_rack, 5),
        model=models,
        vendor=models.str.slice(0, 1),
    )


def _named(kind: str, number: pl.Expr, digits: int) -> pl.Expr:
    return pl.lit(f"{SYNTHETIC_FAMILY}-{kind}") + number.cast(pl.String).str.zfill(digits)


def _failures(p: FleetParameters, identity: pl.DataFrame, hidden: _Hidden) -> pl.DataFrame:
    failed = np.flatnonzero(np.isfinite(hidden.fails_d))
    after = np.ceil(hidden.fails_d[failed]).astype(np.int64)
    days = pl.Series([p.start + timedelta(days=int(each)) for each in after], dtype=pl.Date)
    return identity.select("drive")[failed].with_columns(day=days).cast(FAILURES)  # type: ignore[arg-type]


def _days(
    p: FleetParameters,
    identity: pl.DataFrame,
    hidden: _Hidden,
    day_numbers: IntArray,
    seen: npt.NDArray[np.bool_],
    counts: list[tuple[IntArray, npt.NDArray[np.bool_]]],
) -> pl.DataFrame:
    """The drive-days that were seen, with every column of DAYS."""
    drive, place = np.nonzero(seen)
    day = day_numbers[place]
    powered_d = hidden.age_d[drive] + day
    wear_rate = p.wear_pct_per_day * hidden.write_load
    wear = np.minimum(hidden.age_d * wear_rate, p.wear_most_pct)[drive] + wear_rate[drive] * day
    nand = powered_d * (p.nand_bytes_per_day * hidden.write_load)[drive]
    columns: dict[str, pl.Series | pl.Expr] = {
        "day": pl.Series([p.start + timedelta(days=int(each)) for each in day_numbers], dtype=pl.Date).gather(place),
        "power_on_h": pl.Series((powered_d * 24).astype(np.int64)),
        "wear_used_pct": pl.Series(wear.astype(np.int64)),
        "nand_written_bytes": pl.Series(nand.astype(np.int64)),
        "host_written_bytes": pl.Series((nand / hidden.amplification[drive]).astype(np.int64)),
        "family": pl.lit(SYNTHETIC_FAMILY),
        "kind": pl.lit("ata"),
        "passed": pl.lit(1),
        "failing": pl.lit(0),
        "readings": pl.lit(1),
        **dict.fromkeys(FLAGS, pl.lit(value=False)),
    }
    for name, (values, reported) in zip(SYMPTOM_COLUMNS, counts, strict=True):
        columns[name] = pl.Series(values[seen]).set(pl.Series(~reported[drive]), None)
    rows = identity[drive].with_columns(**columns)
    return rows.select(
        (pl.col(name) if name in rows.columns else pl.lit(None)).cast(kind).alias(name) for name, kind in DAYS.items()
    )
