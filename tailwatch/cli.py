"""The command line: runs one command, and says what becomes of errors.

Commands live in tailwatch/commands/ and are imported when they run, so that `tailwatch agent run` never loads
what only the collector or the API needs; their flags are in parsers.py. Exit codes: 0 done, 1 failed, 2 wrong usage,
78 wrong configuration. Answers go to stdout, logs and errors to stderr.
"""

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from tailwatch.errors import ConfigError, TailwatchError
from tailwatch.foreign_packages import OUR_PACKAGES, refuse_foreign_packages
from tailwatch.parsers import build_parser
from tailwatch.terminal import paint

_TIME_FLAGS = ("--start", "--end")

_LONG_RUNNING = ("agent", "collector", "api")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        refuse_foreign_packages()
        args = build_parser().parse_args(_with_joined_times(arguments))
        command: Callable[[argparse.Namespace], int] = _load(args.command_module)
        code = command(args)
    except BrokenPipeError:  # `tailwatch query ... | head` closed our stdout: not a failure
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        messages = _messages(error)
        if messages is None:
            raise
        for message in messages:
            print(f"{paint('error:', 'red', sys.stderr)} {message}", file=sys.stderr)
        return error.exit_code if isinstance(error, TailwatchError) else 1
    if argv is None and args.command_module in _LONG_RUNNING:
        _leave(code)
    return code


def _load(module: str) -> Callable[[argparse.Namespace], int]:
    run: Callable[[argparse.Namespace], int] = importlib.import_module(f"tailwatch.commands.{module}").run
    return run


def _with_joined_times(arguments: list[str]) -> list[str]:
    """`--start -5m` as `--start=-5m`: argparse would take -5m for a flag."""
    joined: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        value = next(waiting, None) if argument in _TIME_FLAGS else None
        joined.append(argument if value is None else f"{argument}={value}")
    return joined


def _leave(code: int) -> NoReturn:
    """End the process at once: everything is closed, and taking the interpreter apart would cost another 0.4 s."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _messages(error: Exception) -> Sequence[str] | None:
    """What to say about an error, one entry per problem; None for an unforeseen one, which needs its traceback."""
    if isinstance(error, ConfigError):
        return error.problems
    if type(error).__module__.partition(".")[0] in OUR_PACKAGES:
        return [str(error)]
    if isinstance(error, OSError) and error.filename is not None:
        return [f"{error.filename}: {error.strerror}"]
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] not in ("", *OUR_PACKAGES):
        return [f"this command needs the package {error.name}, which is not installed; install tailwatch[all]"]
    sqlalchemy = sys.modules.get("sqlalchemy.exc")
    if sqlalchemy is not None and isinstance(error, sqlalchemy.SQLAlchemyError):
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        return [f"the database cannot be used: {reason}; check database.url, `tailwatch config show` prints it"]
    return None


def script() -> NoReturn:
    """`python -m tailwatch.cli`, which is how the demo starts its parts."""
    sys.exit(main())


if __name__ == "__main__":
    script()
