"""Plots are drawn of what the report has data for, and are the same each time."""

import sys
import xml.etree.ElementTree as ET

import polars as pl
import pytest

from analytics.errors import MissingLibraryError
from analytics.gpu.report import counted_attempts, report
from analytics.gpu.report_plots import plots
from analytics.gpu.traces.columns import frame_of
from analytics.gpu.traces.trace import Trace
from tests.analytics.gpu.made_up_attempts import attempt, cluster

pytest.importorskip("matplotlib")


def test_everything_that_the_report_has_is_drawn_and_called_synthetic() -> None:
    attempts = cluster(5, jobs=200, bad={"synthetic-n1": 50.0}).with_columns(busy=pl.lit(0.5))
    trace = Trace("philly", attempts)
    drawn = plots(report(trace), counted_attempts(trace), "svg")
    assert list(drawn) == [
        "outcomes",
        "lost_gpu_hours",
        "time_to_failure",
        "repeats",
        "nodes",
        "waits",
        "utilisation",
    ]
    for name, image in drawn.items():
        texts = "".join(ET.fromstring(image).itertext())
        assert "synthetic: " in texts, name


def test_nothing_is_drawn_of_what_is_not_told_and_equal_reports_give_equal_bytes() -> None:
    trace = Trace("attempts", frame_of([attempt("a", "passed", nodes=(), waited=0.0)]))
    found, counted = report(trace), counted_attempts(trace)
    drawn = plots(found, counted)
    assert list(drawn) == ["outcomes", "waits"]
    assert all(image.startswith(b"\x89PNG") for image in drawn.values())
    assert plots(found, counted) == drawn


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    trace = Trace("attempts", frame_of([attempt("a")]))
    with pytest.raises(MissingLibraryError, match=r"pip install 'tailwatch\[plots\]'"):
        plots(report(trace), counted_attempts(trace))
