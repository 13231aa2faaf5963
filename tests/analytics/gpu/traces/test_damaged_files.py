"""Whatever happens to the bytes of a trace, it is read or refused with words, and nothing else."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from analytics.errors import DataError
from analytics.gpu.traces.formats import read_trace
from tests.analytics.gpu.traces.layouts import ACME, pai, philly_job, philly_log, philly_run, table

PIECES = [
    b'"',
    b",",
    b"\n",
    b"{",
    b"}",
    b"\\",
    b"-1",
    b"nan",
    b"1e999",
    b"9" * 20,
    b"\x00",
    b"\xff",
    b"|",
    b"[",
    b"\xc3",
]
ROW = "1,u,1,8,9,X,FAILED,2023-03-01 00:18:22+08:00,2023-03-01 00:18:54+08:00,2023-03-01 00:20:51+08:00,1,2,3.0"
RUN = philly_run("2017-10-07 01:12:09", "2017-10-07 01:13:23", m47=2)
SACCT = ("JobIDRaw|User|Partition|State|Submit|Start|End|NodeList|AllocTRES", "7|a|g|FAILED|1|2|3|n[1-2]|gres/gpu=8")
OWN = '{"job":"j","outcome":"failed","gpus":2.5,"nodes":["a"],"start_ns":1}'


def damaged(draw: random.Random, text: bytes) -> bytes:
    for _ in range(draw.randint(1, 4)):
        i, length = draw.randrange(len(text) + 1), draw.randrange(20)
        change = draw.randrange(4)
        if change == 0:
            text = text[:i] + bytes([draw.randrange(256)]) + text[i + 1 :]
        elif change == 1:
            text = text[:i] + text[i + length :]
        elif change == 2:
            text = text[:i] + draw.choice(PIECES) + text[i:]
        else:
            text = text[:i] + text[draw.randrange(len(text) + 1) :][:length] + text[i:]
    return text


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("cluster_job_log", lambda path: philly_log(path, philly_job("a", RUN, RUN), philly_job("b", RUN))),
        ("trace_kalos.csv", lambda path: table(path, ACME, ROW, ROW)),
        ("sacct.txt", lambda path: table(path, *SACCT)),
        ("attempts.json", lambda path: table(path, OWN, OWN)),
        ("attempts.csv", lambda path: table(path, "job,outcome,gpus,nodes,start_ns", "j,failed,2,a;b,1")),
        ("pai_job_table.csv", lambda path: pai(path.parent)),
        ("pai_task_table.csv", lambda path: pai(path.parent)),
        ("pai_instance_table.csv", lambda path: pai(path.parent)),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_damaged_files_are_read_or_refused(tmp_path: Path, name: str, make: Callable[[Path], Path]) -> None:
    path = tmp_path / name
    make(path)
    sound, draw = path.read_bytes(), random.Random(name)
    refused: list[str] = []
    read_trace(path)
    for _ in range(30):
        path.write_bytes(damaged(draw, sound))
        try:
            read_trace(path)
        except DataError as error:
            refused.append(str(error))
    assert len(refused) > 10
    assert [said for said in refused if str(tmp_path) not in said] == []
