"""Parsers of sources keep their promises for what a coverage-guided fuzzer makes up, and for what broke them."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.counterparts.choice import missing
from tests.fuzzing.parsers import PARSERS

ROOT = Path(__file__).resolve().parents[2]
# By parser, bytes that once broke it.
BROKE = {
    "syslog": ["<۱>Nov 22 10:00:00 host app[۱]: text".encode()],
    "json_lines": [b'{"t": "2026-11-22T10:00:00Z", "st\xff": 2}', b'{"x": ' + b"[" * 3000 + b"]" * 3000 + b"}"],
}


@pytest.mark.parametrize(("name", "data"), [(name, data) for name, all_of_it in BROKE.items() for data in all_of_it])
def test_what_broke_a_parser_once_is_read_or_refused(name: str, data: bytes) -> None:
    PARSERS[name].check(data)


def fuzzed(*program: str) -> subprocess.CompletedProcess[str]:
    if importlib.util.find_spec("atheris") is None:
        missing("atheris is not installed; it has wheels for CPython on x86-64 Linux")
    return subprocess.run(
        [sys.executable, *program], cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=240, check=False
    )


@pytest.fixture(scope="module")
def said() -> dict[str, tuple[int, str]]:
    """By parser, how its fuzzer ended and what it said; one interpreter for all, as loading costs most."""
    ended = fuzzed("-m", "tests.fuzzing", "all", "--runs", "400", "--seed", "1")
    parts = re.split(r"^(\w+) ended with (-?\d+)\n", ended.stderr, flags=re.MULTILINE)
    found = {
        name: (int(status), text) for text, name, status in zip(parts[::3], parts[1::3], parts[2::3], strict=False)
    }
    assert ended.returncode == max(abs(status) for status, _ in found.values()), ended.stderr[-2000:]
    return found


@pytest.mark.parametrize("name", sorted(PARSERS))
def test_a_parser_keeps_its_promise_for_what_a_fuzzer_makes_up(name: str, said: dict[str, tuple[int, str]]) -> None:
    status, text = said[name]
    assert status == 0, text[-2000:]
    assert "Done 400 runs" in text


def test_a_promise_that_is_broken_ends_the_fuzzer_with_the_bytes() -> None:
    ended = fuzzed(
        "-c",
        "import sys, tests.fuzzing.parsers as p\n"
        "def check(data):\n    assert b'q' not in data\n"
        "p.PARSERS['statsd'] = p.Parser(check, (b'pp',))\n"
        "sys.argv[1:] = ['statsd', '--runs', '100000', '--seed', '1']\n"
        "import tests.fuzzing.__main__ as m\nm.main()\n",
    )
    assert ended.returncode != 0
    assert "AssertionError" in ended.stderr + ended.stdout
