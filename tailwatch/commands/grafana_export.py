"""`tailwatch grafana export DIR`: provisioning, dashboards and rules as files, or whether DIR holds just those."""

import argparse
from pathlib import Path


def run(args: argparse.Namespace) -> int:
    """Write what differs and say it; with --check only say it, and exit 1 when anything does."""
    from tailwatch.grafana.exporting import difference, rendered_files, write
    from tailwatch.settings_flags import loaded_from

    files = rendered_files(loaded_from(args).settings.grafana)
    folder = Path(args.folder)
    found = difference(folder, files)
    if not args.check:
        write(folder, files, found)
    words = {"missing": "missing", "different": "different", "left_over": "not rendered any more"}
    if not args.check:
        words = {"missing": "written", "different": "written anew", "left_over": "removed"}
    for kind, word in words.items():
        for name in getattr(found, kind):
            print(f"{folder / name}: {word}")
    if args.check and found:
        print(f"{folder} is not what these settings render; run `tailwatch grafana export {folder}`")
        return 1
    changed = len(found.missing) + len(found.different) + len(found.left_over)
    print(f"{folder}: {len(files)} files, {changed} changed")
    return 0
