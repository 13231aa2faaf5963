"""`tailwatch grafana apply|diff`: what Tailwatch brings along, compared with a running Grafana and written into it.

Shows the difference first. Nothing is written while something of others is in the way, and never without a yes: asked
for on a terminal, given by --yes elsewhere. Exit code 0 says that all is as wanted now.
"""

import argparse
import sys
from typing import TYPE_CHECKING

from tailwatch.errors import GrafanaError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tailwatch.grafana.differences import Difference
    from tailwatch.grafana.server import Server


def run(args: argparse.Namespace) -> int:
    """Compare, show, and on `apply` write."""
    from tailwatch.grafana.credentials import authorization
    from tailwatch.grafana.differences import differences
    from tailwatch.grafana.server import Server
    from tailwatch.grafana.shown import shown
    from tailwatch.grafana.wanted import wanted
    from tailwatch.settings_flags import loaded_from

    settings = loaded_from(args).settings.grafana
    aim, key = wanted(settings), authorization(settings)
    server = Server(settings)
    try:
        force = args.action == "apply" and args.force
        found = differences(server, aim, key, force=force)
        print(f"Grafana {server.version or '(of unknown version)'} at {server.url}, organisation {server.org_name}")
        print(shown(found, sys.stdout), flush=True)
        if args.action == "diff" or args.dry_run:
            return int(args.action == "diff" and any(one.verdict != "same" for one in found))
        return _apply(server, found, aim.folder["uid"], agreed=args.yes)
    finally:
        server.close()


def _apply(server: "Server", found: "Sequence[Difference]", folder_uid: str, *, agreed: bool) -> int:
    from tailwatch.grafana.shown import title
    from tailwatch.grafana.writing import write

    in_the_way = [one for one in found if one.verdict == "clash"]
    if in_the_way:
        first = in_the_way[0]
        more = f" (and {len(in_the_way) - 1} more, see above)" if len(in_the_way) > 1 else ""
        raise GrafanaError(f"nothing was written, for something is in the way of {title(first)}: {first.note}{more}")
    if any(one.is_written for one in found):
        if not agreed and not _asked():
            raise GrafanaError("nothing was written; say y, or --yes where nobody can be asked")
        write(server, found, folder_uid, lambda one: print(f"written: {title(one)}", flush=True))
    left = [one for one in found if one.verdict in ("edited", "locked")]
    if left:
        print(f"left as it is: {', '.join(title(one) for one in left)}", file=sys.stderr)
    return int(bool(left))


def _asked() -> bool:
    """Whether somebody at the terminal agrees."""
    if not sys.stdin.isatty():
        return False
    print("Write this? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
