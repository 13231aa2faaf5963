"""`tailwatch agent run`: the process that runs on every server, and therefore loads nothing it does not use."""

import argparse
import os

from tailwatch.stopping import stop_event


def run(args: argparse.Namespace) -> int:
    """Read, sketch and ship until asked to stop."""
    stop = stop_event(args.supervisor)
    # Polars starts one thread per core when it is first imported; an agent has a CPU budget, not a machine.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    from agents.runner import run_agent
    from tailwatch.compiled_apart import compiled_apart
    from tailwatch.settings_flags import loaded_from
    from tailwatch.transports import open_publisher, prepare_sockets

    loaded = loaded_from(args, "agent")
    queries = compiled_apart(loaded)
    prepare_sockets(loaded.settings)
    publisher = open_publisher(loaded.settings)
    try:
        run_agent(loaded.settings.agent, queries.plans, queries.tables, publisher, stop)
    finally:
        publisher.close()
    return 0
