"""Tables of drives: each known form, and what is said of a table that has none or holds a bad cell."""

import gzip
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from polars.testing import assert_frame_equal

from analytics.errors import DataError
from analytics.ssd.columns import DAYS, FAILURES
from analytics.ssd.days import any_synthetic, canonical_days
from analytics.ssd.tables import read_file, read_table
from tests.analytics.ssd.drive_rows import fleets

DAILY = """date,serial_number,model,capacity_bytes,failure,smart_5_raw,smart_9_raw,smart_194_raw,smart_241_raw
2013-04-10,A,ST3000DM001,3000,0,8,100,25,1000
2013-04-11,A,ST3000DM001,3000,1,9,124,,1000
2013-04-10,B,WDC WD10EADS,1000,0,0,65535,20,281474976710655
"""


def written(folder: Path, text: str, name: str = "drives.csv") -> Path:
    """A file with this text."""
    path = folder / name
    path.write_text(text)
    return path


def test_daily_statistics_of_disks_are_read(tmp_path: Path) -> None:
    days, failures = read_file(written(tmp_path, DAILY))
    assert dict(days.schema) == DAYS
    assert days["realloc_total"].to_list() == [8, 9, 0]
    assert days["host_written_bytes"].to_list() == [512_000, 512_000, None]
    assert days["temperature_c"].to_list() == [25, None, 20]
    assert days["kind"].to_list() == ["ata"] * 3
    assert days["vendor"].to_list() == ["Seagate", "Seagate", "Western Digital"]
    assert failures.to_dicts() == [{"drive": "A", "day": date(2013, 4, 11)}]
    assert dict(failures.schema) == FAILURES


def test_text_packed_with_gzip_and_parquet_give_the_same(tmp_path: Path) -> None:
    days, failures = read_file(written(tmp_path, DAILY))
    packed = tmp_path / "drives.csv.gz"
    packed.write_bytes(gzip.compress(DAILY.encode()))
    parquet = tmp_path / "DRIVES.PARQUET"
    pl.read_csv(tmp_path / "drives.csv", try_parse_dates=True).write_parquet(parquet)
    for path in (packed, parquet):
        same = read_file(path)
        assert_frame_equal(same[0], days)
        assert_frame_equal(same[1], failures)


@given(fleet=fleets())
@settings(max_examples=20)
def test_drive_days_survive_a_file(fleet: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("days") / "days.csv"
    days = canonical_days(fleet)
    days.write_csv(path)
    assert_frame_equal(read_file(path)[0], days)


def test_readings_of_the_stream_are_read(tmp_path: Path) -> None:
    text = "ts,host,device,serial,model,realloc_total\n1767268800000000000,n1,/dev/sda,,M,4\n"
    days, failures = read_file(written(tmp_path, text))
    assert days.select("drive", "day", "realloc_total").rows() == [("n1:/dev/sda", date(2026, 1, 1), 4)]
    assert failures.height == 0


def test_a_drive_fails_on_the_first_day_that_says_so() -> None:
    table = pl.DataFrame({"drive": ["A"] * 3, "day": [date(2026, 1, n) for n in (3, 1, 2)], "failure": [1, 0, 1]})
    assert read_table(table)[1].rows() == [("A", date(2026, 1, 2))]


@pytest.mark.parametrize(
    ("column", "cell", "says"),
    [
        ("smart_5_raw", "many", r"column smart_5_raw, row 2 .*: 'many'; a whole number is wanted"),
        ("smart_5_raw", "1.5", r"column smart_5_raw, row 2 .*: '1.5'; a whole number"),
        ("smart_5_raw", "99999999999999999999", r"column smart_5_raw, row 2"),
        ("date", "10.04.2013", r"column date, row 2 .*: '10.04.2013'; a date such as 2026-11-23"),
        ("date", "", r"column date, row 2 .*: nothing; a date"),
        ("failure", "2", r"column failure, row 2 .*: 2; 0 or 1 is wanted"),
        ("serial_number", "", r"column serial_number, row 2 .*: nothing; the name of a drive"),
    ],
)
def test_a_bad_cell_is_named_by_row_and_column(tmp_path: Path, column: str, cell: str, says: str) -> None:
    lines = [line.split(",") for line in DAILY.splitlines()]
    lines[2][lines[0].index(column)] = cell
    with pytest.raises(DataError, match=says):
        read_file(written(tmp_path, "\n".join(",".join(line) for line in lines)))


def test_numbers_as_spreadsheets_write_them_are_taken(tmp_path: Path) -> None:
    days, _ = read_file(
        written(tmp_path, "drive,day,crc_total\nA,2026-01-01,8.0\nA,2026-01-02,1e3\nA,2026-01-03,NaN\n")
    )
    assert days["crc_total"].to_list() == [8, 1000, None]


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "", "serial_number\nX\n", "ts\n5\n"])
def test_another_table_is_refused_with_what_was_seen_and_wanted(tmp_path: Path, text: str) -> None:
    with pytest.raises(
        DataError, match=r"columns .*; wanted are drive-days .* statistics .* readings of the stream smart"
    ):
        read_file(written(tmp_path, text))


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    for name in ("no.parquet", "no.csv"):
        with pytest.raises(DataError, match=name):
            read_file(tmp_path / name)
    with pytest.raises(DataError, match=r"damaged.parquet cannot be read"):
        read_file(written(tmp_path, "PAR1 and no more", "damaged.parquet"))
    with pytest.raises(DataError, match=r"wide.csv cannot be read: row 2 .* has 4 cells, the header has 3"):
        read_file(written(tmp_path, "drive,day,crc_total\nA,2026-01-01,1\nB,2026-01-01,1,9\n", "wide.csv"))
    latin = tmp_path / "latin.csv"
    latin.write_bytes(b"drive,day,model\nA,2026-01-01,tea\nA,2026-01-02,caf\xe9\n")
    with pytest.raises(DataError, match=r"latin.csv cannot be read: column model, row 2 .* not UTF-8"):
        read_file(latin)
    cut = tmp_path / "damaged.csv.gz"
    cut.write_bytes(gzip.compress(DAILY.encode() * 99)[:90])
    with pytest.raises(DataError, match=r"damaged.csv.gz"):
        read_file(cut)
    noise = tmp_path / "noise.parquet"
    noise.write_bytes(b"\xff\xfe\x00 no parquet at all")
    with pytest.raises(DataError, match=r"noise.parquet cannot be read: (?!.*UTF-8)"):
        read_file(noise)
    noise = tmp_path / "noise.csv"
    for rows, says in ((b"A,1\n", r"noise.csv: .* no text in UTF-8"), (b"A,\xfe\n", r"noise.csv .* its first line")):
        noise.write_bytes(b"\xff\xfe\x9c,x\n" + rows)
        with pytest.raises(DataError, match=says):
            read_file(noise)
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    with pytest.raises(DataError, match=r"folder.csv is a folder; a table in a file is wanted"):
        read_file(folder)
    with pytest.raises(DataError, match=r"ends in .xlsx; .csv, .csv.gz or .parquet is wanted"):
        read_file(tmp_path / "drives.xlsx")


@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("packed", [False, True])
def test_a_row_with_fewer_cells_than_the_header_is_refused_and_no_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quote: str, packed: bool
) -> None:
    monkeypatch.setattr("analytics.ssd.short_rows._BLOCK_BYTES", 32)
    header = "drive,day,crc_total,realloc_total\n"
    whole = [f"{quote}D{number}{quote},2026-01-01,{number},\n" for number in range(9)]

    def file(text: str) -> Path:
        path = tmp_path / ("drives.csv.gz" if packed else "drives.csv")
        path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
        return path

    for end in ("", "\n", "\r\n"):
        days, _ = read_file(file((header + "".join(whole)).rstrip("\n") + end))
        assert days["realloc_total"].to_list() == [None] * 9
        for place in (0, 5, 8):
            rows = [*whole]
            rows[place] = f"{quote}D{place}{quote},2026-01-01,{place}\n"
            says = rf"cannot be read: row {place + 1} \(.*\) has 3 cells, the header has 4; is the file cut off\?"
            with pytest.raises(DataError, match=says):
                read_file(file((header + "".join(rows)).rstrip("\n") + end))


def test_rows_for_a_day_that_is_there_are_merged_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = "drive,day,crc_total\nA,2026-01-01,1\nA,2026-01-02,1\nA,2026-01-01,7\nB,2026-01-01,1\nB,2026-01-01,1\n"
    days, _ = read_file(written(tmp_path, text))
    assert days["crc_total"].to_list() == [7, 1, 1]
    assert "drives.csv: 2 rows tell of a drive and day again; of each day the largest values count" in caplog.text
    caplog.clear()
    noon_ns = 1_767_268_800 * 10**9
    assert read_file(written(tmp_path, f"ts,serial\n{noon_ns},A\n{noon_ns + 1},A\n"))[0].height == 1
    assert not caplog.records, "of a day there are many readings"


def test_a_column_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "drive,day,crc_total,crc_total\nA,2026-01-01,1,2\n")
    with pytest.raises(DataError, match=r"drives.csv: column crc_total stands there twice"):
        read_file(path)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("drive;day;crc_total", r"separated by ';': save it with commas"),
        ("drive\tday\tcrc_total", r"separated by '\\t': save it with commas"),
        ("\x1b]0;mine\x07,b", r"columns '\\x1b\]0;mine\\x07', b; wanted"),
    ],
)
def test_a_header_is_told_so_that_it_can_be_mended_and_does_no_harm(tmp_path: Path, header: str, says: str) -> None:
    with pytest.raises(DataError, match=says) as raised:
        read_file(written(tmp_path, header + "\n"))
    assert str(raised.value).startswith(str(tmp_path / "drives.csv: the table has"))
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "drive,day\nA,2026-01-01\nB,9999-12-31\n",
            r"column day, row 2 .*: '9999-12-31'; a date between 2000-01-01 and",
        ),
        ("drive,day\nA,1970-01-01\n", r"column day, row 1 .*: '1970-01-01'; a date between"),
        ("date,serial_number\n2013-04-10,A\n0213-04-11,A\n", r"column date, row 2 .*: '0213-04-11'; a date between"),
        (
            "ts,serial\n1796000000,A\n",
            r"column ts, row 1 .*: '1796000000'; a time in nanoseconds since 1970 UTC between",
        ),
        ("ts,serial\n-5,A\n", r"column ts, row 1 .*: '-5'; a time in nanoseconds"),
    ],
)
def test_a_day_on_which_no_drive_was_read_is_named_by_row_and_column(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_file(written(tmp_path, text))


def test_dates_of_parquet_are_checked_alike(tmp_path: Path) -> None:
    pl.DataFrame({"drive": ["A"], "day": [date(1960, 1, 2)]}).write_parquet(tmp_path / "old.parquet")
    with pytest.raises(DataError, match=r"old.parquet: column day, row 1 .*: '1960-01-02'; a date between"):
        read_file(tmp_path / "old.parquet")


def test_a_drive_that_its_table_calls_synthetic_is_known_as_such_by_its_family() -> None:
    table = pl.DataFrame(
        {"drive": ["A", "A", "B"], "day": [date(2026, 1, n) for n in (1, 2, 1)], "family": ["x", None, "y"],
         "synthetic": [True, False, None]}
    )  # fmt: skip
    days, _ = read_table(table)
    assert days["family"].to_list() == ["synthetic", "synthetic", "y"]
    assert any_synthetic(days)
    assert not any_synthetic(read_table(table.drop("synthetic"))[0])
    with pytest.raises(DataError, match=r"column synthetic, row 2 .*: 'perhaps'; true or false"):
        read_table(table.with_columns(synthetic=pl.Series(["1", "perhaps", ""])))


def test_a_header_without_rows_is_an_empty_fleet(tmp_path: Path) -> None:
    days, failures = read_file(written(tmp_path, DAILY.splitlines()[0] + "\n"))
    assert (days.height, failures.height) == (0, 0)


def test_the_real_hard_disks_are_read(real_data: Path) -> None:
    days, failures = read_file(real_data / "ssd" / "backblaze_2013-04-10_2013-05-19.parquet")
    assert (days.height, days["drive"].n_unique(), failures.height) == (868_524, 22_892, 120)
    assert days["vendor"].null_count() == 0
    assert days["realloc_total"].null_count() == 0
