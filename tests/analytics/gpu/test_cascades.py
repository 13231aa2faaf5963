"""Made-up failures of several ranks: the root stands on one of them, the others time out, clocks disagree."""

from datetime import UTC, datetime, timedelta
from random import Random

from analytics.gpu.classifier import diagnose
from analytics.gpu.scanning import Scan
from tests.analytics.gpu.plain_scan import scanned

CASES = 24
_ROOTS = {
    "gpu_oom": [
        "Traceback (most recent call last):",
        '  File "t.py", line 3, in f',
        "RuntimeError: CUDA out of memory.",
    ],
    "semantic_error": ["Traceback (most recent call last):", '  File "t.py", line 3, in f', "KeyError: 'mask'"],
    "core_dump": ["Fatal Python error: Segmentation fault", "Segmentation fault (core dumped)"],
    "illegal_mem_access": ["RuntimeError: CUDA error: an illegal memory access was encountered"],
}
_START = datetime(2024, 5, 1, 10, tzinfo=UTC)


def cascade(random: Random) -> tuple[list[Scan], str, int, str | None]:
    """Scans of all ranks, two on a node; the reason, its rank, and the node whose clock is an hour ahead, if one is."""
    ranks = random.choice((4, 8))
    reason, culprit = random.choice(sorted(_ROOTS)), random.randrange(ranks)
    wrong = random.choice((None, f"gpu-{random.randrange(ranks // 2)}"))
    fails_s, sequence = random.randint(300, 3_000), random.randint(10, 9_999)
    scans = []
    for rank in random.sample(range(ranks), ranks):
        node = f"gpu-{rank // 2}"
        shift_s = 3_600 if node == wrong else 0

        def at(second: float, text: str, shift_s: int = shift_s) -> str:
            return (_START + timedelta(seconds=second + shift_s)).strftime("%Y-%m-%dT%H:%M:%SZ ") + text

        lines = [at(0, f"world_size={ranks}"), *(at(second, "step") for second in range(10, fails_s, 30))]
        if rank == culprit:
            lines += [at(fails_s, text) for text in _ROOTS[reason]]
        else:
            work = f"WorkNCCL(SeqNum={sequence}, OpType=ALLREDUCE, Timeout(ms)=600000) ran for 600041 milliseconds"
            late = fails_s + 600 + random.random()
            lines.append(
                at(late, f"[Rank {rank}] Watchdog caught collective operation timeout: {work} before timing out.")
            )
            lines.append(at(late + 1, f"timeout at work: {sequence}, last enqueued NCCL work: {sequence + 2}"))
            lines.append(at(late + 5, "Fatal Python error: Aborted"))
        scans.append(scanned(lines, f"{rank}.log", rank, node))
    return scans, reason, culprit, wrong


def test_the_root_and_its_rank_are_named_whatever_the_others_write() -> None:
    random = Random(20)
    named = []
    clocks = 0
    for _ in range(CASES):
        scans, reason, culprit, wrong = cascade(random)
        found = diagnose(scans)
        named.append((found.guess, found.rank) == (reason, culprit))
        told = [note for note in found.notes if "clock of node" in note]
        clocks += bool(told)
        # A clock cannot be told wrong where only one node reports the timeout.
        assert all(wrong is not None and f"{wrong} " in note for note in told), (wrong, told)
    assert sum(named) == CASES
    assert clocks > 3
