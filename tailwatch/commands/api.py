"""`tailwatch api run`: serves the REST API."""

import argparse

from tailwatch.stopping import stop_event


def run(args: argparse.Namespace) -> int:
    """Answer until asked to stop."""
    stop = stop_event(args.supervisor)
    from api.server import serve
    from tailwatch.faster_kernels import faster_kernels_beside
    from tailwatch.settings_flags import loaded_from

    settings = loaded_from(args, "api").settings
    with faster_kernels_beside(stop):
        serve(settings.api, settings.database.url, stop)
    return 0
