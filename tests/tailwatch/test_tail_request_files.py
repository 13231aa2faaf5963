"""Recorded requests out of files: forms, units, which are kept, and what cannot be used."""

import gzip
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tailwatch import request_files
from tailwatch.errors import RequestFileError
from tailwatch.request_files import RecordedFiles, read_requests

ORIGIN_NS = 1_790_000_000_000_000_000
LATER_NS = ORIGIN_NS + 86_400 * 10**9
ROWS = pl.DataFrame(
    {
        "service": ["search"] * 4,
        "arrival_ns": [ORIGIN_NS + second * 10**9 for second in (2, 0, 3, 1)],
        "wait_us": [100.0, None, 0.0, 50.0],
        "service_us": [9_000.0, 1_000.0, 20_000.0, 3_000.0],
        "predicted_us": [8_000.0, 900.0, None, 2_500.0],
        "degree": [2, 1, None, 1],
        "explored": [1, 0, 0, None],
        "weight": [1, None, 5, 1],
    }
)


def read(path: Path, **more: object) -> RecordedFiles:
    return read_requests([path], **{"now_ns": LATER_NS, **more})  # type: ignore[arg-type]


def written(folder: Path, form: str, rows: pl.DataFrame = ROWS) -> Path:
    path = folder / f"requests{form}"
    if form == ".parquet":
        rows.write_parquet(path)
        return path
    text = rows.write_csv().encode() if form.startswith(".csv") else rows.write_ndjson().encode()
    path.write_bytes(gzip.compress(text) if form.endswith(".gz") else text)
    return path


@pytest.mark.parametrize("form", [".parquet", ".csv", ".csv.gz", ".ndjson", ".ndjson.gz", ".jsonl", ".jsonl.gz"])
def test_every_form_says_the_same(tmp_path: Path, form: str) -> None:
    found = read(written(tmp_path, form))
    samples = found.samples
    assert (found.service, found.instances, found.seen, found.notes()) == ("search", (), 4, [])
    assert samples.origin_ns == ORIGIN_NS
    assert samples.arrivals_ms.tolist() == [0.0, 1_000.0, 2_000.0, 3_000.0]
    assert samples.services_ms.tolist() == [1.0, 3.0, 9.0, 20.0]
    assert samples.waits_ms.tolist() == [0.0, 0.05, 0.1, 0.0]
    assert samples.predictions_ms.tolist() == pytest.approx([0.9, 2.5, 8.0, np.nan], nan_ok=True)
    assert samples.degrees.tolist() == [1, 1, 2, 1]
    assert samples.explored.tolist() == [False, False, True, False]
    assert samples.weights.tolist() == [1.0, 1.0, 1.0, 5.0]


@pytest.mark.parametrize(
    ("arrival", "values"),
    [
        ("arrival_s", [ORIGIN_NS / 1e9, ORIGIN_NS / 1e9 + 0.25]),
        ("arrival_ms", [ORIGIN_NS / 1e6, ORIGIN_NS / 1e6 + 250.0]),
        ("arrival_us", [ORIGIN_NS // 1_000, ORIGIN_NS // 1_000 + 250_000]),
        ("ts", [ORIGIN_NS, ORIGIN_NS + 250_000_000]),
        ("ts", [datetime.fromtimestamp(ORIGIN_NS / 1e9 + after, UTC) for after in (0, 0.25)]),
    ],
)
def test_times_come_in_any_unit_that_their_name_says(tmp_path: Path, arrival: str, values: list[object]) -> None:
    rows = pl.DataFrame({arrival: values, "service_s": [0.5, 0.002], "wait_ms": [1.5, 0.0], "cpu_ns": [5e8, 2e6]})
    samples = read(written(tmp_path, ".parquet", rows)).samples
    assert (samples.origin_ns, samples.arrivals_ms.tolist()) == (ORIGIN_NS, [0.0, 250.0])
    assert samples.services_ms.tolist() == [500.0, 2.0]
    assert samples.waits_ms.tolist() == [1.5, 0.0]
    assert samples.cpu_ms.tolist() == [500.0, 2.0]


def test_lines_of_json_may_each_say_other_things(tmp_path: Path) -> None:
    path = tmp_path / "requests.ndjson"
    path.write_text(
        f'{{"arrival_ns": {ORIGIN_NS}, "service_ms": 4}}\n\n'
        f'{{"arrival_ns": {ORIGIN_NS + 1}, "service_ms": 2.5, "explored": true, "raised_ms": 1}}\n'
    )
    samples = read(path).samples
    assert samples.services_ms.tolist() == [4.0, 2.5]
    assert samples.explored.tolist() == [False, True]
    assert samples.raised_ms.tolist() == pytest.approx([np.nan, 1.0], nan_ok=True)


@pytest.mark.parametrize("form", [".csv", ".ndjson", ".parquet"])
def test_pieces_of_files_and_several_files_add_up_to_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    many = 500
    rows = pl.DataFrame(
        {"arrival_ns": ORIGIN_NS + np.arange(many) * 10**6, "service_ms": 1.0 + np.arange(many, dtype=np.float64)}
    )
    monkeypatch.setattr(request_files, "_BLOCK_BYTES", 1_000)
    monkeypatch.setattr(request_files, "_ROWS_AT_ONCE", 70)
    late, early = written(tmp_path, form, rows[300:]), tmp_path / f"early{form}"
    late.rename(tmp_path / f"late{form}")
    written(tmp_path, form, rows[:300]).rename(early)
    found = read_requests([tmp_path / f"late{form}", early], now_ns=LATER_NS)
    assert found.samples.services_ms.tolist() == rows["service_ms"].to_list()
    newest = read_requests([tmp_path / f"late{form}", early], most=120, now_ns=LATER_NS)
    assert newest.samples.services_ms.tolist() == rows["service_ms"][380:].to_list()
    assert newest.notes() == ["the newest 120 of 500 requests; --most takes more"]


def test_what_cannot_be_used_is_counted_and_said(tmp_path: Path) -> None:
    rows = pl.DataFrame(
        {
            "arrival_ns": [ORIGIN_NS, 0, ORIGIN_NS, ORIGIN_NS, ORIGIN_NS, LATER_NS + 2 * 3_600 * 10**9],
            "service_ms": [5.0, 5.0, -1.0, float("nan"), 5.0, 5.0],
            "wait_ms": [0.0, 0.0, 0.0, 0.0, -2.0, 0.0],
            "colour": ["red"] * 6,
        }
    )
    for form in (".csv", ".parquet"):
        found = read(written(tmp_path, form, rows))
        assert len(found.samples) == 1
        assert found.notes() == [
            "1 left out: they arrive more than an hour from now, so their clock is wrong",
            "2 left out: no service time, or none above 0",
            "1 left out: a time is negative, infinite, or longer than a day",
            "1 left out: no time of arrival, or none after 1970",
            "columns that were not read: colour",
        ]


def test_services_are_looked_at_one_by_one_and_instances_keep_threads_of_their_own(tmp_path: Path) -> None:
    rows = pl.DataFrame(
        {
            "service": ["search", "ads", "search"],
            "host": ["b", "a", "a"],
            "arrival_ns": [ORIGIN_NS, ORIGIN_NS + 1, ORIGIN_NS + 2],
            "service_ms": [1.0, 2.0, 3.0],
        }
    )
    path = written(tmp_path, ".csv", rows)
    with pytest.raises(RequestFileError, match=r"column service holds ads, search; .* choose with --service"):
        read(path)
    found = read(path, service="search")
    assert (found.instances, found.samples.instances.tolist()) == (("b", "a"), [0, 1])
    assert found.samples.services_ms.tolist() == [1.0, 3.0]
    assert read(path, service="search", instance="a").samples.services_ms.tolist() == [3.0]
    with pytest.raises(RequestFileError, match="no requests of service web"):
        read(path, service="web")
    with pytest.raises(RequestFileError, match="no column service; --service chooses nothing"):
        read(written(tmp_path, ".ndjson", rows.drop("service")), service="web")


def test_features_stay_with_their_requests(tmp_path: Path) -> None:
    rows = ROWS.with_columns(terms=pl.Series([3, 1, None, 2]), typed=pl.Series([True, False, True, False]))
    rows = pl.concat([rows, rows[:1].with_columns(service_us=pl.lit(-1.0))])
    for form in (".csv", ".parquet"):
        found = read(written(tmp_path, form, rows), features=("terms", "typed"))
        assert found.features.tolist() == [[1, 0], [2, 0], [3, 1], [pytest.approx(np.nan, nan_ok=True), 1]]
        assert found.ignored == ()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("r.txt", "", "is of no form that is known here; want .parquet, .csv"),
        ("r.csv", "", "is empty; want a line of column names first"),
        ("r.csv", "arrival_ns,service_ms\n", "no requests"),
        ("r.ndjson", "", "no requests"),
        ("r.csv", "arrival_ns,wait_ms\n1,2\n", "has the columns arrival_ns, wait_ms; it lacks service times"),
        ("r.csv", "service_ms\n1\n", "it lacks a time of arrival, such as arrival_ns"),
        (
            "r.csv",
            "arrival_ns,service_ms,wait\n1,1,1\n",
            "column wait has no unit in its name; want wait_us or wait_ms",
        ),
        ("r.csv", "arrival_ns,service_ms,service_us\n1,1,1\n", "columns service_us and service_ms say the same in two"),
        ("r.csv", "arrival_ns,service_ms\n1,12ms\n", "column service_ms holds '12ms' (1 such cells in a piece)"),
        ("r.csv", "ts,service_ms\n2026-11-22T07:00Z,1\n", "column ts holds '2026-11-22T07:00Z'"),
        ("r.ndjson", '{"arrival_ns": 1, "service": 3, "service_ms": 1}\n', "column service holds numbers"),
        ("r.csv", "arrival_ns,service_ms\n1700000000000000000,-1\n", "none of 1 requests can be used (1: no service"),
        ("r.ndjson", "{\n", "cannot be read"),
        ("r.parquet", "no parquet", "cannot be read"),
        ("r.csv.gz", "not packed", "cannot be read"),
    ],
)
def test_files_that_cannot_be_used_say_what_is_wanted(tmp_path: Path, name: str, content: str, words: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(RequestFileError) as caught:
        read(path)
    assert words in str(caught.value)


def test_a_feature_that_is_not_there_or_no_number_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, ".csv", ROWS.with_columns(kind=pl.lit("web")))
    with pytest.raises(RequestFileError, match="it lacks the feature terms"):
        read(path, features=("terms",))
    with pytest.raises(RequestFileError, match="column kind holds 'web'"):
        read(path, features=("kind",))


def test_a_file_that_is_not_there_is_the_systems_to_name(tmp_path: Path) -> None:
    for form in (".csv", ".parquet", ".ndjson.gz"):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / f"none{form}")
