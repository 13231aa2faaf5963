"""From parsed flags to Settings, the same for every command, with logging set up on the way."""

import argparse
import logging
import os
import sys
import time
from pathlib import Path

from tailwatch.config_tree import Branch
from tailwatch.log_repeats import Repeats
from tailwatch.overlays import flag_tree
from tailwatch.settings import Loaded, load_settings

_NAMED = {
    "data": ("data_dir", "--data"),
    "log_level": ("log_level", "--log-level"),
    "id": ("{part}.id", "--id"),
    "policy": ("agent.policy", "--policy"),
    "host": ("api.host", "--host"),
    "port": ("api.port", "--port"),
    "url": ("grafana.url", "--url"),
    "partitions": ("transport.partitions", "--partitions"),
}

# Libraries whose INFO lines tell of every call instead of changes of state; log_level debug shows them.
CHATTY = ("alembic", "uvicorn", "kafka")
# Never below INFO: its DEBUG lines hold passwords, in the options of a client and in the bytes it sends.
_TALKATIVE = "kafka"


def loaded_from(args: argparse.Namespace, part: str = "") -> Loaded:
    """The settings a command runs with; it logs as they say from now on.

    Args:
        part: section that `--id` belongs to.
    Raises:
        ConfigError: every fault found.
    """
    loaded = read_from(args, part)
    set_up_logging(loaded.settings.log_level)
    return loaded


def read_from(args: argparse.Namespace, part: str = "") -> Loaded:
    """The settings alone, as the file says now; otherwise as `loaded_from`."""
    text = args.config or os.environ.get("TAILWATCH_CONFIG")
    return load_settings(Path(text) if text else None, assignments=args.assignments, flags=_named_flags(args, part))


def set_up_logging(level: str) -> None:
    """Log lines to stderr: UTC time, level, module, text."""
    form = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    form.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(form)
    handler.addFilter(Repeats(_TALKATIVE))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    if level == "debug":
        logging.getLogger(_TALKATIVE).setLevel(logging.INFO)
    if level == "info":
        for library in CHATTY:
            logging.getLogger(library).setLevel(logging.WARNING)


def _named_flags(args: argparse.Namespace, part: str) -> Branch:
    values = {}
    for attribute, (key, flag) in _NAMED.items():
        if hasattr(args, attribute):
            values[key.format(part=part)] = (flag, getattr(args, attribute))
    return flag_tree(values)
