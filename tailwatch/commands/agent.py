"""`tailwatch agent run`: the process that runs on every server, and therefore loads nothing it does not use."""

import argparse
import os
import threading
from typing import TYPE_CHECKING

from tailwatch.stopping import stop_event

if TYPE_CHECKING:
    from agents.reload import NewSetup
    from tailwatch.settings import Settings


def run(args: argparse.Namespace) -> int:
    """Read, sketch and ship until asked to stop; SIGHUP has the configuration read again."""
    reload = threading.Event()
    stop = stop_event(args.supervisor, reload)
    # Polars starts one thread per core when it is first imported; an agent has a CPU budget, not a machine.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    from agents.runner import Reloads, run_agent
    from tailwatch.compiled_apart import compiled_apart
    from tailwatch.settings_flags import loaded_from
    from tailwatch.transports import open_publisher, prepare_sockets

    loaded = loaded_from(args, "agent")
    settings = loaded.settings
    queries = compiled_apart(loaded)
    prepare_sockets(settings)
    publisher = open_publisher(settings)
    reloads = Reloads(reload, lambda: _read_again(args, settings))
    try:
        run_agent(settings.agent, queries.plans, queries.tables, publisher, stop, reloads)
    finally:
        publisher.close()
    return 0


def _read_again(args: argparse.Namespace, started_with: "Settings") -> "NewSetup":
    """The configuration as file, environment and flags say now.

    Raises:
        ConfigError: it has faults, or changes what only a restart can change.
        DataFolderError: a folder for a socket cannot be made.
    """
    from agents.reload import NewSetup
    from tailwatch.compiled_apart import compiled_apart
    from tailwatch.reloading import refuse_what_needs_a_restart
    from tailwatch.settings_flags import read_from, set_up_logging
    from tailwatch.transports import prepare_sockets

    loaded = read_from(args, "agent")
    refuse_what_needs_a_restart(started_with, loaded)
    queries = compiled_apart(loaded)
    prepare_sockets(loaded.settings)
    level = loaded.settings.log_level
    return NewSetup.of(loaded.settings.agent, queries.plans, queries.tables, lambda: set_up_logging(level))
