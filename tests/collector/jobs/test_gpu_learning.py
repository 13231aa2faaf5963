"""What became of retries is learned from reports, once, as generations of a model that one can go back from."""

import pytest
import sqlalchemy as sa

from analytics.gpu.retry_state import load_state
from collector import own_metrics
from store.gpu_advice import advice_of
from store.gpu_models import active_model, model_data, model_list, roll_back
from tests.collector.jobs.gpu_world import HOUR_NS, MINUTE_NS, NOW, OUT_OF_MEMORY, GpuWorld, attempt, lines

RETRY = {"submitted_ns": NOW - 55 * MINUTE_NS, "start_ns": NOW - 55 * MINUTE_NS, "end_ns": NOW - 2 * MINUTE_NS}


def retried(world: GpuWorld, job: str, outcome: str) -> None:
    """A job that failed of its GPUs' memory, and what became of its retry."""
    world.take([*lines(job, OUT_OF_MEMORY), *lines(job, OUT_OF_MEMORY, NOW - 2 * MINUTE_NS)])
    world.report(attempt(job), attempt(job, 2, outcome=outcome, reported_ns=NOW - MINUTE_NS, **RETRY))


def generations(world: GpuWorld) -> list[int]:
    with world.engine.connect() as connection:
        return [row.generation for row in model_list(connection)]


def outcomes(world: GpuWorld) -> tuple[int, int]:
    """(generation in use, outcomes that it was learned from)."""
    with world.engine.connect() as connection:
        row = active_model(connection)
        assert row is not None
        return row.generation, load_state(model_data(connection, row.generation)).quality.outcomes


def test_outcomes_of_retries_are_learned_with_their_reasons_each_once(quick_gpu_world: GpuWorld) -> None:
    world = quick_gpu_world
    retried(world, "j1", "passed")
    rounds = world.rounds()
    assert rounds.tick(NOW)
    assert outcomes(world) == (1, 1)
    with world.engine.connect() as connection:
        model = load_state(model_data(connection, 1))
    assert set(model.records) == {"gpu_oom"}
    retried(world, "j2", "failed")
    assert rounds.tick(NOW + MINUTE_NS)
    assert outcomes(world) == (1, 1), "once an hour"
    assert rounds.tick(NOW + HOUR_NS)
    assert outcomes(world) == (2, 2)
    with world.engine.connect() as connection:
        given = advice_of(connection, "j2", 2)
    assert given is not None
    assert given.model_generation == 1
    assert rounds.tick(NOW + 2 * HOUR_NS)
    assert generations(world) == [2, 1], "nothing new, no generation"
    retried(world, "j1", "passed")
    world.report(attempt("j1", 2, exit_code=0))
    assert rounds.tick(NOW + 3 * HOUR_NS)
    assert outcomes(world)[1] == 2, "told again, learned once"


def test_what_is_learned_next_follows_the_generation_that_somebody_went_back_to(quick_gpu_world: GpuWorld) -> None:
    world = quick_gpu_world
    rounds = world.rounds(keep_models=2)
    for hour, job in enumerate(("j1", "j2")):
        retried(world, job, "passed")
        assert rounds.tick(NOW + hour * HOUR_NS)
    with world.engine.begin() as connection:
        first = roll_back(connection, 1, NOW, "j2 was made up")
    retried(world, "j3", "passed")
    assert rounds.tick(NOW + 2 * HOUR_NS)
    assert outcomes(world) == (3, 2)
    with world.engine.connect() as connection:
        assert model_list(connection)[0].parent == first.digest
    assert generations(world) == [3, 2], "as many as are kept"


def test_a_state_that_cannot_be_used_leaves_the_priors_and_is_not_written_over(
    quick_gpu_world: GpuWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world = quick_gpu_world
    retried(world, "j1", "passed")
    rounds = world.rounds()
    assert rounds.tick(NOW)
    with world.engine.begin() as connection:
        connection.execute(sa.text("UPDATE gpu_retry_models SET data = :data, digest = 'x'"), {"data": b"damaged"})
    before = own_metrics.gpu_failures.labels("model")._value.get()
    retried(world, "j2", "failed")
    assert rounds.tick(NOW + HOUR_NS)
    assert own_metrics.gpu_failures.labels("model")._value.get() > before
    assert "go back to another generation" in caplog.text
    assert generations(world) == [1]
    with world.engine.connect() as connection:
        given = advice_of(connection, "j2", 2)
    assert given is not None
    assert given.model_generation is None
    with world.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM gpu_retry_models"))
    assert rounds.tick(NOW + 2 * HOUR_NS)
    assert outcomes(world)[1] == 1, "what waited meanwhile is learned then"


def test_a_job_of_which_something_waits_is_learned_from_later(quick_gpu_world: GpuWorld) -> None:
    world = quick_gpu_world
    retried(world, "j1", "passed")
    rounds = world.rounds(settle_s=7200)
    assert rounds.tick(NOW)
    assert generations(world) == [], "why it failed is not known yet"
    assert rounds.tick(NOW + 2 * HOUR_NS)
    assert outcomes(world) == (1, 1)
