"""`tailwatch api run`: serves the REST API."""

import argparse

from tailwatch.stopping import stop_event


def run(args: argparse.Namespace) -> int:
    """Answer until asked to stop."""
    stop = stop_event(args.supervisor)
    from msgspec.structs import replace

    from agents.sources.streams import known_streams
    from api.server import serve
    from collector.jobs.job_streams import COLLECTOR_STREAMS
    from tailwatch.faster_kernels import faster_kernels_beside
    from tailwatch.settings_flags import loaded_from

    settings = loaded_from(args, "api").settings
    with faster_kernels_beside(stop):
        # Posted queries may read what agents know without being told.
        streams = {**known_streams(settings.api.streams), **COLLECTOR_STREAMS}
        serve(replace(settings.api, streams=streams), settings.database.url, stop)
    return 0
