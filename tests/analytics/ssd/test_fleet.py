"""Made-up fleets: frozen, whole in themselves, and with the laws that the numbers they stand on were measured for."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analytics.ssd.columns import DAYS, FAILURES, SYMPTOMS
from analytics.ssd.fleet import Fleet, daily, fleet_parts, simulate
from analytics.ssd.fleet_parameters import SYMPTOM_COLUMNS, FleetParameters
from analytics.ssd.symptom_tables import bundled_symptoms, symptoms_from

FROZEN = FleetParameters()
SMALL = replace(FROZEN, drives=300)
SEEDS = (101, 102, 103)


@pytest.fixture(scope="module")
def fleets() -> list[Fleet]:
    return [simulate(FROZEN, seed) for seed in SEEDS]


def with_failures(fleet: Fleet) -> pl.DataFrame:
    """The drive-days with `ahead`: days until the failure, NULL where there is none."""
    failed = fleet.failures.rename({"day": "failed"})
    return fleet.days.join(failed, on="drive", how="left").with_columns(
        ahead=(pl.col("failed") - pl.col("day")).dt.total_days()
    )


def visible() -> pl.Expr:
    return pl.any_horizontal(pl.col(name).fill_null(0) > 0 for name in SYMPTOM_COLUMNS)


def content_digest(fleet: Fleet) -> str:
    # Columns that such a fleet does not tell are none of the generator's doing.
    told = [name for name in fleet.days.columns if name not in ("read_error_raw", "rotation_rpm")]
    text = fleet.days.select(told).write_csv() + fleet.failures.write_csv()
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def test_the_parameters_are_those_that_all_figures_were_measured_with() -> None:
    assert FROZEN.digest() == "a073eba5b68d968aee43282462bb1270fe4a033f9110ee60af3ca144085917d9", (
        "the generator's parameters changed: every figure on synthetic fleets needs a new baseline"
    )
    assert replace(FROZEN, infant_days=91.0).digest() != FROZEN.digest()


@pytest.mark.parametrize(("seed", "digest"), [(1, "23e12631080faee3"), (2, "1094b86042d64351")])
def test_a_seed_gives_the_same_fleet_on_every_machine(seed: int, digest: str) -> None:
    assert content_digest(simulate(SMALL, seed)) == digest


def test_a_fleet_on_real_symptoms_is_frozen_as_well(real_data: Path) -> None:
    symptoms = symptoms_from(real_data / "ssd" / "ssd_failure_tag.csv.gz")
    assert content_digest(simulate(SMALL, 1, symptoms)) == "0e5821defe6313aa"


def test_days_and_failures_have_the_columns_of_every_other_source_and_their_order() -> None:
    fleet = simulate(SMALL, 5)
    assert dict(fleet.days.schema) == DAYS
    assert dict(fleet.failures.schema) == FAILURES
    assert fleet.days.select("drive", "day").equals(fleet.days.select("drive", "day").sort("drive", "day"))
    assert fleet.days.select("drive", "day").is_unique().all()
    assert len(fleet.failures) > 0


def test_whatever_shows_a_drive_shows_that_it_is_made_up() -> None:
    fleet = simulate(SMALL, 5)
    for name in ("drive", "node", "rack", "family"):
        assert fleet.days[name].str.starts_with("synthetic").all(), name
    assert fleet.synthetic_note.startswith("Synthetic: 300 made-up drives over 420 days (seed 5)")
    assert "bundled facts" in fleet.synthetic_note


def test_no_drive_speaks_after_its_failure_and_no_failure_lies_beyond_the_run(fleets: list[Fleet]) -> None:
    for fleet in fleets:
        ahead = with_failures(fleet)["ahead"].drop_nulls()
        assert ahead.min() == 1
        after_start = (fleet.failures["day"] - pl.Series([FROZEN.start])).dt.total_days()
        assert after_start.min() > 0
        assert after_start.max() <= FROZEN.run_days


def test_about_as_many_drives_fail_as_the_rates_say(fleets: list[Fleet]) -> None:
    load, infants = np.exp(FROZEN.write_spread**2 / 2), FROZEN.infant_days / FROZEN.oldest_days
    yearly = sum(one.share * one.yearly_failures for one in FROZEN.vendors)
    rate = yearly * (FROZEN.hazard_base + FROZEN.hazard_writes * load) * (1 + infants * (FROZEN.infant_factor - 1))
    expected = FROZEN.drives * rate * FROZEN.run_days / 365
    assert pytest.approx(expected, rel=0.08) == 383  # as measured when the generator was specified
    total = sum(len(fleet.failures) for fleet in fleets)
    wanted = expected * len(fleets)
    # Poisson, within 4 sigma; drives that fail cannot fail again, which takes off about a hundredth.
    assert abs(total - wanted) < 4 * wanted**0.5 + 0.015 * wanted


def test_more_than_a_quarter_of_the_days_before_a_failure_show_a_symptom(fleets: list[Fleet]) -> None:
    shares = []
    for fleet in fleets:
        positive = with_failures(fleet).filter(pl.col("ahead") <= 30)
        shares.append(positive.select(visible().mean()).item())
    # 28.0 % when it was specified; rows of one drive go together, so a fleet's standard error is about 2.3 points.
    assert np.mean(shares) == pytest.approx(0.30, abs=4 * 0.023 / len(shares) ** 0.5 + 0.02)


def test_drives_that_stay_well_show_as_many_symptoms_as_assumed(fleets: list[Fleet]) -> None:
    at_end = pl.concat(
        fleet.days.join(fleet.failures, on="drive", how="anti").unique("drive", keep="last", maintain_order=True)
        for fleet in fleets
    )
    for place, name in enumerate(SYMPTOM_COLUMNS):
        shown, told = int((at_end[name] > 0).sum()), int(at_end[name].is_not_null().sum())
        # The last readings are days before the end: some onsets lie behind them, about half a hundredth.
        wanted = told * FROZEN.background[place]
        assert abs(shown - wanted) < 4 * wanted**0.5 + 0.02 * wanted, name


def test_symptoms_never_shrink_and_what_is_not_reported_is_null(fleets: list[Fleet]) -> None:
    days = fleets[0].days
    shrinking = days.select((pl.col(SYMPTOM_COLUMNS).diff() < 0).over("drive").any())
    assert not any(shrinking.row(0))
    by_vendor = days.group_by("vendor").agg(pl.col("downshift_total").is_null().all()).sort("vendor")
    assert by_vendor["downshift_total"].to_list() == [False, True, False]  # B repeats reallocations there
    assert days.filter(pl.col("model") == "A3")["downshift_total"].is_null().all()
    assert days.filter(pl.col("model") == "B1")["pending_count"].is_null().all()
    assert days["media_errors_total"].is_null().all()
    assert set(SYMPTOM_COLUMNS) < set(SYMPTOMS)


def test_a_failing_drive_shows_its_ticket_at_the_end() -> None:
    fleet = simulate(replace(daily(FROZEN, 3_000, 419), missing=0.0, background=(0.0,) * 8), 7)
    symptoms = bundled_symptoms()
    last = fleet.days.group_by("drive", maintain_order=True).last()
    ends = fleet.drives.filter(pl.col("ticket").is_not_null()).join(last, on="drive")
    assert len(ends) > 30
    for row in ends.iter_rows(named=True):
        ticket = symptoms.values[row["ticket"]]
        assert symptoms.models[row["ticket"]] == row["model"]
        shown = np.array([row[name] or 0 for name in SYMPTOM_COLUMNS])
        assert (shown <= ticket).all()
        assert (shown[ticket == 0] == 0).all()
    healthy = last.filter(~pl.col("drive").is_in(ends["drive"].implode()))
    assert not healthy.select(visible().any()).item()


def test_shares_of_vendors_models_nodes_and_lost_readings_are_as_set(fleets: list[Fleet]) -> None:
    fleet = fleets[0]
    shares = dict(fleet.drives.group_by("vendor").agg(pl.len() / FROZEN.drives).iter_rows())
    for one in FROZEN.vendors:
        sigma = (one.share * (1 - one.share) / FROZEN.drives) ** 0.5
        assert abs(shares[one.name] - one.share) < 4 * sigma
    c1 = fleet.drives.filter(pl.col("vendor") == "C")["model"].eq("C1").mean()
    assert c1 == pytest.approx(10_505 / 11_636, abs=0.015)
    assert fleet.drives.group_by("node").len()["len"].unique().to_list() == [FROZEN.drives_per_node]
    alive = fleet.days.filter(~pl.col("drive").is_in(fleet.failures["drive"].implode()))
    possible = (FROZEN.drives - len(fleet.failures)) * len(FROZEN.snapshot_days())
    assert 1 - len(alive) / possible == pytest.approx(FROZEN.missing, abs=4 * (0.02 / possible) ** 0.5)


def test_wear_and_bytes_grow_with_the_write_load() -> None:
    fleet = simulate(replace(SMALL, missing=0.0), 3)
    first = fleet.days.group_by("drive", maintain_order=True).first().join(fleet.drives, on="drive")
    age = first["age_d"] + FROZEN.first_snapshot
    used = (age * FROZEN.wear_pct_per_day * first["write_load"]).to_numpy()
    assert np.abs(first["wear_used_pct"].to_numpy() - used).max() <= 1
    nand = (age * FROZEN.nand_bytes_per_day * first["write_load"]).to_numpy()
    assert first["nand_written_bytes"].to_numpy() == pytest.approx(nand, rel=1e-9)
    assert (first["host_written_bytes"] <= first["nand_written_bytes"]).all()
    assert first["power_on_h"].to_numpy() == pytest.approx(age.to_numpy() * 24, abs=1)


def test_a_large_fleet_comes_in_parts_that_are_different_drives() -> None:
    parameters = daily(FROZEN, 250, 30)
    parts = list(fleet_parts(parameters, 1, chunk=100))
    assert [len(part.drives) for part in parts] == [100, 100, 50]
    names = pl.concat([part.drives["drive"] for part in parts])
    assert names.n_unique() == 250
    assert names.is_sorted()
    assert parts[0].days["day"].n_unique() == 30
    assert not np.allclose(parts[0].drives["write_load"][:50], parts[2].drives["write_load"])
    assert parts[0].days.equals(simulate(replace(parameters, drives=100), 1).days)
