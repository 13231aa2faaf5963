"""Models in the job: loaded by digest, given up when they cannot score, and a shadow that decides nothing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import pytest

from analytics.errors import ModelFileError
from collector import own_metrics
from collector.jobs import drive_scorers
from store.drive_models import digest_of, install, promote
from tests.collector.jobs.drives_world import DAY_NS, HOUR_NS, TODAY, DrivesWorld, reading

NOW = TODAY * DAY_NS + 13 * HOUR_NS


@dataclass
class FakeScorer:
    """Says of every drive the probability that is its name: b"0.25" is a model file of 25 %."""

    data: bytes
    horizons: tuple[int, ...] = (7, 30)
    features: tuple[str, ...] = ("history_d",)
    thresholds: Mapping[int, tuple[float, float]] = field(default_factory=lambda: {7: (0.1, 0.5), 30: (0.1, 0.5)})

    @property
    def digest(self) -> str:
        return digest_of(self.data)

    def probabilities(self, features: pl.DataFrame) -> dict[int, Any]:
        if self.data == b"dies":
            raise ValueError("feature names do not match")
        p = np.full(features.height, float(self.data))
        return {7: p / 2, 30: p}

    def contributions(self, features: pl.DataFrame, horizon: int) -> Any:
        assert horizon in self.horizons
        return np.zeros((features.height, 1), np.float32)

    def knows(self, days: pl.DataFrame) -> Any:
        return (days["vendor"] == "Intel").fill_null(False).to_numpy()


@pytest.fixture(autouse=True)
def _fake_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(data: bytes) -> FakeScorer:
        if data == b"newer":
            raise ModelFileError("format 9, this release reads 1; install the release that wrote it")
        return FakeScorer(data)

    monkeypatch.setattr(drive_scorers, "scorer_in", read)


def installed(world: DrivesWorld, data: bytes, role: Any = "active", *, synthetic: bool = False) -> str:
    with world.engine.begin() as connection:
        return install(connection, data, {"synthetic": synthetic}, role, NOW)[0].digest


def known(world: DrivesWorld, **columns: Any) -> None:
    world.know([reading(TODAY - ago, **columns) for ago in range(10)])


def failures() -> float:
    return own_metrics.drives_failures.labels("model")._value.get()


def test_a_model_gives_probabilities_and_its_thresholds_a_state(world: DrivesWorld) -> None:
    known(world)
    digest = installed(world, b"0.75")
    world.rounds().tick(NOW)
    found = world.drive("S1")
    assert (found["p7"], found["p30"], found["state"], found["model_digest"]) == (0.375, 0.75, 2, digest)
    assert not found["model_synthetic"]
    assert json.loads(found["verdict"])["probabilities"] == {"7": 0.375, "30": 0.75}
    assert "0.75" in world.table("drive_states")[0][-1]


def test_another_model_counts_from_the_next_tick_on(world: DrivesWorld) -> None:
    known(world)
    installed(world, b"0.01")
    rounds = world.rounds(interval_s=3600)
    rounds.tick(NOW)
    assert world.drive("S1")["state"] == 0
    digest = installed(world, b"0.75", "shadow", synthetic=True)
    rounds.tick(NOW)
    assert world.drive("S1")["p30"] == 0.01
    with world.engine.begin() as connection:
        promote(connection, digest, "better", NOW)
    rounds.tick(NOW)
    found = world.drive("S1")
    assert (found["p30"], found["state"], bool(found["model_synthetic"])) == (0.75, 2, True)


def test_a_shadow_is_noted_apart_and_decides_nothing(world: DrivesWorld) -> None:
    known(world)
    digest = installed(world, b"0.9", "shadow")
    world.rounds().tick(NOW)
    found = world.drive("S1")
    verdict = json.loads(found["verdict"])
    assert verdict["shadow"] == {"digest": digest, "probabilities": {"7": 0.45, "30": 0.9}}
    assert (found["p30"], found["state"], found["model_digest"]) == (None, 0, None)
    assert verdict["why_no_probability"] == "no model: none is installed"


@pytest.mark.parametrize(("data", "why"), [(b"newer", "format 9"), (b"dies", "feature names do not match")])
def test_a_model_that_cannot_be_used_is_done_without_and_said(world: DrivesWorld, data: bytes, why: str) -> None:
    known(world, realloc_total=500)
    world.know([reading(TODAY, realloc_total=900)])
    installed(world, data)
    before = failures()
    rounds = world.rounds(interval_s=1e-9)
    for _ in range(2):
        assert rounds.tick(NOW)
        found = world.drive("S1")
        verdict = json.loads(found["verdict"])
        assert found["state"] > 0
        assert found["p30"] is None
        assert verdict["why_no_probability"].startswith("no model: sha256:")
        assert why in verdict["why_no_probability"]
    assert failures() == before + 1


@pytest.mark.parametrize("data", [b"newer", b"dies"])
def test_a_shadow_that_cannot_be_used_costs_nothing_but_itself(world: DrivesWorld, data: bytes) -> None:
    known(world)
    installed(world, b"0.2")
    installed(world, data, "shadow")
    assert world.rounds().tick(NOW)
    found = world.drive("S1")
    assert (found["p30"], found["state"]) == (0.2, 1)
    assert "shadow" not in json.loads(found["verdict"])


def test_a_drive_unlike_those_the_model_knows_gets_no_probability(world: DrivesWorld) -> None:
    known(world, family="Odd drives", model="ODD")
    installed(world, b"0.75")
    world.rounds().tick(NOW)
    found = world.drive("S1")
    assert (found["p30"], found["model_digest"]) == (None, None)
    assert "not trained" in json.loads(found["verdict"])["why_no_probability"]
