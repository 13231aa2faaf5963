"""Symptom vectors: read from the tickets as they are, or drawn from facts that say the same of them."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from analytics.errors import DataError
from analytics.ssd.fleet_parameters import SYMPTOM_COLUMNS
from analytics.ssd.symptom_tables import (
    BUNDLED,
    TICKET_COLUMNS,
    bundled_facts,
    bundled_symptoms,
    facts_of,
    symptoms_from,
)

HEAD = "model,failure_time," + ",".join(TICKET_COLUMNS)


def written(path: Path, *lines: str) -> Path:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("\n".join([HEAD, *lines]) + "\n")
    return path


def test_the_bundled_facts_are_those_of_the_tickets(real_data: Path) -> None:
    real = symptoms_from(real_data / "ssd" / "ssd_failure_tag.csv.gz")
    assert facts_of(real) == bundled_facts()
    assert real.real
    assert real.origin == "real symptom vectors of 18,375 failed drives"


def test_drawn_vectors_show_each_pattern_as_often_as_the_tickets() -> None:
    drawn, facts = bundled_symptoms(), bundled_facts()
    again = facts_of(drawn)
    assert drawn.origin == BUNDLED
    assert not drawn.real
    for model, about in facts["models"].items():
        assert again["models"][model] == about | {"patterns": again["models"][model]["patterns"]}
        assert again["models"][model]["patterns"] == about["patterns"], model


def test_drawn_strengths_lie_between_the_quantiles_they_are_drawn_from() -> None:
    drawn, facts = bundled_symptoms(), bundled_facts()
    vendors = np.array([model[0] for model in drawn.models.tolist()])
    for vendor, columns in facts["strengths"].items():
        for name, quantiles in columns.items():
            found = drawn.values[vendors == vendor, SYMPTOM_COLUMNS.index(name)]
            found = found[found > 0]
            assert quantiles[0] <= found.min()
            assert found.max() <= quantiles[-1]
            below = (found <= quantiles[3]).mean()  # the median; many values may be equal to it
            assert below > 0.5 - 4 * (0.25 / len(found)) ** 0.5, (vendor, name)


def test_over_half_of_failed_drives_show_nothing() -> None:
    shares = (bundled_symptoms().values == 0).all(axis=1).mean()
    assert shares == pytest.approx(0.559, abs=0.005)


def test_tickets_without_values_are_left_out_and_the_duplicate_of_vendor_b_is_not_counted(tmp_path: Path) -> None:
    path = written(
        tmp_path / "t.csv.gz",
        "B1,2018-01-02,3.0,0.0,0.0,0.0,0.0,3.0,0.0,",
        "A1,2018-01-02,,,,,,,,",
        "A1,2018-01-03,1.0,2.0,,0.0,0.0,7.0,0.0,0.0",
    )
    found = symptoms_from(path)
    assert found.models.tolist() == ["B1", "A1"]
    assert found.values.tolist() == [[3, 0, 0, 0, 0, 0, 0, 0], [1, 2, 0, 0, 0, 7, 0, 0]]
    assert found.reported["B1"].tolist() == [True, True, True, True, True, False, True, False]
    twice = symptoms_from(path, count_183_twice=True)
    assert twice.values[0].tolist() == [3, 0, 0, 0, 0, 3, 0, 0]
    assert twice.origin.endswith("attribute 183 of vendor B counted beside attribute 5")
    assert found.reported["A1"].tolist() == [True, True, False, True, True, True, True, True]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("day,serial\n1,2\n", "no file of failure tickets"),
        (f"{HEAD}\nA1,2018,x,,,,,,,\n", "no file of failure tickets"),
        (f"{HEAD}\nA1,2018,,,,,,,,\n", "no row with a value in r_5"),
        (f"{HEAD}\nA1,2018,-1.0,,,,,,,\n", "count below 0 for a drive of model A1"),
    ],
)
def test_another_file_is_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=says) as refused:
        symptoms_from(path)
    assert "t.csv" in str(refused.value)


def test_an_absent_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.csv"):
        symptoms_from(tmp_path / "gone.csv")
