"""Replay: each row of a file exactly once in order, wherever it is stopped and taken up again; clear refusals."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.config import AgentConfig
from agents.errors import SourceError
from agents.sources import replay, replay_files
from agents.sources.configs import ReplayConfig
from agents.sources.configured import configured_sources
from agents.sources.replay import ReplaySource
from tests.fleet import probe_plan, probe_records

SCHEMA = {"ts": "int64", "host": "string", "src": "string", "rtt_us": "int64", "load": "float64", "ok": "bool"}
TEXT = st.text(alphabet='ab",\n\r é', max_size=6)
FORMATS = [".csv", ".parquet", ".arrow"]


def rows_of(texts: list[str], start: int = 0) -> pl.DataFrame:
    n = len(texts)
    return pl.DataFrame(
        {
            "ts": [1_795_000_000_000_000_000 + start + i for i in range(n)],
            "src": texts,
            "rtt_us": list(range(n)),
            "load": [i / 4 for i in range(n)],
            "ok": [i % 3 == 0 for i in range(n)],
        },
        schema={"ts": pl.Int64, "src": pl.String, "rtt_us": pl.Int64, "load": pl.Float64, "ok": pl.Boolean},
    )


def written(rows: pl.DataFrame, path: Path) -> Path:
    if path.suffix == ".csv":
        rows.write_csv(path, quote_style="non_numeric")
    elif path.suffix == ".parquet":
        rows.write_parquet(path, row_group_size=7)
    else:
        rows.write_ipc(path, record_batch_size=7)
    return path


def probes(path: Path, **settings: object) -> ReplaySource:
    return ReplaySource("probes", path, SCHEMA, **settings)  # type: ignore[arg-type]


def all_rows_of(path: Path) -> pl.DataFrame:
    source = probes(path)
    source.open(None)
    return all_rows(source)


def all_rows(source: ReplaySource) -> pl.DataFrame:
    frames = []
    while not source.finished:
        frames += [batch.rows for batch in source.poll()]
    return pl.concat(frames)


@pytest.mark.parametrize("suffix", FORMATS)
@settings(max_examples=25)
@given(
    texts=st.lists(TEXT, min_size=1, max_size=60),
    stops=st.lists(st.booleans(), min_size=60, max_size=60),
    batch=st.integers(1, 9),
    block=st.integers(1, 40),
)
def test_any_stops_and_restarts_give_each_row_once_in_order(
    suffix: str, texts: list[str], stops: list[bool], batch: int, block: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = rows_of(texts)
    path = written(rows, tmp_path_factory.mktemp("replay") / f"probes{suffix}")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(replay, "BATCH_ROWS", batch)
        patched.setattr(replay_files, "CSV_BLOCK_BYTES", block)
        patched.setattr(replay_files, "BLOCK_ROWS", block)
        source = probes(path)
        source.open(None)
        seen = []
        for stop in stops * 2:
            seen += [one.rows for one in source.poll()]
            if stop:
                position = source.position()
                source.close()
                patched.setattr(replay_files, "CSV_BLOCK_BYTES", block + len(seen) % 5)
                source = probes(path)
                source.open(position)
    assert source.finished
    got = pl.concat(seen)
    assert got.columns == rows.columns
    assert got["rtt_us"].to_list() == rows["rtt_us"].to_list()
    assert got["src"].fill_null("").to_list() == rows["src"].to_list()
    assert got.drop("src").equals(rows.drop("src"))


def test_a_finished_file_stays_finished_after_a_restart_and_goes_on_when_it_has_grown(tmp_path: Path) -> None:
    path = written(rows_of(["a"] * 5), tmp_path / "p.csv")
    source = probes(path)
    source.open(None)
    all_rows(source)
    position = source.position()
    again = probes(path)
    again.open(position)
    assert again.finished
    assert again.poll() == []
    with path.open("a") as file:
        file.write('1795000000000000099,"z",99,1.5,true\n')
    grown = probes(path)
    grown.open(position)
    assert all_rows(grown)["rtt_us"].to_list() == [99]


@pytest.mark.parametrize("suffix", FORMATS)
def test_another_file_under_the_same_name_is_refused(tmp_path: Path, suffix: str) -> None:
    path = written(rows_of(["a"] * 50), tmp_path / f"p{suffix}")
    source = probes(path)
    source.open(None)
    source.poll()
    position = source.position()
    written(rows_of(["b"] * 60, start=7), path)
    with pytest.raises(SourceError, match="not the file whose first"):
        probes(path).open(position)


@pytest.mark.parametrize(
    ("unit", "values", "first_ns"),
    [
        ("ns", ["1795000000000000001"], 1_795_000_000_000_000_001),
        ("us", ["1795000000000001"], 1_795_000_000_000_001_000),
        ("ms", ["1795000000001"], 1_795_000_000_001_000_000),
        ("s", ["1795000000"], 1_795_000_000_000_000_000),
        ("s", ["1795000000.25"], 1_795_000_000_250_000_000),
        ("iso8601", ["2026-11-19T12:26:40Z"], 1_795_091_200_000_000_000),
        ("iso8601", ["2026-11-19 12:26:40.000000001"], 1_795_091_200_000_000_001),
    ],
)
def test_times_in_every_unit_become_nanoseconds(tmp_path: Path, unit: str, values: list[str], first_ns: int) -> None:
    path = tmp_path / "p.csv"
    path.write_text("when,rtt_us\n" + "".join(f"{value},1\n" for value in values))
    source = ReplaySource(
        "probes",
        path,
        {"ts": "int64", "rtt_us": "int64"},
        time_column="when",
        time_unit=unit,  # type: ignore[arg-type]
    )
    source.open(None)
    assert all_rows(source)["ts"].to_list() == [first_ns]


def test_a_date_time_column_brings_its_own_unit(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    times = pl.Series("ts", [1_795_000_000_123], dtype=pl.Int64).cast(pl.Datetime("ms", "Europe/Berlin"))
    pl.DataFrame([times]).write_parquet(path)
    source = ReplaySource("probes", path, {"ts": "int64"}, time_unit="s")
    source.open(None)
    assert all_rows(source)["ts"].to_list() == [1_795_000_000_123_000_000]


def test_a_host_column_of_the_file_is_kept(tmp_path: Path) -> None:
    path = written(rows_of(["a", "b"]).with_columns(host=pl.Series(["h1", "h2"])), tmp_path / "p.parquet")
    source = probes(path)
    source.open(None)
    assert all_rows(source)["host"].to_list() == ["h1", "h2"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_rack_column_is_kept_where_the_file_has_one_and_not_asked_for_where_it_has_none(
    tmp_path: Path, suffix: str
) -> None:
    plan = probe_plan("SELECT rack, count(*) AS n_total FROM probes GROUP BY TUMBLE(ts, INTERVAL '1' HOUR), rack")
    without = written(probe_records(3, 1), tmp_path / f"without{suffix}")
    having = written(probe_records(3, 1).with_columns(rack=pl.Series([7, 7, 8])), tmp_path / f"having{suffix}")
    entries = tuple(ReplayConfig(stream="probes", path=str(path)) for path in (without, having))
    columns = [name for name in probe_records(0, 1).columns if name not in ("ts", "host")]
    config = AgentConfig(sources=entries, streams={"probes": dict.fromkeys(columns, "string")})
    found = []
    for source in configured_sources(config, [plan]):
        source.open(None)
        (batch,) = source.poll()
        assert source.streams == {"probes": {"ts": "int64", "host": "string"}}
        found.append(batch.rows["rack"].to_list() if "rack" in batch.rows.columns else None)
        source.close()
    assert found == [None, ["7", "7", "8"]]


HEADER = "ts,src,rtt_us,load,ok\n"
GOOD = "1795000000000000000,a,1,0.5,true\n"


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("p.csv", None, r"p\.csv: there is no such file; put it there, or correct"),
        ("p.txt", "x", r"suffix '\.txt'; want one of \.csv"),
        ("p.csv", "", r"p\.csv: no header line"),
        ("p.csv", "ts,source,rtt_us,load,ok\n", r"no column 'src'; .*known: ts, source"),
        ("p.csv", HEADER + GOOD * 2 + "1795000000000000000,a,fast,0.5,true\n", r"column 'rtt_us', row 3: 'fast'"),
        ("p.csv", HEADER + GOOD + "yesterday,a,1,0.5,true\n", r"column 'ts', row 2: 'yesterday' is not a time in ns"),
        ("p.csv", HEADER + ",a,1,0.5,true\n", r"column 'ts', row 1: None"),
        ("p.csv", HEADER + "9223372036854775807,a,1,0.5,true\n", r"column 'ts', row 1"),
        ("p.csv", HEADER + GOOD.replace("true", "perhaps"), r"column 'ok', row 1: 'perhaps' is not Boolean"),
        ("p.csv", HEADER + GOOD.replace(",1,", ",1.5,"), r"column 'rtt_us', row 1: '1\.5' is not Int64"),
        ("p.parquet", "no parquet", r"p\.parquet: cannot be read"),
        ("p.arrow", "no arrow", r"p\.arrow: cannot be read"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_place(tmp_path: Path, name: str, text: str | None, told: str) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(SourceError, match=told):
        all_rows_of(path)


@pytest.mark.parametrize("text", ["9999-01-01T00:00:00", "2300-01-01T00:00:00", "0001-01-01", "1600-02-03 04:05:06"])
def test_a_date_that_nanoseconds_cannot_hold_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.csv"
    good = GOOD.replace("1795000000000000000", text.replace(text[:4], "2026"))
    path.write_text(HEADER + good + good.replace("2026", text[:4]))
    source = probes(path, time_unit="iso8601")
    source.open(None)
    with pytest.raises(SourceError, match=rf"column 'ts', row 2: '{text}' is not a time in iso8601"):
        source.poll()


def test_rows_before_one_that_cannot_be_read_are_handed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_files, "CSV_BLOCK_BYTES", 2 * len(GOOD))
    path = tmp_path / "p.csv"
    path.write_text(HEADER + GOOD * 2 + GOOD.replace("true", "true,more") * 2)
    source = probes(path)
    source.open(None)
    (batch,) = source.poll()
    assert batch.rows.height == 2
    for _ in range(2):
        with pytest.raises(SourceError, match="cannot be read"):
            source.poll()
    again = probes(path)
    again.open(source.position())
    with pytest.raises(SourceError, match="cannot be read"):
        again.poll()


def test_an_open_quote_does_not_swallow_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_files, "LONGEST_LINE_BYTES", 1000)
    monkeypatch.setattr(replay_files, "CSV_BLOCK_BYTES", 300)
    path = tmp_path / "p.csv"
    path.write_text(HEADER + '1795000000000000000,"a,1,0.5,true\n' + GOOD * 100)
    with pytest.raises(SourceError, match="is a quote left open"):
        all_rows_of(path)


def test_rows_per_s_paces_the_replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(replay.time, "monotonic", lambda: now_s)
    path = written(rows_of(["a"] * 1000), tmp_path / "p.csv")
    source = probes(path, rows_per_s=200.0)
    source.open(None)
    now_s += 0.25
    assert [batch.rows.height for batch in source.poll()] == [50]
    assert source.poll() == []
    now_s += 0.125
    assert [batch.rows.height for batch in source.poll()] == [25]
    source.close()
