"""`tailwatch collector run`: takes frames from the transport into the database."""

import argparse

from tailwatch.stopping import stop_event


def run(args: argparse.Namespace) -> int:
    """Merge until asked to stop."""
    stop = stop_event(args.supervisor)
    from collector.runner import run_collector
    from tailwatch.faster_kernels import faster_kernels_beside
    from tailwatch.query_set import compiled
    from tailwatch.settings_flags import loaded_from
    from tailwatch.transports import open_subscriber

    loaded = loaded_from(args, "collector")
    settings = loaded.settings
    queries = compiled(loaded)
    subscriber = open_subscriber(settings)
    try:
        with faster_kernels_beside(stop):
            run_collector(settings.collector, settings.database.url, queries.plans, queries.tables, subscriber, stop)
    finally:
        subscriber.close()
    return 0
