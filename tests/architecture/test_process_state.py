"""Tests share a process: what one of them leaves behind is put back before the next."""

import locale
import logging
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from collector import own_metrics
from quantiles._kernels import choice
from tests.process_state import ProcessState


def test_what_a_test_changes_of_its_process_is_put_back(tmp_path: Path) -> None:
    zone = time.tzname
    chosen = choice.kernels()
    before = ProcessState.now()
    os.environ["TAILWATCH_DATA_DIR"] = "elsewhere"
    os.environ["TZ"] = "Asia/Kathmandu"
    time.tzset()
    os.environ.pop("PATH")
    os.chdir(tmp_path)
    os.umask(0o077 if before.umask != 0o077 else 0o022)
    signal.signal(signal.SIGHUP, lambda *_: None)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logging.getLogger().addHandler(logging.NullHandler())
    logging.getLogger().setLevel(logging.DEBUG)
    logging.getLogger("kafka").setLevel(logging.ERROR)
    logging.disable(logging.ERROR)
    sys.setswitchinterval(before.switch_s * 2)
    locale.setlocale(locale.LC_ALL, "C" if before.locale != "C" else "C.UTF-8")
    choice._chosen.clear()
    assert ProcessState.now() != before
    before.put_back()
    assert ProcessState.now() == before
    assert time.tzname == zone
    assert choice._chosen["now"] is chosen
    assert logging.getLogger("kafka").level == logging.NOTSET


@pytest.mark.parametrize("dead", ["a value", "a function"])
def test_a_collector_that_a_test_killed_shows_nothing_to_the_next(dead: str) -> None:
    before = ProcessState.now()
    own_metrics.lag_records.labels("7").set(5)
    own_metrics.drives.labels("watch").set(3)
    if dead == "a function":
        own_metrics.flush_age_seconds.labels("7").set_function(lambda: 99.0)
        own_metrics.drives_lag_seconds.set_function(lambda: 99.0)
    else:
        own_metrics.flush_age_seconds.labels("7").set(99)
        own_metrics.drives_lag_seconds.set(99)
    before.put_back()
    shown = own_metrics.REGISTRY.get_sample_value
    for name in ("lag_records", "flush_age_seconds"):
        assert shown(f"tailwatch_collector_{name}", {"partition": "7"}) is None
    assert shown("tailwatch_collector_drives", {"state": "watch"}) == 0
    assert shown("tailwatch_collector_drives_lag_seconds") == 0
