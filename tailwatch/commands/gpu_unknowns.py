"""`tailwatch gpu unknowns`: what failed jobs say that no rule knows, and a rule drafted from it."""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from tailwatch.errors import ConfigError, LogFileError

if TYPE_CHECKING:
    from analytics.gpu.scanning import Scanner
    from analytics.gpu.templates import Template
    from tailwatch.gpu_log_files import Reading

#: Of a passed job's log; what stands further back is not compared.
_PASSED_CHUNKS = 16


def run(args: argparse.Namespace) -> int:
    """Mine the failed jobs that no rule explains, and print the list or the drafted rule."""
    from analytics.gpu.scanning import Scanner
    from analytics.gpu.signature_files import with_site_file
    from analytics.gpu.templates import draft, mine
    from tailwatch.gpu_log_files import Reading, log_files

    _check(args)
    reading = Reading([*args.files, args.passed])
    failed, unknown = _unexplained(log_files(args.files), reading, Scanner(with_site_file(args.rules)))
    passed = [name for name in (log_files([args.passed]) if args.passed else ()) if reading.is_log(name)]
    found = mine(unknown, {name: _lines(name, reading) for name in passed})
    if args.draft is not None:
        if args.draft > len(found):
            raise LogFileError(f"--draft {args.draft}: the list has {len(found)} templates; choose one of them")
        chosen = found[args.draft - 1]
        print(draft(chosen, args.reason, f"site-{args.reason.replace('_', '-')}-{args.draft}"), end="")
        return 0
    if args.output == "json":
        rows = [asdict(one) for one in found[: args.top]]
        head = {"failed": failed, "unexplained": len(unknown), "passed": len(passed)}
        print(json.dumps({**head, "templates": rows, "notes": reading.notes}, indent=2, ensure_ascii=False))
    else:
        print(_text(found, args.top, f"{len(unknown)} of {failed}", len(passed), reading.notes))
    return 0


def _check(args: argparse.Namespace) -> None:
    from analytics.gpu.taxonomy import taxonomy

    if (args.draft is None) != (args.reason is None):
        raise ConfigError(["--draft and --reason are wanted together: which template, and what it means"])
    if args.reason is not None and args.reason not in taxonomy():
        raise ConfigError([f"--reason {args.reason!r} is not in the taxonomy; known are {', '.join(taxonomy())}"])


def _unexplained(files: Sequence[str], reading: "Reading", scanner: "Scanner") -> tuple[int, dict[str, list[str]]]:
    """How many of the files are logs, and of each that is not answered its last lines, by its name."""
    from analytics.gpu.classifier import diagnose
    from tailwatch.gpu_log_files import origin_of

    unknown = {}
    count = 0
    for name in files:
        scan = scanner.scan(reading.chunks_of(name), origin_of(name))
        if not reading.counts(name, scan.no_log):
            continue
        count += 1
        if diagnose([scan]).status != "answered":
            unknown[name] = [line.text for line in scan.tail]
    return count, unknown


def _lines(name: str, reading: "Reading") -> Iterator[str]:
    from itertools import islice

    from analytics.gpu.cleaning import lines_of
    from tailwatch.gpu_log_files import origin_of

    return (line.text for line in lines_of(islice(reading.chunks_of(name), _PASSED_CHUNKS), origin_of(name)))


def _text(found: "Sequence[Template]", top: int, unknown: str, passed: int, notes: Sequence[str]) -> str:
    from tailwatch.terminal import table

    parts = [f"{unknown} jobs have no sure cause; compared with {passed} that passed"]
    rows = [
        [str(place), str(one.failed), str(one.passed), f"{one.ratio:.1f}", one.text[:120], one.job]
        for place, one in enumerate(found[:top], 1)
    ]
    if rows:
        headers = ("nr", "failed", "passed", "ratio", "template", "seen in")
        parts.append(table(headers, rows, (True, True, True, True, False, False)))
    if notes:
        parts.append("\n".join(f"note: {note}" for note in notes))
    return "\n\n".join(parts)
