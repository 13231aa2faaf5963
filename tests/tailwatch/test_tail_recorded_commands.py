"""`tailwatch tail learn`, `attribute` and `whatif` on recorded requests, simulated ones whose truth is known."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analytics.tail import recorded_search
from analytics.tail.causes import CAUSES
from analytics.tail.comparison import Figure
from analytics.tail.policies import Predictive, RampUp, Sequential, Server, TargetTable, Tpc
from analytics.tail.policy_documents import policy_document, policy_from
from analytics.tail.predictor import load_predictor
from analytics.tail.profile_documents import profile_from
from analytics.tail.recorded_search import RecordedSearch
from analytics.tail.simulation import simulate
from analytics.tail.speedup import WEB_SEARCH
from analytics.tail.table_search import FoundTable
from analytics.tail.what_if import Forecast, Latencies
from tailwatch.cli import main
from tailwatch.tail_whatif_report import forecast_text
from tests.analytics.tail.recordings import SERVER, Recording, columns_of, record

MADE_UP = record(40_000, 0.4, Predictive(3), explore=0.3)
EDGES = ["--class-edges", "30,80"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Requests of a simulated service in a Parquet file."""
    return _written(tmp_path_factory.mktemp("recorded"), MADE_UP)


def _written(folder: Path, recording: Recording, **more: pl.Series) -> str:
    path = folder / "requests.parquet"
    pl.DataFrame(columns_of(recording.run)).with_columns(service=pl.lit("search"), **more).write_parquet(path)
    return str(path)


def _said(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> dict:  # type: ignore[type-arg]
    assert main(["tail", *words, "--output", "json"]) == code
    return json.loads(capsys.readouterr().out)


def test_speed_ups_are_learned_told_with_what_they_rest_on_and_written(
    recorded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, plot = tmp_path / "profile.json", tmp_path / "speedups.svg"
    flags = [recorded, "--threads", "12", *EDGES, "--out", str(out), "--plot", str(plot)]
    assert main(["tail", "learn", *flags]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("search: 40,000 requests in ")
    assert [line.split("  ")[0] for line in lines if " ms  " in line] == ["below 30 ms", "30 to 80 ms", "from 80 ms"]
    learned = profile_from(json.loads(out.read_text()))
    assert learned.profile.edges_ms == (30.0, 80.0)
    assert learned.profile.table == pytest.approx(WEB_SEARCH.table, rel=0.2)
    place = next(place for place, line in enumerate(lines) if line.startswith("from 80 ms"))
    assert ("*" in lines[place]) == bool(learned.extrapolated[2, 1:].any())
    assert lines[place + 1].split() == ["requests", *(f"{count:,}" for count in learned.counts[2])]
    assert learned.slowdown.value == 0
    most = f"do not slow each other, or by {learned.slowdown.high:.1%} at most"
    assert f"threads that each have a hardware thread {most}" in lines
    assert plot.read_text().startswith("<?xml")
    assert _said(capsys, 0, "learn", recorded, "--threads", "12", *EDGES)["profile"] == json.loads(out.read_text())


def test_threads_that_slow_each_other_are_learned_and_counted_in_causes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slowed = record(40_000, 0.4, Sequential(), explore=0.1, server=Server(slowdown=0.5))
    file, out = _written(tmp_path, slowed), tmp_path / "profile.json"
    assert main(["tail", "learn", file, "--threads", "12", *EDGES, "--out", str(out)]) == 0
    assert "threads slow each other" in capsys.readouterr().out
    told = profile_from(json.loads(out.read_text())).slowdown
    assert told.low < 0.5 < told.high
    causes = ["attribute", file, "--threads", "12", "--target-ms", "200"]
    found = _said(capsys, 0, *causes, *EDGES)["causes"]
    assert found == _said(capsys, 0, *causes, "--profile", str(out))["causes"]
    plain = json.loads(out.read_text()) | {"slowdown": {"value": 0.0, "low": 0.0, "high": 0.0}}
    out.write_text(json.dumps(plain))
    assert found["contention"] > _said(capsys, 0, *causes, "--profile", str(out))["causes"]["contention"]


def test_a_predictor_is_trained_and_told_beside_what_was_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made_up = record(2_000, 0.3, Sequential(), explore=0.0)
    terms = pl.Series(np.log2(made_up.run.requests.predictions_ms))
    file = _written(tmp_path, made_up, terms=terms, flat=pl.Series(np.ones(2_000)))
    model = tmp_path / "predictor.bin"
    flags = [file, "--threads", "12", "--long-ms", "80", "--features", "terms,flat", "--model", str(model)]
    found = _said(capsys, 0, "learn", *flags)["predictor"]
    assert (found["features"], found["constant_features"]) == (["terms", "flat"], ["flat"])
    assert found["recorded"]["recall"]["value"] == pytest.approx(0.84, abs=0.1)
    assert found["trained"]["long_ms"] == 80.0
    assert found["trained"]["recall"]["value"] > 0.5
    predicted = load_predictor(model.read_bytes()).predict(np.array([[0.0, 1.0], [7.0, 1.0]], np.float32))
    assert predicted[0] < 10 < predicted[1]


def test_a_service_without_predictions_gets_a_predictor_where_all_ran_on_one_thread(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    times = np.random.default_rng(4).lognormal(2.0, 1.0, 400)
    rows = pl.DataFrame({"arrival_ms": 1.7e12 + np.arange(400) * 50.0, "service_ms": times, "size": times**0.9})
    file = tmp_path / "requests.csv"
    rows.write_csv(file)
    assert main(["tail", "learn", str(file), "--threads", "12"]) == 1
    assert "tells a predicted time" in capsys.readouterr().err
    assert main(["tail", "learn", str(file), "--threads", "12", "--features", "size", "--long-ms", "20"]) == 0
    shown = capsys.readouterr().out
    assert "\nno speed-ups: " in shown
    assert "each predicted by trees that did not see it:\n" in shown
    assert "\nplain rule: long where size is " in shown
    assert "as recorded" not in shown
    assert main(["tail", "learn", str(file), "--threads", "12", "--features", "size"]) == 1
    assert "--long-ms says from where on one is long" in capsys.readouterr().err


def test_slow_requests_get_the_causes_that_the_simulation_knows(
    recorded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = tmp_path / "causes.png"
    flags = [recorded, "--threads", "12", *EDGES, "--target-ms", "80", "--slowest", "3"]
    assert main(["tail", "attribute", *flags, "--plot", str(plot)]) == 0
    shown = capsys.readouterr().out
    assert "\nthe slowest:\n" in shown
    assert plot.read_bytes().startswith(b"\x89PNG")
    found = _said(capsys, 0, "attribute", *flags)
    slow = MADE_UP.run.latencies_ms > 80
    assert sum(level["slow"] for level in found["by_load"]) == np.count_nonzero(slow)
    assert sum(found["causes"].values()) == pytest.approx(1)
    assert set(found["causes"]) == set(CAUSES)
    requests, classes = MADE_UP.run.requests, WEB_SEARCH.classes(MADE_UP.run.requests.predictions_ms)
    told = requests.predictions_ms / WEB_SEARCH.table[classes, MADE_UP.run.first_degrees - 1]
    mistaken = slow & (told <= 80) & (MADE_UP.run.effective_ms > 80)
    assert found["causes"]["mispredicted"] == pytest.approx(mistaken.sum() / slow.sum(), abs=0.05)
    slowest = found["slowest"]
    assert len(slowest) == 3
    assert slowest[0]["latency_ms"] == pytest.approx(MADE_UP.run.latencies_ms.max(), rel=1e-6)
    assert found["unreachable"] is None


def test_a_target_that_no_policy_can_keep_is_said_and_one_that_all_keep(
    recorded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = tmp_path / "profile.json"
    assert main(["tail", "learn", recorded, "--threads", "12", *EDGES, "--out", str(profile)]) == 0
    capsys.readouterr()
    flags = ["attribute", recorded, "--threads", "12", "--profile", str(profile)]
    found = _said(capsys, 0, *flags, "--target-ms", "20")
    assert found["unreachable"]["share"] > 0.01
    assert "raise the target" in found["unreachable"]["text"]
    assert main(["tail", *flags, "--target-ms", "20"]) == 0
    assert "\nwarning: p99 within 20 ms cannot be kept" in capsys.readouterr().out
    assert main(["tail", *flags, "--target-ms", "100000"]) == 0
    assert capsys.readouterr().out.endswith("0 of 40,000 requests took longer than 100000 ms (0.00%)\n")


def test_a_forecast_is_near_what_the_candidate_does_and_the_exit_code_says_that_there_is_one(
    recorded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = TargetTable("threads_and_queue", 4.0, (40.0, 50.0, 60.0, 80.0))
    candidate, plot = tmp_path / "tpc.json", tmp_path / "forecast.png"
    candidate.write_text(json.dumps(policy_document(Tpc(table))))
    flags = [recorded, "--threads", "12", "--workers", "24", *EDGES, "--current", "predictive:3:80"]
    flags += ["--candidate", str(candidate), "--plot", str(plot)]
    found = _said(capsys, 0, "whatif", *flags)["forecast"]
    assert found["answered"]
    assert found["refusals"] == []
    truth = np.quantile(simulate(MADE_UP.run.requests, SERVER, WEB_SEARCH, Tpc(table)).latencies_ms, 0.99)
    assert found["candidate"]["quantiles_ms"]["p99"]["value"] == pytest.approx(truth, rel=0.12)
    assert plot.read_bytes().startswith(b"\x89PNG")
    shown = forecast_text(found, Tpc(table), 1)
    assert shown.startswith(
        "now: predictive d=3 from 80 ms\ncandidate: tpc, targets by threads_and_queue in steps of 4: 40, 50, 60, 80 ms"
    )
    assert "\np99 shorter by " in shown


def test_a_search_tells_and_writes_what_it_found_and_for_how_many_threads(
    recorded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = TargetTable("in_system", 3.0, (40.0, 80.0))
    asked: list[object] = []

    def search(*_: object, current: object, metric: str, **__: object) -> RecordedSearch:
        asked.extend((current, metric))
        latencies = Latencies(Figure(12.0, 11.0, 13.0), {0.99: Figure(80.0, None, None)})
        forecast = Forecast(True, (), (), latencies, latencies, latencies, requests=40_000)
        return RecordedSearch(FoundTable(table, 1.0, 900), forecast, 3)

    monkeypatch.setattr(recorded_search, "search_recorded", search)
    out = tmp_path / "tpc.json"
    flags = [recorded, "--threads", "12", *EDGES, "--current", "ramp-up:5", "--search", "--metric", "in_system"]
    assert main(["tail", "whatif", *flags, "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert asked == [RampUp(5.0), "in_system"]
    assert "\nnow: ramp-up 5 ms\ncandidate: tpc, targets by in_system" in shown
    assert shown.endswith("\nfound for at most 3 threads a request: more are not told by what was recorded\n")
    assert policy_from(json.loads(out.read_text())) == Tpc(table)


def test_what_cannot_be_forecast_is_refused_with_reasons_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _written(tmp_path, record(6_000, 0.3, Predictive(3), explore=0.0))
    plot = tmp_path / "forecast.png"
    flags = [file, "--threads", "12", "--workers", "24", "--max-degree", "6", *EDGES, "--plot", str(plot)]
    assert main(["tail", "whatif", *flags, "--candidate", "ramp-up:10"]) == 1
    shown = capsys.readouterr().out
    assert "\nno forecast:\n- " in shown
    assert "FAILS" in shown
    assert not plot.exists()
    found = _said(capsys, 1, "whatif", *flags, "--candidate", "ramp-up:10")
    assert not found["forecast"]["answered"]
    assert found["forecast"]["refusals"]
    assert policy_from(found["candidate_policy"]) == RampUp(10.0)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["whatif", "--candidate", "fast"], "want sequential, fixed:DEGREE"),
        (["whatif", "--candidate", "none.json"], "none.json: No such file"),
        (["whatif", "--candidate", "adaptive", "--out", "x.json"], "--out is where --search writes"),
        (["whatif", "--search", "--candidate-threads", "4"], "ask for others with --candidate"),
        (["learn", "--model", "m.bin"], "--features says what it is trained from"),
        (["learn", "--plot", "plot.jpg"], "want a file ending in .png or .svg"),
        (["learn", "--out", "no/such/folder/p.json"], "want a file in a folder that is there"),
        (["attribute", "--target-ms", "80", "--profile", "bad.json"], "bad.json is no JSON"),
        (["attribute", "--target-ms", "80", "--profile", "list.json"], "list.json holds no JSON object"),
        (
            ["attribute", "--target-ms", "80", "--profile", "other.json"],
            "other.json: a speed-up profile that cannot be",
        ),
        (["attribute", "--target-ms", "80", "--profile", "p.json", "--class-edges", "3,4"], "has classes of its own"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in (("bad.json", "{"), ("list.json", "[1]"), ("other.json", '{"edges": 3}')):
        Path(name).write_text(content)
    assert main(["tail", flags[0], "not-there.parquet", "--threads", "12", *flags[1:]]) == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["learn", "r.csv"], "--threads"),
        (["learn", "r.csv", "--threads", "4", "--class-edges", "80,30"], "are no edges of classes"),
        (["learn", "r.csv", "--threads", "4", "--features", "a,a"], "are no columns"),
        (["attribute", "r.csv", "--threads", "4"], "--target-ms"),
        (["attribute", "r.csv", "--threads", "4", "--target-ms", "0"], "is no time"),
        (["attribute", "r.csv", "--threads", "4", "--target-ms", "9", "--percentile", "99"], "is no percentile here"),
        (["whatif", "r.csv", "--threads", "4"], "--candidate"),
        (["whatif", "r.csv", "--threads", "4", "--search", "--load-multiplier", "0"], "is no multiple of the load"),
    ],
)
def test_flags_that_cannot_be_meant_are_refused(
    capsys: pytest.CaptureFixture[str], flags: list[str], words: str
) -> None:
    with pytest.raises(SystemExit):
        main(["tail", *flags])
    assert words in capsys.readouterr().err
