"""What flags of `tailwatch gpu classify` say of a job besides its logs: where and when it ran, and how it ended."""

import argparse
import signal
from typing import TYPE_CHECKING

from tailwatch.errors import ConfigError

if TYPE_CHECKING:
    from analytics.gpu.node_events import JobFacts

_FLAGS = ("exit_code", "signal", "nodes", "start", "end")


def given(args: argparse.Namespace) -> list[str]:
    """The flags that were given, as they are written."""
    return ["--" + name.replace("_", "-") for name in _FLAGS if getattr(args, name) is not None]


def facts_of(args: argparse.Namespace) -> "JobFacts":
    """What they say.

    Raises:
        ConfigError: no list of nodes, or an end before the start.
    """
    from analytics.gpu.node_events import JobFacts

    if args.start is not None and args.end is not None and args.end < args.start:
        raise ConfigError(["--end lies before --start; both are UTC where they name no zone"])
    return JobFacts(nodes=_nodes(args.nodes), start_ns=args.start, end_ns=args.end, failed=_failed(args))


def moment_ns(text: str) -> int:
    """A time as schedulers and logs write it."""
    from analytics.gpu.cleaning_prefixes import (
        time_ns,
    )  # only where one is given: parsing flags shall load nothing else

    found = time_ns(text)
    if found is None or not 0 <= found < 2**63:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time; want ISO 8601, such as 2026-05-04T12:00:00+02:00 (without a zone: UTC)"
        )
    return found


def signal_number(text: str) -> int:
    """A signal by its number or its name."""
    name = text.upper().removeprefix("SIG")
    known = {one.name.removeprefix("SIG"): one.value for one in signal.Signals}
    number = int(text) if text.isascii() and text.isdigit() else known.get(name, 0)
    if not 1 <= number <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is no signal; want 1 to 64 or a name such as SIGKILL")
    return number


def _nodes(listed: str | None) -> frozenset[str]:
    if listed is None:
        return frozenset()
    from analytics.errors import DataError
    from analytics.gpu.traces.slurm import node_names

    try:
        return frozenset(node_names(listed))
    except DataError as error:
        raise ConfigError([f"--nodes: {error}"]) from error


def _failed(args: argparse.Namespace) -> bool | None:
    """By its end; None where nobody told, and the logs have to."""
    if args.exit_code is None and args.signal is None:
        return None
    return bool(args.exit_code) or args.signal is not None
