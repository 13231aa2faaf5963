"""The retry model learns what became of retries: from the reports themselves, once an hour, as a new generation.

Jobs to learn from are noted with their reports (gpu_news.py) and diagnoses (gpu_diagnosing.py). They are learned from
when nothing of them waits to be looked into, and struck off in the transaction that keeps the new generation: so a
retry is learned once, whatever is killed when. A model knows by name what it has learned, so again is no harm either.
"""

import logging
from collections.abc import Collection, Mapping
from typing import Final

import sqlalchemy as sa

from analytics.gpu.attempts import Attempt
from analytics.gpu.reported import attempt_of
from analytics.gpu.retry_learning import learn_from
from analytics.gpu.retry_model import RetryModel
from analytics.gpu.retry_state import dump_state, state_digest
from collector.jobs.gpu_retry import read_model
from collector.jobs.gpu_waiting import PROGRESS, drop_to_learn, read_to_learn
from collector.jobs.pace import Pace
from store.gpu_attempts import attempts_of
from store.gpu_models import active_model, forget_models, model_list, put_model
from store.gpu_reasons import reasons_of
from store.job_progress import Progress

log = logging.getLogger(__name__)

#: Under key 0, when was last learned.
LEARNED_SCOPE: Final = "gpu learned"
_EVERY_NS: Final = 3600 * 10**9
_JOBS_AT_ONCE: Final = 2_000


def learn(engine: sa.Engine, waiting: Collection[str], keep_models: int, now_ns: int, pace: Pace) -> int:
    """Learn from the jobs of which nothing waits, where that is due; returns how many outcomes were new.

    Raises:
        RetryModelError: somebody went back to another generation meanwhile; nothing was learned.
    """
    with engine.connect() as connection:
        last = PROGRESS.read(connection, LEARNED_SCOPE).get(0)
        if last is not None and last.value <= now_ns < last.value + _EVERY_NS:
            return 0
        held = set(waiting)
        jobs = [job for job in read_to_learn(connection) if job not in held]
    new = 0
    for start in range(0, len(jobs), _JOBS_AT_ONCE):
        new += _learn(engine, jobs[start : start + _JOBS_AT_ONCE], keep_models, now_ns, pace)
        pace.rest()
    with engine.begin() as connection:
        pace.hold(connection)
        PROGRESS.write(connection, LEARNED_SCOPE, {0: Progress(now_ns)}, now_ns)
    return new


def _learn(engine: sa.Engine, jobs: list[str], keep_models: int, now_ns: int, pace: Pace) -> int:
    with engine.connect() as connection:
        active = active_model(connection)
        model = RetryModel() if active is None else read_model(connection, active)
        if model is None:
            return 0  # said and counted; learned once another generation is active
        chains = _chains(connection, jobs)
        newest = max((row.generation for row in model_list(connection)), default=0)
    before = list(model.nodes.items())
    new = learn_from(model, list(chains.values()))
    changed = new > 0 or list(model.nodes.items()) != before
    parent = "" if active is None else active.digest
    if changed:
        model.generation = newest + 1
        model.origin = f"learned {new} outcomes of {len(chains)} jobs"
    with engine.begin() as connection:
        pace.hold(connection)
        if changed:
            data = dump_state(model, parent)
            put_model(connection, model.generation, state_digest(data), parent, data, model.origin, now_ns)
            forget_models(connection, keep_models)
        drop_to_learn(connection, jobs)
    if changed:
        log.info("retry model learned generation=%d outcomes=%d jobs=%d", model.generation, new, len(chains))
    return new


def _chains(connection: sa.Connection, jobs: list[str]) -> Mapping[str, list[Attempt]]:
    reasons = reasons_of(connection, jobs)
    return {
        job: [attempt_of(one, reasons.get((job, one.number))) for one in attempts]
        for job, attempts in attempts_of(connection, jobs).items()
    }
