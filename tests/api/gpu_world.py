"""Jobs on GPUs in a database, as schedulers report them and the collectors' job leaves them. Made-up figures.

train-7  two attempts that failed of the same timeout, the second with stored advice; eval,"=1" failed, nobody knows of
what; pre/train 3 passed; log-only failed as its log says, and was never reported.
"""

import functools

import msgspec
import sqlalchemy as sa

from analytics.gpu.diagnosis import Diagnosis, Evidence
from analytics.gpu.retry_advice import advise
from analytics.gpu.retry_model import RetryModel
from analytics.gpu.retry_state import dump_state, state_digest
from analytics.gpu.scanning import Scanner
from analytics.gpu.signature_files import shipped_signatures
from api.gpu_advising import chain_of
from store.connect import open_engine, upgrade
from store.gpu_advice import AdviceRow, put_advice
from store.gpu_attempts import AttemptRow, attempts_of, put_attempts
from store.gpu_failures import FailureRow, failures_of, put_failure
from store.gpu_models import put_model
from store.gpu_nodes import NodeRow, put_nodes
from store.gpu_overview import ROUNDS_SCOPE, WAITING_SCOPE
from store.gpu_tables import gpu_progress
from store.job_progress import Progress, ProgressTable
from tests.api.world import NOW_NS, SECOND_NS

HOUR_NS = 3_600 * SECOND_NS
ODD_JOB = 'eval,"=1"'
SLASHED = "pre/train 3"
OOM = b"""step 812 loss 2.31
Traceback (most recent call last):
  File "train.py", line 88, in step
    loss.backward()
RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB (GPU 3; 79.15 GiB total capacity)
"""
PASSED = b"epoch 1 of 1\nsaved the model\nfinished successfully\n"


@functools.cache
def scanner() -> Scanner:
    """The shipped signatures, made ready once for all tests of a process."""
    return Scanner(shipped_signatures())


def attempt(job: str, number: int, hours_ago: float, **said: object) -> AttemptRow:
    """One that ran an hour on eight GPUs and failed."""
    end_ns = NOW_NS - int(hours_ago * HOUR_NS)
    usual: dict[str, object] = {
        "user": "ana", "queue": "large", "nodes": ("gpu-1", "gpu-2"), "gpus": 8.0, "submitted_ns": end_ns - 2 * HOUR_NS,
        "start_ns": end_ns - HOUR_NS, "end_ns": end_ns, "outcome": "failed", "exit_code": 1, "reported_ns": NOW_NS,
    }  # fmt: skip
    return AttemptRow(job=job, number=number, **{**usual, **said})  # type: ignore[arg-type]


def found(reason: str | None, node: str | None = None) -> Diagnosis:
    """What a log says: this reason, or that something failed."""
    line = Evidence("made-up", reason or "", "root", "rank0.log", 7, "what went wrong", 0, node, NOW_NS - HOUR_NS)
    return Diagnosis(
        status="answered" if reason else "abstained", reason=reason, category="infrastructure" if reason else None,
        guess=reason, confidence=0.93 if reason else 0.2, retry="other_node" if reason else None,
        action="look at the network" if reason else None, rank=0, node=node, evidence=(line,) if reason else (),
        cascades=(), silent_ranks=(), template=None if reason else "error <*>", lines=9, bytes=812,
    )  # fmt: skip


def failure(job: str, number: int, hours_ago: float, said: Diagnosis, **more: object) -> FailureRow:
    """As the collectors' job keeps it."""
    return FailureRow(
        job=job, number=number, failed_ns=NOW_NS - int(hours_ago * HOUR_NS), found_ns=NOW_NS, status=said.status,  # type: ignore[arg-type]
        reason=said.reason, category=said.category, guess=said.guess, confidence=said.confidence, retry=said.retry,
        action=said.action, node=said.node, rank=said.rank, template=said.template,
        diagnosis=msgspec.json.encode(said).decode(), rules_version="0123456789abcdef",
        **{"user": "ana", "gpus": 8.0, "lost_gpu_s": 8.0 * 3_600, **more},  # type: ignore[arg-type]
    )  # fmt: skip


def filled(url: str) -> str:
    """A new database with all of them; returns its address."""
    upgrade(url)
    engine = open_engine(url)
    with engine.begin() as connection:
        add_gpu_jobs(connection)
    engine.dispose()
    return url


def add_gpu_jobs(connection: sa.Connection) -> None:
    """All of them, in one transaction."""
    put_attempts(
        connection,
        [
            attempt("train-7", 1, 5), attempt("train-7", 2, 3, nodes=("gpu-3",)), attempt(ODD_JOB, 1, 2, user="bo"),
            attempt(SLASHED, 1, 1, outcome="passed", exit_code=0),
            attempt("running", 1, 0, outcome="running", end_ns=None, exit_code=None),
        ],
    )  # fmt: skip
    timeout = found("nccl_timeout", "gpu-3")
    put_failure(connection, failure("train-7", 1, 5, timeout))
    put_failure(connection, failure("train-7", 2, 3, timeout))
    put_failure(connection, failure(ODD_JOB, 1, 2, found(None), user="bo", synthetic=True))
    put_failure(
        connection, failure("log-only", 1, 1, found("gpu_ecc", "gpu-9"), reported=False, gpus=None, lost_gpu_s=None)
    )
    chain = chain_of(attempts_of(connection, ["train-7"])["train-7"], failures_of(connection, "train-7"), 2)
    advice = advise(chain, RetryModel(), rule="other_node")
    put_advice(
        connection,
        AdviceRow(
            job="train-7", number=2, given_ns=NOW_NS - HOUR_NS, decision=advice.decision,
            probability=advice.probability, model_generation=None, body=msgspec.json.encode(advice).decode(),
        ),
    )  # fmt: skip
    parent = ""
    for generation in (1, 2):
        data = dump_state(RetryModel(seed=generation, generation=generation), parent)
        digest = state_digest(data)
        put_model(connection, generation, digest, parent, data, f"{generation} outcomes", NOW_NS - HOUR_NS)
        parent = digest
    progress = ProgressTable(gpu_progress)
    progress.write(connection, ROUNDS_SCOPE, {0: Progress(NOW_NS - SECOND_NS)}, NOW_NS)
    progress.write(connection, WAITING_SCOPE, {7: Progress(0, "{}"), 9: Progress(0, "{}")}, NOW_NS)
    put_nodes(
        connection,
        [
            NodeRow(
                node=f"gpu-{n}", failures=9 if n == 3 else 1, expected=1.5, ratio=6.0 if n == 3 else 0.7,
                p_value=1e-5 if n == 3 else 0.6, q_value=3e-5 if n == 3 else 0.8, stands_out=n == 3, checked_ns=NOW_NS,
                body="{}",
            )
            for n in (1, 2, 3)
        ],
        NOW_NS,
    )  # fmt: skip
