"""Made-up logs of jobs that passed, full of words that failures use: what a diagnosis must not fall for.

Synthetic, and called so wherever figures come from it. Each log is a chosen kind of job (a trainer, a sweep, a
pre-processing job, an evaluation, several ranks), with its chatter, harmless warnings, tricky lines, sometimes trouble
that was survived (a retried connection, a handled exception, a skipped step), and an end as such jobs write it.
The same seed makes the same logs.
"""

from collections.abc import Iterator
from random import Random

from analytics.gpu.passed_logs_phrases import CHATTER, ENDINGS, SURVIVED, TRICKY, WARNINGS

#: Shares of jobs with trouble that was survived, and with a handled exception's whole traceback.
SHARE_SURVIVED = 0.3
SHARE_HANDLED = 0.1
_CASES = ("oom_policy", "timeout_handling", "nan_guard", "failed_login", "segfault_report", "nccl_docs")


def passed_log(seed: int) -> list[str]:
    """The lines of one job."""
    random = Random(seed)
    kind = random.choice((_trainer, _ranks, _bars, _batch, _evaluation))
    lines = list(kind(random))
    _strew(lines, random, [_filled(text, random) for text in random.sample(TRICKY, random.randint(3, 10))])
    _strew(lines, random, [_filled(text, random) for text in random.sample(WARNINGS, random.randint(0, 4))])
    if random.random() < SHARE_SURVIVED:
        _insert(lines, random, [_filled(text, random) for text in random.choice(SURVIVED)])
    if random.random() < SHARE_HANDLED:
        _insert(lines, random, _handled(random))
    return [*lines, *(_filled(text, random) for text in random.choice(ENDINGS))]


def passed_logs(count: int, seed: int = 0) -> Iterator[tuple[str, list[str]]]:
    """Name and lines of each of `count` jobs."""
    for place in range(count):
        yield f"synthetic-passed-{seed}-{place}", passed_log(seed * 1_000_003 + place)


def _trainer(random: Random) -> Iterator[str]:
    loss = random.uniform(2, 9)
    yield from (_filled(text, random) for text in random.sample(CHATTER, random.randint(4, 9)))
    for step in range(random.randint(80, 500)):
        loss *= random.uniform(0.97, 1.01)
        stamp = f"2024-05-{random.randint(1, 28):02d} 10:{step // 60 % 60:02d}:{step % 60:02d}"
        yield f"{stamp} INFO step {step} loss={loss:.4f} lr={random.random() / 1000:.2e} error_rate={loss / 40:.3f}"


def _ranks(random: Random) -> Iterator[str]:
    ranks = random.choice((2, 4, 8))
    for rank in range(ranks):
        yield f"[rank{rank}]: initialised process group, world_size={ranks}, timeout 0:30:00"
    yield from (_filled(text, random) for text in random.sample(CHATTER, random.randint(3, 8)))
    for step in range(random.randint(30, 120)):
        for rank in random.sample(range(ranks), ranks):
            rate, norm = random.randint(8000, 9000), random.random()
            yield f"[rank{rank}]: iteration {step} | tokens/s {rate} | grad norm {norm:.3f}"


def _bars(random: Random) -> Iterator[str]:
    for epoch in range(random.randint(2, 9)):
        for done in range(0, 101, random.choice((5, 10, 20))):
            bar = f"{done:3d}%|{'#' * (done // 10):<10}| {done}/100"
            yield f"Epoch {epoch}: {bar} [00:{done % 60:02d}, 9.1it/s, loss=0.{done:02d}]"
        yield f"epoch {epoch}: val_loss {random.random():.4f}, best so far kept in checkpoints/best.pt"


def _batch(random: Random) -> Iterator[str]:
    total = random.randint(60, 400)
    for part in range(total):
        rows, took = random.randint(1000, 9999), random.random()
        yield f"part {part:05d} of {total:05d}: {rows} rows, 0 errors, 0 failed, {took:.2f} s"
    yield f"written {total} parts; rows with errors: 0; skipped: {random.randint(0, 3)}"


def _evaluation(random: Random) -> Iterator[str]:
    for case in range(random.randint(50, 200)):
        name = random.choice(
            ("oom_policy", "timeout_handling", "nan_guard", "failed_login", "segfault_report", "nccl_docs")
        )
        yield f"tests/test_{name}.py::test_case_{case} PASSED [{case % 100:3d}%]"
    yield f"accuracy 0.{random.randint(700, 950)} | wer 0.{random.randint(10, 99)} | word error rate over 12 speakers"


def _handled(random: Random) -> list[str]:
    kind = random.choice(
        ("KeyError: 'attn_bias'", "FileNotFoundError: [Errno 2] No such file or directory: 'cache.idx'")
    )
    return [
        "WARNING the cache cannot be used, it is built anew; the cause follows",
        "Traceback (most recent call last):",
        f'  File "/opt/app/cache.py", line {random.randint(20, 400)}, in open_cache',
        "    return index[name]",
        kind,
        f"cache built anew in {random.random() * 9:.1f} s",
    ]


def _filled(text: str, random: Random) -> str:
    n, m, p = (random.randint(1, 99) for _ in range(3))
    return text.format(n=n, m=m * 17, p=f"0.{p:02d}", r=random.randint(0, 7))


def _strew(lines: list[str], random: Random, texts: list[str]) -> None:
    for text in texts:
        lines.insert(random.randint(0, len(lines)), text)


def _insert(lines: list[str], random: Random, texts: list[str]) -> None:
    """As one piece, in the first two thirds: what is survived has a job that goes on behind it."""
    place = random.randint(0, 2 * len(lines) // 3)
    lines[place:place] = texts
