"""`tailwatch gpu rules`: try a site's rules for GPU jobs, and list those that are used."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analytics.gpu.signatures import Signature


def run(args: argparse.Namespace) -> int:
    """What the action says."""
    return _check(args) if args.action == "check" else _list(args)


def _check(args: argparse.Namespace) -> int:
    """0 where the rules can be used and their examples hold, else 1 with one line for each fault."""
    from analytics.errors import SignatureFileError
    from analytics.gpu.signature_checks import faults
    from analytics.gpu.signature_files import read_signatures, with_site_file

    problems: list[str] = []
    own: tuple[Signature, ...] = ()
    try:
        own = read_signatures(Path(args.file))
        together = own if args.alone else with_site_file(args.file)
        problems = [f"{args.file}: {fault}" for fault in faults(together, own)]
    except SignatureFileError as error:
        problems = list(error.problems)
    if args.output == "json":
        print(json.dumps({"file": args.file, "rules": len(own), "problems": problems}, indent=2, ensure_ascii=False))
    elif problems:
        print("\n".join([*problems, f"{args.file}: {_counted(len(problems), 'fault')}"]))
    else:
        examples = sum(len(one.examples) + len(one.counterexamples) for one in own)
        print(f"{args.file}: ok ({_counted(len(own), 'rule')}, {_counted(examples, 'example')} tried)")
    return 1 if problems else 0


def _list(args: argparse.Namespace) -> int:
    from analytics.gpu.signature_files import with_site_file
    from analytics.gpu.taxonomy import taxonomy
    from tailwatch.errors import TailwatchError

    rules = with_site_file(args.rules)
    if args.reason is not None and args.reason not in taxonomy():
        raise TailwatchError(f"{args.reason!r} is no reason; known are {', '.join(taxonomy())}")
    chosen = [
        rule
        for rule in rules
        if (args.reason in (None, rule.reason))
        and args.category in (None, rule.category)
        and args.id in (None, rule.id)
    ]
    if args.id is not None and not chosen:
        raise TailwatchError(f"no rule {args.id!r}; `tailwatch gpu rules list` shows all {len(rules)}")
    if args.output == "json":
        print(json.dumps([_document(rule) for rule in chosen], indent=2, ensure_ascii=False))
    elif args.id is not None:
        print(_whole(chosen[0]))
    else:
        print(_table(chosen))
    return 0


def _document(rule: "Signature") -> Any:
    import msgspec

    return msgspec.to_builtins(rule)


def _whole(rule: "Signature") -> str:
    lines = []
    for key, value in _document(rule).items():
        shown = value if isinstance(value, list | tuple) else [value]
        lines += [f"{key + ':' if not place else '':<16}{each}" for place, each in enumerate(shown)]
    return "\n".join(lines)


def _table(rules: Sequence["Signature"]) -> str:
    columns = [("ID", "REASON", "CATEGORY", "ROLE", "WEIGHT", "RETRY")]
    rows = columns + [(rule.id, rule.reason, rule.category, rule.role, str(rule.weight), rule.retry) for rule in rules]
    widths = [max(len(row[place]) for row in rows) for place in range(len(columns[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    reasons = len({rule.reason for rule in rules})
    return "\n".join([*lines, f"{_counted(len(rules), 'rule')} of {_counted(reasons, 'reason')}"])


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'s' * (count != 1)}"
