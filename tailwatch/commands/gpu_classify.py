"""`tailwatch gpu classify`: why a job died, or how often labelled logs are told right."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tailwatch.errors import ConfigError, LogFileError

if TYPE_CHECKING:
    from analytics.gpu.accuracy_held_out import Labelled
    from analytics.gpu.diagnosis import Diagnosis
    from analytics.gpu.node_events import JobFacts
    from analytics.gpu.scanning import Scanner


def run(args: argparse.Namespace) -> int:
    """Diagnose the job whose logs are named, or each labelled log by itself, and print what was found."""
    from analytics.gpu.scanning import Scanner
    from analytics.gpu.signature_files import with_site_file
    from tailwatch.gpu_job_facts import facts_of
    from tailwatch.gpu_log_files import log_files

    _check(args)
    facts = facts_of(args)
    files = log_files(args.files)
    scanner = Scanner(with_site_file(args.rules))
    if args.labels:
        _print_accuracy(_labelled(args.labels, files, scanner), args.output)
        return 0
    found = _diagnosed(args.files, files, scanner, facts)
    if args.output == "json":
        print(json.dumps(asdict(found), indent=2, ensure_ascii=False))
    else:
        from tailwatch.gpu_diagnosis_text import as_text

        print(as_text(found))
    return 0


def _check(args: argparse.Namespace) -> None:
    from tailwatch.gpu_job_facts import given

    if args.labels and given(args):
        raise ConfigError([f"--labels takes each file for a job of its own; {given(args)[0]} is for one job"])


def _diagnosed(named: Sequence[str], files: Sequence[str], scanner: "Scanner", facts: "JobFacts") -> "Diagnosis":
    from analytics.gpu.classifier import diagnose_logs
    from tailwatch.gpu_log_files import Reading, origin_of

    reading = Reading(named)
    found = diagnose_logs(((origin_of(name), reading.chunks_of(name)) for name in files), scanner, facts)
    return replace(found, notes=(*reading.notes, *found.notes))


def _labelled(table: str, files: Sequence[str], scanner: "Scanner") -> "list[Labelled]":
    from analytics.gpu.accuracy_held_out import Labelled
    from analytics.gpu.accuracy_labels import read_labels
    from tailwatch.gpu_log_files import chunks_of, origin_of

    path = Path(table)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LogFileError(f"{table} cannot be read: {error}") from error
    labels = {(path.parent / label.file).resolve(): label for label in read_labels(text, table)}
    labelled = []
    for name in files:
        label = labels.get(Path(name).resolve())
        if label is None:
            if Path(name).resolve() == path.resolve():
                continue
            raise LogFileError(f"{table} has no row for {name}; its column `file` is relative to the table's folder")
        labelled.append(Labelled(scanner.scan(chunks_of(name), origin_of(name)), label))
    return labelled


def _print_accuracy(labelled: "Sequence[Labelled]", output: str) -> None:
    from analytics.errors import TooFewDataError
    from analytics.gpu.accuracy import accuracy, risk_by_coverage
    from analytics.gpu.accuracy_held_out import held_out, held_out_strictly, judge

    judged = [judge(one) for one in labelled]
    figures = accuracy(judged)
    curve = risk_by_coverage(judged)
    try:
        others = (accuracy(held_out(labelled)), accuracy(held_out_strictly(labelled)))
    except TooFewDataError:
        others = None
    if output == "json":
        answer = {
            "figures": asdict(figures),
            "source_held_out": None if others is None else asdict(others[0]),
            "source_and_its_rules_held_out": None if others is None else asdict(others[1]),
            "risk_by_coverage": [asdict(point) for point in curve],
            "logs": [asdict(one) for one in judged],
        }
        print(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        from tailwatch.gpu_diagnosis_text import accuracy_text

        print(accuracy_text(figures, curve, others))
