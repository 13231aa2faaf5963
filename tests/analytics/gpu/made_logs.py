"""Logs for tests: ordinary lines with texts of failures between, in the forms that launchers and daemons give them."""

import json
import random
from collections.abc import Sequence
from functools import cache

from analytics.gpu.scanning import Scanner
from analytics.gpu.signature_files import shipped_signatures

_WORDS = [
    "step",
    "loss",
    "lr",
    "tokens",
    "saved",
    "batch",
    "of",
    "epoch",
    "warmup",
    "done",
    "ok",
    "shard",
    "read",
    "0",
    "errors",
    "rank",
    "device",
    "time",
]


@cache
def shipped_scanner() -> Scanner:
    """One for all tests: making the patterns ready takes half a second."""
    return Scanner(shipped_signatures())


def texts_of_failures() -> Sequence[str]:
    """All examples and counterexamples of shipped rules."""
    return [text for one in shipped_signatures() for text in (*one.examples, *one.counterexamples)]


def made_log(rng: random.Random, lines: int, texts: Sequence[str]) -> bytes:
    """So many lines, a third of them with a text; some with colours, progress bars, odd bytes, or no line end."""
    made = b""
    for _ in range(lines):
        text = rng.choice(texts) if rng.random() < 0.35 else " ".join(rng.choices(_WORDS, k=rng.randrange(12)))
        made += b"".join(_dressed(rng, line) + rng.choice([b"\n", b"\n", b"\r\n"]) for line in text.split("\n"))
    return made[: len(made) - rng.randrange(3)] if rng.random() < 0.5 else made


def _dressed(rng: random.Random, text: str) -> bytes:
    raw = text.encode()
    docker = {"log": text + "\n", "stream": "stderr", "time": "2025-01-02T03:04:05.6Z"}
    dresses = [
        b"\x1b[31m" + raw[:4] + b"\x1b[0m" + raw[4:],
        b" 10%|#    |\r 50%|###  |\r" + raw,
        raw + b" \xff\xfe\x00",
        json.dumps(docker).encode(),
        f"[rank{rng.randrange(8)}]: ".encode() + raw,
        f"[1,{rng.randrange(8)}]<stderr>:".encode() + raw,
        b"Mar  4 05:06:07 gpu-3 kernel: [  12.345678] " + raw,
        b"2025-01-02T03:04:05.123456789Z stdout F " + raw,
        *[raw] * 4,
    ]
    return rng.choice(dresses)
