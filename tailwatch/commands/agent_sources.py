"""`tailwatch agent sources`: every kind of source, its streams, and how it is on this host; disturbs nobody."""

import argparse
import json
import logging
import os


def run(args: argparse.Namespace) -> int:
    """Look and print; 1 when a configured source cannot work as it is."""
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    from tailwatch.query_set import compiled
    from tailwatch.settings_flags import loaded_from
    from tailwatch.source_survey import FAULTY, survey
    from tailwatch.sources_report import as_json, as_text

    loaded = loaded_from(args, "agent")
    plans = compiled(loaded).plans
    if not args.log_level:
        for handler in logging.getLogger().handlers:  # what sources would log, the states say
            handler.setLevel(logging.CRITICAL + 1)
    found = survey(loaded.settings.agent, plans, args.kinds)
    print(json.dumps(as_json(found), indent=2, ensure_ascii=False) if args.as_json else as_text(found))
    return 1 if any(one.configured and one.state in FAULTY for one in found.sources) else 0
