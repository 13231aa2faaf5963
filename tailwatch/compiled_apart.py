"""Queries compiled in a short-lived process, so that the SQL parser never becomes part of a running agent.

Parser and compilation cost 22 MB that Python would not give back (measured by resident size before and after, with the
6 built-in queries), a quarter of what the agent may use. Plans are data: the other process writes them to its stdout.
Run as `python -m tailwatch.compiled_apart` it is that other process.
"""

import subprocess
import sys

import msgspec

from tailwatch.config_tree import Place
from tailwatch.errors import ConfigError, TailwatchError
from tailwatch.query_set import QuerySet, load_tables
from tailwatch.settings import Loaded, Settings
from tailwatch.stopping import hang_ups_held_back


class _Question(msgspec.Struct):
    settings: Settings
    places: dict[str, Place]


class _Reply(msgspec.Struct):
    plans: list[bytes] = []
    problems: list[str] = []


def compiled_apart(loaded: Loaded) -> QuerySet:
    """As query_set.compiled, at the price of half a second.

    Raises:
        ConfigError: every stream, table and query at fault.
        TailwatchError: the other process could not do its work.
    """
    from pipeline.plan import decode_plan

    question = msgspec.msgpack.encode(_Question(loaded.settings, dict(loaded.places)))
    with hang_ups_held_back():
        done = subprocess.run(
            [sys.executable, "-P", "-m", "tailwatch.compiled_apart"], input=question, capture_output=True, check=False
        )
    if done.returncode != 0:
        reason = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"])[-1]
        raise TailwatchError(f"the queries could not be compiled: exit code {done.returncode}, {reason}")
    reply = msgspec.msgpack.decode(done.stdout, type=_Reply)
    if reply.problems:
        raise ConfigError(reply.problems)
    return QuerySet(tuple(decode_plan(plan) for plan in reply.plans), load_tables(loaded))


def _answer() -> None:
    """Compile what stdin asks for."""
    from pipeline.plan import encode_plan
    from tailwatch.query_set import compiled

    question = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=_Question)
    try:
        plans = compiled(Loaded(question.settings, question.places)).plans
        reply = _Reply([encode_plan(plan) for plan in plans])
    except ConfigError as error:
        reply = _Reply(problems=list(error.problems))
    sys.stdout.buffer.write(msgspec.msgpack.encode(reply))


if __name__ == "__main__":
    _answer()
